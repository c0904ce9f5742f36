//! What is written of what stands before stages: gates, and hooks.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::ids::TargetName;
use crate::domain::notify::WebhookUrl;
use crate::domain::weight::Weight;

use crate::config::defaults::GATE_ATTEMPTS_MAX;
use crate::config::gate::{DaysWritten, TimeWritten, ZoneWritten};
use crate::config::notify::{MessageHeader, SecretValue};
use crate::config::text::Span;
use crate::config::written::{Count, Named, Placed, ShortOr, Written};

/// What has to be open before a stage begins: one of `approve`, `webhook` and `window`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a gate such as `{ before: 25%, approve: manual }`"
)]
pub(in crate::config) struct GateDocument {
    /// What the status and the journal call it. Without it, the host of the URL, or `window`.
    pub(in crate::config) name: Option<Written<TargetName>>,
    /// The weight of a stage: everyone's, else a group's. Without it, every stage.
    pub(in crate::config) before: Option<Written<Weight>>,
    /// Who opens it.
    pub(in crate::config) approve: Option<ApproveDocument>,
    /// A webhook that opens it by an answer of 2xx: a URL, or a map with `url`.
    pub(in crate::config) webhook: Option<AnyWebhookDocument>,
    /// A time of the week that opens it, or a list of them, any of which does.
    pub(in crate::config) window: Option<AnyWindowDocument>,
}

/// Who opens a gate.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ApproveDocument {
    /// An operator.
    Manual,
}

/// A webhook with all defaults, or one that says more.
pub(in crate::config) type AnyWebhookDocument =
    ShortOr<Written<WebhookUrl>, Placed<WebhookDocument>>;

/// A webhook that is asked or told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a URL, or a map such as `{ url: \"http://ci/gate\", timeout: 10s }`"
)]
pub(in crate::config) struct WebhookDocument {
    /// Where it is: a URL of http or https. It is a secret, and never shown.
    pub(in crate::config) url: Written<WebhookUrl>,
    /// How long an answer may take as a whole.
    pub(in crate::config) timeout: Option<Written<Span>>,
    /// How often it is asked in a row, a second apart, where no answer comes or one of 5xx.
    pub(in crate::config) attempts: Option<Placed<Count<{ GATE_ATTEMPTS_MAX }>>>,
    /// How long after an answer that does not pass it is asked again.
    pub(in crate::config) every: Option<Written<Span>>,
    /// Sent with each question; values are never shown.
    #[serde(default)]
    pub(in crate::config) headers: Named<MessageHeader, Written<SecretValue>>,
    /// Passed on in the body.
    pub(in crate::config) metadata: Option<Placed<Named<String, Written<String>>>>,
}

/// One window, or several.
pub(in crate::config) type AnyWindowDocument =
    ShortOr<Placed<Vec<Placed<WindowDocument>>>, Placed<WindowDocument>>;

/// A time of the week.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ days: [mon-fri], from: \"09:00\", to: \"17:00\", zone: Asia/Shanghai }`"
)]
pub(in crate::config) struct WindowDocument {
    /// The days on which it begins. Without it, all.
    pub(in crate::config) days: Option<Placed<Vec<Written<DaysWritten>>>>,
    /// When it begins. Without it, with the day.
    pub(in crate::config) from: Option<Written<TimeWritten>>,
    /// When it ends: on the next day where that is earlier. Without it, with the day.
    pub(in crate::config) to: Option<Written<TimeWritten>>,
    /// Whose clocks are meant, by the name in the IANA database. Without it, UTC.
    pub(in crate::config) zone: Option<Written<ZoneWritten>>,
}

/// A webhook that takes part in a rollout.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a hook such as `{ on: before_stage, webhook: \"http://ci/check\" }`"
)]
pub(in crate::config) struct HookDocument {
    /// What the status, the journal and metrics call it. Without it, the host of the URL.
    pub(in crate::config) name: Option<Written<TargetName>>,
    /// When it is asked or told.
    pub(in crate::config) on: OccasionDocument,
    /// Whom to ask or tell: a URL, or a map with `url`.
    pub(in crate::config) webhook: AnyWebhookDocument,
}

/// When a hook is asked or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OccasionDocument {
    /// Asked before each stage, which begins once it has answered 2xx.
    BeforeStage,
    /// Told when a stage has passed.
    AfterStage,
    /// Told when canary was taken back.
    Rollback,
    /// Told when the rollout has succeeded.
    Success,
}
