//! What the last half minute was like, second by second.

use std::collections::{BTreeMap, VecDeque};

use crate::control::status::{ArmStatus, RolloutStatus, Status};
use crate::domain::ids::FlagName;
use crate::domain::variant::{PerVariant, Variant};

/// Seconds that are remembered.
pub(crate) const SECONDS: usize = 30;

/// The last seconds of each rollout.
#[derive(Default)]
pub(crate) struct Trail {
    rollouts: BTreeMap<FlagName, Seconds>,
}

/// The last seconds of one rollout, newest last.
#[derive(Clone, Default)]
pub(crate) struct Seconds(VecDeque<PerVariant<ArmStatus>>);

impl Trail {
    /// Notes the last second of each rollout; to be called once a second.
    pub(crate) fn note(&mut self, status: &Status) {
        let is_there = |flag: &FlagName| status.rollouts.iter().any(|it| it.flag == *flag);
        self.rollouts.retain(|flag, _| is_there(flag));
        for rollout in &status.rollouts {
            let seconds = self.rollouts.entry(rollout.flag.clone()).or_default();
            seconds.note(rollout);
        }
    }

    /// The seconds of a flag's rollout.
    pub(crate) fn of(&self, flag: &FlagName) -> Seconds {
        self.rollouts.get(flag).cloned().unwrap_or_default()
    }
}

impl Seconds {
    pub(crate) fn note(&mut self, rollout: &RolloutStatus) {
        self.0.push_back(rollout.last_tick);
        if self.0.len() > SECONDS {
            self.0.pop_front();
        }
    }

    /// The shares of failures of an arm, in so many columns; `None` where nothing was seen.
    pub(crate) fn failures(&self, variant: Variant, columns: usize) -> Vec<Option<f64>> {
        self.column_by_column(columns, |arms| {
            let arm = arms.get(variant);
            (arm.requests > 0).then_some(arm.error_rate)
        })
    }

    /// The 99th percentiles of an arm, in milliseconds, in so many columns.
    pub(crate) fn p99_ms(&self, variant: Variant, columns: usize) -> Vec<Option<f64>> {
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
