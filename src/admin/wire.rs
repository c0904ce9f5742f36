//! What the API answers with, as both of its ends know it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::app_orders::AppView;
use crate::control::callers::Forgotten;
use crate::control::definitions::FlagLeftAside;
use crate::control::flags::FlagStatus;
use crate::control::ports::{HistoryPoint, JournalLine, StoreHealth, Subject};
use crate::control::ratings::FeedbackStatus;
use crate::control::reload::ReloadStatus;
use crate::control::status::{ArmStatus, GroupStatus, RolloutStatus};
use crate::domain::caller_features::CallerFeatures;
use crate::domain::feedback::Comment;
use crate::domain::ids::{AppId, BackendName, FlagName, GroupName, VariantName};
use crate::domain::rollout::{Freeze, JournalEntry};
use crate::domain::variant::PerVariant;
use crate::runtime::key_ring::KeySourceStatus;
use crate::runtime::pseudonyms::Pseudonyms;

/// All rollouts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RolloutList {
    /// In the configuration's order.
    pub rollouts: Vec<RolloutStatus>,
    /// What to give as `after` to read on; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<FlagName>,
}

/// All flags.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FlagList {
    /// In the configuration's order.
    pub flags: Vec<FlagStatus>,
    /// What to give as `after` to read on; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<FlagName>,
}

/// All groups.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GroupList {
    /// In the configuration's order; after them those that it has no more and that have callers.
    pub groups: Vec<GroupSummary>,
}

/// A group at one look.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GroupSummary {
    /// Its name.
    pub group: GroupName,
    /// Whether the configuration has it.
    pub is_configured: bool,
    /// How many callers are put into it at run time.
    pub assigned: usize,
    /// The flags that name it now, each with the group's weight in percent.
    pub flags: BTreeMap<FlagName, f64>,
    /// Of those of them with several variants beside the one that is off, what each variant has of it, in percent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub splits: BTreeMap<FlagName, BTreeMap<VariantName, f64>>,
}

/// Callers that are put into a group at run time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallersPage {
    /// The group.
    pub group: GroupName,
    /// In the order of their keys.
    pub callers: Vec<AssignedCaller>,
    /// What to give as `after` to read on; none at the end.
    pub next: Option<String>,
}

/// A caller that is put into a group at run time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AssignedCaller {
    /// Its key.
    pub key: String,
    /// What exports and the journal call it; absent as long as no caller had to be called anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudonym: Option<String>,
    /// For how much longer, in seconds; for good, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<f64>,
}

impl AssignedCaller {
    pub(crate) fn new(
        key: String,
        left: Option<Duration>,
        pseudonyms: Option<&Arc<Pseudonyms>>,
    ) -> Self {
        Self {
            pseudonym: pseudonyms.map(|pseudonyms| pseudonyms.of(&key).to_string()),
            expires_in_seconds: left.map(|left| left.as_secs_f64()),
            key,
        }
    }
}

/// Some apps.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AppList {
    /// In the order of their ids.
    pub apps: Vec<AppView>,
    /// How many there are, of whatever status.
    pub total: usize,
    /// What to give as `after` to read on; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<AppId>,
}

/// How an app stands, with a key that was made for it.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct AppWithKey {
    /// The app.
    #[serde(flatten)]
    pub app: AppView,
    /// Its new key, shown this once; absent where none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The callers with the most requests.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BusiestCallers {
    /// How many callers are known.
    pub tracked: u64,
    /// Callers that are known no more, for others took their places, since the start.
    pub evicted: u64,
    /// Those with the most requests first.
    pub callers: Vec<WatchedCaller>,
}

/// A caller of whom it is counted what it does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WatchedCaller {
    /// What it is called in exports.
    pub pseudonym: String,
    /// What is known of it.
    pub features: CallerFeatures,
}

/// What is known of a caller that was looked for by its key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FoundCaller {
    /// What exports and the journal call it.
    pub pseudonym: String,
    /// What was counted of it; none where nothing was.
    pub features: Option<CallerFeatures>,
    /// The groups that it is put into at run time.
    pub groups: Vec<GroupName>,
}

/// A caller that was erased.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ForgottenCaller {
    /// What exports and the journal call it.
    pub pseudonym: String,
    /// What was known of it, in words; empty where nothing was.
    pub erased: Vec<String>,
    /// Whether that is written down, so that a restart brings nothing back.
    pub is_written: bool,
}

impl From<Forgotten> for ForgottenCaller {
    fn from(forgotten: Forgotten) -> Self {
        let Forgotten {
            pseudonym,
            erased,
            is_written,
        } = forgotten;
        Self {
            pseudonym,
            erased,
            is_written,
        }
    }
}

/// Everything at one look.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// Serin's version.
    pub version: String,
    /// For how long it has been running, in seconds.
    pub uptime_seconds: f64,
    /// Who wants nothing promoted, if anybody does.
    pub freeze: Option<Freeze>,
    /// What came of reading the configuration last; none for one that comes from no file.
    pub reload: Option<ReloadStatus>,
    /// Whether what is decided can be written down.
    pub store: StoreHealth,
    /// In the configuration's order.
    pub rollouts: Vec<RolloutStatus>,
    /// Flags that were created and do not fit the configuration, so that nobody gets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags_left_aside: Vec<FlagLeftAside>,
    /// In the configuration's order.
    #[serde(default)]
    pub backends: Vec<BackendStatus>,
    /// Where keys come from that tokens are verified by, if they come from elsewhere.
    #[serde(default)]
    pub key_sources: Vec<KeySourceStatus>,
}

/// All backends.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackendList {
    /// In the configuration's order.
    pub backends: Vec<BackendStatus>,
}

/// A backend, and how its endpoints are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackendStatus {
    /// The backend.
    pub backend: BackendName,
    /// In the configuration's order.
    pub endpoints: Vec<EndpointStatus>,
}

/// How an endpoint is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointStatus {
    /// Host and port.
    pub endpoint: String,
    /// Whether health checks find it well; none where nobody checks.
    pub is_healthy: Option<bool>,
    /// Whether it is ejected; none where it never is.
    pub is_ejected: Option<bool>,
    /// How often it was.
    pub ejections: u64,
    /// Requests sent to it since the process started.
    pub requests: u64,
    /// Connections to it that could not be made.
    pub connect_failures: u64,
}

impl EndpointStatus {
    /// Whether it gets requests.
    pub fn is_usable(&self) -> bool {
        self.is_healthy != Some(false) && self.is_ejected != Some(true)
    }
}

/// What callers say: how they rate what was shown them, and a part of their comments.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FeedbackPage {
    /// How they rate both arms of the release that was rated last, by flag.
    pub ratings: Vec<FlagRatings>,
    /// Newest first.
    pub comments: Vec<FlagComment>,
    /// What to give as `before` to read on; none at the end.
    pub next: Option<u64>,
}

/// How callers rate both arms of a flag.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FlagRatings {
    /// The flag.
    pub flag: FlagName,
    /// The revision that is or was released.
    pub revision: String,
    /// How many callers rate each arm how, their last word.
    #[serde(flatten)]
    pub arms: FeedbackStatus,
}

/// A comment on a flag.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FlagComment {
    /// The flag.
    pub flag: FlagName,
    /// What was said, and by whom.
    #[serde(flatten)]
    pub comment: Comment,
}

/// What became of a list of ratings.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RatingReceipts {
    /// One for each, in their order.
    pub results: Vec<RatingReceipt>,
}

/// What became of a rating.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RatingReceipt {
    /// The flag.
    pub flag: FlagName,
    /// 200 where it counts, else the status with which it would have been refused alone.
    pub status: u16,
    /// How it counts: `recorded` as the caller's first, `changed`, or `unchanged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What the caller was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The group whose weight decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Why it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A part of the journal.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JournalPage {
    /// Newest first.
    pub lines: Vec<JournalEvent>,
    /// What to give as `before` to read on; none at the end.
    pub next: Option<u64>,
}

/// A line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JournalEvent {
    /// Its number, growing.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The flag, group, app or caller: `flag`, `group`, `app` or `callers` in JSON.
    #[serde(flatten)]
    pub subject: Subject,
    /// Who, what, why, and the findings behind it.
    #[serde(flatten)]
    pub entry: JournalEntry,
}

impl From<JournalLine> for JournalEvent {
    fn from(line: JournalLine) -> Self {
        Self {
            sequence: line.sequence,
            at_unix_ms: line.at_unix_ms,
            subject: line.subject,
            entry: line.entry,
        }
    }
}

/// What was seen of a flag.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The flag.
    pub flag: FlagName,
    /// Oldest first; older ones are coarser.
    pub points: Vec<HistoryEvent>,
}

/// What was seen of a flag in a span of time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryEvent {
    /// The end of the span, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// How long it was, in seconds.
    pub span_seconds: u32,
    /// The phase at its end, as a word.
    pub phase: String,
    /// The stage at its end, counted from 1.
    pub stage: usize,
    /// What was seen of each arm.
    pub arms: PerVariant<ArmStatus>,
    /// The same for each group.
    pub groups: Vec<GroupStatus>,
}

impl From<HistoryPoint> for HistoryEvent {
    fn from(point: HistoryPoint) -> Self {
        let span = Duration::from_secs(point.span_seconds.into());
        let arm = |variant| ArmStatus::of(&point.counts.total(variant), span);
        let groups = point.counts.strata().iter();
        Self {
            at_unix_ms: point.at_unix_ms,
            span_seconds: point.span_seconds,
            arms: PerVariant::from_fn(arm),
            groups: groups.map(|group| GroupStatus::of(group, span)).collect(),
            phase: point.phase,
            stage: point.stage + 1,
        }
    }
}
