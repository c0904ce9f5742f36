//! Decides which variant serves a caller.
//!
//! In this order: the kill switch, what other flags have to give the caller, a variant that the request asks for and may, the weight of the
//! first group the caller is in, the weight for everyone else. A rollback outranks all but the
//! kill switch, whatever the weights say, so that no stickiness outlives it.

use http::HeaderName;

use crate::domain::bucket::{Bucket, murmur3_x86_32_seeded};
use crate::domain::caller::RequestFacts;
use crate::domain::decision::{Decision, Reason, StratumIndex};
use crate::domain::group::GroupTable;
use crate::domain::hashing::HashScheme;
use crate::domain::ids::{BackendIndex, FlagIndex, FlagName, GroupIndex};
use crate::domain::prerequisite::Prerequisite;
use crate::domain::share::Share;
use crate::domain::variant::{PerVariant, Variant};
use crate::domain::variants::{Ends, InvalidShare, Variants};
use crate::domain::weight::Weight;

/// What a caller's variant sticks to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stickiness {
    /// The caller: the same caller gets the same variant at the same weight.
    #[default]
    Caller,
    /// Nothing: each request is drawn anew.
    Request,
}

/// Lets some callers choose their variant with a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Force {
    /// The header that says `stable` or `canary`; never sent on.
    pub header: HeaderName,
    /// Who may; members of at least one.
    pub groups: Vec<GroupIndex>,
    /// Whether the canary may still be chosen after a rollback.
    pub after_rollback: bool,
}

/// The weight of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupWeight {
    /// The group.
    pub group: GroupIndex,
    /// The share of its callers that get the canary.
    pub weight: Weight,
}

/// Who gets the canary, and how many of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagWeights {
    /// The groups that the flag names, in the order of the group table.
    pub groups: Vec<GroupWeight>,
    /// The weight for callers in none of them.
    pub default: Weight,
    /// Where the callers of each variant but off end, for each group and then for everyone else; empty where
    /// there is one such variant, whose callers the weight is of.
    pub ends: Vec<Box<[Weight]>>,
}

/// One of a flag's strata: callers who share a weight, or who were not drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stratum {
    /// Callers in a group that the flag names.
    Group(GroupWeight),
    /// Callers in none of them.
    Default(Weight),
    /// Callers who chose their variant, or could get but one for what another flag gives them. They were not drawn into their arm, so what happens to
    /// them says nothing about the arms and is kept apart.
    Forced,
}

impl FlagWeights {
    /// The weights of shares of a flag's variants, whatever order the groups come in.
    ///
    /// # Errors
    /// When a share is not one of these variants.
    pub fn of_shares(
        variants: &Variants,
        groups: impl IntoIterator<Item = (GroupIndex, Share)>,
        default: &Share,
    ) -> Result<Self, InvalidShare> {
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(group, _)| *group);
        let mut weights = Self::default();
        for (group, share) in groups {
            let weight = weights.push(variants.ends(&share)?);
            weights.groups.push(GroupWeight { group, weight });
        }
        weights.default = weights.push(variants.ends(default)?);
        Ok(weights)
    }

    fn push(&mut self, Ends { total, each }: Ends) -> Weight {
        if !each.is_empty() {
            self.ends.push(each);
        }
        total
    }

    /// The share of a group that the flag names, or of everyone else.
    pub fn share(&self, stratum: StratumIndex, variants: &Variants) -> Share {
        let group = self.groups.get(stratum.0);
        variants.share(&Ends {
            total: group.map_or(self.default, |entry| entry.weight),
            each: self.ends.get(stratum.0).cloned().unwrap_or_default(),
        })
    }

    /// All strata, in the order of [`StratumIndex`].
    pub fn strata(&self) -> impl Iterator<Item = Stratum> {
        let groups = self.groups.iter().copied().map(Stratum::Group);
        groups.chain([Stratum::Default(self.default), Stratum::Forced])
    }

    /// Callers in none of the groups.
    pub fn default_stratum(&self) -> StratumIndex {
        StratumIndex(self.groups.len())
    }

    fn apart_stratum(&self) -> StratumIndex {
        StratumIndex(self.groups.len() + 1)
    }
}

/// A named switch: between a stable and a canary backend, or between values that applications ask for.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Its name.
    pub name: FlagName,
    /// What goes before a caller's key when it is hashed.
    pub salt: Box<str>,
    /// How it is hashed.
    pub hash: HashScheme,
    /// The kill switch: off means stable for everyone.
    pub enabled: bool,
    /// What a variant sticks to.
    pub stickiness: Stickiness,
    /// What other flags have to give a caller; all of them.
    pub requires: Box<[Prerequisite]>,
    /// Who may choose.
    pub force: Option<Force>,
    /// Whether stable answers a safe request that canary has failed.
    pub shield: bool,
    /// Where each variant is served; none where applications only ask for its value. Then canary stands
    /// for every variant that is not off.
    pub backends: Option<PerVariant<BackendIndex>>,
    /// The variants and their values.
    pub variants: Variants,
    /// Who gets the canary now.
    pub weights: FlagWeights,
    /// Counts the changes of the weights, so that evidence is never mixed across one.
    pub epoch: u64,
    /// Whether a rollback holds everyone on stable.
    pub rolled_back: bool,
    /// The groups that a rollback holds on stable alone.
    pub rolled_back_groups: Vec<GroupIndex>,
}

impl Flag {
    /// Decides which variant serves a request, where nothing is needed of other flags or all of it is so.
    pub fn decide(&self, facts: &RequestFacts<'_>, groups: &GroupTable) -> Decision {
        self.decide_given(None, facts, groups)
    }

    /// The same where another flag may not give the caller what is needed.
    pub(super) fn decide_given(
        &self,
        unmet: Option<FlagIndex>,
        facts: &RequestFacts<'_>,
        groups: &GroupTable,
    ) -> Decision {
        let (hash, is_keyed) = self.number(facts);
        let stable = |reason, stratum| Decision {
            variant: Variant::Stable,
            reason,
            stratum,
            hash,
            is_keyed,
        };
        if !self.enabled {
            return stable(Reason::Disabled, self.weights.default_stratum());
        }
        if facts.is_barred {
            return stable(Reason::Barred, self.weights.apart_stratum());
        }
        if let Some(flag) = unmet {
            let reason = Reason::Prerequisite { flag };
            return stable(reason, self.weights.apart_stratum());
        }
        if let Some((variant, group)) = self.forced(facts, groups) {
            let stratum = self.weights.apart_stratum();
            return Decision {
                variant,
                reason: Reason::Forced { group },
                stratum,
                hash,
                is_keyed,
            };
        }
        let (stratum, weight, reason) = self.weighed(facts, groups);
        if self.rolled_back {
            return stable(Reason::RolledBack, stratum);
        }
        if Bucket::of_hash(hash).is_within(weight) {
            Decision {
                variant: Variant::Canary,
                reason,
                stratum,
                hash,
                is_keyed,
            }
        } else {
            stable(reason, stratum)
        }
    }

    /// The place of the variant that a decision of this flag is for.
    pub fn chosen(&self, decision: Decision) -> usize {
        if decision.variant == Variant::Stable {
            return self.variants.off();
        }
        let ends = self.weights.ends.get(decision.stratum.0);
        let ends = ends.map_or(&[][..], |ends| ends);
        let bucket = decision.bucket();
        let place = ends.iter().position(|end| bucket.is_within(*end));
        let mut others = self.variants.others();
        others
            .nth(place.unwrap_or_default())
            .unwrap_or_else(|| self.variants.off())
    }

    /// Whether a decision was drawn: another caller in its place might have got another variant.
    pub fn is_drawn(&self, decision: Decision) -> bool {
        let weight = match decision.reason {
            Reason::Group { weight, .. } | Reason::Default { weight } => weight,
            Reason::Disabled
            | Reason::Barred
            | Reason::RolledBack
            | Reason::Prerequisite { .. }
            | Reason::Forced { .. } => return false,
        };
        let ends = self.weights.ends.get(decision.stratum.0);
        let is_parted = ends.is_some_and(|ends| {
            let inner = ends.iter().filter(|end| **end != Weight::ZERO);
            inner.min() != Some(&weight)
        });
        weight != Weight::ZERO && (weight != Weight::FULL || is_parted)
    }

    /// The hash by which the flag knows a caller; none where it knows nobody.
    pub fn hash_of(&self, key: &str) -> Option<u32> {
        match self.stickiness {
            Stickiness::Caller => Some(self.hash.hash(&self.salt, key)),
            Stickiness::Request => None,
        }
    }

    /// What decides, and whether it is the hash of a key.
    fn number(&self, facts: &RequestFacts<'_>) -> (u32, bool) {
        match (self.stickiness, facts.bucketing_key()) {
            (Stickiness::Caller, Some(key)) => (self.hash.hash(&self.salt, key), true),
            // One draw serves all flags of a request. Mixed with each one's salt it is as good as a draw for each:
            // who is drawn by one flag is no more likely to be drawn by another that needs it.
            (Stickiness::Request, _) | (Stickiness::Caller, None) => {
                let mixed = murmur3_x86_32_seeded(facts.draw, self.salt.as_bytes(), &[]);
                (mixed, false)
            }
        }
    }

    /// The weight of the first of the flag's groups that the caller is in, or of everyone else.
    fn weighed(
        &self,
        facts: &RequestFacts<'_>,
        groups: &GroupTable,
    ) -> (StratumIndex, Weight, Reason) {
        let named = &self.weights.groups;
        match named
            .iter()
            .position(|entry| groups.contains(entry.group, facts))
        {
            Some(place) => {
                let GroupWeight { group, weight } = named[place];
                (StratumIndex(place), weight, Reason::Group { group, weight })
            }
            None => {
                let weight = self.weights.default;
                (
                    self.weights.default_stratum(),
                    weight,
                    Reason::Default { weight },
                )
            }
        }
    }

    /// Whether the group that weighs a caller is held on stable alone.
    fn is_group_rolled_back(&self, facts: &RequestFacts<'_>, groups: &GroupTable) -> bool {
        if self.rolled_back_groups.is_empty() {
            return false;
        }
        match self.weighed(facts, groups).2 {
            Reason::Group { group, .. } => self.rolled_back_groups.contains(&group),
            _ => false,
        }
    }

    fn forced(
        &self,
        facts: &RequestFacts<'_>,
        groups: &GroupTable,
    ) -> Option<(Variant, GroupIndex)> {
        let force = self.force.as_ref()?;
        let wanted = facts.headers.get(&force.header)?.to_str().ok()?;
        let variant = Variant::from_word(wanted)?;
        let is_back = || self.rolled_back || self.is_group_rolled_back(facts, groups);
        if !force.after_rollback && is_back() {
            return None;
        }
        let group = force
            .groups
            .iter()
            .find(|group| groups.contains(**group, facts))?;
        Some((variant, *group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::group::{Group, Membership};
    use crate::domain::matcher::Matcher;
    use crate::domain::matcher::callers::CallersMatcher;
    use crate::domain::testing::{self, FactsBuilder, name, percent};
    use crate::domain::variants;

    /// Groups `first` (ann) and `second` (ann, bob), in this order.
    fn groups() -> GroupTable {
        let group = |title: &str, keys: &[&str]| Group {
            name: name(title),
            membership: Membership::Matcher(Matcher::Callers(
                CallersMatcher::new(keys.iter().copied()).unwrap(),
            )),
        };
        GroupTable::new(vec![
            group("first", &["ann"]),
            group("second", &["ann", "bob"]),
        ])
        .unwrap()
    }

    fn flag(weights: FlagWeights) -> Flag {
        Flag {
            force: Some(Force {
                header: HeaderName::from_static("x-serin-variant"),
                groups: vec![GroupIndex(0)],
                after_rollback: false,
            }),
            weights,
            epoch: 1,
            ..testing::flag("orders")
        }
    }

    fn all_groups(first: Weight, second: Weight, default: Weight) -> FlagWeights {
        let group = |place, weight| GroupWeight {
            group: GroupIndex(place),
            weight,
        };
        FlagWeights {
            groups: vec![group(0, first), group(1, second)],
            default,
            ends: Vec::new(),
        }
    }

    #[test]
    fn the_first_group_that_the_flag_names_decides() {
        let both = flag(all_groups(percent(100), percent(0), percent(0)));
        let decide =
            |flag: &Flag, key: &str| flag.decide(&FactsBuilder::caller(key).facts(), &groups());
        assert_eq!(decide(&both, "ann").variant, Variant::Canary);
        assert_eq!(decide(&both, "bob").variant, Variant::Stable);
        assert_eq!(
            decide(&both, "cid").reason,
            Reason::Default { weight: percent(0) }
        );

        // A flag that does not name `first` passes it over.
        let mut second_only = both;
        second_only.weights.groups.remove(0);
        let reason = decide(&second_only, "ann").reason;
        assert_eq!(
            reason,
            Reason::Group {
                group: GroupIndex(1),
                weight: percent(0)
            }
        );
    }

    #[test]
    fn the_kill_switch_outranks_everything() {
        let mut off = flag(all_groups(percent(100), percent(100), percent(100)));
        off.enabled = false;
        let request = FactsBuilder::caller("ann").header("x-serin-variant", "canary");
        let decision = off.decide(&request.facts(), &groups());
        assert_eq!(
            (decision.variant, decision.reason),
            (Variant::Stable, Reason::Disabled)
        );
    }

    #[test]
    fn only_an_allowed_caller_forces_a_variant_and_not_after_a_rollback() {
        let mut flag = flag(all_groups(percent(0), percent(0), percent(0)));
        let variant = |flag: &Flag, key: &str, wanted: &str| {
            let request = FactsBuilder::caller(key).header("x-serin-variant", wanted);
            flag.decide(&request.facts(), &groups()).variant
        };
        assert_eq!(variant(&flag, "ann", "canary"), Variant::Canary);
        assert_eq!(variant(&flag, "ann", "nonsense"), Variant::Stable);
        assert_eq!(variant(&flag, "bob", "canary"), Variant::Stable);

        flag.rolled_back = true;
        assert_eq!(variant(&flag, "ann", "canary"), Variant::Stable);
        flag.force.as_mut().unwrap().after_rollback = true;
        assert_eq!(variant(&flag, "ann", "canary"), Variant::Canary);
    }

    #[test]
    fn nobody_of_a_group_that_was_taken_back_alone_may_choose_canary() {
        let mut flag = flag(all_groups(percent(0), percent(100), percent(100)));
        flag.force.as_mut().unwrap().groups = vec![GroupIndex(0), GroupIndex(1)];
        flag.rolled_back_groups = vec![GroupIndex(0)];
        let decide = |flag: &Flag, key: &str| {
            let request = FactsBuilder::caller(key).header("x-serin-variant", "canary");
            flag.decide(&request.facts(), &groups())
        };
        // Who is in both groups is weighed by the first.
        assert_eq!(decide(&flag, "ann").variant, Variant::Stable);
        let other = decide(&flag, "bob");
        assert!(matches!(other.reason, Reason::Forced { .. }), "{other:?}");
        flag.force.as_mut().unwrap().after_rollback = true;
        assert_eq!(decide(&flag, "ann").variant, Variant::Canary);
    }

    #[test]
    fn a_rollback_outranks_every_weight() {
        let mut flag = flag(all_groups(percent(100), percent(100), percent(100)));
        flag.rolled_back = true;
        for key in ["ann", "bob", "cid"] {
            let decision = flag.decide(&FactsBuilder::caller(key).facts(), &groups());
            assert_eq!(
                (decision.variant, decision.reason),
                (Variant::Stable, Reason::RolledBack)
            );
        }
    }

    #[test]
    fn without_a_key_or_stickiness_the_draw_decides() {
        let mut flag = flag(all_groups(percent(0), percent(0), percent(50)));
        let variant = |flag: &Flag, request: &FactsBuilder, draw: u32| {
            flag.decide(
                &RequestFacts {
                    draw,
                    ..request.facts()
                },
                &groups(),
            )
            .variant
        };
        let (anonymous, known) = (FactsBuilder::anonymous(), FactsBuilder::caller("cid"));
        let canaries = |flag: &Flag, request: &FactsBuilder| {
            let draws = (0..1000_u32).map(|number| number << 22);
            let is_canary = |draw: &u32| variant(flag, request, *draw) == Variant::Canary;
            draws.filter(is_canary).count()
        };
        assert!((450..550).contains(&canaries(&flag, &anonymous)));
        assert!([0, 1000].contains(&canaries(&flag, &known)));
        let is_keyed =
            |flag: &Flag, request: &FactsBuilder| flag.decide(&request.facts(), &groups()).is_keyed;
        assert!(is_keyed(&flag, &known) && !is_keyed(&flag, &anonymous));
        flag.stickiness = Stickiness::Request;
        assert!((450..550).contains(&canaries(&flag, &known)));
        assert!(!is_keyed(&flag, &known));
    }

    #[test]
    fn several_variants_follow_each_other_in_the_order_they_are_written() {
        let variants = variants::tests::named(&["off", "on", "blue"]);
        let share = |text: &str| text.parse::<Share>().unwrap();
        let with = |text: &str| Flag {
            variants: variants.clone(),
            weights: FlagWeights::of_shares(&variants, [], &share(text)).unwrap(),
            ..testing::flag("banner")
        };
        let chosen = |flag: &Flag, key: &str| {
            let decision = flag.decide(&FactsBuilder::caller(key).facts(), &groups());
            flag.chosen(decision)
        };
        let few = with("on=20%,blue=30%");
        let first_grown = with("on=30%,blue=30%");
        let last_grown = with("on=20%,blue=40%");
        let keys: Vec<_> = (0..2_000)
            .map(|number| format!("caller-{number}"))
            .collect();
        let mut counts = [0_u16; 3];
        for key in &keys {
            let before = chosen(&few, key);
            counts[before] += 1;
            let (first, last) = (chosen(&first_grown, key), chosen(&last_grown, key));
            // Nobody loses the one that grows; the last takes from off alone, an earlier one moves the next on.
            assert!(before != 1 || first == 1 && last == 1);
            assert!(before != 2 || first == 1 || first == 2);
            assert!(before == last || before == 0 && last == 2);
        }
        for (count, expected) in counts.into_iter().zip([1_000_u16, 400, 600]) {
            assert!(count.abs_diff(expected) < 100, "{counts:?}");
        }
        assert_eq!(
            few.weights.share(StratumIndex(0), &variants),
            share("on=20%,blue=30%")
        );
        let mut off = few;
        off.enabled = false;
        assert!(keys.iter().all(|key| chosen(&off, key) == 0));
    }

    #[test]
    fn what_everybody_gets_is_not_drawn() {
        let is_drawn = |variants: &Variants, text: &str| {
            let weights = FlagWeights::of_shares(variants, [], &text.parse().unwrap()).unwrap();
            let flag = Flag {
                variants: variants.clone(),
                weights,
                ..testing::flag("banner")
            };
            let decision = flag.decide(&FactsBuilder::caller("ann").facts(), &groups());
            flag.is_drawn(decision)
        };
        let two = variants::tests::named(&["off", "on"]);
        let three = variants::tests::named(&["off", "on", "blue"]);
        for (variants, text, expected) in [
            (&two, "0%", false),
            (&two, "1%", true),
            (&two, "100%", false),
            (&three, "0%", false),
            (&three, "on=40%,blue=60%", true),
            (&three, "blue=100%", false),
            (&three, "on=100%", false),
            (&three, "blue=99%", true),
        ] {
            assert_eq!(is_drawn(variants, text), expected, "{text}");
        }
    }
}
