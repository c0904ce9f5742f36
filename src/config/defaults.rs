//! Every default of the configuration, beside its reason.
//!
//! What the judge tolerates unless told otherwise stands with its statistics, in
//! [`JudgeSettings`](crate::domain::judge::JudgeSettings).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::domain::backend::{BalancePolicy, Http1Client, Limits, Protocol, Timeouts};
use crate::domain::jwt::Algorithm;
use crate::domain::outlier::OutlierRule;
use crate::domain::retries::RetryCause;
use crate::domain::weight::Weight;

use crate::config::limits::ListenerLimits;
use crate::config::shutdown::ShutdownConfig;
use crate::config::tls::TlsVersion;

/// Where operators come in: this machine only, so that no token is needed; the port
/// is where users of Envoy look first.
pub const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// The most workers: beyond this, more threads than any machine has cores are a slip of the pen.
pub const WORKERS_MAX: u64 = 1024;

/// The name of the cookie given to anonymous browsers: says whose it is.
pub const ASSIGNED_COOKIE_NAME: &str = "serin";

/// How long a browser keeps it: longer than most rollouts take, short enough to be forgotten.
pub const ASSIGNED_COOKIE_MAX_AGE: Duration = Duration::from_secs(30 * 86_400);

/// How tokens may be signed: what issuers use most, by public keys only. A secret is asked for by name.
pub const JWT_ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// The claim that is the caller's key: what the standard has for whom a token is about.
pub const JWT_CLAIM: &str = "sub";

/// How far clocks may differ: what most libraries have.
pub const JWT_LEEWAY: Duration = Duration::from_secs(60);

/// The most that they may: tokens live for minutes.
pub const JWT_LEEWAY_MAX: Duration = Duration::from_secs(300);

/// How often keys are asked for: a key that is taken back is good for no longer than that, and issuers do not
/// notice it. Keys that are new are asked for when they are seen.
pub const JWKS_REFRESH: Duration = Duration::from_secs(300);

/// The shortest time from one to the next.
pub const JWKS_REFRESH_MIN: Duration = Duration::from_secs(1);

/// How long an issuer may take to answer: it is a small file.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that it may be given.
pub const JWKS_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The oldest version of TLS: what came before is broken, and some clients know nothing newer.
pub const TLS_MIN_VERSION: TlsVersion = TlsVersion::Tls12;

/// How long a handshake may take: two or three round trips, of which even the slowest line needs no
/// more than a second each, and room for packets that are lost.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that it may be given: less than an unused connection is kept.
pub const TLS_HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// What clients of a listener may take up.
///
/// Connections: at some 30 KB each for sockets and buffers, 600 MB. Heads: what most servers take, 32 KiB
/// for those with large cookies. A head comes in one or two packets, so that ten seconds are for lines
/// that lose most of theirs. Browsers keep connections for a minute or more, and 75 s is what servers
/// are used to.
pub const LISTENER_LIMITS: ListenerLimits = ListenerLimits {
    connections: 20_000,
    header_bytes: 32 * 1024,
    headers: 100,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
};

/// The most connections: beyond this no process has enough file descriptors.
pub const CONNECTIONS_MAX: u64 = 1_000_000;

/// The fewest bytes of a head: less than any browser sends.
pub const HEADER_BYTES_MIN: u64 = 1024;

/// The most: a head is held in memory as a whole, for each connection that sends one.
pub const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// The most fields of a head: each is a piece of memory, and backends take fewer.
pub const HEADERS_MAX: u64 = 1_000;

/// The shortest time for clients: connections are looked at once a second.
pub const CLIENT_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// The longest time for a head: whoever takes longer holds the connection for its own sake.
pub const HEADER_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The longest time without a request: beyond it gateways between have forgotten the connection.
pub const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// How it stops.
///
/// A delay is for load balancers that ask `/readyz` and take seconds to act; where there is none, it would only
/// make restarts slow. The deadline leaves five of the 30 seconds after which Kubernetes kills
/// (`terminationGracePeriodSeconds`), for what is to be written down at the end.
pub const SHUTDOWN: ShutdownConfig = ShutdownConfig {
    delay: Duration::ZERO,
    deadline: Duration::from_secs(25),
};

/// The limits of time of a backend.
///
/// A server one hop away connects in a millisecond; after a second it is not there. Answers take
/// as long as they take, but after 15 seconds most clients have gone. A minute without a byte is a
/// connection that nobody holds any more, and less than the 75 seconds after which most servers
/// close an unused one, so that we do it first.
pub const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(1),
    response: Duration::from_secs(15),
    idle: Duration::from_secs(60),
};

/// How often a request is sent once more: what fails twice mostly fails by itself.
pub const RETRY_ATTEMPTS: u32 = 1;

/// The most: beyond this a client waits for a backend that is not there.
pub const RETRY_ATTEMPTS_MAX: u64 = 10;

/// What is retried: what a restart of a server looks like.
pub const RETRY_ON: [RetryCause; 2] = [RetryCause::Connect, RetryCause::Reset];

/// How many retries there may be: where a fifth of all requests fails, more load makes it worse. As in
/// Finagle, Linkerd and Envoy.
pub const RETRY_BUDGET: Weight = match Weight::from_basis_points(2_000) {
    Some(weight) => weight,
    None => Weight::ZERO,
};

/// How much an endpoint may be asked at once: more than most servers serve well, and few enough that one
/// which hangs holds on to no more than it may.
pub const BACKEND_LIMITS: Limits = Limits {
    connections: 1_024,
    pending: 1_024,
};

/// The largest of these limits: there are some 64,000 ports to connect from.
pub const BACKEND_LIMIT_MAX: u64 = 65_536;

/// How often an endpoint is asked how it is: the usual pace, which no server feels.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest interval: more would be load.
pub const HEALTH_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// How long the answer may take: whoever needs longer to say that it is well is not.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

/// How many checks in a row must fail: one may be lost, three are no accident.
pub const UNHEALTHY_AFTER: u32 = 3;

/// How many must go well again: a server that restarts may answer once and fall again.
pub const HEALTHY_AFTER: u32 = 2;

/// The most of these: at the shortest interval ten seconds.
pub const HEALTH_CHECKS_MAX: u64 = 100;

/// How many requests in a row an endpoint must fail to be ejected, how long it is, and which share may be
/// at once.
///
/// Five and half a minute as in Envoy: one may be an accident, and a restart takes about so long. Half of
/// the endpoints, for the others have to bear what these do not get; of two, one.
pub const OUTLIER: OutlierRule = OutlierRule {
    consecutive_failures: NonZeroU32::MIN.saturating_add(4),
    eject_for: Duration::from_secs(30),
    max_ejected: match Weight::from_basis_points(5_000) {
        Some(weight) => weight,
        None => Weight::ZERO,
    },
};

/// The most failures in a row: whoever waits for more does not mean an outlier.
pub const OUTLIER_FAILURES_MAX: u64 = 1_000;

/// The shortest ejection: less than a request takes is none.
pub const EJECT_FOR_MIN: Duration = Duration::from_millis(100);

/// The longest: after that somebody should have looked.
pub const EJECT_FOR_MAX: Duration = Duration::from_secs(3_600);

/// Which endpoint is asked next: each in turn. Nothing is drawn, so a handful of requests is spread as
/// evenly as thousands are. Where answers take very different times, `power_of_two` is better.
pub const BALANCE_POLICY: BalancePolicy = BalancePolicy::RoundRobin;

/// The largest weight of an endpoint: servers differ by a few times, hardly by hundreds.
pub const ENDPOINT_WEIGHT_MAX: u64 = 256;

/// Which HTTP is spoken to a backend: the newer one where both sides say so, and over plain TCP, where
/// nobody is asked, the one that every server speaks.
pub const BACKEND_PROTOCOL: Protocol = Protocol::Auto;

/// Who speaks HTTP/1.1 to a backend: what costs less and takes the same.
pub const BACKEND_HTTP1_CLIENT: Http1Client = Http1Client::Own;

/// How long a stage lasts at least: most faults of a release show within minutes of traffic.
pub const HOLD: Duration = Duration::from_secs(5 * 60);

/// How many requests canary must have served in a stage: enough to tell a failure in a hundred
/// from none.
pub const MIN_REQUESTS: u64 = 1_000;

/// How long a finished rollout is watched, ready to go back: leaks and caches take their time.
pub const WATCH: Duration = Duration::from_secs(30 * 60);

/// The share that stays on stable while watching, to compare with: few enough to call the
/// rollout done, enough to be a control.
pub const FINAL_CONTROL: Weight = match Weight::from_basis_points(100) {
    Some(weight) => weight,
    None => Weight::ZERO,
};

/// After how many hold times without a decision a stage goes on, or a stage without data is
/// given up: once may be a quiet moment, three times is how things are.
pub const PATIENCE: u32 = 3;

/// The most hold times: beyond this somebody means `undecided: hold`.
pub const PATIENCE_MAX: u64 = 1_000;

/// How long the stages may take altogether: whoever starts a release in the morning wants to know
/// by the next one.
pub const DEADLINE: Duration = Duration::from_secs(24 * 3_600);

/// The most endpoints that may be asked of stable: more than any pool has is a slip of the pen.
pub const ENDPOINTS_MAX: u64 = 10_000;

/// How often a custom check asks. Most sources are scraped every 15 to 60 seconds: three samples in a row
/// span a minute then, and so never come of a single scrape.
pub const CUSTOM_EVERY: Duration = Duration::from_secs(30);

/// The shortest interval: a tick, between two of which nothing is decided.
pub const CUSTOM_EVERY_MIN: Duration = Duration::from_secs(1);

/// How long an answer may take: metrics are answered in milliseconds, and a source that takes longer
/// than this has trouble of its own.
pub const CUSTOM_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest that it may be given: heavier queries are for recording rules.
pub const CUSTOM_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// How old a sample may be: a few questions may fail, and after two minutes things may have changed.
pub const CUSTOM_MAX_AGE: Duration = Duration::from_secs(120);

/// The most custom checks of a rollout: each is a question every few seconds and a line of findings.
pub const CUSTOM_CHECKS_MAX: usize = 32;

/// The longest query, in bytes: it travels in a URL.
pub const PROMQL_BYTES_MAX: usize = 4_000;

/// How long a webhook may take: chats answer within a second, and nothing waits for it.
pub const NOTIFY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that it may be given: whoever has not answered after a minute will not.
pub const NOTIFY_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// The most targets of notifications: each has a queue and a connection of its own, and a list
/// this long is a distribution list, which is somebody else's trade.
pub const NOTIFY_TARGETS_MAX: usize = 16;

/// How long each stage lasts on the way back where that is stepped: enough for servers to be added and
/// caches to fill, and no more of the harm than must be.
pub const ROLLBACK_STEP: Duration = Duration::from_secs(30);

/// How long a gate's answer may take: whoever has to look something up first does so within this.
pub const GATE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that it may be given: tests that run before they are answered. Nothing waits for it but the
/// stage.
pub const GATE_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// How long after an answer that does not pass a gate is asked again: soon enough for people, and few
/// enough questions for a pipeline.
pub const GATE_EVERY: Duration = Duration::from_secs(30);

/// The shortest: a tick, between two of which nothing is decided.
pub const GATE_EVERY_MIN: Duration = Duration::from_secs(1);

/// How often a gate is asked in a row where it does not answer: whoever restarts is back soon.
pub const GATE_ATTEMPTS: u32 = 3;

/// The most of them: a gate that does not answer is asked again in any case.
pub const GATE_ATTEMPTS_MAX: u64 = 10;

/// The most gates, hooks, and windows of a gate: they are asked one after the other.
pub const GATES_MAX: usize = 32;

/// The most entries that are passed on to a webhook.
pub const METADATA_MAX: usize = 32;

/// The longest of them, in bytes.
pub const METADATA_BYTES_MAX: usize = 1_024;

/// The share of requests with a line in the access log: whoever asks for a log wants all of it.
pub const ACCESS_LOG_SAMPLE: Weight = Weight::FULL;

/// The callers of whom it is counted what they do, where that is wanted: some 30 megabytes, and more than most
/// platforms have in a day.
pub const CALLERS_TRACKED: NonZeroUsize = match NonZeroUsize::new(100_000) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};

/// The most of them: some three gigabytes.
pub const CALLERS_TRACKED_MAX: u64 = 10_000_000;

/// After what time it counts half: long enough for habits, short enough for those of this morning.
pub const CALLERS_HALF_LIFE: Duration = Duration::from_secs(3_600);

/// The shortest such time: counts are aged by the second.
pub const CALLERS_HALF_LIFE_MIN: Duration = Duration::from_secs(1);
