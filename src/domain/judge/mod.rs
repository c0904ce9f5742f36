//! Turns evidence into a verdict: promote, hold or roll back.
//!
//! Canary is compared with what stable does *at the same time* for the same groups of callers,
//! never with its own past and never by two bare numbers: harm is a difference that chance does
//! not explain, at [`JudgeSettings::standard_errors`]. Since totals are looked at every second,
//! that reach is wide; a test that is valid at every look is to take its place behind the same
//! [`Judge`]. No evidence is a hold, never a pass.
//!
//! Each check is a file with functions from counts to a [`Finding`]; [`Judge`] keeps the stage's
//! totals and combines what they find. When the hold has passed is not decided here but in
//! `domain::rollout`.

mod error_rate;
mod latency;
mod scope;
mod settings;
pub mod tripwire;
mod verdict;

use std::num::NonZeroU32;

use crate::domain::evidence::{EvidenceWindow, TickCounts};
use crate::domain::judge::latency::Quantile;
use crate::domain::judge::scope::{Demands, Scope};
use crate::domain::judge::tripwire::CanaryEndpoints;
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;

pub use scope::StageContext;
pub use settings::{ErrorRateSettings, JudgeSettings, LatencySettings};
pub use verdict::{Action, Assessment, CheckName, Finding, Verdict};

/// What the tripwire remembers: a failure that began within a second is seen whole in two.
/// (A constant, so that a zero would not compile.)
const TRIPWIRE_SECONDS: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Judges one rollout, tick by tick.
#[derive(Clone, Debug)]
pub struct Judge {
    settings: JudgeSettings,
    /// Everything seen since the stage began, under its weights only.
    stage_totals: TickCounts,
    /// The last seconds under any weights: a dead canary is dead whatever its share.
    recent: EvidenceWindow,
}

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(settings: JudgeSettings) -> Self {
        Self {
            settings,
            stage_totals: TickCounts::default(),
            recent: EvidenceWindow::new(TRIPWIRE_SECONDS),
        }
    }

    /// Begins a stage, or the watch after the last: its evidence starts from nothing.
    pub fn start_stage(&mut self) {
        self.stage_totals = TickCounts::default();
        self.recent.clear();
    }

    /// The requests of each arm seen since the stage began.
    pub fn stage_requests(&self) -> PerVariant<u64> {
        self.stage_totals.requests()
    }

    /// Everything seen since the stage began.
    pub const fn stage_totals(&self) -> &TickCounts {
        &self.stage_totals
    }

    /// Takes in the counts of a tick that ended at `now` and says what follows from all so far.
    pub fn observe(&mut self, tick: &TickCounts, stage: &StageContext, now: Timestamp) -> Verdict {
        self.stage_totals.merge_epoch(tick, stage.epoch);
        self.recent.push(tick.clone(), now);
        let mut findings = Vec::from_iter(self.tripwire(now));
        findings.extend(self.comparisons(stage));
        findings.extend(self.guards(stage));
        Verdict::from_findings(findings)
    }

    /// Asks the tripwire between ticks, with what the current one has so far.
    pub fn check_tripwire(
        &self,
        partial: &TickCounts,
        endpoints: CanaryEndpoints,
        now: Timestamp,
    ) -> Option<Finding> {
        let mut recent = self.recent.over_last(1, now);
        recent.merge(partial);
        most_severe([partial, &recent].map(|counts| tripwire::assess(counts, endpoints)))
    }

    /// Asks the tripwire about the last second alone and about the last two.
    fn tripwire(&self, now: Timestamp) -> Option<Finding> {
        let spans = [1, TRIPWIRE_SECONDS.get()].map(|seconds| self.recent.over_last(seconds, now));
        most_severe(spans.map(|counts| tripwire::assess(&counts, CanaryEndpoints::SomeAccept)))
    }

    /// What each comparison finds over all callers, and what it finds wrong in one group alone.
    fn comparisons(&self, stage: &StageContext) -> Vec<Finding> {
        let demands = Demands::new(&self.settings, stage);
        if !stage.has_control {
            return vec![error_rate::uncompared(&self.stage_totals, &demands)];
        }
        let (together, alone) = Scope::all(&self.stage_totals);
        let mut findings = self.compare(&together, &demands);
        for scope in &alone {
            let found = self.compare(scope, &demands).into_iter();
            findings.extend(found.filter(|finding| finding.assessment == Assessment::Breach));
        }
        findings
    }

    fn compare(&self, scope: &Scope<'_>, demands: &Demands) -> Vec<Finding> {
        let mut findings = vec![error_rate::compare(
            scope,
            demands,
            &self.settings.error_rate,
        )];
        for quantile in quantiles(&self.settings.latency) {
            findings.push(latency::compare(scope, demands, &quantile));
        }
        findings
    }

    fn guards(&self, stage: &StageContext) -> Vec<Finding> {
        let demands = Demands::new(&self.settings, stage);
        let totals = &self.stage_totals;
        let error_rate = self.settings.error_rate.max;
        let mean = self.settings.latency.mean_max;
        let error_rate = error_rate.map(|limit| error_rate::guard(totals, &demands, limit));
        let mean = mean.map(|goal| latency::guard_mean(totals, &demands, goal));
        error_rate.into_iter().chain(mean).collect()
    }
}

/// A breach if there is one, else the first thing found.
fn most_severe(found: [Option<Finding>; 2]) -> Option<Finding> {
    let is_breach = |finding: &Finding| finding.assessment == Assessment::Breach;
    let worse = |first, other| {
        if is_breach(&other) && !is_breach(&first) {
            other
        } else {
            first
        }
    };
    found.into_iter().flatten().reduce(worse)
}

/// The quantiles that are compared, with their tolerances.
fn quantiles(settings: &LatencySettings) -> impl Iterator<Item = Quantile> {
    let table = [
        (CheckName::LatencyP50, "p50", 0.50, settings.p50),
        (CheckName::LatencyP90, "p90", 0.90, settings.p90),
        (CheckName::LatencyP99, "p99", 0.99, settings.p99),
    ];
    table
        .into_iter()
        .filter_map(|(check, word, level, tolerance)| {
            Some(Quantile {
                check,
                word,
                level,
                tolerance: tolerance?,
            })
        })
}

#[cfg(test)]
mod tests;
