//! What is configured of flags, and what was set of them at run time beside that.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::definitions::Texts;
use crate::control::installation::NewConfiguration;
use crate::control::perform::line;
use crate::control::ports::Transition;
use crate::domain::decision::StratumIndex;
use crate::domain::flag::{Flag, FlagWeights};
use crate::domain::group::GroupTable;
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::rollout::JournalEntry;
use crate::domain::settings::{FlagOverrides, FlagSettings};
use crate::domain::share::Share;

/// What is configured of flags, and what was set of them beside.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(super) configured: BTreeMap<FlagName, FlagSettings>,
    pub(super) overrides: BTreeMap<FlagName, FlagOverrides>,
}

impl Settings {
    pub(crate) fn new(overrides: BTreeMap<FlagName, FlagOverrides>) -> Self {
        Self {
            overrides,
            ..Self::default()
        }
    }

    /// What holds of a flag, the weights of its rollout apart.
    pub(super) fn of(&self, flag: &FlagName) -> FlagSettings {
        let configured = self.configured.get(flag).cloned().unwrap_or_default();
        match self.overrides.get(flag) {
            Some(overrides) => overrides.apply(&configured),
            None => configured,
        }
    }

    /// Lays what was set over a configuration that is to be installed; gives what has to give way to
    /// it, to be written down. What was set of flags that are left `aside` waits for them.
    pub(crate) fn lay_over(
        &mut self,
        configuration: &mut NewConfiguration,
        aside: &Texts,
    ) -> Transition {
        let routing = &mut configuration.routing;
        self.configured.clear();
        let mut gone = Transition::default();
        let mut held = BTreeMap::new();
        for place in 0..routing.flags.len() {
            let flag = &routing.flags[place];
            let (name, configured) = (flag.name.clone(), settings(flag, &routing.groups));
            self.configured.insert(name.clone(), configured.clone());
            let Some(known) = self.overrides.remove(&name) else {
                continue;
            };
            let planned = &configuration.planned;
            let has_rollout = planned.iter().any(|planned| planned.flag.0 == place);
            let left = known.still_over(&configured, has_rollout);
            let left =
                left.of_known_groups(|group| routing.groups.index_of(group.as_str()).is_some());
            let left =
                left.of_fitting_shares(|share| flag.variants.normal(share).as_ref() == Ok(share));
            let holds = left.apply(&configured);
            if left != known {
                let what = holds.since(&known.apply(&configured)).to_string();
                gone.overrides.push((name.clone(), left.clone()));
                gone.lines.push(line(&name, given_way(what)));
            }
            routing.flags[place] = Arc::new(with(flag, &holds, &routing.groups));
            if !left.is_empty() {
                held.insert(name, left);
            }
        }
        for (name, known) in std::mem::replace(&mut self.overrides, held) {
            if aside.contains_key(&name) {
                self.overrides.insert(name, known);
                continue;
            }
            let entry = JournalEntry {
                why: "there is no such flag any more".to_owned(),
                ..given_way("what was set of it is forgotten with it".to_owned())
            };
            gone.lines.push(line(&name, entry));
            gone.overrides.push((name, FlagOverrides::default()));
        }
        gone
    }
}

fn given_way(what: String) -> JournalEntry {
    JournalEntry {
        who: "configuration".to_owned(),
        what,
        why: "the configuration has changed under what was set at run time".to_owned(),
        findings: Vec::new(),
    }
}

/// What is set of a flag.
fn settings(flag: &Flag, groups: &GroupTable) -> FlagSettings {
    let share = |stratum| flag.weights.share(stratum, &flag.variants);
    let named = flag.weights.groups.iter().enumerate();
    let named = named.map(|(place, entry)| {
        let name = groups.name(entry.group).clone();
        (name, share(StratumIndex(place)))
    });
    FlagSettings {
        enabled: flag.enabled,
        groups: named.collect(),
        default: share(flag.weights.default_stratum()),
    }
}

/// A flag of which this is set. Shares that are not of its variants are none: whoever sets them, asks first.
pub(super) fn with(flag: &Flag, settings: &FlagSettings, groups: &GroupTable) -> Flag {
    let place = |(group, share): (&GroupName, &Share)| {
        let group = groups.index_of(group.as_str())?;
        Some((group, share.clone()))
    };
    let named = settings.groups.iter().filter_map(place);
    let weights = FlagWeights::of_shares(&flag.variants, named, &settings.default);
    Flag {
        enabled: settings.enabled,
        weights: weights.unwrap_or_else(|_| flag.weights.clone()),
        ..flag.clone()
    }
}
