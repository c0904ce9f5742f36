//! Where one rollout is, in the words and numbers of the API.

use std::time::Duration;

use crate::control::TICK;
use crate::control::outlook::LookAhead;
use crate::control::perform::{Performer, now_unix_ms};
use crate::control::ports::HistoryPoint;
use crate::control::running::RunningRollout;
use crate::control::status::{
    ArmStatus, GroupStatus, JournalStatus, RolloutStatus, WeightsStatus, hold,
};
use crate::control::waiting::waiting_for;
use crate::domain::evidence::TickCounts;
use crate::domain::judge::{Action, Judge, Verdict};
use crate::domain::rollout::{Moment, Phase, RolloutPlan, RolloutState, obstacle};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::{PerVariant, Variant};

impl RunningRollout {
    /// Where it is, for people and for metrics.
    pub(crate) fn status(&self, performer: &Performer, moment: &Moment<'_>) -> RolloutStatus {
        let mut status = Known {
            plan: &self.plan,
            state: &self.state,
            judge: &self.judging.judge,
            verdict: &self.judging.verdict,
            moment,
            last_tick: self.last_tick,
            enabled: performer.routing.flag(self.flag).enabled,
            weights: self.weights(performer),
            journal: self.journal.iter().cloned().map(Into::into).collect(),
            is_written: performer.has_written(&self.name, self.plan.release()),
        }
        .status();
        self.gatekeeper.show(&mut status);
        let waiting = status.waiting_for.as_mut();
        if let Some(waiting) = waiting.filter(|_| !performer.routing.routes.goes_by(self.flag)) {
            waiting
                .says
                .push_str("; no route goes by the flag, so no request comes");
        }
        status.feedback = self.feedback(performer);
        status
    }

    /// What a tick adds to the history; nothing where nothing was counted.
    pub(crate) fn history(&self, counts: &TickCounts, span_seconds: u32) -> Option<HistoryPoint> {
        let is_empty = Variant::ALL
            .iter()
            .all(|variant| counts.total(*variant).is_empty());
        (!is_empty).then(|| HistoryPoint {
            flag: self.name.clone(),
            at_unix_ms: now_unix_ms(),
            span_seconds,
            phase: self.state.phase.as_str().to_owned(),
            stage: self.state.stage,
            counts: counts.clone(),
        })
    }

    /// What is known for a look at what its plan takes.
    pub(crate) fn look_ahead(&self, now: Timestamp) -> LookAhead {
        let settings = self.judging.judge.test_settings();
        LookAhead::new((&self.plan, &self.state), settings, &self.pace, now)
    }

    fn weights(&self, performer: &Performer) -> WeightsStatus {
        let weights = &performer.routing.flag(self.flag).weights;
        let groups = weights.groups.iter().map(|entry| {
            let group = performer.routing.groups.name(entry.group).clone();
            (group, entry.weight)
        });
        let control = self.plan.control_at(&self.state);
        WeightsStatus::of(groups, weights.default, control)
    }
}

/// What is known of a rollout at one moment, wherever it takes place.
pub struct Known<'a> {
    /// What is to be done.
    pub plan: &'a RolloutPlan,
    /// Where it is.
    pub state: &'a RolloutState,
    /// Its judge, with all it has seen in this stage.
    pub judge: &'a Judge,
    /// What the judge said last.
    pub verdict: &'a Verdict,
    /// The circumstances.
    pub moment: &'a Moment<'a>,
    /// What was seen of each arm in the last tick.
    pub last_tick: PerVariant<ArmStatus>,
    /// Whether its flag is on.
    pub enabled: bool,
    /// The weights that hold now.
    pub weights: WeightsStatus,
    /// The last changes, newest first.
    pub journal: Vec<JournalStatus>,
    /// Whether a restart would find it here.
    pub is_written: bool,
}

impl Known<'_> {
    /// Says it in the words and numbers of the API.
    pub fn status(self) -> RolloutStatus {
        let blocked = self.blocked();
        let Self { plan, state, .. } = self;
        let now = self.moment.now;
        let (totals, ticks) = self.judge.seen_in_stage();
        let span = TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        let groups = totals
            .strata()
            .iter()
            .map(|stratum| GroupStatus::of(stratum, span));
        RolloutStatus {
            flag: plan.flag().clone(),
            enabled: self.enabled,
            revision: plan.revision().to_owned(),
            stable: plan.release().stable.clone(),
            canary: plan.release().canary.clone(),
            attempt: state.attempt,
            phase: state.phase.as_str().to_owned(),
            reason: state.phase.reason(),
            rolled_back_groups: state.rolled_back_groups.clone(),
            blocked,
            mode: plan.policy().mode,
            stage: state.stage + 1,
            stages: plan.stages().len(),
            plan: plan.stages().iter().map(Into::into).collect(),
            seconds_in_stage: seconds(state.in_stage.elapsed(now)),
            hold_seconds: seconds(hold(plan, state)),
            seconds_under_way: seconds(state.under_way.elapsed(now)),
            deadline_seconds: seconds(plan.policy().deadline),
            min_requests: plan.stage(state.stage).min_requests,
            weights: self.weights,
            counted_requests: self.judge.stage_requests(),
            last_tick: self.last_tick,
            arms: PerVariant::from_fn(|variant| ArmStatus::of(&totals.total(variant), span)),
            groups: groups.collect(),
            action: self.verdict.action,
            findings: self.verdict.findings.clone(),
            feedback: None,
            journal: self.journal,
            is_written: self.is_written,
            gates: Vec::new(),
            waiting_for: waiting_for((plan, state), self.judge, self.verdict, now),
        }
    }

    /// What keeps a stage from passing that otherwise would.
    fn blocked(&self) -> Option<String> {
        let Self {
            state,
            plan,
            moment,
            ..
        } = self;
        let wants_on = match state.phase {
            Phase::Progressing => {
                self.verdict.action == Action::Promote
                    && state.in_stage.elapsed(moment.now) >= plan.stage(state.stage).hold
            }
            Phase::Watching => state.in_stage.elapsed(moment.now) >= plan.watch(),
            Phase::WaitingForApproval | Phase::WaitingForGate { .. } => true,
            Phase::Waiting { .. }
            | Phase::Paused { .. }
            | Phase::Succeeded
            | Phase::RollingBack { .. }
            | Phase::RolledBack { .. }
            | Phase::Aborted { .. } => false,
        };
        let refusal = obstacle(plan, moment).filter(|_| wants_on)?;
        Some(refusal.to_string())
    }
}

/// What was seen of each arm in one tick.
pub fn tick_status(counts: &TickCounts) -> PerVariant<ArmStatus> {
    PerVariant::from_fn(|variant| ArmStatus::of(&counts.total(variant), TICK))
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
