//! The counts of one tick: a second of evidence, or the sum of several.
//!
//! Counts are kept apart by *stratum*: one group of callers under one epoch of weights. The
//! judge compares canary with stable only inside a stratum, so a canary made mostly of one odd
//! group is compared with that group, and a change of weight mixes nothing.

use serde::{Deserialize, Serialize};

use crate::domain::evidence::cells::CellCounts;
use crate::domain::evidence::{
    CallerSketch, ContentTypeCounts, Failure, LatencyHistogram, Outcome, OutcomeClass, SizeCounts,
};
use crate::domain::ids::GroupName;
use crate::domain::variant::{PerVariant, Variant};
use crate::domain::weight::Weight;

/// How many requests failed, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCounts([u64; Failure::ALL.len()]);

impl FailureCounts {
    /// Takes counts in the order of [`Failure::ALL`].
    pub const fn from_counts(counts: [u64; Failure::ALL.len()]) -> Self {
        Self(counts)
    }

    /// Counts one failure.
    pub const fn record(&mut self, failure: Failure) {
        self.0[failure as usize] += 1;
    }

    /// The count of one kind.
    pub const fn of(&self, failure: Failure) -> u64 {
        self.0[failure as usize]
    }

    /// The count of all kinds together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn since(&self, earlier: &Self) -> Self {
        let mut added = *self;
        for (count, then) in added.0.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(then);
        }
        added
    }

    fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

/// What was seen of one arm. Only evidence is counted: no aborts, no faults of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmCounts {
    /// First attempts that ended and are evidence.
    pub requests: u64,
    /// Those of them that failed by the backend's fault.
    pub failures: FailureCounts,
    /// Those of them answered with a 4xx other than 429.
    pub client_errors: u64,
    /// Those of them answered with 429.
    pub too_many_requests: u64,
    /// Connects that an endpoint refused: a sign that nothing listens there.
    pub refused_connects: u64,
    /// Time to the response head of good answers: a fast 404 or a fast 500 is no good latency.
    pub latency: LatencyHistogram,
    /// Callers with a request counted here.
    pub callers: CallerSketch,
    /// Callers with a failure counted here.
    pub failed_callers: CallerSketch,
    /// How large good answers were.
    #[serde(default)]
    pub sizes: SizeCounts,
    /// Of which content type good answers were.
    #[serde(default)]
    pub content_types: ContentTypeCounts,
    /// How many rated 1, 2, 3, 4 and 5.
    #[serde(default)]
    pub ratings: [u64; 5],
    /// How many more and fewer of each there are because callers have changed their rating.
    #[serde(skip)]
    pub ratings_changed: [i64; 5],
    /// What was seen of callers for the first time; of use only while the starts it belongs to
    /// are alive, so it is not stored.
    #[serde(skip)]
    pub cells: CellCounts,
}

impl ArmCounts {
    /// Counts one outcome of the caller with this hash (see [`CallerSketch::insert`]).
    ///
    /// What is no evidence is not counted.
    pub fn record(&mut self, outcome: &Outcome, caller_hash: u64) {
        match outcome.class {
            OutcomeClass::ClientAborted | OutcomeClass::ProxyFault => return,
            OutcomeClass::Success => {
                if let Some(latency) = outcome.head_latency {
                    self.latency.record(latency);
                }
                if let Some(bytes) = outcome.bytes {
                    self.sizes.record(bytes);
                }
                if let Some(content_type) = outcome.content_type {
                    self.content_types.record(content_type);
                }
            }
            OutcomeClass::ClientError => self.client_errors += 1,
            OutcomeClass::TooManyRequests => self.too_many_requests += 1,
            OutcomeClass::BackendFailure(failure) => {
                self.failures.record(failure);
                self.failed_callers.insert(caller_hash);
            }
        }
        self.requests += 1;
        self.callers.insert(caller_hash);
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures.merge(&other.failures);
        self.client_errors += other.client_errors;
        self.too_many_requests += other.too_many_requests;
        self.refused_connects += other.refused_connects;
        self.latency.merge(&other.latency);
        self.callers.union(&other.callers);
        self.failed_callers.union(&other.failed_callers);
        self.sizes.merge(&other.sizes);
        self.content_types.merge(&other.content_types);
        for (own, more) in self.ratings.iter_mut().zip(other.ratings) {
            *own += more;
        }
        let changed = self.ratings_changed.iter_mut();
        for (own, more) in changed.zip(other.ratings_changed) {
            *own += more;
        }
        self.cells.merge(&other.cells);
    }

    /// What was added since an earlier state of the same, ever growing counts. Callers are kept
    /// as they are: a set has no difference.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failures: self.failures.since(&earlier.failures),
            client_errors: self.client_errors.saturating_sub(earlier.client_errors),
            too_many_requests: self
                .too_many_requests
                .saturating_sub(earlier.too_many_requests),
            refused_connects: self
                .refused_connects
                .saturating_sub(earlier.refused_connects),
            latency: self.latency.since(&earlier.latency),
            callers: self.callers.clone(),
            failed_callers: self.failed_callers.clone(),
            sizes: self.sizes.since(&earlier.sizes),
            content_types: self.content_types.since(&earlier.content_types),
            ratings: std::array::from_fn(|rating| {
                self.ratings[rating].saturating_sub(earlier.ratings[rating])
            }),
            ratings_changed: self.ratings_changed,
            cells: self.cells,
        }
    }

    /// The same without who the callers were, which is of use only while they come.
    #[must_use]
    pub fn without_callers(self) -> Self {
        Self {
            callers: CallerSketch::default(),
            failed_callers: CallerSketch::default(),
            cells: CellCounts::default(),
            ..self
        }
    }

    /// Whether nothing was counted.
    pub const fn is_empty(&self) -> bool {
        // A request that waits beyond the cut has a latency before it has ended.
        self.requests == 0 && self.refused_connects == 0 && self.latency.count() == 0
    }
}

/// The counts of both arms for one group under one epoch of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stratum {
    /// The callers' group; `None` for everyone in no group of the plan.
    pub group: Option<GroupName>,
    /// The epoch of weights under which the requests were decided.
    pub epoch: u64,
    /// The group's weight in that epoch.
    pub weight: Weight,
    /// Whether the callers are known again, so that each stays in its arm; else each request was
    /// drawn anew.
    #[serde(default = "known")]
    pub is_keyed: bool,
    /// The counts of each arm.
    pub arms: PerVariant<ArmCounts>,
}

impl Stratum {
    /// A stratum in which nothing was counted yet.
    pub fn empty(group: Option<GroupName>, epoch: u64, weight: Weight) -> Self {
        Self {
            group,
            epoch,
            weight,
            is_keyed: true,
            arms: PerVariant::default(),
        }
    }

    /// The same for callers who are not known again.
    pub fn drawn_anew(self) -> Self {
        Self {
            is_keyed: false,
            ..self
        }
    }

    /// Whether chance decided between the arms, so that one can be compared with the other.
    pub fn has_control(&self) -> bool {
        self.weight != Weight::ZERO && self.weight != Weight::FULL
    }

    /// The weight follows from the epoch; it is part of the key so that merging stays
    /// commutative even for counts that contradict each other.
    fn key(&self) -> (&Option<GroupName>, u64, Weight, bool) {
        (&self.group, self.epoch, self.weight, self.is_keyed)
    }

    fn merge(&mut self, other: &Self) {
        self.arms.stable.merge(&other.arms.stable);
        self.arms.canary.merge(&other.arms.canary);
    }
}

const fn known() -> bool {
    true
}

/// The counts of a tick, by stratum. Adding them is associative and commutative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Stratum>", into = "Vec<Stratum>")]
pub struct TickCounts {
    /// Sorted by key, one for each: equal counts are then equal values.
    strata: Vec<Stratum>,
}

impl TickCounts {
    /// The strata, sorted by group, epoch and weight, one for each.
    pub fn strata(&self) -> &[Stratum] {
        &self.strata
    }

    /// Adds the counts of one stratum.
    pub fn add(&mut self, stratum: Stratum) {
        match self
            .strata
            .binary_search_by(|own| own.key().cmp(&stratum.key()))
        {
            Ok(place) => self.strata[place].merge(&stratum),
            Err(place) => self.strata.insert(place, stratum),
        }
    }

    /// Adds all counts of another tick.
    pub fn merge(&mut self, other: &Self) {
        self.merge_where(other, |_| true);
    }

    /// Adds the counts of those strata of another tick that were decided under one epoch.
    pub fn merge_epoch(&mut self, other: &Self, epoch: u64) {
        self.merge_where(other, |stratum| stratum.epoch == epoch);
    }

    /// The sum of one arm over all strata.
    pub fn total(&self, variant: Variant) -> ArmCounts {
        let mut total = ArmCounts::default();
        for stratum in &self.strata {
            total.merge(stratum.arms.get(variant));
        }
        total
    }

    /// The requests of each arm over all strata.
    pub fn requests(&self) -> PerVariant<u64> {
        PerVariant::from_fn(|variant| {
            let arms = self.strata.iter().map(|s| s.arms.get(variant));
            arms.map(|arm| arm.requests).sum()
        })
    }

    /// The failures of each arm over all strata.
    pub fn failures(&self) -> PerVariant<u64> {
        PerVariant::from_fn(|variant| {
            let arms = self.strata.iter().map(|s| s.arms.get(variant));
            arms.map(|arm| arm.failures.total()).sum()
        })
    }

    /// The same counts without who the callers were.
    #[must_use]
    pub fn without_callers(mut self) -> Self {
        for stratum in &mut self.strata {
            let arms = std::mem::take(&mut stratum.arms);
            stratum.arms = arms.map(ArmCounts::without_callers);
        }
        self
    }

    /// Whether nothing was counted in any stratum.
    pub fn is_empty(&self) -> bool {
        let arms =
            |stratum: &Stratum| stratum.arms.stable.is_empty() && stratum.arms.canary.is_empty();
        self.strata.iter().all(arms)
    }

    fn merge_where(&mut self, other: &Self, wanted: impl Fn(&Stratum) -> bool) {
        for stratum in other.strata.iter().filter(|stratum| wanted(stratum)) {
            match self
                .strata
                .binary_search_by(|own| own.key().cmp(&stratum.key()))
            {
                Ok(place) => self.strata[place].merge(stratum),
                Err(place) => self.strata.insert(place, stratum.clone()),
            }
        }
    }
}

impl FromIterator<Stratum> for TickCounts {
    fn from_iter<I: IntoIterator<Item = Stratum>>(strata: I) -> Self {
        let mut tick = Self::default();
        for stratum in strata {
            tick.add(stratum);
        }
        tick
    }
}

impl From<Vec<Stratum>> for TickCounts {
    fn from(strata: Vec<Stratum>) -> Self {
        strata.into_iter().collect()
    }
}

impl From<TickCounts> for Vec<Stratum> {
    fn from(tick: TickCounts) -> Self {
        tick.strata
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn outcome(kind: u8) -> Outcome {
        let class = match kind % 8 {
            0 => OutcomeClass::ClientError,
            1 => OutcomeClass::TooManyRequests,
            2 => OutcomeClass::BackendFailure(Failure::Timeout),
            3 => OutcomeClass::ClientAborted,
            4 => OutcomeClass::ProxyFault,
            _ => OutcomeClass::Success,
        };
        Outcome {
            class,
            head_latency: Some(Duration::from_millis(u64::from(kind))),
            ..Outcome::default()
        }
    }

    fn ticks() -> impl Strategy<Value = TickCounts> {
        let record = (0..3_usize, 0..3_u64, any::<bool>(), any::<u8>(), 0..50_u64);
        prop::collection::vec(record, 0..20).prop_map(|records| {
            let mut tick = TickCounts::default();
            for (group, epoch, canary, kind, caller) in records {
                let group = ["a", "b"].get(group).map(|name| name.parse().unwrap());
                let mut stratum = Stratum::empty(group, epoch, Weight::ZERO);
                let arm = if canary {
                    Variant::Canary
                } else {
                    Variant::Stable
                };
                stratum.arms.get_mut(arm).record(&outcome(kind), caller);
                tick.add(stratum);
            }
            tick
        })
    }

    fn merged(left: &TickCounts, right: &TickCounts) -> TickCounts {
        let mut sum = left.clone();
        sum.merge(right);
        sum
    }

    #[test]
    fn only_evidence_is_counted() {
        let mut arm = ArmCounts::default();
        arm.record(&outcome(3), 1);
        arm.record(&outcome(4), 1);
        assert!(arm.is_empty());
        for kind in [0, 1, 2, 5] {
            arm.record(&outcome(kind), u64::from(kind));
        }
        assert_eq!(arm.requests, 4);
        assert_eq!((arm.client_errors, arm.too_many_requests), (1, 1));
        assert_eq!(arm.failures.of(Failure::Timeout), 1);
        assert_eq!(arm.failures.total(), 1);
        assert_eq!(arm.latency.count(), 1, "good answers only");
        assert_eq!(arm.callers.estimate(), 4);
        assert_eq!(arm.failed_callers.estimate(), 1);
    }

    #[test]
    fn counts_without_callers_are_the_same_counts() {
        let mut stratum = Stratum::empty(None, 1, Weight::ZERO);
        stratum.arms.canary.record(&outcome(2), 7);
        let tick = TickCounts::from_iter([stratum]);
        assert!(!tick.is_empty() && TickCounts::default().is_empty());
        let stripped = tick.clone().without_callers();
        assert_eq!(stripped.failures(), tick.failures());
        let canary = stripped.total(Variant::Canary);
        assert_eq!(
            canary.callers.estimate() + canary.failed_callers.estimate(),
            0
        );
    }

    #[test]
    fn only_the_wanted_epoch_is_added() {
        let mut stratum = Stratum::empty(None, 1, Weight::ZERO);
        stratum.arms.canary.requests = 3;
        let tick = TickCounts::from_iter([stratum, Stratum::empty(None, 2, Weight::FULL)]);
        let mut sum = TickCounts::default();
        sum.merge_epoch(&tick, 2);
        assert_eq!(sum.strata().len(), 1);
        assert_eq!(sum.requests().canary, 0);
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_commutative(a in ticks(), b in ticks(), c in ticks()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(&merged(&a, &TickCounts::default()), &a);
        }

        #[test]
        fn what_is_stored_is_read_back(tick in ticks()) {
            let stored = serde_json::to_string(&tick).unwrap();
            prop_assert_eq!(serde_json::from_str::<TickCounts>(&stored).unwrap(), tick);
        }
    }
}
