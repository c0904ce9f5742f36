//! The loop: wait, collect, judge, step, perform.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::control::TICK;
use crate::control::commands::{self, CommandError, CommandReceiver, PendingCommand};
use crate::control::perform::Performer;
use crate::control::ports::{EvidenceSource, Notifier, StateStore};
use crate::control::running::RunningRollout;
use crate::control::status::Status;
use crate::domain::evidence::TickCounts;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::judge::JudgeSettings;
use crate::domain::rollout::{Event, RolloutPlan, Step, start};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::timestamp::Timestamp;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::clock::Clock;
use crate::runtime::inbox::{Inbox, Message};
use crate::runtime::ledger::Ledger;
use crate::runtime::published::Publisher;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// How often assignments that have ended are removed. They hold no longer than they should in any
/// case; this only makes room.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// How often messages of requests are looked at, at the most: a flood of them is one message.
const HEED_INTERVAL: Duration = Duration::from_millis(50);

/// A rollout as configured.
#[derive(Debug)]
pub struct PlannedRollout {
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
    pub planned: Vec<PlannedRollout>,
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

/// Runs all rollouts.
pub struct Controller {
    rollouts: Vec<RunningRollout>,
    performer: Performer,
    evidence: Box<dyn EvidenceSource>,
    /// Collected between ticks, to be judged with the next one.
    collected: BTreeMap<FlagName, TickCounts>,
    commands: CommandReceiver,
    inbox: Inbox,
    assignments: Arc<CallerAssignments>,
    clock: Clock,
    /// When assignments that had ended were last removed.
    expired: Timestamp,
    /// When messages of requests were last looked at.
    heeded: Timestamp,
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
            expired: Timestamp::default(),
            heeded: Timestamp::default(),
            status: SnapshotWriter::new(Status::default()),
        };
        parts
            .planned
            .into_iter()
            .for_each(|planned| controller.begin(planned));
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
                _ = ticks.tick() => {
                    self.tick();
                    self.publish_status();
                }
                pending = self.commands.receive() => match pending {
                    Some(pending) => {
                        self.obey(pending);
                        self.publish_status();
                    }
                    None => return,
                },
                messages = self.inbox.receive() => match messages {
                    Some(messages) => self.heed(messages),
                    None => return,
                },
            }
        }
    }

    fn begin(&mut self, planned: PlannedRollout) {
        let PlannedRollout { flag, plan, judge } = planned;
        let current = self.performer.routing.flag(flag);
        let (name, epoch_before) = (current.name.clone(), current.epoch);
        let Step { state, effects, .. } = start(&plan, epoch_before, self.clock.now());
        if let Err(error) = self.performer.perform(flag, &state, effects) {
            tracing::error!(%error, "rollout not started");
        }
        let rollout = RunningRollout::new((flag, name), plan, state, judge);
        self.rollouts.push(rollout);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if now - self.expired >= EXPIRY_INTERVAL {
            self.expired = now;
            self.assignments.expire(now);
        }
        self.collect();
        let mut collected = std::mem::take(&mut self.collected);
        for rollout in &mut self.rollouts {
            let counts = collected.remove(&rollout.name).unwrap_or_default();
            rollout.tick(&counts, now, &mut self.performer);
        }
    }

    /// Looks at once when a canary takes no connection, without waiting for the tick.
    fn heed(&mut self, messages: BTreeSet<Message>) {
        let now = self.clock.now();
        let is_refused = |rollout: &RunningRollout| {
            rollout.is_judged() && messages.contains(&Message::CanaryRefused(rollout.name.clone()))
        };
        let is_idle = !self.rollouts.iter().any(is_refused);
        if is_idle || now - self.heeded < HEED_INTERVAL {
            return;
        }
        self.heeded = now;
        self.collect();
        for rollout in self
            .rollouts
            .iter_mut()
            .filter(|rollout| is_refused(rollout))
        {
            let partial = self
                .collected
                .get(&rollout.name)
                .cloned()
                .unwrap_or_default();
            rollout.check_refused(&partial, now, &mut self.performer);
        }
        self.publish_status();
    }

    fn obey(&mut self, pending: PendingCommand) {
        let now = self.clock.now();
        let of_command = |rollout: &&mut RunningRollout| commands::is_for(&pending, &rollout.name);
        let answer = match self.rollouts.iter_mut().find(of_command) {
            None => Err(CommandError::NoRollout(pending.flag)),
            Some(rollout) => {
                let event = Event::Command {
                    command: pending.command,
                    by: pending.by,
                };
                rollout
                    .advance(event, now, &mut self.performer)
                    .map(|()| rollout.status(&self.performer, now))
            }
        };
        // Whoever asked may have left; what was asked for is done all the same.
        let _ = pending.reply.send(answer);
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
