//! What is written of a rollout.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::feedback::RATINGS_MIN_MIN;
use crate::domain::further::Condition;
use crate::domain::weight::Weight;

use crate::config::defaults::{ENDPOINTS_MAX, PATIENCE_MAX};
use crate::config::document::further::CustomCheckDocument;
use crate::config::document::gate::{GateDocument, HookDocument};
use crate::config::rating::Rating;
use crate::config::text::{Increase, NonEmpty, Span};
use crate::config::written::{Count, Placed, ShortOr, Written};

/// The automation of a flag.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `revision` and `stages`")]
pub(in crate::config) struct RolloutDocument {
    /// What is being released; another revision starts another rollout. Quote it, or 2.10 is 2.1.
    pub(in crate::config) revision: Option<Written<NonEmpty>>,
    /// What happens in which order: a weight for everyone, or a map.
    #[schemars(length(min = 1))]
    pub(in crate::config) stages: Option<Placed<Vec<AnyStageDocument>>>,
    /// How long each stage lasts at least.
    pub(in crate::config) hold: Option<Written<Duration>>,
    /// How many requests canary serves in each stage at least.
    pub(in crate::config) min_requests: Option<Count>,
    /// How long to go on judging after the last stage.
    pub(in crate::config) watch: Option<Written<Duration>>,
    /// Who stays on stable until then, to compare with.
    pub(in crate::config) final_control: Option<Written<Weight>>,
    /// What is tolerated of canary beside stable.
    #[serde(default)]
    pub(in crate::config) checks: ChecksDocument,
    /// How easily the judge takes alarm, and what it tolerates unless `checks` say otherwise.
    pub(in crate::config) sensitivity: Option<SensitivityDocument>,
    /// What must be so before a stage passes: a condition such as `latency_mean_ms < 1000`.
    pub(in crate::config) release_when: Option<Written<Condition>>,
    /// Whether it begins by itself.
    pub(in crate::config) start: Option<StartDocument>,
    /// Whether it acts on its verdicts.
    pub(in crate::config) mode: Option<ModeDocument>,
    /// What becomes of a stage with too few requests for `patience` hold times.
    pub(in crate::config) no_data: Option<NoDataDocument>,
    /// What becomes of a stage with enough requests that shows neither harm nor its absence.
    pub(in crate::config) undecided: Option<UndecidedDocument>,
    /// After how many hold times.
    pub(in crate::config) patience: Option<Count<{ PATIENCE_MAX }>>,
    /// How long the stages may take altogether.
    pub(in crate::config) deadline: Option<Written<Duration>>,
    /// What is done when they take longer.
    pub(in crate::config) on_deadline: Option<OnDeadlineDocument>,
    /// How canary is taken back: at once, or `stepped`, or a map that says how long a stage lasts then.
    pub(in crate::config) rollback: Option<AnyRollbackDocument>,
    /// What the breach of one group takes back.
    pub(in crate::config) rollback_scope: Option<RollbackScopeDocument>,
    /// Endpoints of stable that must take connections before canary gets more callers. Without it,
    /// nobody asks.
    pub(in crate::config) stable_min_endpoints: Option<Count<{ ENDPOINTS_MAX }>>,
    /// What has to be open before a stage begins.
    #[serde(default)]
    pub(in crate::config) gates: Vec<Placed<GateDocument>>,
    /// Webhooks that are asked before stages, or told of what becomes of them.
    #[serde(default)]
    pub(in crate::config) hooks: Vec<Placed<HookDocument>>,
}

/// How easily the judge takes alarm.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum SensitivityDocument {
    /// Half of the usual harm is tolerated; 2 % of harmless rollouts may be rolled back.
    Cautious,
    /// 1 % of harmless rollouts may be rolled back.
    Normal,
    /// Twice the usual harm is tolerated; 0.2 % of harmless rollouts may be rolled back.
    Bold,
}

/// How canary is taken back, in a word or with the time.
pub(in crate::config) type AnyRollbackDocument = ShortOr<RollbackDocument, SteppedDocument>;

/// How canary is taken back.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RollbackDocument {
    /// To nothing at once.
    Immediate,
    /// Stage by stage, but at once where canary is dead.
    Stepped,
}

/// What the breach of one group takes back.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RollbackScopeDocument {
    /// Canary as a whole.
    Flag,
    /// That group alone; the rollout goes on with the others.
    Group,
}

/// A rollback stage by stage.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "`immediate`, `stepped`, or a map such as `{ stepped: 30s }`"
)]
pub(in crate::config) struct SteppedDocument {
    /// How long each stage lasts.
    pub(in crate::config) stepped: Written<Span>,
}

/// Whether a rollout begins by itself.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum StartDocument {
    /// As soon as it is configured.
    Auto,
    /// When an operator starts it.
    Manual,
}

/// Whether a rollout acts on its verdicts.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ModeDocument {
    /// It does.
    Act,
    /// It says what it would have done, and leaves the weights to operators.
    Observe,
}

/// What becomes of a stage that sees too little.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum NoDataDocument {
    /// It stays as it is.
    Hold,
    /// Canary is taken back.
    Rollback,
}

/// What becomes of a stage that sees enough, and neither harm nor harmlessness.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum UndecidedDocument {
    /// It passes, and says loudly why.
    Promote,
    /// It stays as it is.
    Hold,
}

/// What is done when the stages take longer than they may.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnDeadlineDocument {
    /// It pauses, and an operator says how it goes on.
    Hold,
    /// Canary is taken back.
    Rollback,
}

/// A stage for everyone, or one that says more.
pub(in crate::config) type AnyStageDocument = ShortOr<Written<Weight>, Placed<StageDocument>>;

/// One step of a rollout, or several that differ in their weight only.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a weight such as `5%`, or a map with `weight`"
)]
pub(in crate::config) struct StageDocument {
    pub(in crate::config) groups: Option<Placed<Vec<Written<String>>>>,
    pub(in crate::config) weight: Option<Written<Weight>>,
    pub(in crate::config) weights: Option<Placed<Vec<Written<Weight>>>>,
    pub(in crate::config) hold: Option<Written<Duration>>,
    pub(in crate::config) min_requests: Option<Count>,
}

/// What the judge tolerates.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `error_rate`, `latency`, `feedback`, `split` or `custom`"
)]
pub(in crate::config) struct ChecksDocument {
    #[serde(default)]
    pub(in crate::config) error_rate: ErrorRateDocument,
    #[serde(default)]
    pub(in crate::config) latency: LatencyDocument,
    /// What callers say. Written as `{}` it has Serin take ratings, with the limits that hold otherwise too.
    pub(in crate::config) feedback: Option<FeedbackDocument>,
    /// Whether canary gets the share of callers that its weight asks for. Always looked at; there is nothing
    /// to set.
    #[serde(default)]
    #[expect(dead_code, reason = "there is nothing to set")]
    pub(in crate::config) split: SplitDocument,
    /// Numbers of other systems, held to limits.
    pub(in crate::config) custom: Option<Placed<Vec<Placed<CustomCheckDocument>>>>,
}

/// Tolerated ratings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ min: 4.0, min_ratings: 20 }`"
)]
pub(in crate::config) struct FeedbackDocument {
    /// The mean rating that canary must be above; half a point below it is harm.
    pub(in crate::config) min: Option<Rating>,
    /// Ratings that an arm needs before any decide, 20 at the least.
    pub(in crate::config) min_ratings: Option<Count<{ u64::MAX }, RATINGS_MIN_MIN>>,
}

/// The split.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an empty map, `{}`")]
pub(in crate::config) struct SplitDocument {}

/// Tolerated failures.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ max_increase: 25%, max: 5% }`"
)]
pub(in crate::config) struct ErrorRateDocument {
    /// So much more failures than stable has.
    pub(in crate::config) max_increase: Option<Written<Increase>>,
    /// Never more than this share of requests. Without it, no such limit.
    pub(in crate::config) max: Option<Written<Weight>>,
}

/// Tolerated latency.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ p50: +10%, p99: +25% }`"
)]
pub(in crate::config) struct LatencyDocument {
    /// So much slower than stable at the median, in steps of 4.4 %, or 2 ms.
    pub(in crate::config) p50: Option<Written<Increase>>,
    /// The same at the 90th percentile.
    pub(in crate::config) p90: Option<Written<Increase>>,
    /// The same at the 99th percentile.
    pub(in crate::config) p99: Option<Written<Increase>>,
    /// A goal for the mean.
    pub(in crate::config) mean: Option<MeanDocument>,
}

/// A goal for the mean latency.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{ max: 1000ms }`")]
pub(in crate::config) struct MeanDocument {
    /// Never slower than this on average.
    pub(in crate::config) max: Written<Span>,
}
