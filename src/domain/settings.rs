//! What operators may set of a flag at run time, beside what its configuration says.
//!
//! What is set holds for as long as the configuration says what it said then: who changes it there
//! means it, and is not to be surprised by what somebody set long ago.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::GroupName;
use crate::domain::share::Share;

/// What can be set of a flag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagSettings {
    /// Whether it is on.
    pub enabled: bool,
    /// The weights of the groups that it names.
    pub groups: BTreeMap<GroupName, Share>,
    /// The weight of everyone else.
    pub default: Share,
}

/// A change of some of them; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagChange {
    /// Turns it on or off.
    pub enabled: Option<bool>,
    /// Weights of groups; without one, the flag names the group no more.
    pub groups: BTreeMap<GroupName, Option<Share>>,
    /// The weight of everyone else.
    pub default: Option<Share>,
}

impl FlagChange {
    /// Whether it touches weights.
    pub fn is_of_weights(&self) -> bool {
        self.default.is_some() || !self.groups.is_empty()
    }

    /// The same with other shares.
    ///
    /// # Errors
    /// The first of making one.
    pub fn map<E>(&self, mut make: impl FnMut(&Share) -> Result<Share, E>) -> Result<Self, E> {
        let mut groups = BTreeMap::new();
        for (group, share) in &self.groups {
            groups.insert(group.clone(), share.as_ref().map(&mut make).transpose()?);
        }
        Ok(Self {
            enabled: self.enabled,
            groups,
            default: self.default.as_ref().map(&mut make).transpose()?,
        })
    }

    /// What becomes of settings by it.
    #[must_use]
    pub fn of(&self, settings: &FlagSettings) -> FlagSettings {
        let mut changed = settings.clone();
        changed.enabled = self.enabled.unwrap_or(changed.enabled);
        if let Some(default) = &self.default {
            changed.default = default.clone();
        }
        for (group, share) in &self.groups {
            match share {
                Some(share) => changed.groups.insert(group.clone(), share.clone()),
                None => changed.groups.remove(group),
            };
        }
        changed
    }
}

impl FlagSettings {
    /// Whether nobody gets canary by these who does not by others.
    pub fn is_at_most(&self, others: &Self) -> bool {
        fn of<'s>(settings: &'s FlagSettings, group: Option<&GroupName>) -> &'s Share {
            let own = group.and_then(|group| settings.groups.get(group));
            let share = own.unwrap_or(&settings.default);
            if settings.enabled {
                share
            } else {
                &Share::NOBODY
            }
        }
        let named = self.groups.keys().chain(others.groups.keys()).map(Some);
        named
            .chain([None])
            .all(|group| of(self, group).is_at_most(of(others, group)))
    }

    /// What is other than before, in words; empty where nothing is.
    pub fn since<'a>(&'a self, before: &'a Self) -> SettingsDifference<'a> {
        SettingsDifference {
            before,
            after: self,
        }
    }
}

/// Says what is other: `default 5% -> 20%, group beta none -> 50%`.
#[derive(Clone, Copy, Debug)]
pub struct SettingsDifference<'a> {
    before: &'a FlagSettings,
    after: &'a FlagSettings,
}

impl fmt::Display for SettingsDifference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after } = self;
        let mut parts = Vec::new();
        let word = |is_on| if is_on { "on" } else { "off" };
        if before.enabled != after.enabled {
            let (before, after) = (word(before.enabled), word(after.enabled));
            parts.push(format!("switch {before} -> {after}"));
        }
        if before.default != after.default {
            parts.push(format!("default {} -> {}", before.default, after.default));
        }
        let shown =
            |share: Option<&Share>| share.map_or_else(|| "none".to_owned(), ToString::to_string);
        let named: std::collections::BTreeSet<_> =
            before.groups.keys().chain(after.groups.keys()).collect();
        for group in named {
            let (old, new) = (before.groups.get(group), after.groups.get(group));
            if old != new {
                parts.push(format!("group {group} {} -> {}", shown(old), shown(new)));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

/// A value in the place of a configured one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Override<T> {
    /// What is configured.
    over: T,
    /// What holds.
    set: T,
}

impl<T: PartialEq> Override<T> {
    fn between(configured: T, wanted: T) -> Option<Self> {
        let is_other = configured != wanted;
        is_other.then_some(Self {
            over: configured,
            set: wanted,
        })
    }
}

/// What holds of one flag in the place of what is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagOverrides {
    enabled: Option<Override<bool>>,
    groups: BTreeMap<GroupName, Override<Option<Share>>>,
    default: Option<Override<Share>>,
}

impl FlagOverrides {
    /// What it takes for something to hold that is not configured.
    pub fn between(configured: &FlagSettings, wanted: &FlagSettings) -> Self {
        let named = configured.groups.keys().chain(wanted.groups.keys());
        let of_group = |group: &GroupName| {
            let share = |settings: &FlagSettings| settings.groups.get(group).cloned();
            let entry = Override::between(share(configured), share(wanted))?;
            Some((group.clone(), entry))
        };
        Self {
            enabled: Override::between(configured.enabled, wanted.enabled),
            groups: named.filter_map(of_group).collect(),
            default: Override::between(configured.default.clone(), wanted.default.clone()),
        }
    }

    /// Whether all is as configured.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Those over values that are still configured; of weights none where a rollout sets them.
    #[must_use]
    pub fn still_over(&self, configured: &FlagSettings, has_rollout: bool) -> Self {
        let of_weights = !has_rollout;
        let groups = self.groups.iter().filter(|(group, entry)| {
            of_weights && entry.over.as_ref() == configured.groups.get(*group)
        });
        let default = self
            .default
            .as_ref()
            .filter(|entry| of_weights && entry.over == configured.default);
        let enabled = self.enabled.as_ref();
        let enabled = enabled.filter(|entry| entry.over == configured.enabled);
        Self {
            enabled: enabled.cloned(),
            groups: groups
                .map(|(group, entry)| (group.clone(), entry.clone()))
                .collect(),
            default: default.cloned(),
        }
    }

    /// Those of groups that there are.
    #[must_use]
    pub fn of_known_groups(mut self, is_known: impl Fn(&GroupName) -> bool) -> Self {
        self.groups.retain(|group, _| is_known(group));
        self
    }

    /// Those of shares that there are, which is for the flag's variants to say.
    #[must_use]
    pub fn of_fitting_shares(mut self, fits: impl Fn(&Share) -> bool) -> Self {
        self.groups
            .retain(|_, entry| entry.set.as_ref().is_none_or(&fits));
        self.default = self.default.filter(|entry| fits(&entry.set));
        self
    }

    /// The keys of what is overridden, as the configuration would write them.
    pub fn keys(&self) -> Vec<String> {
        let groups = self.groups.keys().map(|group| format!("groups.{group}"));
        let enabled = self.enabled.as_ref().map(|_| "enabled".to_owned());
        let default = self.default.as_ref().map(|_| "default".to_owned());
        enabled.into_iter().chain(groups).chain(default).collect()
    }

    /// What holds, where this is configured.
    pub fn apply(&self, configured: &FlagSettings) -> FlagSettings {
        let groups = self.groups.iter();
        let change = FlagChange {
            enabled: self.enabled.as_ref().map(|entry| entry.set),
            groups: groups
                .map(|(group, entry)| (group.clone(), entry.set.clone()))
                .collect(),
            default: self.default.as_ref().map(|entry| entry.set.clone()),
        };
        change.of(configured)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::testing::{name, percent};

    fn settings(enabled: bool, groups: &[(&str, u16)], default: u16) -> FlagSettings {
        let weight = |(group, weight): &(&str, u16)| (name(group), percent(*weight).into());
        FlagSettings {
            enabled,
            groups: groups.iter().map(weight).collect(),
            default: percent(default).into(),
        }
    }

    #[test]
    fn what_is_set_holds_until_the_configuration_says_something_else() {
        let configured = settings(true, &[("beta", 20)], 5);
        let wanted = settings(false, &[("beta", 50), ("vip", 100)], 5);
        let overrides = FlagOverrides::between(&configured, &wanted);
        assert_eq!(overrides.apply(&configured), wanted);
        assert_eq!(overrides.still_over(&configured, false), overrides);

        // Of what is other in the file, the file holds; of the rest, what was set.
        let changed = settings(true, &[("beta", 30)], 10);
        let left = overrides.still_over(&changed, false);
        let holds = settings(false, &[("beta", 30), ("vip", 100)], 10);
        assert_eq!(left.apply(&changed), holds);
    }

    #[test]
    fn a_rollout_sets_the_weights_and_leaves_the_switch() {
        let configured = settings(true, &[], 0);
        let overrides = FlagOverrides::between(&configured, &settings(false, &[("vip", 9)], 50));
        let left = overrides.still_over(&configured, true);
        assert_eq!(left.apply(&configured), settings(false, &[], 0));
    }

    #[test]
    fn what_takes_canary_from_callers_is_told_from_what_gives_it() {
        let base = settings(true, &[("beta", 20)], 5);
        for (other, is_at_most) in [
            (settings(true, &[("beta", 20)], 5), true),
            (settings(false, &[("beta", 100)], 100), true),
            (settings(true, &[("beta", 10)], 5), true),
            // Who is in no group any more has the weight of everyone else.
            (settings(true, &[], 5), true),
            (settings(true, &[], 6), false),
            (settings(true, &[("beta", 21)], 5), false),
            (settings(true, &[("beta", 20), ("vip", 6)], 5), false),
        ] {
            assert_eq!(other.is_at_most(&base), is_at_most, "{other:?}");
        }
    }

    #[test]
    fn a_difference_is_told_in_words() {
        let before = settings(true, &[("beta", 20)], 5);
        let after = settings(false, &[("vip", 100)], 10);
        let told = after.since(&before).to_string();
        let expected = "switch on -> off, default 5% -> 10%, group beta 20% -> none, \
                        group vip none -> 100%";
        assert_eq!(told, expected);
        assert_eq!(before.since(&before).to_string(), "");
    }

    fn any_settings() -> impl Strategy<Value = FlagSettings> {
        let groups = prop::collection::btree_map("[abc]", 0_u16..=100, 0..3);
        (any::<bool>(), groups, 0_u16..=100).prop_map(|(enabled, groups, default)| FlagSettings {
            enabled,
            groups: groups
                .into_iter()
                .map(|(group, weight)| (name(&group), percent(weight).into()))
                .collect(),
            default: percent(default).into(),
        })
    }

    proptest! {
        #[test]
        fn overrides_are_what_it_takes_and_no_more(
            configured in any_settings(), wanted in any_settings()
        ) {
            let overrides = FlagOverrides::between(&configured, &wanted);
            prop_assert_eq!(overrides.apply(&configured), wanted.clone());
            prop_assert_eq!(overrides.is_empty(), configured == wanted);
            prop_assert_eq!(&overrides.still_over(&configured, false), &overrides);
            let text = serde_json::to_string(&overrides).unwrap();
            prop_assert_eq!(serde_json::from_str::<FlagOverrides>(&text).unwrap(), overrides);
        }
    }
}
