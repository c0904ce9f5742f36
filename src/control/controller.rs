//! The loop: wait, collect, judge, step, perform.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::control::TICK;
use crate::control::apps::Apps;
use crate::control::callers::KnownCallers;
use crate::control::commands::CommandReceiver;
use crate::control::definitions::Created;
use crate::control::endpoints::{EndpointTotals, EndpointsUp};
use crate::control::installation::{self, FlagRefusal, NewConfiguration, Records, carry_out};
use crate::control::moment::moment_of;
use crate::control::perform::{Performer, Unwritten};
use crate::control::ports::{
    EvidenceSource, HookCaller, JournalQuery, MetricSource, Notifier, SavedState, StateReader,
    StateWriter, Subject,
};
use crate::control::recording::Recordings;
use crate::control::running::{JOURNAL_SHOWN, RunningRollout};
use crate::control::settings::Settings;
use crate::control::status::Status;
use crate::domain::evidence::TickCounts;
use crate::domain::ids::FlagName;
use crate::domain::rollout::{Admission, Freeze, Moment};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::timestamp::Timestamp;
use crate::runtime::apps::AppRegistry;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::caller_book::CallerBookReader;
use crate::runtime::clock::Clock;
use crate::runtime::feedback::FeedbackDesk;
use crate::runtime::inbox::{Inbox, Message};
use crate::runtime::ledger::Ledger;
use crate::runtime::pseudonyms::{Pseudonyms, SharedPseudonyms};
use crate::runtime::published::Publisher;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// How often assignments that have ended are removed. They hold no longer than they should in any
/// case; this only makes room.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// How often messages of requests are looked at, at the most: a flood of them is one message.
const HEED_INTERVAL: Duration = Duration::from_millis(50);

/// What a controller is made of.
pub struct Parts {
    /// What requests are decided by at the start, and what is to be rolled out.
    pub configuration: NewConfiguration,
    /// Publishes what requests are decided by.
    pub publisher: Publisher,
    /// Makes the counters of what is published.
    pub ledger: Arc<Ledger>,
    /// Says what was seen.
    pub evidence: Box<dyn EvidenceSource>,
    /// Writes down where rollouts are.
    pub writer: Box<dyn StateWriter>,
    /// Reads what was written down.
    pub reader: Arc<dyn StateReader>,
    /// What was written down before.
    pub saved: SavedState,
    /// Told of each change.
    pub notifiers: Vec<Box<dyn Notifier>>,
    /// Whom custom checks ask.
    pub metrics: Arc<dyn MetricSource>,
    /// Who asks webhooks before stages.
    pub hooks: Arc<dyn HookCaller>,
    /// Operators' commands.
    pub commands: CommandReceiver,
    /// Messages from requests.
    pub inbox: Inbox,
    /// The apps as requests find them; those that were written down or are declared are added.
    pub apps: Arc<AppRegistry>,
    /// Callers assigned to groups; those that were written down are added.
    pub assignments: Arc<CallerAssignments>,
    /// Where feedback is handed in.
    pub feedback: Arc<FeedbackDesk>,
    /// What requests tell of callers.
    pub callers: CallerBookReader,
    /// Makes pseudonyms of callers, for all who need some.
    pub pseudonyms: Arc<SharedPseudonyms>,
    /// The time.
    pub clock: Clock,
}

/// Runs all rollouts.
pub struct Controller {
    pub(super) rollouts: Vec<RunningRollout>,
    /// Every release that is known, those that are running as they were last installed.
    pub(super) records: Records,
    pub(super) freeze: Option<Freeze>,
    pub(super) performer: Performer,
    pub(super) settings: Settings,
    pub(super) created: Created,
    pub(super) apps: Apps,
    pub(super) reader: Arc<dyn StateReader>,
    evidence: Box<dyn EvidenceSource>,
    /// Collected between ticks, to be judged with the next one.
    collected: BTreeMap<FlagName, TickCounts>,
    pub(super) endpoints: EndpointsUp,
    commands: CommandReceiver,
    inbox: Inbox,
    pub(super) assignments: Arc<CallerAssignments>,
    pub(super) callers: KnownCallers,
    pub(super) clock: Clock,
    /// When assignments that had ended were last removed.
    expired: Timestamp,
    /// When messages of requests were last looked at.
    heeded: Timestamp,
    status: SnapshotWriter<Status>,
}

impl Controller {
    /// Goes on with all rollouts where they were written, and starts those that are new.
    ///
    /// # Errors
    /// When the configuration contradicts what was written, with everything that is wrong.
    pub fn new(parts: Parts) -> Result<Self, Vec<FlagRefusal>> {
        let known = parts.saved.evidence.into_iter();
        parts.feedback.restore(parts.saved.feedback);
        if let Some(secret) = &parts.saved.pseudonyms {
            let known = parts.pseudonyms.begin(Pseudonyms::new(secret));
            parts.feedback.call_by(Arc::clone(known));
        }
        let performer = Performer {
            routing: RoutingSnapshot::default(),
            publisher: parts.publisher,
            ledger: parts.ledger,
            writer: parts.writer,
            reader: Arc::clone(&parts.reader),
            notifiers: parts.notifiers,
            metrics: parts.metrics,
            hooks: parts.hooks,
            feedback: parts.feedback,
            pseudonyms: parts.pseudonyms,
            recordings: Recordings::default(),
            evidence: known.map(|known| (known.flag.clone(), known)).collect(),
            targets: Vec::new(),
            is_gathering: false,
            unsaved: Vec::new(),
            is_in_doubt: false,
        };
        let mut records = Records::new();
        for record in parts.saved.records {
            installation::remember(&mut records, record);
        }
        let mut controller = Self {
            rollouts: Vec::new(),
            records,
            freeze: parts.saved.freeze,
            performer,
            settings: Settings::new(parts.saved.overrides),
            created: Created::found(parts.saved.created),
            apps: Apps::new(parts.saved.apps, parts.apps),
            reader: parts.reader,
            evidence: parts.evidence,
            collected: BTreeMap::new(),
            endpoints: EndpointsUp::default(),
            commands: parts.commands,
            inbox: parts.inbox,
            assignments: parts.assignments,
            callers: KnownCallers::new(parts.callers),
            clock: parts.clock,
            expired: Timestamp::default(),
            heeded: Timestamp::default(),
            status: SnapshotWriter::new(Status::default()),
        };
        controller.take_up_assignments(parts.saved.assignments);
        controller.install(parts.configuration)?;
        // Whatever comes back later in this process has been without callers meanwhile.
        controller.performer.evidence.clear();
        controller.recall();
        controller.publish_status();
        Ok(controller)
    }

    /// Reads where the rollouts are.
    pub fn status(&self) -> SnapshotReader<Status> {
        self.status.reader()
    }

    /// What the judges are told, for whoever wants to replay it.
    pub fn recordings(&self) -> Recordings {
        self.performer.recordings.clone()
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
                    Some(pending) => self.obey(pending),
                    None => return,
                },
                messages = self.inbox.receive() => match messages {
                    Some(messages) => self.heed(&messages),
                    None => return,
                },
            }
        }
    }

    /// Shows what was written into the journal before this process.
    pub(super) fn recall(&mut self) {
        for rollout in &mut self.rollouts {
            let shown = rollout.journal.len();
            let wanted = JournalQuery {
                subject: Some(Subject::Flag(rollout.name.clone())),
                limit: JOURNAL_SHOWN + shown,
                ..JournalQuery::default()
            };
            // What was written since the start is shown already.
            let mut lines = self.reader.journal(&wanted).unwrap_or_default();
            let known: Vec<_> = rollout
                .journal
                .iter()
                .map(|l| (l.at_unix_ms, l.entry.clone()))
                .collect();
            lines.retain(|line| !known.contains(&(line.at_unix_ms, line.entry.clone())));
            rollout.recall(lines);
        }
    }

    pub(super) fn install(
        &mut self,
        configuration: NewConfiguration,
    ) -> Result<(), Vec<FlagRefusal>> {
        self.remember_rollouts();
        let prepared = self.prepare(configuration)?;
        self.put_in_place(prepared);
        Ok(())
    }

    /// Remembers where rollouts are, for whatever is examined next.
    pub(super) fn remember_rollouts(&mut self) {
        for rollout in &self.rollouts {
            installation::remember(&mut self.records, rollout.record());
        }
    }

    /// Carries out what has been examined, with what was set at run time laid over it.
    pub(super) fn carry_out(
        &mut self,
        mut configuration: NewConfiguration,
        admissions: Vec<Admission>,
    ) {
        let gone = self
            .settings
            .lay_over(&mut configuration, &self.created.aside);
        if !gone.overrides.is_empty() {
            // The configuration holds in any case.
            let _ = self.performer.save(gone, Unwritten::Allowed);
        }
        // Before the requests that are asked for them.
        self.declare_apps(&configuration.apps);
        let running = std::mem::take(&mut self.rollouts);
        let moment = Moment {
            now: self.clock.now(),
            // Each flag's switch is followed once all are in place.
            is_on: true,
            freeze: self.freeze.as_ref(),
            stable_endpoints: usize::MAX,
            gates: None,
        };
        let target = (&mut self.performer, &mut self.records);
        self.rollouts = carry_out(configuration, admissions, running, target, &moment);
        let flags: BTreeSet<_> = self.rollouts.iter().map(|rollout| &rollout.name).collect();
        let recordings = &self.performer.recordings;
        recordings.retain(|flag| flags.contains(flag));
    }

    pub(super) fn tick(&mut self) {
        let now = self.clock.now();
        if now - self.expired >= EXPIRY_INTERVAL {
            self.expired = now;
            self.expire_assignments(now);
            self.callers.forget_faded(now);
        }
        let written = self.performer.retry_unsaved();
        let rollouts = self.rollouts.iter_mut();
        rollouts.for_each(|rollout| rollout.note_written(&written));
        let circumstances = (now, self.freeze.as_ref());
        for rollout in &mut self.rollouts {
            let moment = moment_of(rollout, circumstances, &self.performer, &self.endpoints);
            rollout.end_tick(&moment);
            rollout.tell_ratings(&moment, &self.performer);
        }
        self.keep_feedback(now);
        self.collect();
        self.look_at_endpoints();
        let mut collected = std::mem::take(&mut self.collected);
        let mut points = Vec::new();
        let span_seconds = u32::try_from(TICK.as_secs()).unwrap_or(1);
        for rollout in &mut self.rollouts {
            let counts = collected.remove(&rollout.name).unwrap_or_default();
            let moment = moment_of(
                rollout,
                (now, self.freeze.as_ref()),
                &self.performer,
                &self.endpoints,
            );
            rollout.tick(&counts, &moment, &mut self.performer);
            points.extend(rollout.history(&counts, span_seconds));
        }
        self.performer.writer.keep(points);
    }

    /// Looks at once when a canary takes no connection, without waiting for the tick.
    fn heed(&mut self, messages: &BTreeSet<Message>) {
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
            let moment = moment_of(
                rollout,
                (now, self.freeze.as_ref()),
                &self.performer,
                &self.endpoints,
            );
            rollout.check_refused(&partial, &moment, &mut self.performer);
        }
        self.publish_status();
    }

    fn collect(&mut self) {
        for (flag, counts) in self.evidence.collect() {
            self.collected.entry(flag).or_default().merge(&counts);
        }
    }

    /// Learns which endpoints take connections, where a plan wants to know.
    fn look_at_endpoints(&mut self) {
        let wants = |rollout: &RunningRollout| rollout.plan.policy().stable_min_endpoints > 0;
        if self.rollouts.iter().any(wants) {
            let readings = self.performer.ledger.read();
            let health = readings.health;
            let endpoints = readings.endpoints.into_iter();
            self.endpoints.observe(endpoints.map(|(endpoint, reading)| {
                let totals = EndpointTotals {
                    is_out: health.get(&endpoint).is_some_and(|it| {
                        it.is_healthy == Some(false) || it.is_ejected == Some(true)
                    }),
                    requests: reading.requests,
                    connect_failures: reading.connect_failures,
                };
                (endpoint, totals)
            }));
        }
    }

    pub(super) fn publish_status(&mut self) {
        let circumstances = (self.clock.now(), self.freeze.as_ref());
        let (performer, endpoints) = (&self.performer, &self.endpoints);
        let rollouts = self.rollouts.iter().map(|rollout| {
            let moment = moment_of(rollout, circumstances, performer, endpoints);
            rollout.status(performer, &moment)
        });
        let status = Status {
            rollouts: rollouts.collect(),
            flags: self.flag_statuses(),
            left_aside: self.created.left_aside(),
            freeze: self.freeze.clone(),
            store: self.reader.health(),
        };
        self.status.publish(status);
    }
}
