//! What can happen to a rollout.

use crate::domain::gate::GatesNow;
use crate::domain::judge::{Finding, Verdict};
use crate::domain::rollout::record::Freeze;
use crate::domain::stage_weights::{StageShape, StageWeights};
use crate::domain::timestamp::Timestamp;
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
    /// The flag was switched off, or on again.
    Switched {
        /// Whether it is on now.
        is_on: bool,
        /// Who, and why.
        by: Author,
    },
    /// The plan is another one than the state was made under.
    PlanChanged {
        /// The plan that the state was made under.
        before: PlanBefore,
        /// Whether what is tolerated has changed, so that the stage is judged anew.
        is_judged_anew: bool,
    },
    /// The process has started and found the state as it was written.
    Restarted {
        /// The plan that the state was made under.
        before: PlanBefore,
    },
}

/// What has to be known of a plan once it is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanBefore {
    /// Its stages, one of which is where the rollout is.
    pub stages: Vec<StageShape>,
    /// The weights that were written down last.
    pub weights: StageWeights,
}

/// What an operator can ask of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Begin a rollout that waits.
    Start,
    /// Give canary no more callers for now; it is judged on.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Go on without waiting: to the next stage, from the last one to the watch, from the watch
    /// to the end. Approves a stage that waits for it, and goes through gates that are closed.
    Promote {
        /// Skip all stages that are left, and go straight to the watch.
        full: bool,
    },
    /// Take canary away from everyone, for it does harm.
    Rollback,
    /// Take canary away from everyone and give the rollout up.
    Abort,
    /// Begin again after a rollback or an abort.
    Retry,
}

impl Command {
    /// Every command, in the order of the manual.
    pub const ALL: [Self; 8] = [
        Self::Start,
        Self::Pause,
        Self::Resume,
        Self::Promote { full: false },
        Self::Promote { full: true },
        Self::Rollback,
        Self::Abort,
        Self::Retry,
    ];

    /// The verb used in the API and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote { .. } => "promote",
            Self::Rollback => "rollback",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

/// Who gave a command, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name of the operator's token, or where the command came from.
    pub who: String,
    /// The reason given; may be empty.
    pub why: String,
}

/// The circumstances in which something happens.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// When.
    pub now: Timestamp,
    /// Whether the flag is on; off, canary has no callers, and is not to get more when it is on.
    pub is_on: bool,
    /// Whether nothing may be promoted.
    pub freeze: Option<&'a Freeze>,
    /// Endpoints of stable that take connections, as far as is known.
    pub stable_endpoints: usize,
    /// What the gates before the next stage amount to; none where nobody has looked at them.
    pub gates: Option<&'a GatesNow>,
}

impl Moment<'_> {
    /// A moment with nothing in the way of a promotion.
    pub const fn at(now: Timestamp) -> Self {
        Self {
            now,
            is_on: true,
            freeze: None,
            stable_endpoints: usize::MAX,
            gates: None,
        }
    }
}
