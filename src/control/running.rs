//! One rollout under way: its plan, where it is, and its judge.

use std::collections::VecDeque;
use std::time::Duration;

use crate::control::commands::CommandError;
use crate::control::describe::tick_status;
use crate::control::gatekeeping::{Gatekeeper, Standing};
use crate::control::installation::{PlannedRollout, tells_off};
use crate::control::judging::{Judged, Judging};
use crate::control::pace::Pace;
use crate::control::perform::{Performer, line, now_unix_ms};
use crate::control::ports::{JournalLine, StateError, Transition};
use crate::control::status::ArmStatus;
use crate::domain::evidence::TickCounts;
use crate::domain::gate::GatesNow;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::rollout::{
    Effect, Event, Moment, Phase, PlanBefore, RolloutPlan, RolloutRecord, RolloutState,
    StageWeights, Step, step,
};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;
use crate::runtime::clock;

/// Lines of the journal that a status shows.
pub(crate) const JOURNAL_SHOWN: usize = 20;

/// How soon a rollout that holds for the same reason as before says so again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A rollout and its judge.
pub(crate) struct RunningRollout {
    pub(crate) flag: FlagIndex,
    pub(crate) name: FlagName,
    pub(super) plan: RolloutPlan,
    pub(super) state: RolloutState,
    pub(super) judging: Judging,
    /// Whether callers may rate it.
    pub(super) takes_feedback: bool,
    /// What is before its next stage.
    pub(super) gatekeeper: Gatekeeper,
    /// At which rate requests come.
    pub(super) pace: Pace,
    /// What was seen in the last tick.
    pub(super) last_tick: PerVariant<ArmStatus>,
    /// The weights that were written down last: with no more than these it may go on unwritten.
    pub(super) written: StageWeights,
    /// What was to be written last and was not, in time or at all.
    pub(super) attempted: Option<Transition>,
    /// Why it held, as was logged last, and when.
    held: Option<(String, Timestamp)>,
    /// The last lines of the journal, newest first.
    pub(super) journal: VecDeque<JournalLine>,
}

impl RunningRollout {
    /// A rollout in a state, with nothing written down yet.
    pub(crate) fn new(planned: PlannedRollout, state: RolloutState, performer: &Performer) -> Self {
        let judging = Judging::new(&planned, state.attempt, performer);
        Self {
            flag: planned.flag,
            name: performer.routing.flag(planned.flag).name.clone(),
            written: StageWeights::default(),
            plan: planned.plan,
            judging,
            takes_feedback: planned.takes_feedback,
            gatekeeper: Gatekeeper::default(),
            pace: Pace::default(),
            state,
            attempted: None,
            held: None,
            last_tick: PerVariant::default(),
            journal: VecDeque::new(),
        }
    }

    /// A rollout as it was written down.
    pub(crate) fn of_record(
        planned: PlannedRollout,
        record: &RolloutRecord,
        performer: &Performer,
    ) -> Self {
        let mut rollout = Self::new(planned, record.state.clone(), performer);
        rollout.written = record.weights.clone();
        if let Some(known) = performer.evidence.get(&rollout.name) {
            let Self {
                plan,
                state,
                judging,
                ..
            } = &mut rollout;
            judging.resume(Judged { plan, state }, known);
        }
        rollout
    }

    /// Shows lines that were written before this process, newest first.
    pub(crate) fn recall(&mut self, lines: Vec<JournalLine>) {
        self.journal.extend(lines);
        self.journal.truncate(JOURNAL_SHOWN);
    }

    /// Where it is.
    pub(crate) const fn state(&self) -> &RolloutState {
        &self.state
    }

    /// What is written down of it.
    pub(crate) fn record(&self) -> RolloutRecord {
        RolloutRecord {
            flag: self.name.clone(),
            release: self.plan.release().clone(),
            stages: self.plan.shapes(),
            weights: self.plan.weights_at(&self.state),
            state: self.state.clone(),
        }
    }

    /// Whether it is the rollout of a plan's release.
    pub(crate) fn is_of(&self, plan: &RolloutPlan) -> bool {
        self.name == *plan.flag() && self.plan.release() == plan.release()
    }

    /// Whether the flag was on, as far as the state tells.
    pub(crate) const fn was_on(&self) -> bool {
        !tells_off(&self.state.phase)
    }

    /// Whether canary is under judgement.
    pub(crate) const fn is_judged(&self) -> bool {
        self.state.phase.is_judged()
    }

    /// Goes on under a plan that may be another one.
    pub(crate) fn adopt(
        &mut self,
        planned: PlannedRollout,
        performer: &mut Performer,
        moment: &Moment<'_>,
    ) {
        let PlannedRollout {
            flag,
            plan,
            judge,
            further,
            takes_feedback,
        } = planned;
        let before = PlanBefore {
            stages: self.plan.shapes(),
            weights: self.plan.weights_at(&self.state),
        };
        let checks = (judge, further);
        let is_judged_anew = self.judging.replace(checks, &self.name, performer);
        self.flag = flag;
        self.plan = plan;
        self.takes_feedback = takes_feedback;
        let event = Event::PlanChanged {
            before,
            is_judged_anew,
        };
        self.advance_or_hold(event, moment, performer);
        let weights = self.plan.weights_at(&self.state);
        let state = self.state.clone();
        self.publish(&weights, &state, performer);
    }

    /// Decides requests by weights from now on, and counts callers while there are any of canary.
    fn publish(&mut self, weights: &StageWeights, state: &RolloutState, performer: &mut Performer) {
        let plan = &self.plan;
        self.judging.watch(Judged { plan, state }, performer);
        self.follow_feedback(state, performer);
        performer.publish_weights(self.flag, weights, state);
    }

    /// Ends a tick at the data plane, before it is collected.
    pub(crate) fn end_tick(&mut self, moment: &Moment<'_>) {
        let Self { plan, state, .. } = self;
        self.judging.end_tick(Judged { plan, state }, moment);
    }

    /// Judges a tick and takes the step that follows. What comes after the end is nobody's
    /// evidence.
    pub(crate) fn tick(
        &mut self,
        counts: &TickCounts,
        moment: &Moment<'_>,
        performer: &mut Performer,
    ) {
        self.last_tick = tick_status(counts);
        self.pace.add(counts);
        if self.is_judged() {
            let Self { plan, state, .. } = self;
            let judged = Judged { plan, state };
            self.judging.tick(counts, judged, moment, performer);
        } else if !matches!(self.state.phase, Phase::Waiting { .. }) {
            // Nothing stands before what has ended, and no question about it goes on.
            self.gatekeeper = Gatekeeper::default();
            return;
        }
        let event = Event::Tick {
            verdict: self.judging.verdict.clone(),
            requests: self.judging.judge.stage_requests(),
        };
        let gates = self.look_at_gates(moment.now, performer);
        let moment = Moment {
            gates: gates.as_ref(),
            ..*moment
        };
        self.advance_or_hold(event, &moment, performer);
    }

    fn look_at_gates(&mut self, now: Timestamp, performer: &Performer) -> Option<GatesNow> {
        let Self { plan, state, .. } = self;
        let wall = clock::wall();
        let standing = Standing {
            plan,
            state,
            now,
            wall,
        };
        self.gatekeeper.look(&standing, &performer.hooks)
    }

    /// What the gates before the next stage amounted to at the last tick.
    pub(super) fn gates_seen(&self) -> Option<GatesNow> {
        let state = &self.state;
        self.gatekeeper.seen_before(state.stage + 1, state.attempt)
    }

    /// Asks the tripwire between ticks: every endpoint of canary refuses.
    pub(crate) fn check_refused(
        &mut self,
        partial: &TickCounts,
        moment: &Moment<'_>,
        performer: &mut Performer,
    ) {
        if let Some(finding) = self.judging.check_refused(partial, moment.now) {
            self.advance_or_hold(Event::Tripped { finding }, moment, performer);
        }
    }

    /// Takes a step that nobody waits for the answer of.
    pub(crate) fn advance_or_hold(
        &mut self,
        event: Event,
        moment: &Moment<'_>,
        performer: &mut Performer,
    ) {
        let Err(error) = self.advance(event, moment, performer) else {
            self.held = None;
            return;
        };
        let error = error.to_string();
        let is_known = self
            .held
            .as_ref()
            .is_some_and(|(known, at)| *known == error && moment.now - *at < TOLD_AGAIN_AFTER);
        if !is_known {
            tracing::error!(flag = %self.name, error, "holding");
            self.held = Some((error, moment.now));
        }
    }

    /// Takes one step and carries it out.
    pub(crate) fn advance(
        &mut self,
        event: Event,
        moment: &Moment<'_>,
        performer: &mut Performer,
    ) -> Result<(), CommandError> {
        let Step {
            state,
            effects,
            refused,
        } = step(&self.plan, self.state.clone(), event, moment);
        if let Some(refusal) = refused {
            return Err(refusal.into());
        }
        self.take(state, effects, performer, moment)
            .map_err(|error| CommandError::NotWritten(error.to_string()))
    }

    /// Carries effects out in their order.
    ///
    /// # Errors
    /// When the state could not be written and canary would get more callers than were written
    /// before: then nothing is done. With no more than those it goes on, and is written as soon
    /// as it can be.
    pub(crate) fn take(
        &mut self,
        state: RolloutState,
        effects: Vec<Effect>,
        performer: &mut Performer,
        moment: &Moment<'_>,
    ) -> Result<(), StateError> {
        if effects.is_empty() {
            self.state = state;
            return Ok(());
        }
        for effect in effects {
            match effect {
                Effect::Persist {
                    state,
                    entry,
                    mut notice,
                } => {
                    if let Some(notice) = &mut notice {
                        notice.at_unix_ms = now_unix_ms();
                    }
                    let line = line(&self.name, *entry);
                    let record = RolloutRecord {
                        state: *state,
                        weights: StageWeights::default(),
                        ..self.record()
                    };
                    let record = RolloutRecord {
                        weights: self.plan.weights_at(&record.state),
                        ..record
                    };
                    let messages = notice.as_deref().map(|notice| performer.messages(notice));
                    self.persist(record, line, messages.unwrap_or_default(), performer)?;
                    notice.iter().for_each(|notice| performer.tell(notice));
                }
                Effect::PublishWeights { weights, .. } => {
                    self.publish(&weights, &state, performer);
                    self.state = state.clone();
                }
                Effect::RestartEvidence => {
                    let (plan, state) = (&self.plan, &state);
                    self.judging.start_stage(Judged { plan, state }, moment.now);
                }
            }
        }
        Ok(())
    }
}
