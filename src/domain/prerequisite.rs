//! What a flag needs of others before it gives a caller anything.
//!
//! The other flag decides about the same request, in its own way and at most once, however many need it. No
//! flag needs itself by way of others: the configuration refuses that, and chains that are too long.

use smallvec::SmallVec;

use crate::domain::caller::RequestFacts;
use crate::domain::decision::Decision;
use crate::domain::flag::{Flag, Stickiness};
use crate::domain::ids::FlagIndex;
use crate::domain::routing::RoutingSnapshot;

/// The most flags that one needs.
pub const REQUIRED_MAX: usize = 16;

/// The longest chain of flags that need each other, the first one included.
pub const CHAIN_MAX: usize = 16;

/// What a flag needs of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prerequisite {
    /// The other.
    pub flag: FlagIndex,
    /// What it has to give the caller.
    pub variant: NeededVariant,
}

/// A variant that a flag needs another to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeededVariant {
    /// Any but the one that is off: canary, of a flag between backends.
    NotOff,
    /// The one at this place.
    At(usize),
}

/// The decisions about one request, each taken once.
#[derive(Debug)]
pub struct Decisions<'a> {
    routing: &'a RoutingSnapshot,
    facts: RequestFacts<'a>,
    known: SmallVec<[(FlagIndex, Decision); 4]>,
}

impl<'a> Decisions<'a> {
    /// None is taken yet.
    pub(super) fn new(routing: &'a RoutingSnapshot, facts: RequestFacts<'a>) -> Self {
        Self {
            routing,
            facts,
            known: SmallVec::new(),
        }
    }

    /// The decision of a flag.
    pub fn of(&mut self, index: FlagIndex) -> Decision {
        let known = self.known.iter().find(|(known, _)| *known == index);
        if let Some((_, decision)) = known {
            return *decision;
        }
        let flag = self.routing.flag(index);
        let unmet = flag.requires.iter().find(|needed| !self.meets(needed));
        let unmet = unmet.map(|needed| needed.flag);
        let decision = flag.decide_given(unmet, &self.facts, &self.routing.groups);
        self.known.push((index, decision));
        decision
    }

    fn meets(&mut self, needed: &Prerequisite) -> bool {
        let decision = self.of(needed.flag);
        let flag = self.routing.flag(needed.flag);
        let chosen = flag.chosen(decision);
        match needed.variant {
            NeededVariant::NotOff => chosen != flag.variants.off(),
            NeededVariant::At(place) => chosen == place,
        }
    }

    /// Whether the caller would have to be known for the decision to be the same next time: chance has taken
    /// part in it, or in one that it depends on.
    pub fn misses_key(&mut self, index: FlagIndex) -> bool {
        let is_lost = |flag: &Flag, decision: Decision| {
            flag.stickiness == Stickiness::Caller && !decision.is_keyed && flag.is_drawn(decision)
        };
        self.chance(index, &is_lost, &mut Chances::new()).is_some()
    }

    /// The flag whose variant is drawn anew for each request and decides what a flag gives: the flag itself, or
    /// one that it needs. `is_known` says whether the caller will have the same key next time.
    pub fn drawn_by(&mut self, index: FlagIndex, is_known: bool) -> Option<FlagIndex> {
        let is_random = |flag: &Flag, decision: Decision| {
            let by_request = flag.stickiness == Stickiness::Request || !is_known;
            by_request && flag.is_drawn(decision)
        };
        self.chance(index, &is_random, &mut Chances::new())
    }

    /// The first flag on the way to a decision that is left to chance, as `is_chance` says of a flag and its
    /// decision. Each flag is looked at once.
    fn chance(
        &mut self,
        index: FlagIndex,
        is_chance: &dyn Fn(&Flag, Decision) -> bool,
        seen: &mut Chances,
    ) -> Option<FlagIndex> {
        if let Some((_, known)) = seen.iter().find(|(known, _)| *known == index) {
            return *known;
        }
        let flag = self.routing.flag(index);
        let mut found = None;
        let mut is_settled = !flag.enabled;
        for needed in &flag.requires {
            if is_settled {
                break;
            }
            let drawn = self.chance(needed.flag, is_chance, seen);
            // What is certainly not given settles it, whatever is drawn beside it.
            is_settled = drawn.is_none() && !self.meets(needed);
            found = found.or(drawn);
        }
        let found = if is_settled {
            None
        } else {
            found.or_else(|| is_chance(flag, self.of(index)).then_some(index))
        };
        seen.push((index, found));
        found
    }
}

/// What is left to chance by which flag, by the flag that depends on it.
type Chances = SmallVec<[(FlagIndex, Option<FlagIndex>); 8]>;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::decision::Reason;
    use crate::domain::flag::{Flag, FlagWeights};
    use crate::domain::testing::{FactsBuilder, flag, percent};
    use crate::domain::variant::Variant;
    use crate::domain::variants;

    /// `base` at half; `banner` with three variants at a third each; `needy`, at 100 %, needs what it is given.
    fn routing(requires: &[Prerequisite]) -> RoutingSnapshot {
        let at = |weight| FlagWeights {
            default: percent(weight),
            ..FlagWeights::default()
        };
        let variants = variants::tests::named(&["none", "red", "blue"]);
        let share = "red=33%,blue=33%".parse().unwrap();
        let banner = Flag {
            weights: FlagWeights::of_shares(&variants, [], &share).unwrap(),
            variants,
            ..flag("banner")
        };
        let base = Flag {
            weights: at(50),
            ..flag("base")
        };
        let needy = Flag {
            requires: requires.into(),
            weights: at(100),
            ..flag("needy")
        };
        RoutingSnapshot {
            flags: [base, banner, needy].map(Arc::new).into(),
            ..RoutingSnapshot::default()
        }
    }

    const BASE: FlagIndex = FlagIndex(0);
    const BANNER: FlagIndex = FlagIndex(1);
    const NEEDY: FlagIndex = FlagIndex(2);

    fn needs(flag: FlagIndex, variant: NeededVariant) -> Prerequisite {
        Prerequisite { flag, variant }
    }

    #[test]
    fn a_flag_gives_nothing_where_another_gives_something_else() {
        let blue = NeededVariant::At(2);
        let of_both = routing(&[needs(BASE, NeededVariant::NotOff), needs(BANNER, blue)]);
        let mut seen = [0; 3];
        for number in 0..400 {
            let request = FactsBuilder::caller(&format!("c{number}"));
            let facts = request.facts();
            let base = of_both.decide(BASE, &facts);
            let banner = of_both.flag(BANNER).chosen(of_both.decide(BANNER, &facts));
            let needy = of_both.decide(NEEDY, &facts);
            let unmet = match (base.variant, banner) {
                (Variant::Stable, _) => Some(BASE),
                (Variant::Canary, 2) => None,
                (Variant::Canary, _) => Some(BANNER),
            };
            match unmet {
                Some(flag) => {
                    assert_eq!(needy.reason, Reason::Prerequisite { flag });
                    assert_eq!(needy.variant, Variant::Stable);
                    assert!(needy.is_apart());
                }
                None => assert_eq!(needy.variant, Variant::Canary),
            }
            seen[unmet.map_or(2, |flag| flag.0)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 30), "{seen:?}");
    }

    #[test]
    fn a_variant_that_is_off_can_be_needed_too() {
        let without = routing(&[needs(BASE, NeededVariant::At(0))]);
        let request = FactsBuilder::caller("ann");
        let facts = request.facts();
        let variants = [BASE, NEEDY].map(|flag| without.decide(flag, &facts).variant);
        assert_ne!(variants[0], variants[1]);
    }

    #[test]
    fn the_kill_switch_outranks_what_is_needed() {
        let mut routing = routing(&[needs(BASE, NeededVariant::NotOff)]);
        Arc::make_mut(&mut routing.flags[NEEDY.0]).enabled = false;
        Arc::make_mut(&mut routing.flags[BASE.0]).enabled = false;
        let request = FactsBuilder::caller("ann");
        assert_eq!(
            routing.decide(NEEDY, &request.facts()).reason,
            Reason::Disabled
        );
    }

    #[test]
    fn each_decision_is_taken_once() {
        let routing = routing(&[
            needs(BANNER, NeededVariant::NotOff),
            needs(BASE, NeededVariant::At(0)),
            needs(BASE, NeededVariant::At(1)),
        ]);
        // The second and third contradict each other, so all of them are looked at wherever the first holds.
        for number in 0..50 {
            let request = FactsBuilder::caller(&format!("c{number}"));
            let mut decisions = routing.decisions(request.facts());
            decisions.of(NEEDY);
            decisions.of(BASE);
            decisions.of(NEEDY);
            let mut taken: Vec<_> = decisions.known.iter().map(|(flag, _)| flag.0).collect();
            taken.sort_unstable();
            taken.dedup();
            assert_eq!(taken.len(), decisions.known.len());
        }
    }

    #[test]
    fn what_depends_on_chance_by_way_of_another_misses_a_key() {
        let routing = routing(&[needs(BASE, NeededVariant::NotOff)]);
        let misses =
            |request: &FactsBuilder, flag| routing.decisions(request.facts()).misses_key(flag);
        assert!(misses(&FactsBuilder::anonymous(), NEEDY));
        assert!(!misses(&FactsBuilder::caller("ann"), NEEDY));
        assert_eq!(
            routing
                .decisions(FactsBuilder::anonymous().facts())
                .drawn_by(NEEDY, false),
            Some(BASE)
        );
        let mut certain = routing.clone();
        Arc::make_mut(&mut certain.flags[BASE.0]).weights.default = percent(100);
        let anonymous = FactsBuilder::anonymous();
        assert!(!certain.decisions(anonymous.facts()).misses_key(NEEDY));
        let drawn_by = |routing: &RoutingSnapshot| {
            let facts = anonymous.facts();
            routing.decisions(facts).drawn_by(NEEDY, false)
        };
        assert_eq!(drawn_by(&certain), None);
        // What is never given settles it.
        Arc::make_mut(&mut certain.flags[NEEDY.0]).weights.default = percent(40);
        assert_eq!(drawn_by(&certain), Some(NEEDY));
        Arc::make_mut(&mut certain.flags[BASE.0]).enabled = false;
        assert_eq!(drawn_by(&certain), None);
    }

    #[test]
    fn what_is_needed_takes_no_callers_out_of_proportion_where_nobody_is_known() {
        let mut routing = routing(&[needs(BASE, NeededVariant::NotOff)]);
        Arc::make_mut(&mut routing.flags[NEEDY.0]).weights.default = percent(20);
        let request = FactsBuilder::anonymous();
        let (mut qualified, mut given) = (0_u32, 0_u32);
        for number in 0..20_000_u32 {
            let facts = RequestFacts {
                // Spread as evenly as a good generator spreads them.
                draw: number.wrapping_mul(0x9e37_79b9),
                ..request.facts()
            };
            let mut decisions = routing.decisions(facts);
            qualified += u32::from(decisions.of(BASE).variant == Variant::Canary);
            given += u32::from(decisions.of(NEEDY).variant == Variant::Canary);
        }
        assert!((9_600..10_400).contains(&qualified), "{qualified}");
        let share = f64::from(given) / f64::from(qualified);
        assert!((0.185..0.215).contains(&share), "{given} of {qualified}");
    }

    #[test]
    fn flags_that_share_what_they_need_are_looked_at_once_each() {
        // Each of sixteen layers needs both flags of the next: 2^16 ways down.
        let layer = |of: usize| {
            let next = |place| needs(FlagIndex(2 * of + 2 + place), NeededVariant::NotOff);
            let requires: Box<[_]> = if of < 15 {
                [next(0), next(1)].into()
            } else {
                [].into()
            };
            ["a", "b"].map(|name| {
                let weights = FlagWeights {
                    default: percent(99),
                    ..FlagWeights::default()
                };
                let flag = flag(&format!("{name}{of}"));
                Arc::new(Flag {
                    requires: requires.clone(),
                    weights,
                    ..flag
                })
            })
        };
        let routing = RoutingSnapshot {
            flags: (0..16).flat_map(layer).collect(),
            ..RoutingSnapshot::default()
        };
        let request = FactsBuilder::anonymous();
        let mut decisions = routing.decisions(request.facts());
        let mut seen = Chances::new();
        let looks = std::cell::Cell::new(0);
        let is_chance = |_: &Flag, _: Decision| {
            looks.set(looks.get() + 1);
            false
        };
        assert_eq!(decisions.chance(FlagIndex(0), &is_chance, &mut seen), None);
        assert_eq!((seen.len() <= 31, looks.get() <= 31), (true, true));
    }
}
