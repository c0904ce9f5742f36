//! Where rollouts are, for people and for metrics.

use std::time::Duration;

use serde::Serialize;

use crate::control::ports::JournalLine;
use crate::domain::evidence::{ArmCounts, Stratum};
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::judge::{Action, Finding};
use crate::domain::rollout::{JournalEntry, Phase, RolloutPlan, RolloutState};
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

/// All rollouts at one moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// In the file's order.
    pub rollouts: Vec<RolloutStatus>,
}

/// One rollout at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct RolloutStatus {
    /// The flag it moves.
    pub flag: FlagName,
    /// Whether it is on; off means stable for everyone, whatever the weights say.
    pub enabled: bool,
    /// What is being released.
    pub revision: String,
    /// What is going on, as a word.
    pub phase: &'static str,
    /// Why it was rolled back, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The current stage, counted from 1.
    pub stage: usize,
    /// How many stages there are.
    pub stages: usize,
    /// Time since the stage or the watch began, in seconds.
    pub seconds_in_stage: f64,
    /// How long it lasts at least, in seconds.
    pub hold_seconds: f64,
    /// Requests of canary that the stage takes at least.
    pub min_requests: u64,
    /// The weights that hold now.
    pub weights: WeightsStatus,
    /// Requests of each arm that count as evidence; those of the warm-up do not.
    pub counted_requests: PerVariant<u64>,
    /// What was seen of each arm since the stage began, its warm-up included.
    pub arms: PerVariant<ArmStatus>,
    /// The same for each group.
    pub groups: Vec<GroupStatus>,
    /// What the judge would do.
    pub action: Action,
    /// What each check found at the last tick.
    pub findings: Vec<Finding>,
    /// The last changes, newest first.
    pub journal: Vec<JournalStatus>,
}

/// Weights as people write them.
#[derive(Clone, Debug, Serialize)]
pub struct WeightsStatus {
    /// Of each group that the flag names, in the file's order.
    pub groups: Vec<GroupWeightStatus>,
    /// Of everyone else, as percent.
    pub default_percent: f64,
}

/// The weight of one group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupWeightStatus {
    /// The group.
    pub group: GroupName,
    /// Its weight, as percent.
    pub percent: f64,
}

/// Both arms of one group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupStatus {
    /// The group, or `default` for everyone else.
    pub group: String,
    /// Its weight, as percent.
    pub percent: f64,
    /// What was seen of each arm.
    pub arms: PerVariant<ArmStatus>,
}

impl GroupStatus {
    /// Sums up a stratum that was counted for a span of time.
    pub fn of(stratum: &Stratum, span: Duration) -> Self {
        let group = stratum.group.as_ref().map(ToString::to_string);
        Self {
            group: group.unwrap_or_else(|| "default".to_owned()),
            percent: percent(stratum.weight),
            arms: PerVariant::from_fn(|variant| ArmStatus::of(stratum.arms.get(variant), span)),
        }
    }
}

/// A weight as percent, 0 to 100.
pub fn percent(weight: Weight) -> f64 {
    f64::from(weight.basis_points()) / 100.0
}

/// One arm since the stage began.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ArmStatus {
    /// First attempts.
    pub requests: u64,
    /// Those of them that failed by the backend's fault.
    pub failures: u64,
    /// Their share, 0 to 1.
    pub error_rate: f64,
    /// First attempts in a second, on average over the stage.
    pub requests_per_second: f64,
    /// Mean time to the head of a good answer, in milliseconds.
    pub latency_mean_ms: Option<f64>,
    /// Median of the same.
    pub latency_p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub latency_p99_ms: Option<f64>,
}

impl ArmStatus {
    /// Sums up what was counted in a span of time.
    #[allow(clippy::cast_precision_loss, reason = "for people to read")]
    pub fn of(counts: &ArmCounts, span: Duration) -> Self {
        let failures = counts.failures.total();
        let requests = counts.requests as f64;
        Self {
            requests: counts.requests,
            failures,
            error_rate: if counts.requests == 0 {
                0.0
            } else {
                failures as f64 / requests
            },
            requests_per_second: requests / span.as_secs_f64().max(1.0),
            latency_mean_ms: counts.latency.mean_ms(),
            latency_p50_ms: counts.latency.quantile_ms(0.5),
            latency_p99_ms: counts.latency.quantile_ms(0.99),
        }
    }
}

/// A line of the journal, for people.
#[derive(Clone, Debug, Serialize)]
pub struct JournalStatus {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Who, what, why, and the findings behind it.
    #[serde(flatten)]
    pub entry: JournalEntry,
}

impl From<JournalLine> for JournalStatus {
    fn from(line: JournalLine) -> Self {
        Self {
            at_unix_ms: line.at_unix_ms,
            entry: line.entry,
        }
    }
}

/// How long the current stage, or the watch, lasts at least.
pub(crate) fn hold(plan: &RolloutPlan, state: &RolloutState) -> Duration {
    match state.phase {
        Phase::Progressing => plan.stage(state.stage).hold,
        Phase::Watching => plan.watch(),
        Phase::Succeeded | Phase::RolledBack { .. } => Duration::ZERO,
    }
}
