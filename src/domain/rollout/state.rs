//! Where a rollout is: what is written down before it takes effect.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::timestamp::Timestamp;

/// Where a rollout is.
///
/// Written to the store at each transition. Moments are not: monotonic clocks start anew with
/// the process, so a resumed stage begins its hold again ([`RolloutState::resumed`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutState {
    /// The revision being released.
    pub revision: String,
    /// What is going on.
    pub phase: Phase,
    /// Index of the current stage; the last one from the watch on.
    pub stage: usize,
    /// When the current stage, or the watch, began.
    #[serde(skip)]
    pub stage_since: Timestamp,
    /// Counts the changes of weights, so that evidence of different weights is never mixed.
    pub epoch: u64,
}

impl RolloutState {
    /// The first stage of a rollout of a revision, under a given epoch of weights.
    pub const fn new(revision: String, epoch: u64, now: Timestamp) -> Self {
        Self {
            revision,
            phase: Phase::Progressing,
            stage: 0,
            stage_since: now,
            epoch,
        }
    }

    /// The state as it goes on after a restart: its stage or watch begins again.
    pub fn resumed(self, now: Timestamp) -> Self {
        Self {
            stage_since: now,
            ..self
        }
    }
}

/// What is going on in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A stage is under judgement.
    Progressing,
    /// The last stage has passed; canary is judged on for a while.
    Watching,
    /// The new version has everything the plan gives it.
    Succeeded,
    /// Nobody gets canary any more.
    RolledBack {
        /// Why.
        reason: String,
    },
}

impl Phase {
    /// The word used in the API, metric labels and the journal.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Watching => "watching",
            Self::Succeeded => "succeeded",
            Self::RolledBack { .. } => "rolled_back",
        }
    }

    /// Whether canary is under judgement, so that a breach takes it back.
    pub const fn is_judged(&self) -> bool {
        matches!(self, Self::Progressing | Self::Watching)
    }

    /// Whether canary gets requests.
    pub const fn has_traffic(&self) -> bool {
        !matches!(self, Self::RolledBack { .. })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
