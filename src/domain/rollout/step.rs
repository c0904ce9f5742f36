//! The one place where a rollout changes.
//!
//! Verbs are in `verbs`, what a changed plan or a restart makes of a state is in `adopt`; this is
//! what evidence does:
//!
//! | phase | tick | tripped |
//! | --- | --- | --- |
//! | waiting | stay | stay |
//! | progressing | roll back, go on, wait for approval, pause at the deadline, or stay | roll back |
//! | waiting for approval | roll back, or tell that the deadline has passed | roll back |
//! | paused | roll back or stay | roll back |
//! | watching | roll back, succeed or stay | roll back |
//! | succeeded, rolled back, aborted | stay | stay |
//!
//! A breach outranks everything. A stage goes on when its hold has passed, canary had enough
//! requests and the verdict is to promote, all three; or, if the plan says so, when it has seen
//! enough for several hold times without a sign of harm. The watch ends with time alone. After
//! success there is no control left to judge by, so only an operator takes canary back. Nothing
//! goes on while promotions are frozen, or while stable has fewer endpoints than the plan wants.

use std::time::Duration;

use crate::domain::judge::{Action, Assessment, Finding, Verdict};
use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::effect::Effect;
use crate::domain::rollout::event::{Event, Moment};
use crate::domain::rollout::plan::{RolloutPlan, Stage};
use crate::domain::rollout::policy::{Mode, NoData, OnDeadline, StartMode, Undecided};
use crate::domain::rollout::refusal::Refusal;
use crate::domain::rollout::state::{PauseCause, Phase, Resumption, RolloutState, Wait};
use crate::domain::rollout::weights::StageWeights;
use crate::domain::stopwatch::Stopwatch;

/// The answer to an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The state after it.
    pub state: RolloutState,
    /// What is to be done, in this order; empty when nothing changes.
    pub effects: Vec<Effect>,
    /// Why a command was not followed.
    pub refused: Option<Refusal>,
}

/// Begins a rollout: its first stage, or its wait for somebody to start it.
///
/// `epoch_before` is the flag's last epoch, of whatever rollout, or 0; `is_on` tells whether the
/// flag is on.
pub fn start(plan: &RolloutPlan, epoch_before: u64, is_on: bool, moment: &Moment<'_>) -> Step {
    let wait = match plan.policy().start {
        _ if !is_on => Some(Wait::FlagOff),
        StartMode::Manual => Some(Wait::Start),
        StartMode::Auto if plan.stage(0).needs_approval => Some(Wait::Start),
        StartMode::Auto if moment.freeze.is_some() => Some(Wait::Freeze),
        StartMode::Auto => None,
    };
    let state = RolloutState::waiting(wait.unwrap_or(Wait::Start), epoch_before);
    let why = format!("revision {} is to be released", plan.revision());
    let cause = Cause::by("plan", why, Vec::new());
    let rollout = Rollout {
        plan,
        state,
        moment,
    };
    match wait {
        None => rollout.begin(cause),
        Some(wait) => rollout.enter_anew(
            Target {
                phase: Phase::Waiting { wait },
                stage: 0,
                what: format!("waiting {wait}"),
            },
            cause,
        ),
    }
}

/// Advances a rollout by one event.
///
/// Pure: equal arguments give equal results, so a trace can be replayed and every answer tested.
/// The caller performs the returned effects in order; `Persist` always precedes `PublishWeights`.
pub fn step(plan: &RolloutPlan, state: RolloutState, event: Event, moment: &Moment<'_>) -> Step {
    let rollout = Rollout {
        plan,
        state,
        moment,
    };
    match event {
        Event::Tick { verdict, requests } => rollout.tick(verdict, requests.canary),
        Event::Tripped { finding } => rollout.tripped(finding),
        Event::Command { command, by } => rollout.obey(command, by),
        Event::Switched { is_on, by } => rollout.switched(is_on, by),
        Event::PlanChanged {
            before,
            is_judged_anew,
        } => rollout.adopt(&before, is_judged_anew),
        Event::Restarted { before } => rollout.restarted(&before),
    }
}

/// What keeps canary from getting more callers in the circumstances.
pub fn obstacle(plan: &RolloutPlan, moment: &Moment<'_>) -> Option<Refusal> {
    if let Some(freeze) = moment.freeze {
        return Some(Refusal::Frozen {
            who: freeze.who.clone(),
            why: freeze.why.clone(),
        });
    }
    let has = moment.stable_endpoints;
    let needs = plan.policy().stable_min_endpoints;
    (has < needs).then_some(Refusal::StableTooSmall { has, needs })
}

/// A rollout at the moment of an event. Each method is one way on from it.
pub(super) struct Rollout<'a> {
    pub(super) plan: &'a RolloutPlan,
    pub(super) state: RolloutState,
    pub(super) moment: &'a Moment<'a>,
}

/// Where a change leads, and what it is called.
pub(super) struct Target {
    pub(super) phase: Phase,
    pub(super) stage: usize,
    pub(super) what: String,
}

impl Rollout<'_> {
    fn tick(self, verdict: Verdict, canary_requests: u64) -> Step {
        if let Phase::Waiting {
            wait: Wait::Freeze | Wait::State,
        } = self.state.phase
            && self.obstacle().is_none()
        {
            return self.begin(Cause::of_plan("what was in the way is gone"));
        }
        if !self.state.phase.is_judged() {
            return self.stay();
        }
        if verdict.action == Action::Rollback {
            let cause = Cause::of_breach(verdict);
            return self.act_or_tell(Action::Rollback, cause, Self::roll_back);
        }
        let is_late = self.under_way() >= self.plan.policy().deadline && !self.state.is_overdue;
        match self.state.phase {
            Phase::Progressing if is_late => self.miss_deadline(),
            Phase::Progressing => self.judge_stage(verdict, canary_requests),
            Phase::WaitingForApproval if is_late => self.tell_deadline(),
            Phase::Watching if self.elapsed() >= self.plan.watch() && self.obstacle().is_none() => {
                let why = "nothing was found wrong until the end of the watch".to_owned();
                self.succeed(Cause::by("plan", why, verdict.findings))
            }
            _ => self.stay(),
        }
    }

    fn judge_stage(self, verdict: Verdict, canary_requests: u64) -> Step {
        let (stage, policy) = (self.plan.stage(self.state.stage), self.plan.policy());
        let has_enough = canary_requests >= stage.min_requests.max(1);
        let is_patient_long = self.elapsed() >= stage.hold * policy.patience;
        if has_enough && self.elapsed() >= stage.hold && verdict.action == Action::Promote {
            let why = format!("all checks pass after {canary_requests} requests of canary");
            return self.pass_stage(Cause::by("judge", why, verdict.findings));
        }
        if is_patient_long
            && has_enough
            && policy.undecided == Undecided::Promote
            && verdict.is_undecided_without_harm()
        {
            let why = format!(
                "UNDECIDED, going on all the same: {} hold times and {canary_requests} requests of \
                 canary showed neither harm nor its absence",
                policy.patience
            );
            return self.pass_stage(Cause::by("judge", why, verdict.findings));
        }
        if is_patient_long && !has_enough && policy.no_data == NoData::Rollback {
            let why = format!(
                "too little was seen: {canary_requests} of {} requests of canary after {} hold times",
                stage.min_requests, policy.patience
            );
            let cause = Cause::by("judge", why, verdict.findings);
            return self.act_or_tell(Action::Rollback, cause, Self::roll_back);
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
            let next = rollout.state.stage + 1;
            let needs_approval = |stage: &Stage| stage.needs_approval;
            if rollout.plan.stages().get(next).is_some_and(needs_approval) {
                rollout.wait_for_approval(cause)
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

    fn tripped(self, finding: Finding) -> Step {
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
                self.roll_back(Cause::by("deadline", why, Vec::new()))
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

    /// What keeps canary from getting more callers.
    pub(super) fn obstacle(&self) -> Option<Refusal> {
        obstacle(self.plan, self.moment)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.state.in_stage.elapsed(self.moment.now)
    }

    fn under_way(&self) -> Duration {
        self.state.under_way.elapsed(self.moment.now)
    }

    /// Begins the first stage.
    pub(super) fn begin(self, cause: Cause) -> Step {
        let what = format!("started with stage 1 of {}", self.plan.stages().len());
        let target = Target {
            phase: Phase::Progressing,
            stage: 0,
            what,
        };
        self.enter_anew(target, cause)
    }

    /// Goes to a stage, or to the watch where there is none left.
    pub(super) fn advance_to(self, stage: usize, cause: Cause) -> Step {
        let stages = self.plan.stages().len();
        let (phase, what) = if stage < stages {
            let what = format!("stage {} of {stages} begins", stage + 1);
            (Phase::Progressing, what)
        } else {
            let watch = humanly(self.plan.watch());
            let what = format!("the stages are over, watching for {watch}");
            (Phase::Watching, what)
        };
        let stage = stage.min(self.plan.last_stage());
        self.enter_anew(Target { phase, stage, what }, cause)
    }

    fn wait_for_approval(self, cause: Cause) -> Step {
        let stage = self.state.stage;
        let what = format!("stage {} waits for approval", stage + 2);
        let phase = Phase::WaitingForApproval;
        self.change(Target { phase, stage, what }, cause)
    }

    pub(super) fn pause(self, from: Resumption, by: PauseCause, cause: Cause) -> Step {
        let reason = cause.why.clone();
        let stage = self.state.stage;
        let phase = Phase::Paused {
            from,
            cause: by,
            reason,
        };
        let is_overdue = self.state.is_overdue || by == PauseCause::Deadline;
        let state = RolloutState {
            is_overdue,
            ..self.state.clone()
        };
        let what = format!("paused in stage {}", stage + 1);
        Self { state, ..self }.change(Target { phase, stage, what }, cause)
    }

    pub(super) fn succeed(self, cause: Cause) -> Step {
        let target = Target {
            phase: Phase::Succeeded,
            stage: self.plan.last_stage(),
            what: "succeeded".to_owned(),
        };
        self.change(target, cause)
    }

    pub(super) fn roll_back(self, cause: Cause) -> Step {
        let stage = self.state.stage;
        let target = Target {
            phase: Phase::RolledBack {
                reason: cause.why.clone(),
            },
            stage,
            what: format!("rolled back from stage {}", stage + 1),
        };
        self.change(target, cause)
    }

    pub(super) fn stay(self) -> Step {
        Step {
            state: self.state,
            effects: Vec::new(),
            refused: None,
        }
    }

    fn with_observed(self, observed: Option<Action>) -> Step {
        let state = RolloutState {
            observed,
            ..self.state
        };
        Self { state, ..self }.stay()
    }

    pub(super) fn refuse(self, refusal: Refusal) -> Step {
        Step {
            refused: Some(refusal),
            ..self.stay()
        }
    }

    /// Goes where a stage or the watch begins: its time and its evidence start from nothing.
    pub(super) fn enter_anew(mut self, target: Target, cause: Cause) -> Step {
        self.state.in_stage = Stopwatch::default();
        let mut step = self.change(target, cause);
        if step.state.phase.is_judged() {
            step.effects.push(Effect::RestartEvidence);
        }
        step
    }

    /// The only place where a phase or stage is changed and effects are put in order.
    pub(super) fn change(self, target: Target, cause: Cause) -> Step {
        let before = self.plan.weights_at(&self.state);
        self.change_from(&before, target, cause)
    }

    /// The same where the weights before are not those of the state under this plan.
    pub(super) fn change_from(self, before: &StageWeights, target: Target, cause: Cause) -> Step {
        let was_taken_back = self.state.phase.is_taken_back();
        let mut state = RolloutState {
            phase: target.phase,
            stage: target.stage,
            observed: None,
            ..self.state
        }
        .timed(self.moment.now);
        let weights = self.plan.weights_at(&state);
        let is_reweighted = weights != *before;
        if is_reweighted {
            state.epoch = state.epoch.saturating_add(1);
        }
        // Where nobody has canary, somebody might still choose it; that changes with the phase.
        let is_published = is_reweighted || state.phase.is_taken_back() != was_taken_back;
        let epoch = state.epoch;
        let mut effects = vec![cause.persisted(self.plan, &state, target.what)];
        if is_published {
            effects.push(Effect::PublishWeights { weights, epoch });
        }
        Step {
            state,
            effects,
            refused: None,
        }
    }
}

impl Step {
    /// Adds the weights of the state, unless they are published already.
    pub(super) fn publish_always(&mut self, plan: &RolloutPlan) {
        let publishes = |effect: &Effect| matches!(effect, Effect::PublishWeights { .. });
        if !self.effects.iter().any(publishes) {
            self.effects.push(Effect::PublishWeights {
                weights: plan.weights_at(&self.state),
                epoch: self.state.epoch,
            });
        }
    }
}

/// A duration as it is written in a configuration: `5m`, `1h 30m`.
fn humanly(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let written: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if written.is_empty() {
        format!("{} ms", duration.as_millis())
    } else {
        written.join(" ")
    }
}
