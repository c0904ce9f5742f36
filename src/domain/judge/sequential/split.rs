//! Does the split give canary the share that its weight asks for?
//!
//! A wrong split means that what is compared is not what was meant to be: callers lost on the way,
//! answers that never end, counts of one arm alone. It holds and alerts, with an alpha of its own, and
//! never rolls back.
//!
//! Where callers are the unit each counts when it is first seen. After a restart nobody is known to have been,
//! and the same callers would count again with the same luck: so the product begins anew then, and the k-th
//! has the share `1 / (k (k + 1))` of the alpha, the first all of it. Together that is at most half as much again.

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::settings::Unit;
use crate::domain::judge::sequential::tick::Tick;
use crate::domain::stats::log_space::{self, LogValue, log_mean_exp};
use crate::domain::stats::odds_ratio::Grid;

/// Evidence against the configured weights, over the whole rollout and in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SplitEvidence {
    #[serde(with = "log_space::stored")]
    log_e_values: Vec<f64>,
    /// How often the callers seen were forgotten.
    #[serde(default)]
    forgotten: u32,
    /// `ln` of the evidence when they were last.
    #[serde(default)]
    log_evidence_before: LogValue,
    /// What was counted: of canary, of both arms, and what the weights ask for of canary.
    pub(super) canary: f64,
    pub(super) all: f64,
    pub(super) expected: f64,
}

impl SplitEvidence {
    pub(super) fn new(grid: &Grid) -> Self {
        Self {
            log_e_values: vec![0.0; grid.len()],
            forgotten: 0,
            log_evidence_before: LogValue::ZERO,
            canary: 0.0,
            all: 0.0,
            expected: 0.0,
        }
    }

    /// Takes in the requests of a tick, or the callers never seen before.
    pub(super) fn observe(&mut self, tick: &Tick, unit: Unit, grid: &Grid) {
        for stratum in tick.strata.iter().filter(|stratum| stratum.has_control()) {
            let (canary, stable) = match unit {
                Unit::Request => (stratum.arms.canary.requests, stratum.arms.stable.requests),
                Unit::Caller => (
                    stratum.arms.canary.new_callers,
                    stratum.arms.stable.new_callers,
                ),
            };
            let (canary, all) = (canary as f64, canary as f64 + stable as f64);
            grid.add(canary, all, stratum.weight, &mut self.log_e_values);
            self.canary += canary;
            self.all += all;
            self.expected += all * stratum.weight;
        }
    }

    /// Callers seen before are not known any more.
    pub(super) fn forget_callers(&mut self) {
        self.log_evidence_before = LogValue(self.log_evidence());
        self.forgotten += 1;
        self.log_e_values.fill(0.0);
        (self.canary, self.all, self.expected) = (0.0, 0.0, 0.0);
    }

    pub(super) fn log_evidence(&self) -> f64 {
        let share = match f64::from(self.forgotten) {
            0.0 => 1.0,
            k => 1.0 / ((k + 1.0) * (k + 2.0)),
        };
        let now = log_mean_exp(&self.log_e_values) + share.ln();
        now.max(self.log_evidence_before.0)
    }

    pub(super) fn fits(&self, grid: &Grid) -> bool {
        self.log_e_values.len() == grid.len()
    }
}
