//! One arm in the ledger's books: its counters in all workers, and how far they were drained.

use std::sync::Arc;

use crate::domain::evidence::cells::CellCounts;
use crate::domain::evidence::{ArmCounts, CallerSketch};
use crate::domain::flag::Stratum;
use crate::domain::weight::Weight;
use crate::runtime::callers_seen::Parity;
use crate::runtime::recorder::{ArmCounters, ArmReading};
use crate::runtime::series::ArmName;

/// One counter for each worker.
pub(super) type PerWorker<T> = Vec<Arc<T>>;

/// Counters of one arm: by the name it is exported under, whether its callers are known again, and
/// the epoch of weights. And the weight: a release that waits shows an epoch at weight zero that its first
/// stage has at another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ArmKey {
    pub(super) arm: ArmName,
    pub(super) is_keyed: bool,
    pub(super) epoch: u64,
    pub(super) weight: Weight,
}

/// The counters of an arm.
#[derive(Debug)]
pub(super) struct ArmEntry {
    pub(super) counters: PerWorker<ArmCounters>,
    /// Ratings since it was last drained.
    pub(super) ratings: [u64; 5],
    /// Ratings that were changed since.
    pub(super) ratings_changed: [i64; 5],
    /// What the counters stood at when they were last drained.
    drained: ArmCounts,
    /// The same of the counts of callers, for each parity.
    drained_cells: [CellCounts; 2],
    /// The sum of the counters at the last look, and whether it was the same at the look before.
    looked_at: (u64, bool),
}

impl ArmEntry {
    pub(super) fn new(counters: PerWorker<ArmCounters>) -> Self {
        Self {
            counters,
            drained: ArmCounts::default(),
            ratings: [0; 5],
            ratings_changed: [0; 5],
            drained_cells: Default::default(),
            looked_at: (0, false),
        }
    }

    /// What was added since the last time, with the callers' counts of some parities.
    pub(super) fn drain(&mut self, parities: &[Parity]) -> ArmCounts {
        let mut added = if self.is_at_rest() {
            ArmCounts::default()
        } else {
            self.drain_counts()
        };
        added.ratings = std::mem::take(&mut self.ratings);
        added.ratings_changed = std::mem::take(&mut self.ratings_changed);
        for parity in parities {
            added.cells.merge(&self.drain_cells(*parity));
        }
        added
    }

    /// Whether nothing has been counted since the last look but one: most arms of most flags, which need not be read
    /// in full then. A request may have been counted at the last look and its caller not yet.
    fn is_at_rest(&mut self) -> bool {
        let sums = self.counters.iter().map(|counters| counters.sum());
        let sum = sums.fold(0_u64, u64::wrapping_add);
        let (before, was_same) = self.looked_at;
        self.looked_at = (sum, sum == before);
        was_same && sum == before
    }

    fn drain_counts(&mut self) -> ArmCounts {
        let mut all = self.counters.iter().map(|counters| counters.counts());
        let mut now = all.next().unwrap_or_default();
        all.for_each(|counts| now.merge(&counts));
        let mut added = now.since(&self.drained);
        self.drained = now;
        (added.callers, added.failed_callers) = self.take_callers();
        added
    }

    /// What was added to the callers' counts of a parity.
    pub(super) fn drain_cells(&mut self, parity: Parity) -> CellCounts {
        let mut now = CellCounts::default();
        self.counters
            .iter()
            .for_each(|counters| now.merge(&counters.cells.read(parity)));
        let drained = &mut self.drained_cells[parity as usize];
        let added = now.since(drained);
        *drained = now;
        added
    }

    /// Whether nothing was ever counted that is judged.
    pub(super) fn is_unused(&self) -> bool {
        self.counters.iter().all(|counters| counters.is_unused())
    }

    pub(super) fn read(&self) -> ArmReading {
        let mut sum = ArmReading::default();
        self.counters
            .iter()
            .for_each(|counters| sum.merge(&counters.read()));
        sum
    }

    fn take_callers(&self) -> (CallerSketch, CallerSketch) {
        let mut sum = (CallerSketch::default(), CallerSketch::default());
        for (callers, failed) in self.counters.iter().map(|counters| counters.take_callers()) {
            sum.0.union(&callers);
            sum.1.union(&failed);
        }
        sum
    }

    /// Whether no snapshot and no request in flight can count here any more.
    pub(super) fn is_orphaned(&self) -> bool {
        self.counters
            .iter()
            .all(|counters| Arc::strong_count(counters) == 1)
    }
}

/// The weight of a stratum; zero where none decided.
pub(super) const fn weight_of(stratum: Stratum) -> Weight {
    match stratum {
        Stratum::Group(entry) => entry.weight,
        Stratum::Default(weight) => weight,
        Stratum::Forced => Weight::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::evidence::{Failure, Outcome, OutcomeClass};

    #[test]
    fn what_is_counted_after_a_rest_is_drained_as_what_was_before() {
        let workers = [Arc::new(ArmCounters::default()), Arc::default()];
        let mut entry = ArmEntry::new(workers.to_vec());
        let failed = Outcome {
            class: OutcomeClass::BackendFailure(Failure::Status),
            ..Outcome::default()
        };
        for rest in 0..4 {
            for _ in 0..rest {
                assert!(entry.drain(&[]).is_empty());
            }
            workers[rest % 2].record(&failed, 7);
            let added = entry.drain(&[]);
            assert_eq!((added.requests, added.failures.total()), (1, 1));
            assert_eq!(added.failed_callers.estimate(), 1);
        }
        workers[0].record_waiting(Duration::from_secs(1));
        assert_eq!(entry.drain(&[]).latency.count(), 1);
        workers[1].record_refused();
        assert_eq!(entry.drain(&[]).refused_connects, 1);
    }

    #[test]
    fn a_rating_is_drained_where_nothing_else_is() {
        let mut entry = ArmEntry::new(vec![Arc::default()]);
        for _ in 0..3 {
            assert!(entry.drain(&[]).is_empty());
        }
        entry.ratings[4] = 1;
        assert_eq!(entry.drain(&[]).ratings, [0, 0, 0, 0, 1]);
        assert_eq!(entry.drain(&[]).ratings, [0; 5]);
    }
}
