//! What a changed plan, or a restart, makes of where a rollout is.
//!
//! A rollout goes on at the last stage it had reached that the new plan still has, and never with
//! more callers on canary than before. Where the plan has no such stage it goes on at the highest
//! one that is not above what canary had; where all are, nobody gets canary until somebody starts
//! it. What has been taken back stays taken back, whatever becomes of the plan.

use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::effect::Effect;
use crate::domain::rollout::event::PlanBefore;
use crate::domain::rollout::state::{Phase, Resumption, Wait};
use crate::domain::rollout::transition::{Rollout, Step, Target};
use crate::domain::stage_weights::StageWeights;
use crate::domain::stopwatch::Stopwatch;

impl Rollout<'_> {
    /// The plan, or what is tolerated, has changed.
    pub(super) fn adopt(mut self, before: &PlanBefore, is_judged_anew: bool) -> Step {
        if let Some(reason) = self.lost_group() {
            return self.roll_back_from(before, reason);
        }
        if !self.state.phase.has_traffic() {
            self.state.stage = self.state.stage.min(self.plan.last_stage());
            return self.stay();
        }
        let is_same_plan = self.plan.shapes() == before.stages;
        let (mut phase, stage) = self.place(before);
        if is_judged_anew {
            phase = judged_anew(phase);
        }
        let is_same_place = phase == self.state.phase && stage == self.state.stage;
        if is_same_place && is_same_plan && !is_judged_anew {
            return self.stay();
        }
        let is_same_stage = stage == self.state.stage && phase.has_traffic();
        let what = match (&phase, is_same_place || is_judged_anew && is_same_stage) {
            (Phase::Waiting { wait }, _) => format!("waiting {wait}"),
            (Phase::RolledBack { .. }, _) => "the plan changed, rolled back".to_owned(),
            (_, true) => format!("the plan changed, stage {} goes on", stage + 1),
            (_, false) => {
                let stages = self.plan.stages().len();
                format!(
                    "the plan changed, going on with stage {} of {stages}",
                    stage + 1
                )
            }
        };
        let cause = Cause::of_plan(if is_judged_anew {
            "the configuration changed, and with it what is tolerated: the stage is judged anew"
        } else {
            "the configuration changed"
        });
        let target = Target { phase, stage, what };
        if is_same_place && !is_judged_anew {
            self.change_from(&before.weights, target, cause)
        } else {
            self.enter_anew_from(&before.weights, target, cause)
        }
    }

    /// The process has started. Hold and evidence begin again, for the clock and the sets of
    /// callers that they were taken with are gone.
    pub(super) fn restarted(self, before: &PlanBefore) -> Step {
        if let Some(reason) = self.lost_group() {
            let plan = self.plan;
            let mut step = self.roll_back_from(before, reason);
            step.publish_always(plan);
            return step;
        }
        let (phase, stage) = self.place(before);
        if !phase.is_judged() && phase == self.state.phase {
            return self.republish();
        }
        let what = match &phase {
            Phase::Waiting { wait } => format!("waiting {wait}"),
            Phase::RolledBack { .. } => "rolled back after a restart".to_owned(),
            _ => format!("resumed in stage {} after a restart", stage + 1),
        };
        let cause = Cause::of_plan("the process has started; hold and evidence begin again");
        let target = Target { phase, stage, what };
        let plan = self.plan;
        let mut step = self.enter_anew_from(&before.weights, target, cause);
        step.publish_always(plan);
        step
    }

    fn roll_back_from(self, before: &PlanBefore, reason: String) -> Step {
        let cause = Cause::of_plan(&reason);
        let target = Target {
            phase: Phase::RolledBack { reason },
            stage: self.state.stage.min(self.plan.last_stage()),
            what: "the plan changed, rolled back".to_owned(),
        };
        self.change_from(&before.weights, target, cause)
    }

    /// Publishes the weights of a rollout that is not under way, as they were written.
    fn republish(mut self) -> Step {
        self.state.stage = self.state.stage.min(self.plan.last_stage());
        let plan = self.plan;
        let mut step = self.stay();
        step.publish_always(plan);
        step
    }

    /// Where a stage or the watch begins again, and the weights before are not those of the state.
    pub(super) fn enter_anew_from(
        mut self,
        before: &StageWeights,
        target: Target,
        cause: Cause,
    ) -> Step {
        self.state.in_stage = Stopwatch::default();
        self.state.judged_since = None;
        let mut step = self.change_from(before, target, cause);
        if step.state.phase.is_judged() {
            step.effects.push(Effect::RestartEvidence);
        }
        step
    }

    /// Phase and stage under the new plan.
    fn place(&self, before: &PlanBefore) -> (Phase, usize) {
        let (state, plan) = (&self.state, self.plan);
        if !state.phase.has_traffic() {
            return (state.phase.clone(), state.stage.min(plan.last_stage()));
        }
        let has_last = plan.shapes().last() == before.stages.last();
        let may_keep_end = match state.phase {
            Phase::Succeeded => state
                .allowed(plan.weights_of_success())
                .is_at_most(&before.weights),
            _ => {
                state.phase.is_watch()
                    && state
                        .allowed(plan.weights_of_stage(plan.last_stage()))
                        .is_at_most(&before.weights)
            }
        };
        if has_last && may_keep_end {
            return (state.phase.clone(), plan.last_stage());
        }
        let Some(stage) = self.stage_in_plan(before) else {
            if let Phase::RollingBack { reason, .. } = &state.phase {
                let reason = reason.clone();
                return (Phase::RolledBack { reason }, 0);
            }
            let wait = Wait::PlanBeginsHigher;
            return (Phase::Waiting { wait }, 0);
        };
        let is_same_stage = before.stages.get(state.stage) == Some(&plan.stage(stage).shape);
        (self.phase_in(stage, is_same_stage), stage)
    }

    /// The phase in which a stage goes on.
    fn phase_in(&self, stage: usize, is_same_stage: bool) -> Phase {
        let next = self.plan.stages().get(stage + 1).filter(|_| is_same_stage);
        let is_passed = next.is_some_and(|next| next.needs_approval);
        let is_gated = !is_passed && next.is_some_and(|next| !next.gates.is_empty());
        match &self.state.phase {
            Phase::WaitingForApproval | Phase::WaitingForGate { .. } if is_passed => {
                Phase::WaitingForApproval
            }
            Phase::WaitingForGate { awaits } if is_gated => {
                Phase::WaitingForGate { awaits: *awaits }
            }
            Phase::Paused {
                from,
                cause,
                reason,
            } => Phase::Paused {
                from: match from {
                    Resumption::Approval if is_passed => Resumption::Approval,
                    Resumption::Gate { awaits } if is_gated => Resumption::Gate { awaits: *awaits },
                    Resumption::Stage
                    | Resumption::Approval
                    | Resumption::Gate { .. }
                    | Resumption::Watch => Resumption::Stage,
                },
                cause: *cause,
                reason: reason.clone(),
            },
            Phase::RollingBack { .. } => self.state.phase.clone(),
            Phase::Waiting { .. }
            | Phase::Progressing
            | Phase::WaitingForApproval
            | Phase::WaitingForGate { .. }
            | Phase::Watching
            | Phase::Succeeded
            | Phase::RolledBack { .. }
            | Phase::Aborted { .. } => Phase::Progressing,
        }
    }

    fn stage_in_plan(&self, before: &PlanBefore) -> Option<usize> {
        let plan = self.plan;
        let is_allowed = |stage: &usize| {
            let weights = self.state.allowed(plan.weights_of_stage(*stage));
            weights.is_at_most(&before.weights)
        };
        let allowed: Vec<_> = (0..plan.stages().len()).rev().filter(is_allowed).collect();
        let reached = before.stages.iter().take(self.state.stage + 1).rev();
        let same = reached
            .flat_map(|shape| {
                let is_same = |stage: &&usize| plan.stage(**stage).shape == *shape;
                allowed.iter().filter(is_same)
            })
            .next();
        same.or_else(|| allowed.first()).copied()
    }
}

/// Where a stage is that has to pass under other checks: not before a gate that opens by itself, which it stands
/// before for having passed.
fn judged_anew(phase: Phase) -> Phase {
    match phase {
        Phase::WaitingForGate { .. } => Phase::Progressing,
        Phase::Paused {
            from: Resumption::Gate { .. },
            cause,
            reason,
        } => Phase::Paused {
            from: Resumption::Stage,
            cause,
            reason,
        },
        other => other,
    }
}
