//! What the last half minute was like, second by second.

use std::collections::VecDeque;

use crate::control::status::{ArmStatus, RolloutStatus, Status};
use crate::domain::variant::{PerVariant, Variant};

/// Seconds that are remembered.
pub(super) const SECONDS: usize = 30;

/// The last seconds of each rollout.
#[derive(Default)]
pub(super) struct Trail {
    rollouts: Vec<Seconds>,
}

/// The last seconds of one rollout, newest last.
#[derive(Clone, Default)]
pub(super) struct Seconds(VecDeque<PerVariant<ArmStatus>>);

impl Trail {
    /// Notes the last second of each rollout; to be called once a second.
    pub(super) fn note(&mut self, status: &Status) {
        self.rollouts
            .resize_with(status.rollouts.len(), Seconds::default);
        let rollouts = status.rollouts.iter();
        for (seconds, rollout) in self.rollouts.iter_mut().zip(rollouts) {
            seconds.note(rollout);
        }
    }

    /// The seconds of the rollout at an index.
    pub(super) fn of(&self, rollout: usize) -> Seconds {
        self.rollouts.get(rollout).cloned().unwrap_or_default()
    }
}

impl Seconds {
    pub(super) fn note(&mut self, rollout: &RolloutStatus) {
        self.0.push_back(rollout.last_tick);
        if self.0.len() > SECONDS {
            self.0.pop_front();
        }
    }

    /// The shares of failures of an arm, in so many columns; `None` where nothing was seen.
    pub(super) fn failures(&self, variant: Variant, columns: usize) -> Vec<Option<f64>> {
        self.column_by_column(columns, |arms| {
            let arm = arms.get(variant);
            (arm.requests > 0).then_some(arm.error_rate)
        })
    }

    /// The 99th percentiles of an arm, in milliseconds, in so many columns.
    pub(super) fn p99_ms(&self, variant: Variant, columns: usize) -> Vec<Option<f64>> {
        self.column_by_column(columns, |arms| arms.get(variant).latency_p99_ms)
    }

    /// A number of each second, or the larger of as many neighbours as have to share a column.
    /// The newest second is at the right end; before the first one there is nothing.
    fn column_by_column(
        &self,
        columns: usize,
        number: impl Fn(&PerVariant<ArmStatus>) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let numbers: Vec<_> = self.0.iter().map(number).collect();
        let shared_by = SECONDS.div_ceil(columns.max(1));
        let larger = |chunk: &[Option<f64>]| chunk.iter().copied().flatten().reduce(f64::max);
        let mut drawn: Vec<_> = numbers.rchunks(shared_by).map(larger).collect();
        drawn.resize(columns, None);
        drawn.reverse();
        drawn
    }
}
