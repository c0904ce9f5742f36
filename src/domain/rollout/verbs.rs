//! What operators' commands do, and what the flag's switch does.
//!
//! | phase | start | pause | resume | promote | rollback | abort | retry |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | waiting | begin | refuse | refuse | refuse, begin before a gate | roll back | abort | refuse |
//! | progressing | refuse | pause | refuse | next stage or watch | roll back | abort | refuse |
//! | waiting for approval, a gate | refuse | pause | refuse | next stage | roll back | abort | refuse |
//! | paused | refuse | refuse | go on | next stage, watch or end | roll back | abort | refuse |
//! | watching | refuse | pause | refuse | succeed | roll back | abort | refuse |
//! | succeeded | refuse | refuse | refuse | refuse | roll back | refuse | refuse |
//! | rolling back | refuse | refuse | refuse | refuse | roll back at once | abort | refuse |
//! | rolled back | refuse | refuse | refuse | refuse | refuse | refuse | begin again |
//! | aborted | refuse | refuse | refuse | refuse | roll back | refuse | begin again |
//!
//! To begin waits for the gates before the first stage; `promote` goes through closed ones.
//!
//! What raises a weight is refused while promotions are frozen, while stable has too few
//! endpoints, and while the flag is off. What lowers it never is.

use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::event::{Author, Command};
use crate::domain::rollout::policy::StartMode;
use crate::domain::rollout::refusal::Refusal;
use crate::domain::rollout::state::{PauseCause, Phase, Resumption, RolloutState, Wait};
use crate::domain::rollout::transition::{Rollout, Step, Target};
use crate::domain::stopwatch::Stopwatch;

impl Rollout<'_> {
    pub(super) fn obey(self, command: Command, by: Author) -> Step {
        let cause = Cause::of_author(by);
        match command {
            Command::Start => self.start_by(cause),
            Command::Pause => self.pause_by(cause),
            Command::Resume => self.resume_by(cause),
            Command::Promote { full } => self.promote_by(cause, full),
            Command::Rollback => self.roll_back_by(cause),
            Command::Abort => self.abort_by(cause),
            Command::Retry => self.retry_by(cause),
        }
    }

    fn start_by(self, cause: Cause) -> Step {
        match &self.state.phase {
            Phase::Waiting {
                wait: Wait::FlagOff,
            } => self.refuse(Refusal::FlagOff),
            Phase::Waiting {
                wait: Wait::Start | Wait::PlanBeginsHigher | Wait::Freeze | Wait::State,
            } => self.unless_blocked(|rollout| rollout.begin_gated(cause)),
            Phase::RollingBack { .. } => self.refuse(Refusal::RollingBack),
            other => {
                let refusal = refusal_of_ended(other, "start").unwrap_or(Refusal::AlreadyStarted);
                self.refuse(refusal)
            }
        }
    }

    fn pause_by(self, cause: Cause) -> Step {
        match resumption_of(&self.state.phase) {
            Ok(from) => self.pause(from, PauseCause::Operator, cause),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn resume_by(self, cause: Cause) -> Step {
        match &self.state.phase {
            Phase::Paused {
                cause: PauseCause::FlagOff,
                ..
            } => self.refuse(Refusal::FlagOff),
            Phase::Paused { .. } if !self.moment.is_on => self.refuse(Refusal::FlagOff),
            Phase::Paused { from, .. } => {
                let from = *from;
                self.resume(from, cause)
            }
            Phase::Waiting { .. } => self.refuse(Refusal::NotStarted),
            Phase::RollingBack { .. } => self.refuse(Refusal::RollingBack),
            other => {
                let refusal = refusal_of_ended(other, "resume").unwrap_or(Refusal::NotPaused);
                self.refuse(refusal)
            }
        }
    }

    fn promote_by(self, cause: Cause, full: bool) -> Step {
        let is_watch = self.state.phase.is_watch();
        match &self.state.phase {
            Phase::Waiting { wait: Wait::Gate } => {
                self.unless_blocked(|rollout| rollout.begin(cause))
            }
            Phase::Waiting { .. } => self.refuse(Refusal::NotStarted),
            Phase::Paused {
                cause: PauseCause::FlagOff,
                ..
            } => self.refuse(Refusal::FlagOff),
            Phase::Watching | Phase::Paused { .. } if is_watch => {
                self.unless_blocked(|rollout| rollout.succeed(cause))
            }
            Phase::Progressing
            | Phase::WaitingForApproval
            | Phase::WaitingForGate { .. }
            | Phase::Paused { .. }
            | Phase::Watching => self.unless_blocked(|rollout| {
                let beyond_last = rollout.plan.stages().len();
                let next = rollout.state.stage + 1;
                // An approval is one gate of several: it opens no other.
                let is_approval = matches!(
                    rollout.state.phase,
                    Phase::WaitingForApproval
                        | Phase::Paused {
                            from: Resumption::Approval,
                            ..
                        }
                );
                if is_approval
                    && !full
                    && let Some(closed) = rollout.closed_before(next)
                {
                    return rollout.with_deadline_met().wait_for_gate(&closed, cause);
                }
                let next = if full { beyond_last } else { next };
                let cause = match rollout.state.phase {
                    // Before an approval or a gate it was told already.
                    Phase::Progressing
                    | Phase::Paused {
                        from: Resumption::Stage,
                        ..
                    } => cause.passing(rollout.state.stage),
                    _ => cause,
                };
                rollout.with_deadline_met().advance_to(next, cause)
            }),
            Phase::Succeeded => self.refuse(Refusal::AlreadySucceeded { verb: "promote" }),
            Phase::RollingBack { .. } => self.refuse(Refusal::RollingBack),
            Phase::RolledBack { .. } => self.refuse(Refusal::RolledBack),
            Phase::Aborted { .. } => self.refuse(Refusal::Aborted),
        }
    }

    fn roll_back_by(self, cause: Cause) -> Step {
        match self.state.phase {
            Phase::RolledBack { .. } => self.refuse(Refusal::RolledBack),
            // Said once more, it is meant at once.
            Phase::RollingBack { .. } => self.roll_back(cause),
            _ => self.take_back(cause),
        }
    }

    fn abort_by(self, cause: Cause) -> Step {
        if let Some(refusal) = refusal_of_ended(&self.state.phase, "abort") {
            return self.refuse(refusal);
        }
        self.abort(cause)
    }

    /// Gives the rollout up.
    pub(super) fn abort(self, cause: Cause) -> Step {
        let stage = self.state.stage;
        let target = Target {
            phase: Phase::Aborted {
                reason: cause.why.clone(),
            },
            stage,
            what: format!("aborted in stage {}", stage + 1),
        };
        self.change(target, cause)
    }

    fn retry_by(self, cause: Cause) -> Step {
        match self.state.phase {
            Phase::RolledBack { .. } | Phase::Aborted { .. } => {
                self.unless_blocked(|mut rollout| {
                    rollout.state.attempt = rollout.state.attempt.saturating_add(1);
                    rollout.state.rolled_back_groups.clear();
                    rollout.with_deadline_met().begin_gated(cause)
                })
            }
            Phase::Waiting { .. }
            | Phase::Progressing
            | Phase::WaitingForApproval
            | Phase::WaitingForGate { .. }
            | Phase::Paused { .. }
            | Phase::Watching
            | Phase::Succeeded => self.refuse(Refusal::NothingToRetry),
            Phase::RollingBack { .. } => self.refuse(Refusal::RollingBack),
        }
    }

    /// The flag was switched off or on. Off, canary has no callers, so nothing can be judged; on
    /// again, its stage begins again.
    pub(super) fn switched(self, is_on: bool, by: Author) -> Step {
        let cause = Cause::of_author(by);
        match (&self.state.phase, is_on) {
            (
                Phase::Waiting {
                    wait: Wait::FlagOff,
                },
                true,
            ) => self.switched_on(cause),
            (
                Phase::Paused {
                    cause: PauseCause::FlagOff,
                    from,
                    ..
                },
                true,
            ) => {
                let from = *from;
                self.resume_anew(from, cause)
            }
            (
                Phase::Progressing
                | Phase::WaitingForApproval
                | Phase::WaitingForGate { .. }
                | Phase::Watching,
                false,
            ) => match resumption_of(&self.state.phase) {
                Ok(from) => self.pause(from, PauseCause::FlagOff, cause),
                Err(_) => self.stay(),
            },
            _ => self.stay(),
        }
    }

    /// What the plan does by itself it does now.
    fn switched_on(self, cause: Cause) -> Step {
        let waits = self.plan.policy().start == StartMode::Manual
            || self.plan.stage(0).needs_approval
            || self.obstacle().is_some();
        if waits {
            let wait = Wait::Start;
            let what = format!("waiting {wait}");
            let phase = Phase::Waiting { wait };
            let target = Target {
                phase,
                stage: 0,
                what,
            };
            self.change(target, cause)
        } else {
            self.begin_gated(cause)
        }
    }

    fn resume(self, from: Resumption, cause: Cause) -> Step {
        let target = self.resumption(from);
        self.with_deadline_met().change(target, cause)
    }

    fn resume_anew(self, from: Resumption, cause: Cause) -> Step {
        let target = self.resumption(from);
        self.enter_anew(target, cause)
    }

    fn resumption(&self, from: Resumption) -> Target {
        let stage = self.state.stage;
        Target {
            phase: match from {
                Resumption::Stage => Phase::Progressing,
                Resumption::Approval => Phase::WaitingForApproval,
                Resumption::Gate { awaits } => Phase::WaitingForGate { awaits },
                Resumption::Watch => Phase::Watching,
            },
            stage,
            what: format!("resumed in stage {}", stage + 1),
        }
    }

    fn unless_blocked(self, act: impl FnOnce(Self) -> Step) -> Step {
        match self.obstacle() {
            Some(refusal) => self.refuse(refusal),
            None => act(self),
        }
    }

    /// An operator has looked after it, so a deadline that has passed begins again.
    fn with_deadline_met(mut self) -> Self {
        if self.state.is_overdue || self.state.phase.has_ended() {
            self.state = RolloutState {
                is_overdue: false,
                under_way: Stopwatch::default(),
                ..self.state
            };
        }
        self
    }
}

/// Where a rollout goes on that is paused now; or why it cannot be.
fn resumption_of(phase: &Phase) -> Result<Resumption, Refusal> {
    match phase {
        Phase::Progressing => Ok(Resumption::Stage),
        Phase::WaitingForApproval => Ok(Resumption::Approval),
        Phase::WaitingForGate { awaits } => Ok(Resumption::Gate { awaits: *awaits }),
        Phase::Watching => Ok(Resumption::Watch),
        Phase::Waiting { .. } => Err(Refusal::NotStarted),
        Phase::Paused { .. } => Err(Refusal::AlreadyPaused),
        Phase::Succeeded => Err(Refusal::AlreadySucceeded { verb: "pause" }),
        Phase::RollingBack { .. } => Err(Refusal::RollingBack),
        Phase::RolledBack { .. } => Err(Refusal::RolledBack),
        Phase::Aborted { .. } => Err(Refusal::Aborted),
    }
}

/// Why a verb makes no sense once a rollout is over.
fn refusal_of_ended(phase: &Phase, verb: &'static str) -> Option<Refusal> {
    match phase {
        Phase::Succeeded => Some(Refusal::AlreadySucceeded { verb }),
        Phase::RolledBack { .. } => Some(Refusal::RolledBack),
        Phase::Aborted { .. } => Some(Refusal::Aborted),
        Phase::Waiting { .. }
        | Phase::Progressing
        | Phase::WaitingForApproval
        | Phase::WaitingForGate { .. }
        | Phase::Paused { .. }
        | Phase::Watching
        | Phase::RollingBack { .. } => None,
    }
}
