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

/// A message about a change of phase or stage, with all that whoever reads it wants to know.
///
/// It is written down until it is delivered, so fields that came later read as empty from
/// messages written before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The flag.
    pub flag: FlagName,
    /// The revision.
    pub revision: String,
    /// The phase it is in now, as a word.
    pub phase: String,
    /// The stage it is in now, counted from 1; 0 where that is not known.
    #[serde(default)]
    pub stage: usize,
    /// How many stages there are.
    #[serde(default)]
    pub stages: usize,
    /// Who changed it: `judge`, `tripwire`, `plan`, or an operator.
    #[serde(default)]
    pub who: String,
    /// What changed.
    #[serde(default)]
    pub what: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// The findings behind it; empty for commands.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The weights that follow.
    #[serde(default)]
    pub weights: StageWeights,
    /// When, in milliseconds since 1970; 0 until it is told. For people, nothing is decided by it.
    #[serde(default)]
    pub at_unix_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_written_before_it_had_numbers_is_read() {
        let old = r#"{"flag":"orders","revision":"2","phase":"watching"}"#;
        let notice: Notice = serde_json::from_str(old).unwrap();
        assert_eq!((notice.stage, notice.at_unix_ms), (0, 0));
        let again: Notice = serde_json::from_str(&serde_json::to_string(&notice).unwrap()).unwrap();
        assert_eq!(again, notice);
    }
}
