//! What the control plane needs from outside, as traits; the adapters implement them.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::app::AppRecord;
use crate::domain::assignment::{AssignmentChange, Membership};
use crate::domain::evidence::TickCounts;
use crate::domain::feedback::SavedFeedback;
use crate::domain::further::{Question, Sample, Silence};
use crate::domain::gate::{HookAnswer, HookSaid, Webhook};
use crate::domain::ids::{AppId, FlagName, GroupName};
use crate::domain::judge::JudgeSettings;
use crate::domain::judge::sequential::Evidence;
use crate::domain::rollout::{Freeze, JournalEntry, Notice, Release, RolloutRecord};
use crate::domain::secret::Secret;
use crate::domain::settings::FlagOverrides;

pub use crate::domain::feedback::FeedbackChange;

/// Says what was seen.
pub trait EvidenceSource: Send {
    /// What was counted since the last call, for each flag.
    fn collect(&mut self) -> BTreeMap<FlagName, TickCounts>;
}

/// An answer on its way.
pub type Asking = Pin<Box<dyn Future<Output = Result<Sample, Silence>> + Send>>;

/// Asks other systems for the numbers of custom checks.
pub trait MetricSource: Send + Sync {
    /// Asks. The answer, or why there is none, comes within the question's timeout; dropping it
    /// ends the exchange. Nothing is asked before it is awaited.
    fn ask(&self, question: Question) -> Asking;
}

/// A question to a webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct HookCall {
    /// Whom to ask.
    pub hook: Webhook,
    /// What it is told.
    pub said: HookSaid,
}

/// The answer of a webhook on its way.
pub type Calling = Pin<Box<dyn Future<Output = HookAnswer> + Send>>;

/// Asks webhooks whether a rollout may go on.
pub trait HookCaller: Send + Sync {
    /// Asks once. What came of it comes within the webhook's timeout; dropping it ends the exchange.
    fn call(&self, call: HookCall) -> Calling;
}

/// What belongs together when a rollout changes, and is written down as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transition {
    /// Where a rollout is now; none where only something is to be told.
    pub record: Option<RolloutRecord>,
    /// A change of the freeze: `Some(None)` lifts it.
    pub freeze: Option<Option<Freeze>>,
    /// What was set of flags at run time, each flag at most once; empty where all is as configured.
    pub overrides: Vec<(FlagName, FlagOverrides)>,
    /// Flags that are created, with their definitions, or deleted, each at most once.
    pub created: Vec<(FlagName, Option<Arc<str>>)>,
    /// What was done of apps at run time, each app at most once; none where that is nothing.
    pub apps: Vec<(AppId, Option<AppRecord>)>,
    /// Callers put into groups and taken out, each at most once.
    pub assignments: Vec<AssignmentChange>,
    /// Callers to be erased wherever the state has them by their keys, and from what is left of earlier states. With
    /// them goes at once what [`StateWriter::keep_feedback`] was told to take out before.
    pub forgotten: Vec<Box<str>>,
    /// The secret that pseudonyms of callers are made by from now on.
    pub pseudonyms: Option<Secret>,
    /// Lines for the journal, oldest first.
    pub lines: Vec<JournalLine>,
    /// Messages to be delivered, until they are.
    pub messages: Vec<OutboxDraft>,
}

/// Everything that a start has to know of what was before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedState {
    /// The records of all releases that are still known, the one written last at the end.
    pub records: Vec<RolloutRecord>,
    /// Whether nothing may be promoted.
    pub freeze: Option<Freeze>,
    /// What was set of flags at run time.
    pub overrides: BTreeMap<FlagName, FlagOverrides>,
    /// The definitions of flags that were created.
    pub created: BTreeMap<FlagName, Arc<str>>,
    /// What was done of apps.
    pub apps: BTreeMap<AppId, AppRecord>,
    /// The callers assigned to groups, those included whose time is over.
    pub assignments: BTreeMap<(GroupName, Box<str>), Membership>,
    /// The secret that pseudonyms of callers are made by, once it was needed.
    pub pseudonyms: Option<Secret>,
    /// What was known of harm, at most one for each flag.
    pub evidence: Vec<KnownEvidence>,
    /// Votes and comments of callers.
    pub feedback: BTreeMap<FlagName, SavedFeedback>,
}

/// What a judge knew of harm, so that after a restart it goes on under the same alpha.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownEvidence {
    /// The flag.
    pub flag: FlagName,
    /// What was released.
    pub release: Release,
    /// How often it had been tried.
    pub attempt: u32,
    /// How much of its deadline had passed, in seconds.
    #[serde(default)]
    pub under_way_seconds: u64,
    /// What it was judged by: of other settings it says nothing.
    pub judged_by: JudgeSettings,
    /// What was known.
    pub evidence: Evidence,
}

/// Whether what is decided can be written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreHealth {
    /// Why it cannot; `None` when all is well.
    pub problem: Option<String>,
    /// How many writes have failed since the start.
    pub failed_writes: u64,
    /// How many lines and points were dropped since the start, for they could not be written.
    pub dropped: u64,
    /// The size of the state file, in bytes.
    pub file_bytes: u64,
}

/// Writes down where rollouts are. There is one writer.
pub trait StateWriter: Send {
    /// Writes a transition down, all of it or nothing. Returns once it is safe (synced), or
    /// within a bounded time once it is not.
    ///
    /// # Errors
    /// When it could not be written, or not in time; the weights that depend on it must not rise.
    fn save(&mut self, transition: &Transition) -> Result<(), StateError>;

    /// Leaves points of history to be written with the next occasion. Never waits; what cannot
    /// be written is dropped and counted.
    fn keep(&mut self, points: Vec<HistoryPoint>);

    /// Leaves what is known of harm to be written in the same way; what is newer takes the place of what
    /// is older of the same flag.
    fn keep_evidence(&mut self, evidence: KnownEvidence);

    /// Leaves changes of votes and comments to be written within a second or so, with what is known of harm by
    /// then. Never waits; what cannot be written is tried again, and dropped and counted beyond a bound, but for what
    /// takes something out.
    fn keep_feedback(&mut self, changes: Vec<FeedbackChange>);
}

/// Reads what was written down. Never waits for the writer.
pub trait StateReader: Send + Sync {
    /// Lines of the journal, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn journal(&self, wanted: &JournalQuery) -> Result<Vec<JournalLine>, StateError>;

    /// The history of a flag between two moments (milliseconds since 1970, the first included),
    /// oldest first, at most [`HISTORY_POINTS_MAX`] points; older ones are coarser.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn history(
        &self,
        flag: &FlagName,
        from_unix_ms: u64,
        to_unix_ms: u64,
    ) -> Result<Vec<HistoryPoint>, StateError>;

    /// Whether what is decided can be written down.
    fn health(&self) -> StoreHealth;
}

/// Messages that wait to be delivered; they outlive the process.
pub trait Outbox: Send + Sync {
    /// Messages that are due, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn due(&self, now_unix_ms: u64, limit: usize) -> Result<Vec<OutboxMessage>, StateError>;

    /// Forgets a message: it was delivered, or given up.
    fn settle(&self, id: u64);

    /// Puts a message off: it was tried once more in vain.
    fn put_off(&self, id: u64, due_unix_ms: u64);
}

/// The most points of history given at a time.
pub const HISTORY_POINTS_MAX: usize = 2_000;

/// Why state was not written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct StateError {
    /// What went wrong, with the file it concerns.
    pub reason: String,
}

/// Which lines of the journal are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// Of this flag, group or app only.
    pub subject: Option<Subject>,
    /// Only those before this sequence number, to read on from an earlier answer.
    pub before: Option<u64>,
    /// Only those after this sequence number, to hear of what is new.
    pub after: Option<u64>,
    /// Only those from this moment on, in milliseconds since 1970.
    pub since_unix_ms: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// What was seen of a flag in a span of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// The flag.
    pub flag: FlagName,
    /// The end of the span, in milliseconds since 1970; for people, nothing is decided by it.
    pub at_unix_ms: u64,
    /// How long it was, in seconds.
    pub span_seconds: u32,
    /// The phase at its end, as a word.
    pub phase: String,
    /// The stage at its end, counted from 0.
    pub stage: usize,
    /// What was counted, by stratum; without callers, who are of use only while they come.
    pub counts: TickCounts,
}

/// A message to be delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxDraft {
    /// Whom to tell: the name of a target in the configuration.
    pub target: String,
    /// What.
    pub notice: Notice,
}

/// A message that waits to be delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxMessage {
    /// Its number; unique, and growing.
    pub id: u64,
    /// When it was written, in milliseconds since 1970.
    pub written_unix_ms: u64,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// Whom to tell, and what.
    pub draft: OutboxDraft,
}

/// What a line of the journal is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A flag.
    Flag(FlagName),
    /// A group of callers.
    Group(GroupName),
    /// An app.
    App(AppId),
    /// A caller, by its pseudonym, or `all`.
    Callers(String),
}

impl Subject {
    /// The flag, where it is one.
    pub const fn flag(&self) -> Option<&FlagName> {
        match self {
            Self::Flag(flag) => Some(flag),
            Self::Group(_) | Self::App(_) | Self::Callers(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Group(group) => write!(f, "group {group}"),
            Self::App(app) => write!(f, "app {app}"),
            Self::Callers(who) => write!(f, "callers {who}"),
        }
    }
}

/// A line of the journal: what changed, with where and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalLine {
    /// Its number in the journal, growing; 0 until it is written.
    #[serde(skip)]
    pub sequence: u64,
    /// The flag, group, app or caller.
    #[serde(flatten)]
    pub subject: Subject,
    /// When, in milliseconds since 1970; for people, nothing is decided by it.
    pub at_unix_ms: u64,
    /// Who, what, why.
    pub entry: JournalEntry,
}

/// Tells somebody of a change.
pub trait Notifier: Send {
    /// Passes a notice on; never waits for whoever is told.
    fn notify(&mut self, notice: &Notice);

    /// What could not be written down with an earlier notice is there now.
    fn written(&mut self) {}
}
