//! What the control plane needs from outside, as traits; the adapters implement them.

use std::collections::BTreeMap;

use crate::domain::evidence::TickCounts;
use crate::domain::ids::FlagName;
use crate::domain::rollout::{JournalEntry, Notice, RolloutState};

/// Says what was seen.
pub trait EvidenceSource: Send {
    /// What was counted since the last call, for each flag.
    fn collect(&mut self) -> BTreeMap<FlagName, TickCounts>;
}

/// Why something was not written down.
#[derive(Debug, thiserror::Error)]
#[error("the state of flag `{flag}` was not written: {reason}")]
pub struct StoreError {
    /// The flag.
    pub flag: FlagName,
    /// What went wrong.
    pub reason: String,
}

/// Remembers where rollouts are.
pub trait StateStore: Send {
    /// Writes down where a flag's rollout is. Returns only once it is safe.
    ///
    /// # Errors
    /// When it could not be written; the weights that depend on it must not rise then.
    fn save(&mut self, flag: &FlagName, state: &RolloutState) -> Result<(), StoreError>;

    /// Writes a line into the journal.
    ///
    /// # Errors
    /// When it could not be written.
    fn record(&mut self, line: JournalLine) -> Result<(), StoreError>;

    /// The last lines about a flag, newest first.
    fn journal(&self, flag: &FlagName, limit: usize) -> Vec<JournalLine>;
}

/// A line of the journal: what changed, with where and when.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalLine {
    /// The flag.
    pub flag: FlagName,
    /// When, in milliseconds since 1970; for people, nothing is decided by it.
    pub at_unix_ms: u64,
    /// Who, what, why.
    pub entry: JournalEntry,
}

/// Tells somebody of a change.
pub trait Notifier: Send {
    /// Passes a notice on; never waits for whoever is told.
    fn notify(&mut self, notice: &Notice);
}
