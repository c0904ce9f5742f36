//! One rollout under way: its plan, where it is, and its judge.

use crate::control::TICK;
use crate::control::commands::CommandError;
use crate::control::perform::Performer;
use crate::control::status::{
    ArmStatus, GroupStatus, GroupWeightStatus, RolloutStatus, WeightsStatus, hold, percent,
};
use crate::domain::evidence::TickCounts;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::judge::tripwire::CanaryEndpoints;
use crate::domain::judge::{Action, Finding, Judge, JudgeSettings, Verdict};
use crate::domain::rollout::{Event, Phase, RolloutPlan, RolloutState, Step, step};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;

/// Lines of the journal that a status shows.
const JOURNAL_SHOWN: usize = 20;

/// A rollout and its judge.
pub(crate) struct RunningRollout {
    pub(crate) flag: FlagIndex,
    pub(crate) name: FlagName,
    plan: RolloutPlan,
    state: RolloutState,
    judge: Judge,
    /// What the judge said last; the one that ended the rollout, once it has ended.
    verdict: Verdict,
}

impl RunningRollout {
    /// Goes on from a state.
    pub(crate) fn new(
        (flag, name): (FlagIndex, FlagName),
        plan: RolloutPlan,
        state: RolloutState,
        settings: JudgeSettings,
    ) -> Self {
        Self {
            flag,
            name,
            plan,
            state,
            judge: Judge::new(settings),
            verdict: undecided(),
        }
    }

    /// Whether canary is under judgement.
    pub(crate) const fn is_judged(&self) -> bool {
        self.state.phase.is_judged()
    }

    /// Judges a tick and takes the step that follows. What comes after the end is nobody's
    /// evidence.
    pub(crate) fn tick(&mut self, counts: &TickCounts, now: Timestamp, performer: &mut Performer) {
        if !self.is_judged() {
            return;
        }
        let stage = self.plan.stage_context(&self.state);
        self.verdict = self.judge.observe(counts, &stage, now);
        let event = Event::Tick {
            verdict: self.verdict.clone(),
            requests: self.judge.stage_requests(),
        };
        self.advance_or_hold(event, now, performer);
    }

    /// Asks the tripwire between ticks: every endpoint of canary refuses.
    pub(crate) fn check_refused(
        &mut self,
        partial: &TickCounts,
        now: Timestamp,
        performer: &mut Performer,
    ) {
        let endpoints = CanaryEndpoints::AllRefuse;
        let found = self.judge.check_tripwire(partial, endpoints, now);
        if let Some(finding) = found.filter(Finding::is_breach) {
            self.verdict = Verdict::from_findings(vec![finding.clone()]);
            self.advance_or_hold(Event::Tripped { finding }, now, performer);
        }
    }

    /// Takes a step that nobody waits for the answer of.
    fn advance_or_hold(&mut self, event: Event, now: Timestamp, performer: &mut Performer) {
        if let Err(error) = self.advance(event, now, performer) {
            tracing::error!(flag = %self.name, %error, "holding");
        }
    }

    /// Takes one step and carries it out.
    pub(crate) fn advance(
        &mut self,
        event: Event,
        now: Timestamp,
        performer: &mut Performer,
    ) -> Result<(), CommandError> {
        let Step {
            state,
            effects,
            refused,
        } = step(&self.plan, self.state.clone(), event, now);
        if let Some(refusal) = refused {
            return Err(refusal.into());
        }
        if state == self.state {
            return Ok(());
        }
        performer
            .perform(self.flag, &state, effects)
            .map_err(|error| CommandError::NotWritten(error.to_string()))?;
        self.state = state;
        if self.is_judged() {
            self.judge.start_stage();
            self.verdict = undecided();
        }
        Ok(())
    }

    /// Where it is, for people and for metrics.
    pub(crate) fn status(&self, performer: &Performer, now: Timestamp) -> RolloutStatus {
        let (state, plan) = (&self.state, &self.plan);
        let flag = performer.routing.flag(self.flag);
        let groups = flag.weights.groups.iter().map(|entry| GroupWeightStatus {
            group: performer.routing.groups.name(entry.group).clone(),
            percent: percent(entry.weight),
        });
        let weights = WeightsStatus {
            groups: groups.collect(),
            default_percent: percent(flag.weights.default),
        };
        let (totals, ticks) = self.judge.seen_in_stage();
        let span = TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        let groups = totals
            .strata()
            .iter()
            .map(|stratum| GroupStatus::of(stratum, span));
        let journal = performer.store.journal(&self.name, JOURNAL_SHOWN);
        RolloutStatus {
            flag: self.name.clone(),
            enabled: flag.enabled,
            revision: state.revision.clone(),
            phase: state.phase.as_str(),
            reason: match &state.phase {
                Phase::RolledBack { reason } => Some(reason.clone()),
                Phase::Progressing | Phase::Watching | Phase::Succeeded => None,
            },
            stage: state.stage + 1,
            stages: plan.stages().len(),
            seconds_in_stage: (now - state.stage_since).as_secs_f64(),
            hold_seconds: hold(plan, state).as_secs_f64(),
            min_requests: plan.stage(state.stage).min_requests,
            weights,
            counted_requests: self.judge.stage_requests(),
            arms: PerVariant::from_fn(|variant| ArmStatus::of(&totals.total(variant), span)),
            groups: groups.collect(),
            action: self.verdict.action,
            findings: self.verdict.findings.clone(),
            journal: journal.into_iter().map(Into::into).collect(),
        }
    }
}

/// What is said before anything was seen.
const fn undecided() -> Verdict {
    Verdict {
        action: Action::Hold,
        findings: Vec::new(),
    }
}
