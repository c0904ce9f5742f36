//! Where a rollout is: what is written down before it takes effect.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::gate::Awaits;
use crate::domain::judge::Action;
use crate::domain::rollout::taken_back::GroupTakenBack;
use crate::domain::stage_weights::StageWeights;
use crate::domain::stopwatch::Stopwatch;
use crate::domain::timestamp::Timestamp;
use crate::domain::weight::Weight;

/// Where a rollout is.
///
/// Written to the store at each transition. The hold is not: a monotonic clock ends with its
/// process, so a resumed stage begins its hold again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutState {
    /// What is going on.
    pub phase: Phase,
    /// Index of the current stage; the last one from the watch on.
    pub stage: usize,
    /// Counts the changes of weights, so that evidence of different weights is never mixed.
    pub epoch: u64,
    /// How often this release has been tried; 1 for the first time.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// The groups that canary was taken back from, while the rollout goes on with the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolled_back_groups: Vec<GroupTakenBack>,
    /// For how long the current stage, or the watch, has been under way without a pause.
    #[serde(skip)]
    pub in_stage: Stopwatch,
    /// How long the current stage had been under way when there was something to judge it by.
    #[serde(skip)]
    pub judged_since: Option<Duration>,
    /// For how long the rollout has been under way, as the deadline counts it.
    #[serde(default)]
    pub under_way: Stopwatch,
    /// Whether it was told already that the deadline has passed.
    #[serde(default)]
    pub is_overdue: bool,
    /// What the judge would have done, as told last; only where it just observes.
    #[serde(skip)]
    pub observed: Option<Action>,
    /// Why a gate was closed, as told last.
    #[serde(skip)]
    pub gate_told: Option<String>,
}

const fn first_attempt() -> u32 {
    1
}

impl RolloutState {
    /// Whether all stages are over and canary is watched, be it in a pause.
    pub const fn is_in_watch(&self) -> bool {
        matches!(
            self.phase,
            Phase::Watching
                | Phase::Paused {
                    from: Resumption::Watch,
                    ..
                }
        )
    }

    /// A rollout that has not begun: nobody gets canary.
    pub fn waiting(wait: Wait, epoch: u64) -> Self {
        Self {
            phase: Phase::Waiting { wait },
            stage: 0,
            epoch,
            attempt: first_attempt(),
            rolled_back_groups: Vec::new(),
            in_stage: Stopwatch::default(),
            judged_since: None,
            under_way: Stopwatch::default(),
            is_overdue: false,
            observed: None,
            gate_told: None,
        }
    }

    /// Weights of the plan, with nothing for groups that canary was taken back from.
    pub fn allowed(&self, mut weights: StageWeights) -> StageWeights {
        for taken in &self.rolled_back_groups {
            weights.groups.insert(taken.group.clone(), Weight::ZERO);
        }
        weights
    }

    /// The state with its stopwatches running or standing still, as the phase wants it.
    pub(super) fn timed(mut self, now: Timestamp) -> Self {
        let set = |watch: Stopwatch, runs: bool| match runs {
            true => watch.resumed(now),
            false => watch.stopped(now),
        };
        let runs = matches!(
            self.phase,
            Phase::Progressing | Phase::Watching | Phase::RollingBack { .. }
        );
        self.in_stage = set(self.in_stage, runs);
        // The time until a window opens is nobody's delay.
        let counts = matches!(
            self.phase,
            Phase::Progressing
                | Phase::WaitingForApproval
                | Phase::WaitingForGate {
                    awaits: Awaits::Webhook
                }
        );
        self.under_way = set(self.under_way, counts);
        self
    }
}

/// What is going on in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not begun.
    Waiting {
        /// For what.
        wait: Wait,
    },
    /// A stage is under judgement.
    Progressing,
    /// A stage has passed, and somebody has to approve the next one.
    WaitingForApproval,
    /// A stage has passed, and a gate before the next one has to open, for which nobody is waited for.
    WaitingForGate {
        /// What opens it.
        awaits: Awaits,
    },
    /// Canary keeps its callers and is judged, but gets no more of them.
    Paused {
        /// Where it goes on.
        from: Resumption,
        /// Who or what paused it.
        cause: PauseCause,
        /// Why, for people.
        reason: String,
    },
    /// The last stage has passed; canary is judged on for a while.
    Watching,
    /// The new version has everything the plan gives it.
    Succeeded,
    /// Canary is taken back stage by stage, down to nothing.
    RollingBack {
        /// Why.
        reason: String,
        /// The kinds of harm that were known when it began.
        known: Vec<String>,
    },
    /// Nobody gets canary any more: it did harm, or somebody took it back.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// Nobody gets canary any more: the rollout was given up, whatever canary did.
    Aborted {
        /// Why.
        reason: String,
    },
}

/// What a rollout waits for that has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Somebody has to start it: the plan says so.
    Start,
    /// The flag is off.
    FlagOff,
    /// The plan was changed and now begins above what canary had: somebody has to start it.
    PlanBeginsHigher,
    /// Promotions are frozen; it begins by itself when they are not.
    Freeze,
    /// Where it is cannot be written down; it begins by itself when it can.
    State,
    /// A gate before the first stage is closed; it begins by itself when all are open.
    Gate,
}

/// Where a paused rollout goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resumption {
    /// With its stage.
    Stage,
    /// With waiting for an approval.
    Approval,
    /// With waiting for a gate.
    Gate {
        /// What opens it.
        awaits: Awaits,
    },
    /// With the watch.
    Watch,
}

/// Who or what paused a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// An operator.
    Operator,
    /// The flag was switched off; it goes on by itself when the flag is on again.
    FlagOff,
    /// The deadline passed.
    Deadline,
}

impl Phase {
    /// The word used in the API, metric labels and the journal.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Progressing => "progressing",
            Self::WaitingForApproval => "waiting_for_approval",
            Self::WaitingForGate { .. } => "waiting_for_gate",
            Self::Paused { .. } => "paused",
            Self::Watching => "watching",
            Self::Succeeded => "succeeded",
            Self::RollingBack { .. } => "rolling_back",
            Self::RolledBack { .. } => "rolled_back",
            Self::Aborted { .. } => "aborted",
        }
    }

    /// The words of all phases, in the order a rollout may meet them.
    pub const WORDS: [&str; 10] = [
        "waiting",
        "progressing",
        "waiting_for_approval",
        "waiting_for_gate",
        "paused",
        "watching",
        "succeeded",
        "rolling_back",
        "rolled_back",
        "aborted",
    ];

    /// Whether canary is under judgement, so that a breach takes it back.
    pub const fn is_judged(&self) -> bool {
        match self {
            Self::Progressing
            | Self::WaitingForApproval
            | Self::WaitingForGate { .. }
            | Self::Paused { .. }
            | Self::Watching
            | Self::RollingBack { .. } => true,
            Self::Waiting { .. }
            | Self::Succeeded
            | Self::RolledBack { .. }
            | Self::Aborted { .. } => false,
        }
    }

    /// Whether canary gets requests.
    pub const fn has_traffic(&self) -> bool {
        self.is_judged() || matches!(self, Self::Succeeded)
    }

    /// Whether canary was taken away from everyone, so that nobody may choose it either.
    pub const fn is_taken_back(&self) -> bool {
        matches!(self, Self::RolledBack { .. } | Self::Aborted { .. })
    }

    /// Whether it is over, unless somebody tries again.
    pub const fn has_ended(&self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::RolledBack { .. } | Self::Aborted { .. }
        )
    }

    /// Whether it is the watch after the last stage, paused or not.
    pub(super) const fn is_watch(&self) -> bool {
        matches!(
            self,
            Self::Watching
                | Self::Paused {
                    from: Resumption::Watch,
                    ..
                }
        )
    }

    /// Why it is in this phase, where that needs saying.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Waiting { wait } => Some(wait.to_string()),
            Self::Paused { reason, .. }
            | Self::RollingBack { reason, .. }
            | Self::RolledBack { reason }
            | Self::Aborted { reason } => Some(reason.clone()),
            Self::Progressing
            | Self::WaitingForApproval
            | Self::WaitingForGate { .. }
            | Self::Watching
            | Self::Succeeded => None,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "to be started by an operator",
            Self::FlagOff => "the flag is off",
            Self::PlanBeginsHigher => {
                "the plan was changed and begins above what canary had; to be started by an operator"
            }
            Self::Freeze => "promotions are frozen",
            Self::State => "the state cannot be written down",
            Self::Gate => "for a gate before the first stage to open",
        })
    }
}
