//! Hands out ratings to be judged, those of both arms together.
//!
//! The judge compares the arms within a tick, so that whatever moves both says nothing. Ratings are few: taken
//! one by one as they come, each would be alone in its tick and be compared with nothing. And of a tick it
//! takes no more than so much evidence, so a thousand that come at once would count for little more
//! than a few. So they wait here for some of the other arm, and go out over half a minute, in the
//! order in which they came. Which ones go together depends on when they came and never on what they say.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::domain::feedback::Shown;
use crate::domain::ids::GroupName;
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;

/// The ticks over which those that wait go out.
const SPREAD_TICKS: usize = 30;

/// How long ratings of one arm wait for any of the other.
const ALONE_MAX: Duration = Duration::from_secs(60);

/// Callers whose ratings wait, by group and arm.
#[derive(Clone, Debug, Default)]
pub struct RatingQueue {
    groups: BTreeMap<Option<GroupName>, PerVariant<VecDeque<(u64, Timestamp)>>>,
}

impl RatingQueue {
    /// Adds a caller's rating, by its voter.
    pub fn push(&mut self, voter: u64, shown: &Shown, now: Timestamp) {
        let arms = self.groups.entry(shown.group.clone()).or_default();
        arms.get_mut(shown.variant).push_back((voter, now));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        let arms = self.groups.values();
        arms.map(|arms| arms.stable.len() + arms.canary.len()).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.groups.clear();
    }

    /// Takes those that go out in this tick.
    pub fn take(&mut self, now: Timestamp) -> Vec<(u64, Shown)> {
        let mut taken = Vec::new();
        for (group, arms) in &mut self.groups {
            let counts = due(arms, now);
            for variant in crate::domain::variant::Variant::ALL {
                let waiting = arms.get_mut(variant);
                let shown = Shown {
                    variant,
                    group: group.clone(),
                };
                let first = waiting.drain(..*counts.get(variant));
                taken.extend(first.map(|(voter, _)| (voter, shown.clone())));
            }
        }
        self.groups
            .retain(|_, arms| !arms.stable.is_empty() || !arms.canary.is_empty());
        taken
    }
}

/// How many of each arm go out.
fn due(arms: &PerVariant<VecDeque<(u64, Timestamp)>>, now: Timestamp) -> PerVariant<usize> {
    let is_alone = arms.stable.is_empty() || arms.canary.is_empty();
    let first = arms.stable.front().into_iter().chain(arms.canary.front());
    let has_waited = first
        .map(|(_, since)| now - *since)
        .any(|waited| waited >= ALONE_MAX);
    if is_alone && !has_waited {
        return PerVariant::default();
    }
    PerVariant::from_fn(|variant| arms.get(variant).len().div_ceil(SPREAD_TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::name;
    use crate::domain::variant::Variant;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    fn shown(variant: Variant) -> Shown {
        Shown {
            variant,
            group: None,
        }
    }

    fn voters(taken: Vec<(u64, Shown)>) -> Vec<u64> {
        taken.into_iter().map(|(voter, _)| voter).collect()
    }

    #[test]
    fn one_arm_waits_for_the_other_but_not_for_ever() {
        let mut queue = RatingQueue::default();
        queue.push(1, &shown(Variant::Canary), at(0));
        assert!(queue.take(at(59)).is_empty());
        queue.push(2, &shown(Variant::Stable), at(59));
        let mut together = voters(queue.take(at(59)));
        together.sort_unstable();
        assert_eq!(together, [1, 2]);
        queue.push(3, &shown(Variant::Canary), at(60));
        assert!(queue.take(at(119)).is_empty());
        assert_eq!(voters(queue.take(at(120))), [3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn groups_do_not_wait_for_each_other() {
        let mut queue = RatingQueue::default();
        let of_group = |variant| Shown {
            variant,
            group: Some(name("beta")),
        };
        queue.push(1, &shown(Variant::Canary), at(0));
        queue.push(2, &of_group(Variant::Stable), at(0));
        assert!(queue.take(at(1)).is_empty(), "they are not compared");
        queue.push(3, &of_group(Variant::Canary), at(1));
        assert_eq!(voters(queue.take(at(1))), [2, 3]);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn many_go_out_in_their_order_and_in_proportion_within_a_minute_or_two() {
        let mut queue = RatingQueue::default();
        for voter in 0..600 {
            queue.push(voter, &shown(Variant::Stable), at(0));
        }
        for voter in 600..660 {
            queue.push(voter, &shown(Variant::Canary), at(0));
        }
        let first = voters(queue.take(at(0)));
        assert_eq!(first, (0..20).chain([600, 601]).collect::<Vec<_>>());
        let mut ticks = 1;
        while !queue.is_empty() {
            queue.take(at(60 + ticks));
            ticks += 1;
        }
        assert!((30..200).contains(&ticks), "{ticks}");
    }
}
