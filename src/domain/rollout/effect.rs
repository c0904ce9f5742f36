//! What is to be done about an event, in the order given.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{FlagName, GroupName};
use crate::domain::judge::Finding;
use crate::domain::rollout::state::RolloutState;
use crate::domain::stage_weights::StageWeights;

/// Something to be carried out. `Persist` always precedes `PublishWeights`, so that a restart
/// never forgets a weight that callers have already met.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write the state down, with the line of the journal and the message about it: all of it or
    /// nothing.
    Persist {
        /// Where the rollout is now.
        state: Box<RolloutState>,
        /// The line of the journal.
        entry: Box<JournalEntry>,
        /// The message to whoever wants to know; none about what nobody waits for.
        notice: Option<Box<Notice>>,
    },
    /// Decide requests by these weights from now on.
    PublishWeights {
        /// The weights.
        weights: StageWeights,
        /// Their epoch.
        epoch: u64,
    },
    /// Judge from here on: what was seen before belongs to another stage.
    RestartEvidence,
}

/// A line of the durable record of every change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JournalEntry {
    /// Who changed it: `judge`, `tripwire`, `plan`, or an operator.
    pub who: String,
    /// What changed.
    pub what: String,
    /// Why.
    pub why: String,
    /// The findings behind it; empty for commands.
    pub findings: Vec<Finding>,
}

/// A message about a change of phase or stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The flag.
    pub flag: FlagName,
    /// The revision.
    pub revision: String,
    /// The phase it is in now, as a word.
    pub phase: String,
    /// The stage it is in now, counted from 1.
    #[serde(default)]
    pub stage: usize,
    /// How many stages there are.
    #[serde(default)]
    pub stages: usize,
    /// Who changed it.
    #[serde(default)]
    pub who: String,
    /// What changed.
    #[serde(default)]
    pub what: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// The findings behind it.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The weights that hold now.
    #[serde(default)]
    pub weights: StageWeights,
    /// When, in milliseconds since 1970; for people, nothing is decided by it. 0 until it is
    /// written down.
    #[serde(default)]
    pub at_unix_ms: u64,
    /// The stage that has passed, counted from 1, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<usize>,
    /// The group that canary was taken back from, if from one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_group: Option<GroupName>,
}
