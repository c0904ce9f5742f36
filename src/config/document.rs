//! What is written: the shape of the file.
//!
//! These types know keys, lists and how single values are spelled, and nothing of what they mean
//! together; that is the business of the file of each section. Keys that a type does not have are
//! problems, each with a suggestion: see [`super::reader`], which reads them all.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use serde::Deserialize;

use crate::domain::backend::Endpoint;
use crate::domain::ids::{BackendName, FlagName, GroupName, TargetName, TokenName};
use crate::domain::notify::WebhookUrl;
use crate::domain::rollout::{Mode, NoData, OnDeadline, StartMode, Undecided};
use crate::domain::route::HostPattern;
use crate::domain::secret::Secret;
use crate::domain::weight::Weight;

use crate::config::defaults::{ENDPOINTS_MAX, PATIENCE_MAX, WORKERS_MAX};
use crate::config::notify::{MessageHeader, PhaseWord, SecretValue};
use crate::config::text::{CookieName, Increase, NonEmpty, OwnHeader, Span};
use crate::config::written::{Count, Named, Placed, ShortOr, Switch, Written};

/// The keys that a map must have, though its type can do without.
///
/// Other required keys stand in the types themselves, and a map without them is not read at all.
/// These are optional there, so that what is wrong in the rest of the map is found as well.
pub(super) fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "Document" => &["listeners", "routes"],
        "FlagDocument" => &["stable", "canary"],
        "RolloutDocument" => &["revision", "stages"],
        "GateDocument" => &["before", "approve"],
        _ => &[],
    }
}

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `listeners`, `backends` and `routes`"
)]
pub(super) struct Document {
    pub(super) workers: Option<Count<{ WORKERS_MAX }>>,
    pub(super) listeners: Option<Placed<Vec<ListenerDocument>>>,
    pub(super) admin: Option<Placed<AdminDocument>>,
    #[serde(default)]
    pub(super) state: StateDocument,
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Written<IpNet>>,
    #[serde(default)]
    pub(super) identity: Vec<Placed<IdentityDocument>>,
    #[serde(default)]
    pub(super) groups: Named<GroupName, Placed<MembershipDocument>>,
    #[serde(default)]
    pub(super) backends: Named<BackendName, ShortOr<Written<Endpoint>, BackendDocument>>,
    #[serde(default)]
    pub(super) flags: Named<FlagName, FlagDocument>,
    pub(super) routes: Option<Placed<Vec<Placed<RouteDocument>>>>,
    pub(super) notify: Option<Placed<Vec<Placed<NotifyDocument>>>>,
}

/// Where requests come in.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a listener such as `{ address: 0.0.0.0:8080 }`"
)]
pub(super) struct ListenerDocument {
    pub(super) address: Written<SocketAddr>,
}

/// Where operators come in.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ address: 127.0.0.1:9901 }`"
)]
pub(super) struct AdminDocument {
    pub(super) address: Option<Written<SocketAddr>>,
    pub(super) tokens: Option<Placed<Vec<Placed<TokenDocument>>>>,
}

/// Who may use the admin API.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ name: ci, role: operator, token_file: /run/secrets/ci }`"
)]
pub(super) struct TokenDocument {
    pub(super) name: Written<TokenName>,
    pub(super) role: RoleDocument,
    pub(super) token: Option<Written<Secret>>,
    pub(super) token_file: Option<Written<NonEmpty>>,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoleDocument {
    Viewer,
    Operator,
}

/// What outlives the process.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ path: /var/lib/serin }`"
)]
pub(super) struct StateDocument {
    pub(super) path: Option<Written<NonEmpty>>,
}

/// Where a caller's key comes from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IdentityDocument {
    Header(Written<OwnHeader>),
    Cookie(Written<CookieName>),
    AssignedCookie(AssignedCookieDocument),
    ClientIp,
}

/// A cookie that Serin gives.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ name: serin, max_age: 30d }`"
)]
pub(super) struct AssignedCookieDocument {
    pub(super) name: Option<Written<CookieName>>,
    pub(super) max_age: Option<Written<Span>>,
}

/// Who belongs to a group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MembershipDocument {
    Header(Placed<Named<HeaderName, TextDocument>>),
    Cookie(Placed<Named<CookieName, TextDocument>>),
    Ip(Placed<Vec<Written<IpNet>>>),
    Callers(Vec<Written<NonEmpty>>),
    CallersFile(Written<NonEmpty>),
    Percentage(Written<Weight>),
    Group(Written<String>),
    Any(Placed<Vec<Self>>),
    All(Placed<Vec<Self>>),
    Not(Box<Self>),
}

/// A condition on a text: the text itself, or how it is compared.
pub(super) type TextDocument = ShortOr<Written<String>, TextPatternDocument>;

/// How a text is compared.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TextPatternDocument {
    Prefix(Written<NonEmpty>),
    Present(Placed<Switch>),
}

/// A pool of servers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a URL, or a map with `endpoints`")]
pub(super) struct BackendDocument {
    pub(super) endpoints: Placed<Vec<ShortOr<Written<Endpoint>, EndpointDocument>>>,
    #[serde(default)]
    pub(super) timeouts: TimeoutsDocument,
}

/// One endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a URL, or a map with `url`")]
pub(super) struct EndpointDocument {
    pub(super) url: Written<Endpoint>,
}

/// Limits of time.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ connect: 1s, response: 15s }`"
)]
pub(super) struct TimeoutsDocument {
    pub(super) connect: Option<Written<Span>>,
    pub(super) response: Option<Written<Span>>,
    pub(super) idle: Option<Written<Span>>,
}

/// A switch between two backends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map with `stable` and `canary`")]
pub(super) struct FlagDocument {
    pub(super) stable: Option<Written<String>>,
    pub(super) canary: Option<Written<String>>,
    pub(super) enabled: Option<Switch>,
    pub(super) salt: Option<Written<NonEmpty>>,
    pub(super) stickiness: Option<StickinessDocument>,
    pub(super) force: Option<ForceDocument>,
    pub(super) groups: Option<Placed<Named<String, Written<Weight>>>>,
    pub(super) default: Option<Written<Weight>>,
    pub(super) rollout: Option<RolloutDocument>,
}

/// What a variant sticks to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StickinessDocument {
    Caller,
    Request,
}

/// Who may choose a variant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map with `header` and `for`")]
pub(super) struct ForceDocument {
    pub(super) header: Written<OwnHeader>,
    #[serde(rename = "for")]
    pub(super) groups: Placed<Vec<Written<String>>>,
    pub(super) after_rollback: Option<Switch>,
}

/// The automation of a flag.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map with `revision` and `stages`")]
pub(super) struct RolloutDocument {
    pub(super) revision: Option<Written<NonEmpty>>,
    pub(super) stages: Option<Placed<Vec<AnyStageDocument>>>,
    pub(super) hold: Option<Written<Duration>>,
    pub(super) min_requests: Option<Count>,
    pub(super) watch: Option<Written<Duration>>,
    pub(super) final_control: Option<Written<Weight>>,
    #[serde(default)]
    pub(super) checks: ChecksDocument,
    pub(super) start: Option<StartMode>,
    pub(super) mode: Option<Mode>,
    pub(super) no_data: Option<NoData>,
    pub(super) undecided: Option<Undecided>,
    pub(super) patience: Option<Count<{ PATIENCE_MAX }>>,
    pub(super) deadline: Option<Written<Duration>>,
    pub(super) on_deadline: Option<OnDeadline>,
    pub(super) stable_min_endpoints: Option<Count<{ ENDPOINTS_MAX }>>,
    #[serde(default)]
    pub(super) gates: Vec<Placed<GateDocument>>,
}

/// What has to be open before a stage begins.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a gate such as `{ before: 25%, approve: manual }`"
)]
pub(super) struct GateDocument {
    pub(super) before: Option<Written<Weight>>,
    pub(super) approve: Option<ApproveDocument>,
}

/// Who opens a gate.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ApproveDocument {
    /// An operator.
    Manual,
}

/// A stage for everyone, or one that says more.
pub(super) type AnyStageDocument = ShortOr<Written<Weight>, Placed<StageDocument>>;

/// One step of a rollout, or several that differ in their weight only.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a weight such as `5%`, or a map with `weight`"
)]
pub(super) struct StageDocument {
    pub(super) groups: Option<Placed<Vec<Written<String>>>>,
    pub(super) weight: Option<Written<Weight>>,
    pub(super) weights: Option<Placed<Vec<Written<Weight>>>>,
    pub(super) hold: Option<Written<Duration>>,
    pub(super) min_requests: Option<Count>,
}

/// What the judge tolerates.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `error_rate` or `latency`"
)]
pub(super) struct ChecksDocument {
    #[serde(default)]
    pub(super) error_rate: ErrorRateDocument,
    #[serde(default)]
    pub(super) latency: LatencyDocument,
}

/// Tolerated failures.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ max_increase: 25%, max: 5% }`"
)]
pub(super) struct ErrorRateDocument {
    pub(super) max_increase: Option<Written<Increase>>,
    pub(super) max: Option<Written<Weight>>,
}

/// Tolerated latency.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ p50: +10%, p99: +25% }`"
)]
pub(super) struct LatencyDocument {
    pub(super) p50: Option<Written<Increase>>,
    pub(super) p90: Option<Written<Increase>>,
    pub(super) p99: Option<Written<Increase>>,
    pub(super) mean: Option<MeanDocument>,
}

/// A goal for the mean latency.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a map such as `{ max: 1000ms }`")]
pub(super) struct MeanDocument {
    pub(super) max: Written<Span>,
}

/// Which requests go where.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a route such as `{ path: /, flag: orders }`"
)]
pub(super) struct RouteDocument {
    pub(super) name: Option<Written<NonEmpty>>,
    pub(super) host: Option<Written<HostPattern>>,
    pub(super) path: Option<ShortOr<Written<String>, PathDocument>>,
    pub(super) methods: Option<Placed<Vec<Written<Method>>>>,
    #[serde(default)]
    pub(super) headers: Named<HeaderName, TextDocument>,
    pub(super) flag: Option<Written<String>>,
    pub(super) backend: Option<Written<String>>,
}

/// How a path is compared.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PathDocument {
    Exact(Written<String>),
    Prefix(Written<String>),
}

/// Somebody who is told of changes.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ webhook: \"http://chat/hook\" }`"
)]
pub(super) struct NotifyDocument {
    pub(super) webhook: Written<WebhookUrl>,
    pub(super) name: Option<Written<TargetName>>,
    pub(super) format: Option<FormatDocument>,
    pub(super) on: Option<Placed<Vec<Written<PhaseWord>>>>,
    pub(super) flags: Option<Placed<Vec<Written<String>>>>,
    #[serde(default)]
    pub(super) headers: Named<MessageHeader, Written<SecretValue>>,
    pub(super) timeout: Option<Written<Span>>,
    pub(super) ca: Option<Written<NonEmpty>>,
}

/// The shape of messages.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FormatDocument {
    Json,
    Slack,
    Teams,
}
