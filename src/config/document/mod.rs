//! What is written: the shape of the file.
//!
//! These types know keys, lists and how single values are spelled, and nothing of what they mean
//! together; that is the business of the file of each section. Keys that a type does not have are
//! problems, each with a suggestion: see [`super::reader`], which reads them all.

mod apps;
mod backend;
mod further;
mod gate;
mod identity;
mod jwt;
mod listening;
mod operating;
mod rollout;
mod segment;

use http::{HeaderName, Method};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::identity::CertificateName;
use crate::domain::ids::{BackendName, FlagName, GroupName, VariantName};
use crate::domain::route::HostPattern;
use crate::domain::weight::Weight;

use crate::config::defaults::WORKERS_MAX;
use crate::config::text::{CookieName, EndpointUrl, NonEmpty, OwnHeader};
use crate::config::value::AnyValue;
use crate::config::written::{Count, Named, Placed, ShortOr, Switch, Written};

pub(in crate::config) use apps::{
    AppDocument, AppKeyDocument, AppListDocument, AppStatusDocument, AppsDocument,
    RateLimitDocument,
};
pub(in crate::config) use backend::{
    BackendDocument, BackendLimitsDocument, BackendTlsDocument, BalanceDocument, HealthDocument,
    Http1ClientDocument, OutlierDocument, ProtocolDocument, RetriesDocument, TimeoutsDocument,
};
pub(in crate::config) use further::{
    CompareDocument, CustomCheckDocument, HttpJsonDocument, MetricsDocument,
};
pub(in crate::config) use gate::{
    AnyWebhookDocument, AnyWindowDocument, ApproveDocument, GateDocument, HookDocument,
    OccasionDocument, WebhookDocument, WindowDocument,
};
pub(in crate::config) use identity::{
    ApiKeyDocument, AssignedCookieDocument, CertificateNameDocument, IdentityDocument,
};
pub(in crate::config) use jwt::JwtDocument;
pub(in crate::config) use listening::{
    CertificateDocument, DemandDocument, LimitsDocument, ListenerDocument, ProxyProtocolDocument,
    TlsDocument,
};
pub(in crate::config) use operating::{
    AccessLogDocument, AdminDocument, AnyAccessLogDocument, AnyNotifyDocument,
    CallerFeaturesDocument, FormatDocument, LineFormatDocument, NotifyDocument, RoleDocument,
    ShutdownDocument, StateDocument, TokenDocument,
};
pub(in crate::config) use rollout::{
    AnyRollbackDocument, ChecksDocument, ModeDocument, NoDataDocument, OnDeadlineDocument,
    RollbackDocument, RollbackScopeDocument, RolloutDocument, SensitivityDocument, StageDocument,
    StartDocument, UndecidedDocument,
};
pub(in crate::config) use segment::{FeaturesDocument, SegmentDocument};

/// The keys that a map must have, though its type can do without.
///
/// Other required keys stand in the types themselves, and a map without them is not read at all.
/// These are optional there, so that what is wrong in the rest of the map is found as well.
pub(in crate::config) fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "Document" => &["listeners", "routes"],
        "FlagDocument" => &["stable", "canary"],
        "RolloutDocument" => &["revision", "stages"],
        _ => &[],
    }
}

/// The keys that a map may have in the place of those.
pub(in crate::config) fn instead_of_required(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "FlagDocument" => Some(&["variants", "off"]),
        _ => None,
    }
}

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `listeners`, `backends` and `routes`"
)]
pub(in crate::config) struct Document {
    /// How many threads serve requests. Without it, one for each core.
    pub(in crate::config) workers: Option<Count<{ WORKERS_MAX }>>,
    /// Where requests come in: at least one address.
    #[schemars(length(min = 1))]
    pub(in crate::config) listeners: Option<Placed<Vec<ListenerDocument>>>,
    /// Where operators come in: API, metrics, health.
    pub(in crate::config) admin: Option<Placed<AdminDocument>>,
    /// What outlives the process: where rollouts are, the journal, the history.
    #[serde(default)]
    pub(in crate::config) state: StateDocument,
    /// How it stops.
    #[serde(default)]
    pub(in crate::config) shutdown: ShutdownDocument,
    /// The load balancers before this proxy, as networks or single addresses. Only they may say who
    /// the client is or set an identity header. Without it, nobody.
    #[serde(default)]
    pub(in crate::config) trusted_proxies: Vec<Written<IpNet>>,
    /// Applications of third parties, known by their API keys.
    pub(in crate::config) apps: Option<Placed<AppsDocument>>,
    /// Where a caller's key comes from: the first source that yields one wins. A caller with a key
    /// gets the same variant each time; one without is drawn anew for each request.
    #[serde(default)]
    pub(in crate::config) identity: Vec<Placed<IdentityDocument>>,
    /// Named sets of callers. Of the groups that a flag names, the first in this list that a caller
    /// is in decides.
    #[serde(default)]
    pub(in crate::config) groups: Named<GroupName, Placed<MembershipDocument>>,
    /// The pools of servers, by name: a URL, or a map with `endpoints`.
    #[serde(default)]
    pub(in crate::config) backends:
        Named<BackendName, ShortOr<Written<EndpointUrl>, BackendDocument>>,
    /// The switches, by name: between a stable and a canary backend, or between values.
    #[serde(default)]
    pub(in crate::config) flags: Named<FlagName, FlagDocument>,
    /// Which requests go where: at least one. The best match wins, wherever it stands in the list.
    #[schemars(length(min = 1))]
    pub(in crate::config) routes: Option<Placed<Vec<Placed<RouteDocument>>>>,
    /// Where custom checks find their metrics.
    #[serde(default)]
    pub(in crate::config) metrics: MetricsDocument,
    /// Who is told of changes by a message.
    pub(in crate::config) notify: Option<Placed<Vec<AnyNotifyDocument>>>,
    /// A line about each request: where it is written, or a map with `path`. Without it, none.
    pub(in crate::config) access_log: Option<Placed<AnyAccessLogDocument>>,
    /// What is counted of each caller, to be exported and to learn segments from. Without it, nothing.
    pub(in crate::config) caller_features: Option<Placed<CallerFeaturesDocument>>,
}

/// Who belongs to a group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum MembershipDocument {
    /// A header has this value, begins with it, or is there.
    Header(Placed<Named<HeaderName, TextDocument>>),
    /// A cookie has this value, begins with it, or is there.
    Cookie(Placed<Named<CookieName, TextDocument>>),
    /// A parameter of the query has this value, begins with it, or is there; as it is sent.
    Query(Placed<Named<NonEmpty, TextDocument>>),
    /// The path is this or below it, by whole segments.
    Path(ShortOr<Written<String>, PathDocument>),
    /// The method is one of these.
    Method(Placed<Vec<Written<Method>>>),
    /// A name in the client's certificate has this value, begins with it, or is there.
    Certificate(Placed<Named<CertificateName, TextDocument>>),
    /// The request brings the API key of an app of which this is known: its `id`, `name`, `owner`, `status` or
    /// another attribute.
    App(Placed<Named<NonEmpty, TextDocument>>),
    /// A claim of a token that `jwt` has verified has this value, begins with it, or is there; of a list, one
    /// of its items. `a.b` is the claim `b` within `a`.
    Claim(Placed<Named<NonEmpty, TextDocument>>),
    /// The client's address is in one of these networks.
    Ip(Placed<Vec<Written<IpNet>>>),
    /// The caller's key is one of these.
    Callers(Vec<Written<NonEmpty>>),
    /// The caller's key is in this file, one a line. The path is relative to the configuration.
    CallersFile(Written<NonEmpty>),
    /// The caller is in this learned segment.
    Segment(SegmentDocument),
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
pub(in crate::config) type TextDocument = ShortOr<Written<String>, TextPatternDocument>;

/// How a text is compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum TextPatternDocument {
    /// It begins with this.
    Prefix(Written<NonEmpty>),
    /// It is there, with whatever value. Always `true`.
    Present(Placed<Switch>),
}

/// A switch between two backends, or between values that applications ask for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map with `stable` and `canary`, or with `variants`"
)]
pub(in crate::config) struct FlagDocument {
    /// The backend that everyone had before.
    pub(in crate::config) stable: Option<Written<String>>,
    /// The backend on trial.
    pub(in crate::config) canary: Option<Written<String>>,
    /// What applications get for each of the two. Without it, `stable` and `canary`.
    pub(in crate::config) values: Option<Placed<ValuesDocument>>,
    /// In the place of backends: at least two values of one type, by name.
    pub(in crate::config) variants: Option<Placed<Named<VariantName, Placed<AnyValue>>>>,
    /// The one of `variants` that everybody has who gets no other.
    pub(in crate::config) off: Option<Written<VariantName>>,
    /// `false` is the kill switch: stable, or `off`, for everyone.
    pub(in crate::config) enabled: Option<Switch>,
    /// Another salt draws other callers. Without it, the flag's name.
    pub(in crate::config) salt: Option<Written<NonEmpty>>,
    /// How a caller's key is hashed.
    pub(in crate::config) hash: Option<HashDocument>,
    /// What a variant sticks to.
    pub(in crate::config) stickiness: Option<StickinessDocument>,
    /// What other flags have to give a caller before this one gives anything: the name of one that gives it
    /// anything but stable or off, or a map that names the variant.
    #[serde(default)]
    pub(in crate::config) requires: Vec<ShortOr<Written<String>, RequirementDocument>>,
    /// Lets some callers choose their variant. Without it, nobody.
    pub(in crate::config) force: Option<ForceDocument>,
    /// Whether stable answers a safe request without a body that canary has failed, by a status of 5xx, a
    /// timeout or a reset. It counts as canary's failure all the same.
    pub(in crate::config) shield: Option<Placed<Switch>>,
    /// The share of each group's callers that get canary, or the variant that is not `off`; of several
    /// variants, each one's. Not beside `rollout`.
    pub(in crate::config) groups: Option<Placed<Named<String, Placed<ShareDocument>>>>,
    /// The share of everyone else. Not beside `rollout`.
    pub(in crate::config) default: Option<Placed<ShareDocument>>,
    /// Lets Serin move the weights through stages, and back if canary does worse.
    pub(in crate::config) rollout: Option<RolloutDocument>,
}

/// What another flag has to give a caller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "the name of a flag, or a map such as `{ flag: checkout, variant: canary }`"
)]
pub(in crate::config) struct RequirementDocument {
    /// The flag.
    pub(in crate::config) flag: Written<String>,
    /// The variant. Without it, any but stable or off.
    pub(in crate::config) variant: Option<Written<VariantName>>,
}

/// A weight, or a map of variants and their weights.
pub(in crate::config) type ShareDocument =
    ShortOr<Written<Weight>, Named<VariantName, Written<Weight>>>;

/// What applications get for each of two variants.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `stable` and `canary`")]
pub(in crate::config) struct ValuesDocument {
    /// For stable.
    pub(in crate::config) stable: Option<Placed<AnyValue>>,
    /// For canary.
    pub(in crate::config) canary: Option<Placed<AnyValue>>,
}

/// How a caller's key is hashed, together with the salt.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum HashDocument {
    /// As flagd's fractional evaluation does.
    Murmur3,
    /// As Unleash's gradual rollout does; the salt is its group id.
    Unleash,
    /// As GrowthBook's hash version 2 does; the salt is its seed.
    Growthbook,
    /// As GrowthBook's hash version 1 does; the salt is its seed.
    GrowthbookV1,
}

/// What a variant sticks to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum StickinessDocument {
    /// A caller gets the same variant each time.
    Caller,
    /// Each request is drawn anew.
    Request,
}

/// Who may choose a variant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `header` and `for`")]
pub(in crate::config) struct ForceDocument {
    /// The header that says `stable` or `canary`.
    pub(in crate::config) header: Written<OwnHeader>,
    /// The groups that may choose.
    #[serde(rename = "for")]
    pub(in crate::config) groups: Placed<Vec<Written<String>>>,
    /// Whether canary may be chosen after a rollback.
    pub(in crate::config) after_rollback: Option<Switch>,
}

/// Which requests go where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a route such as `{ path: /, flag: orders }`"
)]
pub(in crate::config) struct RouteDocument {
    /// What metrics call it. Without it, a name made from what follows.
    pub(in crate::config) name: Option<Written<NonEmpty>>,
    /// The host that is asked for, on any port; `*.example.com` is any host below. Without it, any.
    pub(in crate::config) host: Option<Written<HostPattern>>,
    /// This path and all below it, by whole segments.
    pub(in crate::config) path: Option<ShortOr<Written<String>, PathDocument>>,
    /// The methods. Without it, all.
    pub(in crate::config) methods: Option<Placed<Vec<Written<Method>>>>,
    /// Headers that must all fit.
    #[serde(default)]
    pub(in crate::config) headers: Named<HeaderName, TextDocument>,
    /// The flag that decides. A route needs this or `backend`. One that may be created at run time needs both.
    pub(in crate::config) flag: Option<Written<String>>,
    /// The backend that gets all of it. A route needs this or `flag`. Beside a `flag` that stands nowhere in the
    /// file, the backend of all requests while nobody has created that flag.
    pub(in crate::config) backend: Option<Written<String>>,
    /// Further flags whose variants the backend is told, in `serin-flags`.
    #[serde(default)]
    pub(in crate::config) send: Vec<Written<String>>,
    /// Whether everybody passes here, whatever is asked of apps and of tokens elsewhere.
    pub(in crate::config) public: Option<Switch>,
}

/// How a path is compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum PathDocument {
    /// This path only.
    Exact(Written<String>),
    /// This path and all below it, by whole segments.
    Prefix(Written<String>),
}
