//! What is to be done about an event, in the order given.

use serde::{Deserialize, Serialize};

use crate::domain::ids::FlagName;
use crate::domain::judge::Finding;
use crate::domain::rollout::plan::StageWeights;
use crate::domain::rollout::state::RolloutState;

/// Something to be carried out. `Persist` always precedes `PublishWeights`, so that a restart
/// never forgets a weight that callers have already met.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write the state down.
    Persist(RolloutState),
    /// Decide requests by these weights from now on.
    PublishWeights {
        /// The weights.
        weights: StageWeights,
        /// Their epoch.
        epoch: u64,
    },
    /// Write into the journal.
    Record(JournalEntry),
    /// Tell whoever wants to know.
    Notify(Notice),
}

/// A line of the durable record of every change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The flag.
    pub flag: FlagName,
    /// The revision.
    pub revision: String,
    /// The phase it is in now, as a word.
    pub phase: String,
    /// What changed and why, for people.
    pub text: String,
}
