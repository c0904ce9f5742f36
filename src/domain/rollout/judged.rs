//! What evidence makes of a rollout.
//!
//! | phase | tick | tripped |
//! | --- | --- | --- |
//! | waiting | begin once nothing is in the way, or stay | stay |
//! | progressing | roll back, go on, wait for approval or a gate, pause at the deadline, or stay | roll back |
//! | waiting for approval | roll back, or tell that the deadline has passed | roll back |
//! | waiting for a gate | roll back, go on once all are open, or tell why one is closed | roll back |
//! | paused | roll back or stay | roll back |
//! | watching | roll back, succeed or stay | roll back |
//! | rolling back | a stage down, all the way down, or stay | all the way down |
//! | succeeded, rolled back, aborted | stay | stay |
//!
//! To roll back is to take canary to nothing at once, or stage by stage where the plan says so (`descent`). Where it
//! says so, a tick takes one group back and the stage begins again with the others (`one_group`).
//!
//! A breach outranks everything. A stage goes on when its hold has passed, canary had enough
//! requests and the verdict is to promote, all three; or, if the plan says so, when it has seen
//! enough for several hold times without a sign of harm. The watch ends with time alone. After
//! success there is no control left to judge by, so only an operator takes canary back. Nothing
//! goes on while promotions are frozen, or while stable has fewer endpoints than the plan wants.

use std::time::Duration;

use crate::domain::judge::{Action, Assessment, Finding, Verdict};
use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::plan::Stage;
use crate::domain::rollout::policy::{Mode, NoData, OnDeadline, Undecided};
use crate::domain::rollout::state::{PauseCause, Phase, Resumption, RolloutState};
use crate::domain::rollout::transition::{Rollout, Step, Target, humanly};

/// There is something to judge by once canary has had this part of the requests that are enough.
const SOMETHING_PARTS: u64 = 10;

impl Rollout<'_> {
    pub(super) fn tick(self, verdict: Verdict, canary_requests: u64) -> Step {
        if let Phase::Waiting { wait } = self.state.phase {
            return self.tick_waiting(wait);
        }
        if !self.state.phase.is_judged() {
            return self.stay();
        }
        if matches!(self.state.phase, Phase::RollingBack { .. }) {
            return self.descend(verdict);
        }
        if verdict.action == Action::Rollback {
            return self.act_or_tell_of_harm(verdict);
        }
        let is_late = self.under_way() >= self.plan.policy().deadline && !self.state.is_overdue;
        match self.state.phase {
            Phase::Progressing if is_late => self.miss_deadline(),
            Phase::Progressing => self.judge_stage(verdict, canary_requests),
            Phase::WaitingForApproval | Phase::WaitingForGate { .. } if is_late => {
                self.tell_deadline()
            }
            Phase::WaitingForGate { awaits } => self.tick_at_gate(awaits),
            Phase::Watching if self.elapsed() >= self.plan.watch() && self.obstacle().is_none() => {
                let why = "nothing was found wrong until the end of the watch".to_owned();
                self.succeed(Cause::by("plan", why, verdict.findings))
            }
            _ => self.stay(),
        }
    }

    fn judge_stage(self, verdict: Verdict, canary_requests: u64) -> Step {
        self.seeing(canary_requests)
            .judge_what_is_seen(verdict, canary_requests)
    }

    /// Takes note of when there was something to judge by: patience with what is not seen clearly does
    /// not begin before there is anything to see. A part of the requests will do, so that requests that
    /// come slowly are not waited for once more.
    fn seeing(self, canary_requests: u64) -> Self {
        let enough = self.plan.stage(self.state.stage).min_requests.max(1);
        let is_something = canary_requests.saturating_mul(SOMETHING_PARTS) >= enough;
        if self.state.judged_since.is_some() || !is_something {
            return self;
        }
        let state = RolloutState {
            judged_since: Some(self.elapsed()),
            ..self.state
        };
        Self { state, ..self }
    }

    fn judge_what_is_seen(self, verdict: Verdict, canary_requests: u64) -> Step {
        let (stage, policy) = (self.plan.stage(self.state.stage), self.plan.policy());
        let has_enough = canary_requests >= stage.min_requests.max(1);
        let span = stage.hold * policy.patience;
        let was_patient = |since: Duration| self.elapsed().saturating_sub(since) >= span;
        let is_patient_long = self.state.judged_since.is_some_and(was_patient);
        if has_enough && self.elapsed() >= stage.hold && verdict.action == Action::Promote {
            let why = format!("all checks pass after {canary_requests} requests of canary");
            return self.pass_stage(Cause::by("judge", why, verdict.findings));
        }
        if is_patient_long
            && has_enough
            && policy.undecided == Undecided::Promote
            && verdict.is_undecided
        {
            let why = format!(
                "UNDECIDED, going on all the same: {} hold times and {canary_requests} requests of \
                 canary showed neither harm nor its absence",
                policy.patience
            );
            return self.pass_stage(Cause::by("judge", why, verdict.findings));
        }
        if self.elapsed() >= span && !has_enough && policy.no_data == NoData::Rollback {
            let why = format!(
                "too little was seen: {canary_requests} of {} requests of canary after {} hold times",
                stage.min_requests, policy.patience
            );
            let cause = Cause::by("judge", why, verdict.findings);
            return self.act_or_tell(Action::Rollback, cause, Self::take_back);
        }
        if self.plan.policy().mode == Mode::Observe && verdict.action == Action::Hold {
            // What was said before holds no longer; the next time it is said again.
            return self.with_observed(None);
        }
        self.stay()
    }

    /// A stage has passed: on to the next, to its approval, or nowhere while something is in the
    /// way.
    fn pass_stage(self, cause: Cause) -> Step {
        if self.obstacle().is_some() {
            return self.stay();
        }
        self.act_or_tell(Action::Promote, cause, |rollout, cause| {
            let cause = cause.passing(rollout.state.stage);
            let next = rollout.state.stage + 1;
            let needs_approval = |stage: &Stage| stage.needs_approval;
            if rollout.plan.stages().get(next).is_some_and(needs_approval) {
                rollout.wait_for_approval(cause)
            } else if let Some(closed) = rollout.closed_before(next) {
                rollout.wait_for_gate(&closed, cause)
            } else {
                rollout.advance_to(next, cause)
            }
        })
    }

    /// Does what follows from evidence or, where the plan just observes, tells once that it would.
    fn act_or_tell(
        self,
        action: Action,
        cause: Cause,
        act: impl FnOnce(Self, Cause) -> Step,
    ) -> Step {
        if self.plan.policy().mode == Mode::Act {
            return act(self, cause);
        }
        if self.state.observed == Some(action) {
            return self.stay();
        }
        let what = match action {
            Action::Rollback => "would roll back, but just observes",
            Action::Promote | Action::Hold => "would go on, but just observes",
        };
        let state = RolloutState {
            observed: Some(action),
            ..self.state
        };
        let effects = vec![cause.persisted(self.plan, &state, what.to_owned())];
        Step {
            state,
            effects,
            refused: None,
        }
    }

    /// Takes back what has done harm or, where the plan just observes, tells once that it would.
    fn act_or_tell_of_harm(self, verdict: Verdict) -> Step {
        if self.plan.policy().mode == Mode::Act {
            return self.take_back_harmed(verdict);
        }
        let cause = Cause::of_breach(verdict);
        self.act_or_tell(Action::Rollback, cause, Self::take_back)
    }

    pub(super) fn tripped(self, finding: Finding) -> Step {
        if self.state.phase.is_judged() && finding.assessment == Assessment::Breach {
            let why = finding.reason.clone();
            let cause = Cause::by("tripwire", why, vec![finding]);
            self.act_or_tell(Action::Rollback, cause, Self::roll_back)
        } else {
            self.stay()
        }
    }

    fn miss_deadline(self) -> Step {
        let why = self.overdue();
        let mode = self.plan.policy().mode;
        match self.plan.policy().on_deadline {
            OnDeadline::Rollback if mode == Mode::Act => {
                self.take_back(Cause::by("deadline", why, Vec::new()))
            }
            OnDeadline::Rollback => self.tell_deadline(),
            OnDeadline::Hold => self.pause(
                Resumption::Stage,
                PauseCause::Deadline,
                Cause::by("deadline", why, Vec::new()),
            ),
        }
    }

    /// Nothing changes but that it was told.
    fn tell_deadline(self) -> Step {
        let cause = Cause::by("deadline", self.overdue(), Vec::new());
        let state = RolloutState {
            is_overdue: true,
            ..self.state
        };
        let what = "the deadline has passed".to_owned();
        let effects = vec![cause.persisted(self.plan, &state, what)];
        Step {
            state,
            effects,
            refused: None,
        }
    }

    fn overdue(&self) -> String {
        let deadline = humanly(self.plan.policy().deadline);
        let stage = self.state.stage + 1;
        let stages = self.plan.stages().len();
        format!("still in stage {stage} of {stages} after {deadline}, the deadline")
    }

    fn with_observed(self, observed: Option<Action>) -> Step {
        let state = RolloutState {
            observed,
            ..self.state
        };
        Self { state, ..self }.stay()
    }

    fn under_way(&self) -> Duration {
        self.state.under_way.elapsed(self.moment.now)
    }

    fn wait_for_approval(self, cause: Cause) -> Step {
        let stage = self.state.stage;
        let what = format!("stage {} waits for approval", stage + 2);
        let phase = Phase::WaitingForApproval;
        self.change(Target { phase, stage, what }, cause)
    }
}
