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
pub mod sequential;
mod settings;
mod stage_evidence;
pub mod trace;
pub mod tripwire;
mod verdict;

use std::num::NonZeroU32;

use crate::domain::evidence::{EvidenceWindow, TickCounts};
use crate::domain::judge::latency::Quantile;
use crate::domain::judge::scope::{Demands, Scope};
use crate::domain::judge::stage_evidence::StageEvidence;
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
    /// What was seen since the stage began.
    stage: StageEvidence,
    /// The last seconds under any weights: a dead canary is dead whatever its share.
    recent: EvidenceWindow,
}

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(settings: JudgeSettings) -> Self {
        Self {
            settings,
            stage: StageEvidence::default(),
            recent: EvidenceWindow::new(TRIPWIRE_SECONDS),
        }
    }

    /// Begins a stage, or the watch after the last: its evidence starts from nothing.
    pub fn start_stage(&mut self) {
        self.stage = StageEvidence::default();
    }

    /// The requests of each arm counted since the stage began, warm-up left out.
    pub fn stage_requests(&self) -> PerVariant<u64> {
        self.stage.total().requests()
    }

    /// Everything seen since the stage began, its warm-up included, and in how many ticks.
    pub const fn seen_in_stage(&self) -> (&TickCounts, usize) {
        self.stage.seen()
    }

    /// Takes in the counts of a tick that ended at `now` and says what follows from all so far.
    pub fn observe(&mut self, tick: &TickCounts, stage: &StageContext, now: Timestamp) -> Verdict {
        self.stage.add(tick, stage, now);
        self.recent.push(tick.clone(), now);
        let mut findings = Vec::from_iter(self.tripwire(now));
        findings.extend(self.checks(stage));
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

    /// What each check finds in the stage so far. Harm that some part of it does not show may be
    /// one hiccup, and is not called a breach yet.
    fn checks(&self, stage: &StageContext) -> Vec<Finding> {
        let demands = Demands::new(&self.settings, stage);
        let mut findings = self.look(self.stage.total(), &demands, stage);
        if findings.iter().any(Finding::is_breach) {
            let parts = self.stage.parts();
            let shown = parts
                .each_ref()
                .map(|part| self.look(part, &demands.of_a_part(), stage));
            let everywhere = |finding: &Finding| {
                shown
                    .iter()
                    .all(|part| part.iter().any(|other| other.is_breach_like(finding)))
            };
            for finding in findings.iter_mut().filter(|finding| finding.is_breach()) {
                if !everywhere(finding) {
                    finding.doubt("; it does not show throughout the stage and may be one hiccup");
                }
            }
        }
        findings
    }

    fn look(&self, counts: &TickCounts, demands: &Demands, stage: &StageContext) -> Vec<Finding> {
        let settings = &self.settings.error_rate;
        let limit = settings.max.unwrap_or(settings.uncompared_max);
        let uncompared = error_rate::uncompared(counts, demands, limit);
        let mut findings = if stage.has_control {
            self.comparisons(counts, demands)
        } else {
            vec![uncompared.clone()]
        };
        // A control that nobody belongs to lets nothing pass, but harm shows without it.
        let is_unseen = stage.has_control && counts.requests().stable == 0;
        findings.extend(Some(uncompared).filter(|found| is_unseen && found.is_breach()));
        let error_rate = self.settings.error_rate.max;
        let mean = self.settings.latency.mean_max;
        findings.extend(error_rate.map(|limit| error_rate::guard(counts, demands, limit)));
        findings.extend(mean.map(|goal| latency::guard_mean(counts, demands, goal)));
        findings
    }

    /// What each comparison finds over all callers, and what it finds wrong in one group alone.
    fn comparisons(&self, counts: &TickCounts, demands: &Demands) -> Vec<Finding> {
        let (together, alone) = Scope::all(counts);
        let mut findings = self.compare(&together, demands);
        for scope in &alone {
            let found = self.compare(scope, demands).into_iter();
            findings.extend(found.filter(Finding::is_breach));
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
}

/// A breach if there is one, else the first thing found.
fn most_severe(found: [Option<Finding>; 2]) -> Option<Finding> {
    let worse = |first: Finding, other: Finding| {
        if other.is_breach() && !first.is_breach() {
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
        .filter_map(move |(check, word, level, tolerance)| {
            Some(Quantile {
                check,
                word,
                level,
                tolerance: tolerance?,
                slack: settings.slack,
            })
        })
}

#[cfg(test)]
mod tests;
