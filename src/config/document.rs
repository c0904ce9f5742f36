//! What is written: the shape of the file.
//!
//! These types know keys, lists and how single values are spelled, and nothing of what they mean
//! together; that is the business of the file of each section. Keys that a type does not have are
//! problems, each with a suggestion: see [`super::reader`], which reads them all.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::backend::Endpoint;
use crate::domain::ids::{BackendName, FlagName, GroupName};
use crate::domain::route::HostPattern;
use crate::domain::weight::Weight;

use crate::config::defaults::WORKERS_MAX;
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
        _ => &[],
    }
}

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `listeners`, `backends` and `routes`"
)]
pub(super) struct Document {
    /// How many threads serve requests. Without it, one for each core.
    pub(super) workers: Option<Count<{ WORKERS_MAX }>>,
    /// Where requests come in: at least one address.
    #[schemars(length(min = 1))]
    pub(super) listeners: Option<Placed<Vec<ListenerDocument>>>,
    /// Where operators come in: API, metrics, health.
    pub(super) admin: Option<Placed<AdminDocument>>,
    /// The load balancers before this proxy, as networks or single addresses. Only they may say who
    /// the client is or set an identity header. Without it, nobody.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Written<IpNet>>,
    /// Where a caller's key comes from: the first source that yields one wins. A caller with a key
    /// gets the same variant each time; one without is drawn anew for each request.
    #[serde(default)]
    pub(super) identity: Vec<Placed<IdentityDocument>>,
    /// Named sets of callers. Of the groups that a flag names, the first in this list that a caller
    /// is in decides.
    #[serde(default)]
    pub(super) groups: Named<GroupName, Placed<MembershipDocument>>,
    /// The pools of servers, by name: a URL, or a map with `endpoints`.
    #[serde(default)]
    pub(super) backends: Named<BackendName, ShortOr<Written<Endpoint>, BackendDocument>>,
    /// The switches between a stable and a canary backend, by name.
    #[serde(default)]
    pub(super) flags: Named<FlagName, FlagDocument>,
    /// Which requests go where: at least one. The best match wins, wherever it stands in the list.
    #[schemars(length(min = 1))]
    pub(super) routes: Option<Placed<Vec<Placed<RouteDocument>>>>,
}

/// Where requests come in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a listener such as `{ address: 0.0.0.0:8080 }`"
)]
pub(super) struct ListenerDocument {
    /// An IP address with a port. `0.0.0.0` is all IPv4 addresses of this machine, `[::]` all of its
    /// addresses.
    pub(super) address: Written<SocketAddr>,
}

/// Where operators come in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ address: 127.0.0.1:9901 }`"
)]
pub(super) struct AdminDocument {
    /// An IP address with a port.
    pub(super) address: Option<Written<SocketAddr>>,
}

/// Where a caller's key comes from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IdentityDocument {
    /// This header, believed from trusted proxies only and removed when anyone else sends it.
    Header(Written<OwnHeader>),
    /// This cookie, set by your application.
    Cookie(Written<CookieName>),
    /// A cookie given by Serin to browsers that have no key yet.
    AssignedCookie(AssignedCookieDocument),
    /// The client's address, which is always there: nothing can come after it.
    ClientIp,
}

/// A cookie that Serin gives.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ name: serin, max_age: 30d }`"
)]
pub(super) struct AssignedCookieDocument {
    /// The name of the cookie.
    pub(super) name: Option<Written<CookieName>>,
    /// How long a browser keeps it.
    pub(super) max_age: Option<Written<Span>>,
}

/// Who belongs to a group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MembershipDocument {
    /// A header has this value, begins with it, or is there.
    Header(Placed<Named<HeaderName, TextDocument>>),
    /// A cookie has this value, begins with it, or is there.
    Cookie(Placed<Named<CookieName, TextDocument>>),
    /// The client's address is in one of these networks.
    Ip(Placed<Vec<Written<IpNet>>>),
    /// The caller's key is one of these.
    Callers(Vec<Written<NonEmpty>>),
    /// The caller's key is in this file, one a line. The path is relative to the configuration.
    CallersFile(Written<NonEmpty>),
    /// This share of all callers that have a key, always the same ones.
    Percentage(Written<Weight>),
    /// Whoever is in this other group.
    Group(Written<String>),
    /// In at least one of these.
    Any(Placed<Vec<Self>>),
    /// In all of these.
    All(Placed<Vec<Self>>),
    /// Not in this.
    Not(Box<Self>),
}

/// A condition on a text: the text itself, or how it is compared.
pub(super) type TextDocument = ShortOr<Written<String>, TextPatternDocument>;

/// How a text is compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TextPatternDocument {
    /// It begins with this.
    Prefix(Written<NonEmpty>),
    /// It is there, with whatever value. Always `true`.
    Present(Placed<Switch>),
}

/// A pool of servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a URL, or a map with `endpoints`")]
pub(super) struct BackendDocument {
    /// The servers: at least one, each a URL or a map with `url`.
    #[schemars(length(min = 1))]
    pub(super) endpoints: Placed<Vec<ShortOr<Written<Endpoint>, EndpointDocument>>>,
    /// How long to wait.
    #[serde(default)]
    pub(super) timeouts: TimeoutsDocument,
}

/// One endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a URL, or a map with `url`")]
pub(super) struct EndpointDocument {
    /// `http://host:port`; the port's default is 80, an IPv6 address stands in brackets.
    pub(super) url: Written<Endpoint>,
}

/// Limits of time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ connect: 1s, response: 15s }`"
)]
pub(super) struct TimeoutsDocument {
    /// Until a connection is there.
    pub(super) connect: Option<Written<Span>>,
    /// From the whole request sent to the answer's head.
    pub(super) response: Option<Written<Span>>,
    /// Without a byte in either direction.
    pub(super) idle: Option<Written<Span>>,
}

/// A switch between two backends.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `stable` and `canary`")]
pub(super) struct FlagDocument {
    /// The backend that everyone had before.
    pub(super) stable: Option<Written<String>>,
    /// The backend on trial.
    pub(super) canary: Option<Written<String>>,
    /// `false` is the kill switch: stable for everyone.
    pub(super) enabled: Option<Switch>,
    /// Another salt draws other callers. Without it, the flag's name.
    pub(super) salt: Option<Written<NonEmpty>>,
    /// What a variant sticks to.
    pub(super) stickiness: Option<StickinessDocument>,
    /// Lets some callers choose their variant. Without it, nobody.
    pub(super) force: Option<ForceDocument>,
    /// The share of each group's callers that get canary. Not beside `rollout`.
    pub(super) groups: Option<Placed<Named<String, Written<Weight>>>>,
    /// The share of everyone else. Not beside `rollout`.
    pub(super) default: Option<Written<Weight>>,
    /// Lets Serin move the weights through stages, and back if canary does worse.
    pub(super) rollout: Option<RolloutDocument>,
}

/// What a variant sticks to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StickinessDocument {
    /// A caller gets the same variant each time.
    Caller,
    /// Each request is drawn anew.
    Request,
}

/// Who may choose a variant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `header` and `for`")]
pub(super) struct ForceDocument {
    /// The header that says `stable` or `canary`.
    pub(super) header: Written<OwnHeader>,
    /// The groups that may choose.
    #[serde(rename = "for")]
    pub(super) groups: Placed<Vec<Written<String>>>,
    /// Whether canary may be chosen after a rollback.
    pub(super) after_rollback: Option<Switch>,
}

/// The automation of a flag.
#[derive(Debug, Deserialize, JsonSchema)]
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
}

/// A stage for everyone, or one that says more.
pub(super) type AnyStageDocument = ShortOr<Written<Weight>, Placed<StageDocument>>;

/// One step of a rollout, or several that differ in their weight only.
#[derive(Debug, Deserialize, JsonSchema)]
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
#[derive(Debug, Default, Deserialize, JsonSchema)]
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
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ max_increase: 25%, max: 5% }`"
)]
pub(super) struct ErrorRateDocument {
    /// So much more failures than stable has.
    pub(super) max_increase: Option<Written<Increase>>,
    /// Never more than this share of requests. Without it, no such limit.
    pub(super) max: Option<Written<Weight>>,
}

/// Tolerated latency.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ p50: +10%, p99: +25% }`"
)]
pub(super) struct LatencyDocument {
    /// So much slower than stable at the median, or 2 ms.
    pub(super) p50: Option<Written<Increase>>,
    /// So much slower at the 90th percentile. Without it, not looked at.
    pub(super) p90: Option<Written<Increase>>,
    /// So much slower at the 99th percentile, or 2 ms.
    pub(super) p99: Option<Written<Increase>>,
    /// A goal for the mean.
    pub(super) mean: Option<MeanDocument>,
}

/// A goal for the mean latency.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{ max: 1000ms }`")]
pub(super) struct MeanDocument {
    /// Never slower than this on average.
    pub(super) max: Written<Span>,
}

/// Which requests go where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a route such as `{ path: /, flag: orders }`"
)]
pub(super) struct RouteDocument {
    /// What metrics call it. Without it, a name made from what follows.
    pub(super) name: Option<Written<NonEmpty>>,
    /// The host that is asked for, on any port; `*.example.com` is any host below. Without it, any.
    pub(super) host: Option<Written<HostPattern>>,
    /// This path and all below it, by whole segments.
    pub(super) path: Option<ShortOr<Written<String>, PathDocument>>,
    /// The methods. Without it, all.
    pub(super) methods: Option<Placed<Vec<Written<Method>>>>,
    /// Headers that must all fit.
    #[serde(default)]
    pub(super) headers: Named<HeaderName, TextDocument>,
    /// The flag that decides. A route needs this or `backend`.
    pub(super) flag: Option<Written<String>>,
    /// The backend that gets all of it. A route needs this or `flag`.
    pub(super) backend: Option<Written<String>>,
}

/// How a path is compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PathDocument {
    /// This path only.
    Exact(Written<String>),
    /// This path and all below it, by whole segments.
    Prefix(Written<String>),
}
