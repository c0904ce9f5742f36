//! The loop: wait, collect, judge, step, perform.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::control::commands::{self, CommandError, CommandReceiver, Order};
use crate::control::perform::Performer;
use crate::control::ports::{EvidenceSource, Notifier, StateStore};
use crate::control::status::{self, ArmStatus, GroupWeightStatus, RolloutStatus, Status, percent};
use crate::domain::evidence::TickCounts;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::judge::tripwire::CanaryEndpoints;
use crate::domain::judge::{Action, Assessment, Judge, JudgeSettings, Verdict};
use crate::domain::rollout::{Event, Phase, RolloutPlan, RolloutState, Step, start, step};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::clock::Clock;
use crate::runtime::inbox::{Inbox, Message};
use crate::runtime::ledger::Ledger;
use crate::runtime::published::Publisher;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// One tick of evidence.
const TICK: Duration = Duration::from_secs(1);

/// Lines of the journal that a status shows.
const JOURNAL_SHOWN: usize = 20;

/// A rollout as configured.
#[derive(Debug)]
pub struct Release {
    /// The flag it moves.
    pub flag: FlagIndex,
    /// Its stages.
    pub plan: RolloutPlan,
    /// What it is judged by.
    pub judge: JudgeSettings,
}

/// What a controller is made of.
pub struct Parts {
    /// What requests are decided by at the start.
    pub routing: RoutingSnapshot,
    /// The rollouts to run, in the file's order.
    pub releases: Vec<Release>,
    /// Publishes what requests are decided by.
    pub publisher: Publisher,
    /// Makes the counters of what is published.
    pub ledger: Arc<Ledger>,
    /// Says what was seen.
    pub evidence: Box<dyn EvidenceSource>,
    /// Remembers where rollouts are.
    pub store: Box<dyn StateStore>,
    /// Told of each change.
    pub notifiers: Vec<Box<dyn Notifier>>,
    /// Operators' commands.
    pub commands: CommandReceiver,
    /// Messages from requests.
    pub inbox: Inbox,
    /// Assignments, of which those that have ended are removed.
    pub assignments: Arc<CallerAssignments>,
    /// The time.
    pub clock: Clock,
}

struct Rollout {
    flag: FlagIndex,
    name: FlagName,
    plan: RolloutPlan,
    state: RolloutState,
    judge: Judge,
    verdict: Verdict,
}

/// Runs all rollouts.
pub struct Controller {
    rollouts: Vec<Rollout>,
    performer: Performer,
    evidence: Box<dyn EvidenceSource>,
    /// Collected between ticks, to be judged with the next one.
    collected: BTreeMap<FlagName, TickCounts>,
    commands: CommandReceiver,
    inbox: Inbox,
    assignments: Arc<CallerAssignments>,
    clock: Clock,
    status: SnapshotWriter<Status>,
}

impl Controller {
    /// Starts all rollouts at their first stage.
    pub fn new(parts: Parts) -> Self {
        let performer = Performer {
            routing: parts.routing,
            publisher: parts.publisher,
            ledger: parts.ledger,
            store: parts.store,
            notifiers: parts.notifiers,
        };
        let mut controller = Self {
            rollouts: Vec::new(),
            performer,
            evidence: parts.evidence,
            collected: BTreeMap::new(),
            commands: parts.commands,
            inbox: parts.inbox,
            assignments: parts.assignments,
            clock: parts.clock,
            status: SnapshotWriter::new(Status::default()),
        };
        parts
            .releases
            .into_iter()
            .for_each(|release| controller.begin(release));
        controller.publish_status();
        controller
    }

    /// Reads where the rollouts are.
    pub fn status(&self) -> SnapshotReader<Status> {
        self.status.reader()
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, mut shutdown: Shutdown) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, when there is nothing to judge.
        ticks.tick().await;
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                _ = ticks.tick() => self.tick(),
                order = self.commands.receive() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                messages = self.inbox.receive() => match messages {
                    Some(messages) => self.heed(messages),
                    None => return,
                },
            }
            self.publish_status();
        }
    }

    fn begin(&mut self, release: Release) {
        let Release { flag, plan, judge } = release;
        let epoch_before = self.performer.routing.flag(flag).epoch;
        let Step { state, effects, .. } = start(&plan, epoch_before, self.clock.now());
        if let Err(error) = self.performer.perform(flag, &state, effects) {
            tracing::error!(%error, "rollout not started");
        }
        let name = self.performer.routing.flag(flag).name.clone();
        let verdict = Verdict::from_findings(Vec::new());
        let judge = Judge::new(judge);
        self.rollouts.push(Rollout {
            flag,
            name,
            plan,
            state,
            judge,
            verdict,
        });
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        self.assignments.expire(now);
        self.collect();
        let mut collected = std::mem::take(&mut self.collected);
        for rollout in &mut self.rollouts {
            let counts = collected.remove(&rollout.name).unwrap_or_default();
            let stage = rollout.plan.stage_context(&rollout.state);
            rollout.verdict = rollout.judge.observe(&counts, &stage, now);
            let event = Event::Tick {
                verdict: rollout.verdict.clone(),
                requests: rollout.judge.stage_requests(),
            };
            rollout.advance_or_hold(event, now, &mut self.performer);
        }
    }

    /// Looks at once when a canary takes no connection, without waiting for the tick.
    fn heed(&mut self, messages: BTreeSet<Message>) {
        let now = self.clock.now();
        self.collect();
        for Message::CanaryRefused(flag) in messages {
            let refused =
                |rollout: &&mut Rollout| rollout.name == flag && rollout.state.phase.is_judged();
            let Some(rollout) = self.rollouts.iter_mut().find(refused) else {
                continue;
            };
            let counts = self.collected.get(&flag).cloned().unwrap_or_default();
            let found = rollout
                .judge
                .check_tripwire(&counts, CanaryEndpoints::AllRefuse, now);
            let Some(finding) = found.filter(|found| found.assessment == Assessment::Breach) else {
                continue;
            };
            rollout.advance_or_hold(Event::Tripped { finding }, now, &mut self.performer);
        }
    }

    fn obey(&mut self, order: Order) {
        let now = self.clock.now();
        let of_order = |rollout: &&mut Rollout| commands::is_for(&order, &rollout.name);
        let answer = match self.rollouts.iter_mut().find(of_order) {
            None => Err(CommandError::NoRollout(order.flag)),
            Some(rollout) => {
                let event = Event::Command {
                    command: order.command,
                    by: order.by,
                };
                rollout
                    .advance(event, now, &mut self.performer)
                    .map(|()| rollout.status(&self.performer, now))
            }
        };
        // Whoever asked may have left; what was asked for is done all the same.
        let _ = order.reply.send(answer);
    }

    fn collect(&mut self) {
        for (flag, counts) in self.evidence.collect() {
            self.collected.entry(flag).or_default().merge(&counts);
        }
    }

    fn publish_status(&mut self) {
        let now = self.clock.now();
        let rollouts = self
            .rollouts
            .iter()
            .map(|rollout| rollout.status(&self.performer, now));
        let rollouts = rollouts.collect();
        self.status.publish(Status { rollouts });
    }
}

impl Rollout {
    /// Takes a step that nobody waits for the answer of.
    fn advance_or_hold(&mut self, event: Event, now: Timestamp, performer: &mut Performer) {
        if let Err(error) = self.advance(event, now, performer) {
            tracing::error!(flag = %self.name, %error, "holding");
        }
    }

    /// Takes one step and carries it out.
    fn advance(
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
        self.judge.start_stage();
        self.verdict = Verdict {
            action: Action::Hold,
            findings: Vec::new(),
        };
        Ok(())
    }

    fn status(&self, performer: &Performer, now: Timestamp) -> RolloutStatus {
        let (state, plan) = (&self.state, &self.plan);
        let flag = performer.routing.flag(self.flag);
        let groups = flag.weights.groups.iter().map(|entry| GroupWeightStatus {
            group: performer.routing.groups.name(entry.group).clone(),
            percent: percent(entry.weight),
        });
        let weights = status::WeightsStatus {
            groups: groups.collect(),
            default_percent: percent(flag.weights.default),
        };
        let span = now - state.stage_since;
        let totals = self.judge.stage_totals();
        let journal = performer.store.journal(&self.name, JOURNAL_SHOWN);
        RolloutStatus {
            flag: self.name.clone(),
            revision: state.revision.clone(),
            phase: state.phase.as_str(),
            reason: match &state.phase {
                Phase::RolledBack { reason } => Some(reason.clone()),
                Phase::Progressing | Phase::Watching | Phase::Succeeded => None,
            },
            stage: state.stage + 1,
            stages: plan.stages().len(),
            seconds_in_stage: span.as_secs_f64(),
            hold_seconds: status::hold(plan, state).as_secs_f64(),
            min_requests: plan.stage(state.stage).min_requests,
            weights,
            arms: PerVariant::from_fn(|variant| ArmStatus::of(&totals.total(variant), span)),
            action: self.verdict.action,
            findings: self.verdict.findings.clone(),
            journal: journal.into_iter().map(Into::into).collect(),
        }
    }
}
