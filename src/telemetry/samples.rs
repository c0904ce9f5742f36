//! The numbers that are exported, as they are read at the moment of a scrape.

use crate::domain::evidence::LatencyHistogram;
use crate::domain::variant::PerVariant;

/// Everything that is exported, but for the process's own figures.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Requests by how they were answered.
    pub requests: Vec<RequestSample>,
    /// Latencies and rescues of each arm.
    pub arms: Vec<ArmSample>,
    /// Dealings with each endpoint.
    pub endpoints: Vec<EndpointSample>,
    /// Weights of each flag.
    pub weights: Vec<WeightSample>,
    /// Where each rollout is.
    pub rollouts: Vec<RolloutSample>,
    /// Callers assigned to a group at run time.
    pub assigned_callers: u64,
    /// The apps, and whom was not let in.
    pub apps: AppsSample,
    /// Messages from requests that found no room.
    pub dropped_messages: u64,
    /// What callers say.
    pub feedback: FeedbackSamples,
    /// Requests that the admin API let nobody in for, by reason.
    pub denied_requests: Vec<(&'static str, u64)>,
    /// What came of reading the configuration again; none where it comes from no file.
    pub config: Option<ConfigSample>,
    /// The state file.
    pub store: StoreSample,
    /// Whether an operator wants nothing promoted.
    pub is_frozen: bool,
    /// Notifications, by whom they are for.
    pub notifications: Vec<NotificationSample>,
    /// Handshakes of TLS with clients, by result.
    pub handshakes: Vec<(&'static str, u64)>,
    /// Tokens of requests, by what became of them; empty where none are looked at.
    pub tokens: Vec<(&'static str, u64)>,
    /// Keys that come from elsewhere, by URL.
    pub key_sources: Vec<KeySourceSample>,
    /// Connections of clients that were cut, by reason.
    pub cuts: Vec<(&'static str, u64)>,
    /// Lines of the access log.
    pub access_log: AccessLogSample,
    /// Callers of whom it is counted what they do; none where nobody counts.
    pub callers: Option<CallersSample>,
}

/// Callers of whom it is counted what they do.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallersSample {
    /// Callers that are known.
    pub tracked: u64,
    /// Callers whose place another one took.
    pub evicted: u64,
}

/// Apps.
#[derive(Clone, Debug, Default)]
pub struct AppsSample {
    /// How many there are.
    pub count: u64,
    /// Requests that were not let in, by reason.
    pub refused: Vec<(&'static str, u64)>,
}

/// What callers say.
#[derive(Clone, Debug, Default)]
pub struct FeedbackSamples {
    /// Of each flag.
    pub flags: Vec<FlagFeedbackSample>,
    /// What became of what was handed in.
    pub results: Vec<(&'static str, u64)>,
}

/// What callers say of a flag.
#[derive(Clone, Debug)]
pub struct FlagFeedbackSample {
    /// The flag.
    pub flag: String,
    /// First votes since the start, by rating.
    pub recorded: PerVariant<[u64; 5]>,
    /// The callers' last words on the release, by rating.
    pub raters: PerVariant<[u64; 5]>,
    /// Callers of whom was forgotten what they were shown.
    pub forgotten: u64,
}

/// Lines of the access log.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessLogSample {
    /// Written as a whole.
    pub written: u64,
    /// Lost.
    pub dropped: u64,
}

/// Keys of tokens that come from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct KeySourceSample {
    /// Where from, without a query; no two the same.
    pub url: String,
    /// How many are used.
    pub keys: u64,
    /// When they were had last, since 1970.
    pub had_unix_seconds: Option<u64>,
    /// How often that went well.
    pub successes: u64,
    /// How often it did not.
    pub failures: u64,
}

/// What came of reading the configuration again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigSample {
    /// How often another one was taken.
    pub taken: u64,
    /// How often one was refused.
    pub refused: u64,
    /// Whether what was read last is what is running.
    pub is_current: bool,
}

/// The state file.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreSample {
    /// Whether it can be written.
    pub is_writable: bool,
    /// Writes that failed.
    pub failed_writes: u64,
    /// Lines and points that are lost.
    pub dropped: u64,
    /// Its size.
    pub file_bytes: u64,
}

/// One series of requests.
#[derive(Clone, Debug)]
pub struct RequestSample {
    /// The route's label; empty where none fitted.
    pub route: String,
    /// The flag that decided; empty where none did.
    pub flag: String,
    /// The variant decided; empty without a flag.
    pub variant: String,
    /// The group, `default` or `forced`; empty without a flag.
    pub group: String,
    /// The status code, or its class such as `4xx`.
    pub code: &'static str,
    /// How many.
    pub count: u64,
}

/// One arm: a variant of a flag, for one group.
#[derive(Clone, Debug)]
pub struct ArmSample {
    /// The flag.
    pub flag: String,
    /// The variant.
    pub variant: String,
    /// The group, `default` or `forced`.
    pub group: String,
    /// Time to the head, of all answers.
    pub duration: LatencyHistogram,
    /// How requests ended, by whose fault it was: `none`, `client`, `backend` or `proxy`.
    pub outcomes: Vec<(&'static str, u64)>,
    /// Requests that failed by the backend's fault, with the kind of failure.
    pub failures: Vec<(&'static str, u64)>,
    /// Requests of this arm that stable answered because canary took no connection.
    pub rescued: u64,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct EndpointSample {
    /// The backend it belongs to.
    pub backend: String,
    /// Its host and port.
    pub endpoint: String,
    /// Requests it was sent.
    pub requests: u64,
    /// Connections made to it.
    pub connects: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
    /// Requests that it failed and that were sent once more.
    pub retries: u64,
    /// Those that were not, for there had been too many.
    pub retries_denied: u64,
    /// Requests that were sent once more because a kept connection was closed under them.
    pub repeats: u64,
    /// Connections open now.
    pub connections: u64,
    /// Requests that wait for a connection now.
    pub pending: u64,
    /// Requests that found no connection, and no place to wait for one or none in time.
    pub overflows: u64,
    /// Whether it is healthy; none where nobody checks.
    pub is_healthy: Option<bool>,
    /// Whether it is ejected for failing requests; none where it never is.
    pub is_ejected: Option<bool>,
    /// How often it was ejected.
    pub ejections: u64,
}

/// The weight of one group for one flag.
#[derive(Clone, Debug)]
pub struct WeightSample {
    /// The flag.
    pub flag: String,
    /// The group, or `default`.
    pub group: String,
    /// The share that gets the canary, 0 to 1.
    pub ratio: f64,
}

/// One rollout.
#[derive(Clone, Debug)]
pub struct RolloutSample {
    /// The flag it moves.
    pub flag: String,
    /// The phase it is in.
    pub phase: String,
    /// Its stage, counted from 1.
    pub stage: usize,
    /// By check, how much of the evidence that a rollback needs is there.
    pub evidence: Vec<(String, f64)>,
}

/// Notifications of one target.
#[derive(Clone, Debug)]
pub struct NotificationSample {
    /// The target's name.
    pub target: String,
    /// Attempts to deliver, by what they came to: `delivered`, `failed` (and made again) or
    /// `given_up`.
    pub results: Vec<(&'static str, u64)>,
    /// Messages that wait.
    pub pending: u64,
}
