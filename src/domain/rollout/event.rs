//! What can happen to a rollout.

use crate::domain::judge::{Finding, Verdict};
use crate::domain::variant::PerVariant;

/// Something a rollout has to answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A tick has been judged.
    Tick {
        /// What the judge says.
        verdict: Verdict,
        /// Requests of each arm since the stage began.
        requests: PerVariant<u64>,
    },
    /// The tripwire has tripped between ticks.
    Tripped {
        /// What it found.
        finding: Finding,
    },
    /// Somebody wants something.
    Command {
        /// What.
        command: Command,
        /// Who, and why.
        by: Author,
    },
}

/// What an operator can ask of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Go on without waiting: to the next stage, from the last one to the watch, from the watch
    /// to the end.
    Promote {
        /// Skip all stages that are left, and go straight to the watch.
        full: bool,
    },
    /// Take canary away from everyone.
    Rollback,
}

/// Who gave a command, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name of the operator's token, or where the command came from.
    pub who: String,
    /// The reason given; may be empty.
    pub why: String,
}
