//! Where rollouts are, for people and for metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::definitions::FlagLeftAside;
use crate::control::flags::FlagStatus;
use crate::control::gatekeeping::GateStatus;
use crate::control::ports::{JournalLine, StoreHealth};
use crate::control::ratings::FeedbackStatus;
use crate::domain::decision::StratumIndex;
use crate::domain::evidence::{ArmCounts, Stratum};
use crate::domain::flag::Flag;
use crate::domain::group::GroupTable;
use crate::domain::ids::{BackendName, FlagName, GroupName, VariantName};
use crate::domain::judge::outlook::StageOutlook;
use crate::domain::judge::{Action, Finding};
use crate::domain::rollout::{
    Freeze, GroupTakenBack, JournalEntry, Mode, Phase, RolloutPlan, RolloutState, Stage,
};
use crate::domain::share::Share;
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

/// All rollouts at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// In the file's order.
    pub rollouts: Vec<RolloutStatus>,
    /// All flags, in the file's order.
    #[serde(default)]
    pub flags: Vec<FlagStatus>,
    /// Flags that were created and do not fit the configuration, so that nobody gets them.
    #[serde(default)]
    pub left_aside: Vec<FlagLeftAside>,
    /// Who wants nothing promoted, if anybody does.
    pub freeze: Option<Freeze>,
    /// Whether what is decided can be written down.
    pub store: StoreHealth,
}

/// Whether promotions are frozen.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FreezeStatus {
    /// By whom, if they are.
    pub freeze: Option<Freeze>,
    /// Whether a restart would find it so.
    pub is_written: bool,
}

/// One rollout at one moment.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RolloutStatus {
    /// The flag it moves.
    pub flag: FlagName,
    /// Whether it is on; off means stable for everyone, whatever the weights say.
    pub enabled: bool,
    /// What is being released.
    pub revision: String,
    /// The backend that everyone has before.
    pub stable: BackendName,
    /// The backend of the new version.
    pub canary: BackendName,
    /// How often this release has been tried; 1 for the first time.
    pub attempt: u32,
    /// What is going on, as a word.
    pub phase: String,
    /// Why it waits, is paused, rolled back or aborted, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The groups that canary was taken back from, while the rollout goes on with the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolled_back_groups: Vec<GroupTakenBack>,
    /// The gates before the next stage, in the order in which they are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
    /// What the stage has to see yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// What keeps canary from getting more callers although its stage would pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Whether it acts on its verdicts, or just says what it would have done.
    pub mode: Mode,
    /// The current stage, counted from 1.
    pub stage: usize,
    /// How many stages there are.
    pub stages: usize,
    /// The stages, in order.
    pub plan: Vec<StageStatus>,
    /// For how long the stage or the watch has been under way without a pause, in seconds.
    pub seconds_in_stage: f64,
    /// How long it lasts at least, in seconds.
    pub hold_seconds: f64,
    /// For how long the rollout has been under way, as the deadline counts it, in seconds.
    pub seconds_under_way: f64,
    /// How long that may be, in seconds.
    pub deadline_seconds: f64,
    /// Requests of canary that the stage takes at least.
    pub min_requests: u64,
    /// The weights that hold now.
    pub weights: WeightsStatus,
    /// Requests of each arm that count as evidence; those of the warm-up do not.
    pub counted_requests: PerVariant<u64>,
    /// What was seen of each arm in the last second.
    #[serde(default)]
    pub last_tick: PerVariant<ArmStatus>,
    /// What was seen of each arm since the stage began, its warm-up included.
    pub arms: PerVariant<ArmStatus>,
    /// The same for each group.
    pub groups: Vec<GroupStatus>,
    /// What the judge would do.
    pub action: Action,
    /// What each check found at the last tick.
    pub findings: Vec<Finding>,
    /// How callers rate both arms, where they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<FeedbackStatus>,
    /// The last changes, newest first.
    pub journal: Vec<JournalStatus>,
    /// Whether a restart would find it here. What takes canary back is done before it is written
    /// where the disk keeps that waiting.
    #[serde(default = "yes")]
    pub is_written: bool,
}

const fn yes() -> bool {
    true
}

/// What a stage has to see yet.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitingFor {
    /// About how many requests of canary more; 0 where there were enough.
    pub requests: u64,
    /// About how many callers of canary more; 0 where there were enough.
    pub callers: u64,
    /// About how many seconds that takes at the rate of this stage; none where that cannot be told.
    pub seconds: Option<f64>,
    /// In how many seconds the stage passes before that with neither harm nor harmlessness shown, where the plan
    /// lets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided_seconds: Option<f64>,
    /// All of it in words.
    pub says: String,
}

/// What a plan takes at the rates of the last minutes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlanOutlook {
    /// The flag.
    pub flag: FlagName,
    /// The current stage, counted from 1.
    pub stage: usize,
    /// Requests in a second, of both arms.
    pub requests_per_second: f64,
    /// Callers who ask in a second.
    pub callers_per_second: f64,
    /// Over about how many seconds these are means.
    pub seconds_seen: f64,
    /// All stages, in order.
    pub stages: Vec<StageAhead>,
    /// About how many seconds it takes until the watch is over, if all goes well; `None` where that
    /// cannot be told, or nothing is left.
    pub seconds_left: Option<f64>,
}

/// What a stage takes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StageAhead {
    /// Its number, counted from 1.
    pub stage: usize,
    /// Whose weight it raises; empty for everyone.
    pub groups: Vec<GroupName>,
    /// To what, as percent.
    pub percent: f64,
    /// What it takes, and what it would see.
    #[serde(flatten)]
    pub outlook: StageOutlook,
}

/// One stage of a plan, as people write it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StageStatus {
    /// Whose weight it raises; empty for everyone.
    pub groups: Vec<GroupName>,
    /// To what, as percent.
    pub percent: f64,
    /// How long it lasts at least, in seconds.
    pub hold_seconds: f64,
    /// Requests of canary that it takes at least.
    pub min_requests: u64,
    /// Whether somebody has to approve it before it begins.
    pub needs_approval: bool,
    /// The gates that have to be open before it begins, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
}

impl From<&Stage> for StageStatus {
    fn from(stage: &Stage) -> Self {
        Self {
            groups: stage.shape.groups.clone(),
            percent: percent(stage.shape.weight),
            hold_seconds: stage.hold.as_secs_f64(),
            min_requests: stage.min_requests,
            needs_approval: stage.needs_approval,
            gates: stage
                .gates
                .iter()
                .map(|gate| gate.name.to_string())
                .collect(),
        }
    }
}

/// Weights as people write them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WeightsStatus {
    /// Of each group that the flag names, in the file's order.
    pub groups: Vec<GroupWeightStatus>,
    /// Of everyone else, as percent.
    pub default_percent: f64,
    /// Of everyone else, as percent by variant; empty where there is one beside the one that is off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub default_split: BTreeMap<VariantName, f64>,
    /// The share of everyone that is kept on stable for comparison although the plan gives canary
    /// to all, as percent; until the watch has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_percent: Option<f64>,
}

impl WeightsStatus {
    /// The weights of a flag, whatever set them.
    pub fn of_flag(flag: &Flag, groups: &GroupTable) -> Self {
        let weights = &flag.weights;
        let split = |stratum| split(weights.share(stratum, &flag.variants));
        let named = weights.groups.iter().enumerate();
        let named = named.map(|(place, entry)| GroupWeightStatus {
            group: groups.name(entry.group).clone(),
            percent: percent(entry.weight),
            split: split(StratumIndex(place)),
        });
        Self {
            groups: named.collect(),
            default_percent: percent(weights.default),
            default_split: split(weights.default_stratum()),
            control_percent: None,
        }
    }

    /// What the plan says is shown, and beside it who is kept back for comparison.
    pub fn of(
        groups: impl IntoIterator<Item = (GroupName, Weight)>,
        default: Weight,
        control: Option<Weight>,
    ) -> Self {
        let shown = |weight: Weight| match control {
            Some(control) if weight == control.complement() => 100.0,
            _ => percent(weight),
        };
        let groups = groups.into_iter().map(|(group, weight)| GroupWeightStatus {
            group,
            percent: shown(weight),
            split: BTreeMap::new(),
        });
        Self {
            groups: groups.collect(),
            default_percent: shown(default),
            default_split: BTreeMap::new(),
            control_percent: control.map(percent),
        }
    }
}

/// A share by variant, where there are several.
pub fn split(share: Share) -> BTreeMap<VariantName, f64> {
    match share {
        Share::Of(_) => BTreeMap::new(),
        Share::Split(parts) => {
            let parts = parts.into_iter();
            parts
                .map(|(name, weight)| (name, percent(weight)))
                .collect()
        }
    }
}

/// The weight of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupWeightStatus {
    /// The group.
    pub group: GroupName,
    /// Its weight, as percent; of all variants but the one that is off.
    pub percent: f64,
    /// The same by variant; empty where there is one beside the one that is off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub split: BTreeMap<VariantName, f64>,
}

/// Both arms of one group.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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

/// What was seen of one arm in a span of time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ArmStatus {
    /// First attempts.
    pub requests: u64,
    /// Those of them that failed by the backend's fault.
    pub failures: u64,
    /// Their share, 0 to 1.
    pub error_rate: f64,
    /// First attempts in a second, on average over the span.
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
        _ if state.is_in_watch() => plan.watch(),
        Phase::RollingBack { .. } => plan.policy().rollback_step.unwrap_or_default(),
        _ if state.phase.is_judged() => plan.stage(state.stage).hold,
        _ => Duration::ZERO,
    }
}
