//! The ways from one state of a rollout to another, and the one place where a state is changed.

use std::time::Duration;

use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::effect::Effect;
use crate::domain::rollout::event::Moment;
use crate::domain::rollout::plan::RolloutPlan;
use crate::domain::rollout::refusal::Refusal;
use crate::domain::rollout::state::{PauseCause, Phase, Resumption, RolloutState};
use crate::domain::stage_weights::StageWeights;
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

/// What keeps canary from getting more callers in the circumstances.
pub fn obstacle(plan: &RolloutPlan, moment: &Moment<'_>) -> Option<Refusal> {
    if !moment.is_on {
        return Some(Refusal::FlagOff);
    }
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
    /// What keeps canary from getting more callers.
    pub(super) fn obstacle(&self) -> Option<Refusal> {
        obstacle(self.plan, self.moment)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.state.in_stage.elapsed(self.moment.now)
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

    pub(super) fn refuse(self, refusal: Refusal) -> Step {
        Step {
            refused: Some(refusal),
            ..self.stay()
        }
    }

    /// Goes where a stage or the watch begins: its time and its evidence start from nothing.
    pub(super) fn enter_anew(mut self, target: Target, cause: Cause) -> Step {
        self.state.in_stage = Stopwatch::default();
        self.state.judged_since = None;
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
            gate_told: None,
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
pub(super) fn humanly(duration: Duration) -> String {
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
