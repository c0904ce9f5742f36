//! What was seen since the stage began.

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::check::{Check, PerCheck};
use crate::domain::judge::sequential::comparison::{Counted, Tests, compared, strata_of, table};
use crate::domain::judge::sequential::cuts::Cuts;
use crate::domain::judge::sequential::promotion::PromotionEvidence;
use crate::domain::judge::sequential::settings::{SequentialSettings, Unit};
use crate::domain::judge::sequential::tick::Tick;
use crate::domain::stats::bucket_counts::BucketCounts;
use crate::domain::stats::confidence_sequence::Moments;
use crate::domain::stats::odds_ratio::Table;
use crate::domain::variant::PerVariant;

/// The evidence of one stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StageEvidence {
    pub(super) promotion: PromotionEvidence,
    pub(super) totals: StageTotals,
}

impl StageEvidence {
    pub(super) fn new(tests: &Tests) -> Self {
        Self {
            promotion: PromotionEvidence::new(tests),
            totals: StageTotals::default(),
        }
    }
}

/// Sums since the stage began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTotals {
    /// Ticks.
    pub ticks: u32,
    /// Requests that canary has answered, or failed to.
    pub canary_requests: f64,
    /// Those of them that failed.
    pub canary_failures: f64,
    /// Callers who have been to canary.
    pub canary_callers: f64,
    /// Requests of canary where there was no control, and those of them that failed.
    #[serde(default)]
    pub uncompared: (f64, f64),
    /// Canary's latencies in milliseconds, each as the middle of its bucket.
    pub canary_latency_ms: Moments,
    /// Whether some group has ever had a control.
    pub has_control: bool,
    /// Where there was a control: requests and failures of both arms.
    pub requests: Table,
    /// Where there was a control: callers of both arms.
    pub callers: PerVariant<f64>,
    /// Where there was a control: what each check compared. Requests; or callers at risk in a tick,
    /// summed over ticks, and callers who had their first event in the stage.
    pub compared: PerCheck<Table>,
    /// Where there was a control: latency of good answers.
    pub latency: PerVariant<BucketCounts>,
}

impl StageTotals {
    /// Requests of canary that were compared with nothing, and those of them that failed: where there was
    /// no control, or all of them while none has come to stable.
    pub fn uncompared(&self) -> (f64, f64) {
        if self.has_control && self.requests.stable_trials > 0.0 {
            self.uncompared
        } else {
            (self.canary_requests, self.canary_failures)
        }
    }

    /// Takes in canary's latencies of a tick.
    pub(super) fn observe_latency(&mut self, canary_latency: &BucketCounts) {
        for (bucket, count) in canary_latency.iter() {
            let middle = ((f64::from(bucket) + 0.5) / 16.0).exp2();
            self.canary_latency_ms.add(middle, count as f64);
        }
    }

    /// Takes in a tick of one group, or of all.
    pub(super) fn observe(
        &mut self,
        settings: &SequentialSettings,
        (tick, cuts): (&Tick, &Cuts),
        group: Option<usize>,
    ) {
        self.ticks += 1;
        for stratum in strata_of(tick, group).filter(|stratum| stratum.is_exposed()) {
            let canary = &stratum.arms.canary;
            self.canary_requests += canary.requests as f64;
            self.canary_failures += canary.failures as f64;
            self.canary_callers += canary.stage_callers as f64;
            if !stratum.has_control() {
                self.uncompared.0 += canary.requests as f64;
                self.uncompared.1 += canary.failures as f64;
            }
        }
        let counted = match settings.unit {
            Unit::Request => Some(Counted::Requests),
            Unit::Caller => {
                let of_stage = tick.starts.iter().position(|start| start.slot == 0);
                of_stage.map(Counted::CallersOf)
            }
        };
        let tolerated = &settings.tolerated;
        for stratum in compared(tick, group) {
            self.has_control = true;
            let arms = &stratum.arms;
            let of = |check, counted| table(check, stratum, counted, cuts, tolerated);
            add(&mut self.requests, of(Check::Errors, Counted::Requests));
            add(
                &mut self.compared[Check::Ratings],
                of(Check::Ratings, Counted::Requests),
            );
            for check in Check::COMPARED {
                let counts = counted.and_then(|counted| of(check, counted));
                add(&mut self.compared[check], counts);
            }
            self.callers.stable += arms.stable.stage_callers as f64;
            self.callers.canary += arms.canary.stage_callers as f64;
            self.latency.stable.add_all(&arms.stable.latency);
            self.latency.canary.add_all(&arms.canary.latency);
        }
    }
}

fn add(sum: &mut Table, more: Option<Table>) {
    let more = more.unwrap_or_default();
    sum.canary_trials += more.canary_trials;
    sum.canary_events += more.canary_events;
    sum.stable_trials += more.stable_trials;
    sum.stable_events += more.stable_events;
}
