//! What a plan takes at the rates of the last minutes, for whoever asks.
//!
//! What is needed for it is copied out of the controller and reckoned elsewhere: it takes milliseconds for
//! each stage and group, which are not the controller's to spare.

use crate::control::pace::Pace;
use crate::control::status::{PlanOutlook, StageAhead, percent};
use crate::domain::judge::outlook::{GroupRates, Outlook, StageSpans};
use crate::domain::judge::sequential::SequentialSettings;
use crate::domain::rollout::{Phase, RolloutPlan, RolloutState, Stage, Undecided};
use crate::domain::timestamp::Timestamp;

/// All that is known for a look ahead.
#[derive(Debug)]
pub(crate) struct LookAhead {
    plan: RolloutPlan,
    state: RolloutState,
    settings: SequentialSettings,
    rates: Vec<GroupRates>,
    seconds_seen: f64,
    now: Timestamp,
}

impl LookAhead {
    /// Of a plan in a state, judged by these settings.
    pub(crate) fn new(
        (plan, state): (&RolloutPlan, &RolloutState),
        settings: &SequentialSettings,
        pace: &Pace,
        now: Timestamp,
    ) -> Self {
        Self {
            plan: plan.clone(),
            state: state.clone(),
            settings: settings.clone(),
            rates: pace.rates(),
            seconds_seen: pace.seconds(),
            now,
        }
    }

    /// What it comes to.
    pub(crate) fn outlook(&self) -> PlanOutlook {
        let rates = &self.rates;
        let stages = self.stages();
        PlanOutlook {
            flag: self.plan.flag().clone(),
            stage: self.state.stage + 1,
            // An empty sum is a negative zero.
            requests_per_second: rates.iter().map(|group| group.requests).sum::<f64>() + 0.0,
            callers_per_second: rates.iter().map(GroupRates::callers).sum::<f64>() + 0.0,
            seconds_seen: self.seconds_seen,
            seconds_left: self.seconds_left(&stages),
            stages,
        }
    }

    fn stages(&self) -> Vec<StageAhead> {
        let outlook = Outlook::new(&self.settings, &self.rates);
        let mut starts_before = 0_u32;
        let ahead = |(stage, planned): (usize, &Stage)| {
            let in_stage = RolloutState {
                phase: Phase::Progressing,
                stage,
                ..self.state.clone()
            };
            let context = self.plan.stage_context(&in_stage, self.now);
            let spans = self.spans(planned, starts_before);
            let outlook = outlook.of_stage(&context, &spans);
            let seconds = outlook.seconds.unwrap_or(spans.hold);
            starts_before = starts_before.saturating_add(spans.starts_in(seconds));
            StageAhead {
                stage: stage + 1,
                groups: planned.shape.groups.clone(),
                percent: percent(planned.shape.weight),
                outlook,
            }
        };
        self.plan.stages().iter().enumerate().map(ahead).collect()
    }

    fn spans(&self, stage: &Stage, starts_before: u32) -> StageSpans {
        let policy = self.plan.policy();
        let patience = (stage.hold * policy.patience).as_secs_f64();
        StageSpans {
            hold: stage.hold.as_secs_f64(),
            warm_up: stage.warm_up().as_secs_f64(),
            patience: (policy.undecided == Undecided::Promote).then_some(patience),
            starts_before,
        }
    }

    /// The stages that are left and the watch, less what has passed of the current one.
    fn seconds_left(&self, stages: &[StageAhead]) -> Option<f64> {
        let Self { plan, state, .. } = self;
        if state.phase.has_ended() {
            return None;
        }
        let watch = plan.watch().as_secs_f64();
        let passed = state.in_stage.elapsed(self.now).as_secs_f64();
        if state.is_in_watch() {
            return Some((watch - passed).max(0.0));
        }
        let mut left = watch;
        for stage in &stages[state.stage.min(stages.len())..] {
            let takes = stage.outlook.seconds?;
            let is_current = stage.stage == state.stage + 1 && state.phase.is_judged();
            left += if is_current {
                (takes - passed).max(0.0)
            } else {
                takes
            };
        }
        Some(left)
    }
}
