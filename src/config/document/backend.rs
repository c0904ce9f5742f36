//! What is written of the pools of servers.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::weight::Weight;

use crate::config::defaults::{
    BACKEND_LIMIT_MAX, ENDPOINT_WEIGHT_MAX, HEALTH_CHECKS_MAX, OUTLIER_FAILURES_MAX,
    RETRY_ATTEMPTS_MAX,
};
use crate::config::document::listening::CertificateDocument;
use crate::config::health::Target;
use crate::config::retries::Cause;
use crate::config::text::{EndpointUrl, NonEmpty, Span};
use crate::config::tls::TlsName;
use crate::config::written::{Count, Placed, ShortOr, Written};

/// A pool of servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a URL, or a map with `endpoints`")]
pub(in crate::config) struct BackendDocument {
    /// The servers: at least one, each a URL or a map with `url`.
    #[schemars(length(min = 1))]
    pub(in crate::config) endpoints: Placed<Vec<ShortOr<Written<EndpointUrl>, EndpointDocument>>>,
    /// Which of them is asked next. Without it, one after the other.
    pub(in crate::config) balance: Option<BalanceDocument>,
    /// Which HTTP is spoken to them. Without it, over TLS what the two agree on, else HTTP/1.1.
    pub(in crate::config) protocol: Option<ProtocolDocument>,
    /// Who speaks HTTP/1.1 to them. Without it, Serin's own codec.
    pub(in crate::config) http1_client: Option<Http1ClientDocument>,
    /// How TLS is spoken to them. Beside `https://` only.
    pub(in crate::config) tls: Option<Placed<BackendTlsDocument>>,
    /// How long to wait.
    #[serde(default)]
    pub(in crate::config) timeouts: TimeoutsDocument,
    /// Which requests are sent once more. Without it, only what was certainly never sent, to the next endpoint.
    pub(in crate::config) retries: Option<RetriesDocument>,
    /// How it is found out whether endpoints are well. Without it, nobody asks them.
    pub(in crate::config) health: Option<Placed<HealthDocument>>,
    /// When an endpoint that fails requests gets none for a while. Without it, never.
    pub(in crate::config) outlier: Option<Placed<OutlierDocument>>,
    /// How much each endpoint is asked at once.
    #[serde(default)]
    pub(in crate::config) limits: BackendLimitsDocument,
}

/// One endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a URL, or a map with `url`")]
pub(in crate::config) struct EndpointDocument {
    /// `http://host:port` or `https://host:port`; the port's default is 80 or 443, an IPv6 address
    /// stands in brackets. All endpoints of a backend have one scheme.
    pub(in crate::config) url: Written<EndpointUrl>,
    /// Its share of the requests beside the other endpoints'. Without it, 1.
    pub(in crate::config) weight: Option<Count<{ ENDPOINT_WEIGHT_MAX }>>,
}

/// Which of a backend's endpoints is asked next.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum BalanceDocument {
    /// One after the other.
    RoundRobin,
    /// Of two drawn at random the one with fewer requests under way.
    PowerOfTwo,
    /// The one with the fewest requests under way.
    LeastRequest,
    /// The same one for all requests of a caller.
    RingHash,
}

/// Which HTTP is spoken to a backend.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ProtocolDocument {
    /// Over TLS HTTP/2 or HTTP/1.1, whatever the two agree on, else HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    H1,
    /// HTTP/2; over TLS a server must agree to it, over plain TCP it is taken for granted.
    H2,
}

/// Who speaks HTTP/1.1 to a backend.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Http1ClientDocument {
    /// Serin's own codec, which costs less for each request.
    Own,
    /// The client of the hyper library.
    Hyper,
}

/// How TLS is spoken to a backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ ca: internal.pem, server_name: orders.internal }`"
)]
pub(in crate::config) struct BackendTlsDocument {
    /// A PEM file with the only authorities whose certificates are good. The path is relative to the
    /// configuration. Without it, those that the system trusts.
    pub(in crate::config) ca: Option<Written<NonEmpty>>,
    /// The name that the servers are asked for and that their certificates must hold. Without it,
    /// the host of each endpoint.
    pub(in crate::config) server_name: Option<Written<TlsName>>,
    /// Whom Serin shows itself as, where a server asks. Without it, nobody.
    pub(in crate::config) client: Option<Placed<CertificateDocument>>,
}

/// Requests that are sent once more: idempotent ones (GET, HEAD, OPTIONS, TRACE, PUT, DELETE) without a
/// body, and what was never sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ attempts: 1, on: [connect, reset, 503], budget: 20% }`"
)]
pub(in crate::config) struct RetriesDocument {
    /// How often a request is sent once more, to another endpoint where there is one.
    pub(in crate::config) attempts: Option<Count<{ RETRY_ATTEMPTS_MAX }>>,
    /// What an attempt must have failed by. Without it, `connect` and `reset`.
    #[schemars(length(min = 1))]
    pub(in crate::config) on: Option<Placed<Vec<Placed<Cause>>>>,
    /// The share that retries may be of the requests of the last ten seconds, by worker; ten in any case.
    pub(in crate::config) budget: Option<Written<Weight>>,
}

/// How it is found out whether endpoints are well.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ path: /healthz, interval: 5s }`"
)]
pub(in crate::config) struct HealthDocument {
    /// What they are asked for by GET; a status of 2xx is well.
    pub(in crate::config) path: Written<Target>,
    /// From one check to the next. Without it, 5 seconds.
    pub(in crate::config) interval: Option<Written<Span>>,
    /// How long the answer may take, connection included. Without it, one second.
    pub(in crate::config) timeout: Option<Written<Span>>,
    /// How many checks in a row must fail until an endpoint gets no more requests. Without it, 3.
    pub(in crate::config) unhealthy_after: Option<Count<{ HEALTH_CHECKS_MAX }>>,
    /// How many must go well until it gets them again. Without it, 2.
    pub(in crate::config) healthy_after: Option<Count<{ HEALTH_CHECKS_MAX }>>,
}

/// When an endpoint that fails requests gets none for a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ consecutive_failures: 5, eject_for: 30s, max_ejected: 50% }`"
)]
pub(in crate::config) struct OutlierDocument {
    /// How many requests in a row it must fail. Without it, 5.
    pub(in crate::config) consecutive_failures: Option<Count<{ OUTLIER_FAILURES_MAX }>>,
    /// How long it gets none; longer each time in a row. Without it, 30 seconds.
    pub(in crate::config) eject_for: Option<Written<Span>>,
    /// The share of the endpoints that may be ejected at once, rounded down. Without it, 50%.
    pub(in crate::config) max_ejected: Option<Written<Weight>>,
}

/// How much each endpoint is asked at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ connections: 1024, pending: 1024 }`"
)]
pub(in crate::config) struct BackendLimitsDocument {
    /// Connections, used or idle. Without it, 1024.
    pub(in crate::config) connections: Option<Count<{ BACKEND_LIMIT_MAX }>>,
    /// Requests that wait for one. Without it, 1024.
    pub(in crate::config) pending: Option<Count<{ BACKEND_LIMIT_MAX }>>,
}

/// Limits of time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ connect: 1s, response: 15s }`"
)]
pub(in crate::config) struct TimeoutsDocument {
    /// Until a connection is there, over TLS until the handshake is done.
    pub(in crate::config) connect: Option<Written<Span>>,
    /// From the whole request sent to the answer's head.
    pub(in crate::config) response: Option<Written<Span>>,
    /// Without a byte in either direction.
    pub(in crate::config) idle: Option<Written<Span>>,
}
