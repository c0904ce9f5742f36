//! What is written of those who operate Serin, and of what it remembers.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::ids::{TargetName, TokenName};
use crate::domain::notify::WebhookUrl;
use crate::domain::secret::Secret;
use crate::domain::weight::Weight;

use crate::config::defaults::CALLERS_TRACKED_MAX;
use crate::config::notify::{MessageHeader, PhaseWord, SecretValue};
use crate::config::text::{NonEmpty, Span};
use crate::config::written::{Count, Named, Placed, ShortOr, Switch, Written};

/// Where operators come in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ address: 127.0.0.1:9901 }`"
)]
pub(in crate::config) struct AdminDocument {
    /// An IP address with a port.
    pub(in crate::config) address: Option<Written<SocketAddr>>,
    /// Who may look and command. Without it, whoever reaches the address, which must be loopback.
    #[schemars(length(min = 1))]
    pub(in crate::config) tokens: Option<Placed<Vec<Placed<TokenDocument>>>>,
}

/// Who may use the admin API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ name: ci, role: operator, token_file: /run/secrets/ci }`"
)]
pub(in crate::config) struct TokenDocument {
    /// Who that is, in the journal.
    pub(in crate::config) name: Written<TokenName>,
    /// What it is good for.
    pub(in crate::config) role: RoleDocument,
    /// The token: `"${NAME}"` takes it from the environment.
    pub(in crate::config) token: Option<Written<Secret>>,
    /// The file that holds it.
    pub(in crate::config) token_file: Option<Written<NonEmpty>>,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RoleDocument {
    /// To pass on what callers say, and nothing else.
    Feedback,
    /// To look.
    Viewer,
    /// To look and to command.
    Operator,
}

/// What outlives the process.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ path: /var/lib/serin }`"
)]
pub(in crate::config) struct StateDocument {
    /// The folder of the state file. Without it, `$STATE_DIRECTORY`, else
    /// `$XDG_STATE_HOME/serin`, else `~/.local/state/serin`.
    pub(in crate::config) path: Option<Written<NonEmpty>>,
}

/// How it stops: on SIGTERM or SIGINT; a second one ends it at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ delay: 5s, deadline: 20s }`"
)]
pub(in crate::config) struct ShutdownDocument {
    /// For how long `/readyz` says no while everything is served as before. Without it, not at all.
    pub(in crate::config) delay: Option<Written<Duration>>,
    /// How long requests, streams and tunnels have to end after that. Without it, 25 seconds.
    pub(in crate::config) deadline: Option<Written<Span>>,
}

/// A webhook with all defaults, or one that says more.
pub(in crate::config) type AnyNotifyDocument = ShortOr<Written<WebhookUrl>, NotifyDocument>;

/// Somebody who is told of changes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ webhook: \"http://chat/hook\" }`"
)]
pub(in crate::config) struct NotifyDocument {
    /// Where messages are posted to: a URL of http or https. It is a secret, and never shown.
    pub(in crate::config) webhook: Written<WebhookUrl>,
    /// What logs and metrics call it. Without it, the host of the URL.
    pub(in crate::config) name: Option<Written<TargetName>>,
    /// The shape of messages.
    pub(in crate::config) format: Option<FormatDocument>,
    /// The phases it is told of. Without it, every change of phase and stage.
    #[schemars(length(min = 1))]
    pub(in crate::config) on: Option<Placed<Vec<Written<PhaseWord>>>>,
    /// The flags it is told of. Without it, all.
    #[schemars(length(min = 1))]
    pub(in crate::config) flags: Option<Placed<Vec<Written<String>>>>,
    /// Sent with each message; values are never shown.
    #[serde(default)]
    pub(in crate::config) headers: Named<MessageHeader, Written<SecretValue>>,
    /// How long an exchange may take as a whole.
    pub(in crate::config) timeout: Option<Written<Span>>,
    /// A file with certificates (PEM) of authorities that are believed beside the system's.
    pub(in crate::config) ca: Option<Written<NonEmpty>>,
}

/// The shape of messages.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum FormatDocument {
    /// All that is known, for programs.
    Json,
    /// What Slack's incoming webhooks show.
    Slack,
    /// What a webhook of Microsoft Teams (Workflows) shows.
    Teams,
}

/// Where lines go, or what says more.
pub(in crate::config) type AnyAccessLogDocument = ShortOr<Written<NonEmpty>, AccessLogDocument>;

/// A line about each request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "`stdout`, a file, or a map such as `{ path: stdout }`"
)]
pub(in crate::config) struct AccessLogDocument {
    /// Where lines go: `stdout`, `stderr`, or a file, whose path is relative to the configuration.
    pub(in crate::config) path: Written<NonEmpty>,
    /// What a line looks like.
    pub(in crate::config) format: Option<LineFormatDocument>,
    /// The share of requests that get a line, drawn at random.
    pub(in crate::config) sample: Option<Written<Weight>>,
    /// Whether the query is shown with the path. It often holds secrets.
    pub(in crate::config) query: Option<Switch>,
}

/// What is counted of callers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ callers: 100000, half_life: 1h }`"
)]
pub(in crate::config) struct CallerFeaturesDocument {
    /// The most callers that are known at a time; a new one takes the place of one with few requests.
    pub(in crate::config) callers: Option<Count<{ CALLERS_TRACKED_MAX }>>,
    /// The time after which what was counted counts half.
    pub(in crate::config) half_life: Option<Written<Span>>,
}

/// What a line about a request looks like.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum LineFormatDocument {
    /// One JSON object.
    Json,
}
