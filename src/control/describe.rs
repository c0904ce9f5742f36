//! Where one rollout is, in the words and numbers of the API.

use std::time::Duration;

use crate::control::TICK;
use crate::control::perform::Performer;
use crate::control::running::RunningRollout;
use crate::control::status::{
    ArmStatus, GroupStatus, GroupWeightStatus, RolloutStatus, WeightsStatus, hold, percent,
};
use crate::domain::judge::Action;
use crate::domain::rollout::{Moment, Phase, obstacle};
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

impl RunningRollout {
    /// Where it is, for people and for metrics.
    pub(crate) fn status(&self, performer: &Performer, moment: &Moment<'_>) -> RolloutStatus {
        let (state, plan, now) = (&self.state, &self.plan, moment.now);
        let flag = performer.routing.flag(self.flag);
        let (totals, ticks) = self.judge.seen_in_stage();
        let span = TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        let groups = totals
            .strata()
            .iter()
            .map(|stratum| GroupStatus::of(stratum, span));
        RolloutStatus {
            flag: self.name.clone(),
            enabled: flag.enabled,
            revision: plan.revision().to_owned(),
            stable: plan.release().stable.clone(),
            canary: plan.release().canary.clone(),
            attempt: state.attempt,
            phase: state.phase.as_str().to_owned(),
            reason: state.phase.reason(),
            blocked: self.blocked(moment),
            mode: plan.policy().mode,
            stage: state.stage + 1,
            stages: plan.stages().len(),
            plan: plan.stages().iter().map(Into::into).collect(),
            seconds_in_stage: seconds(state.in_stage.elapsed(now)),
            hold_seconds: seconds(hold(plan, state)),
            seconds_under_way: seconds(state.under_way.elapsed(now)),
            deadline_seconds: seconds(plan.policy().deadline),
            min_requests: plan.stage(state.stage).min_requests,
            weights: self.weights(performer),
            counted_requests: self.judge.stage_requests(),
            arms: PerVariant::from_fn(|variant| ArmStatus::of(&totals.total(variant), span)),
            groups: groups.collect(),
            action: self.verdict.action,
            findings: self.verdict.findings.clone(),
            journal: self.journal.iter().cloned().map(Into::into).collect(),
        }
    }

    fn weights(&self, performer: &Performer) -> WeightsStatus {
        let weights = &performer.routing.flag(self.flag).weights;
        let control = self.plan.control_at(&self.state);
        // What the plan says is shown, and beside it who is kept back for comparison.
        let shown = |weight: Weight| match control {
            Some(control) if weight == control.complement() => 100.0,
            _ => percent(weight),
        };
        let groups = weights.groups.iter().map(|entry| GroupWeightStatus {
            group: performer.routing.groups.name(entry.group).clone(),
            percent: shown(entry.weight),
        });
        WeightsStatus {
            groups: groups.collect(),
            default_percent: shown(weights.default),
            control_percent: control.map(percent),
        }
    }

    /// What keeps a stage from passing that otherwise would.
    fn blocked(&self, moment: &Moment<'_>) -> Option<String> {
        let (state, plan) = (&self.state, &self.plan);
        let wants_on = match state.phase {
            Phase::Progressing => {
                self.verdict.action == Action::Promote
                    && state.in_stage.elapsed(moment.now) >= plan.stage(state.stage).hold
            }
            Phase::Watching => state.in_stage.elapsed(moment.now) >= plan.watch(),
            Phase::WaitingForApproval => true,
            Phase::Waiting { .. }
            | Phase::Paused { .. }
            | Phase::Succeeded
            | Phase::RolledBack { .. }
            | Phase::Aborted { .. } => false,
        };
        let refusal = obstacle(plan, moment).filter(|_| wants_on)?;
        Some(refusal.to_string())
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
