//! Acts on the world: writes down, publishes, tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::ports::{
    HookCaller, JournalLine, KnownEvidence, MetricSource, Notifier, OutboxDraft, StateError,
    StateReader, StateWriter, Subject, Transition,
};
use crate::control::recording::Recordings;
use crate::domain::flag::{Flag, FlagWeights, GroupWeight};
use crate::domain::group::GroupTable;
use crate::domain::ids::{AppId, FlagIndex, FlagName, GroupIndex};
use crate::domain::notify::NotifyTarget;
use crate::domain::rollout::{
    JournalEntry, Notice, Phase, Release, RolloutRecord, RolloutState, StageWeights,
};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::weight::Weight;
use crate::runtime::clock;
use crate::runtime::feedback::FeedbackDesk;
use crate::runtime::ledger::Ledger;
use crate::runtime::pseudonyms::SharedPseudonyms;
use crate::runtime::published::{Published, Publisher};

/// When something is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// It is.
    Now,
    /// As soon as it can be.
    Later,
}

/// Why something was not done that the journal may have as done.
pub(crate) const NOT_IN_TIME: &str =
    "what was asked for could not be written down in time, and was not done";

/// The most lines of the journal that wait to be written for one release.
const UNSAVED_LINES_MAX: usize = 100;

/// What effects act upon.
pub(crate) struct Performer {
    pub(crate) routing: RoutingSnapshot,
    pub(crate) publisher: Publisher,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) writer: Box<dyn StateWriter>,
    /// What callers are called, once that was needed.
    pub(crate) pseudonyms: Arc<SharedPseudonyms>,
    /// Whether what is decided can be written down.
    pub(crate) reader: Arc<dyn StateReader>,
    pub(crate) notifiers: Vec<Box<dyn Notifier>>,
    /// Whom custom checks ask.
    pub(crate) metrics: Arc<dyn MetricSource>,
    /// Who asks webhooks before stages.
    pub(crate) hooks: Arc<dyn HookCaller>,
    /// Where feedback is handed in.
    pub(crate) feedback: Arc<FeedbackDesk>,
    /// What the judges are told.
    pub(crate) recordings: Recordings,
    /// What was known of harm before the process, by flag.
    pub(crate) evidence: BTreeMap<FlagName, KnownEvidence>,
    /// Who is told by a message.
    pub(crate) targets: Vec<NotifyTarget>,
    /// While a configuration is being put in place, changes are gathered for one swap.
    pub(crate) is_gathering: bool,
    /// What is done and could not be written down yet, oldest first; one for each release.
    pub(crate) unsaved: Vec<Transition>,
    /// Whether what was refused last, for it was not written in time, may be written yet.
    pub(crate) is_in_doubt: bool,
}

/// Whether something may be done although it cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// It is done, and written down as soon as it can be: it takes canary from callers, or at
    /// least gives it to none.
    Allowed,
    /// It is not done.
    Refused,
}

impl Performer {
    /// Writes a transition down, with what is still unwritten of the same release.
    ///
    /// # Errors
    /// When it cannot be written, and may not be done without.
    pub(crate) fn save(
        &mut self,
        transition: Transition,
        unwritten: Unwritten,
    ) -> Result<Saved, StateError> {
        self.is_in_doubt = false;
        if unwritten == Unwritten::Refused
            && let Some(reason) = self.reader.health().problem
        {
            // What is left of the room is for taking canary back.
            return Err(StateError { reason });
        }
        let saved = match self.erase_before(&transition) {
            // What was to be written was not handed over.
            Err(error) if unwritten == Unwritten::Refused => return Err(error),
            erased => erased,
        };
        let (place, whole) = self.with_unsaved(transition);
        match saved.and_then(|()| self.writer.save(&whole)) {
            Ok(()) => {
                place.map(|place| self.unsaved.remove(place));
                self.forget_before(&whole);
                Ok(Saved::Now)
            }
            Err(error) if unwritten == Unwritten::Allowed => {
                tracing::error!(%error, "not written down yet, done all the same");
                self.leave_unsaved(place, whole);
                Ok(Saved::Later)
            }
            Err(error) => {
                self.is_in_doubt = true;
                Err(error)
            }
        }
    }

    /// Has callers erased who are to be put somewhere anew, where that could not be written down yet: done later, it
    /// would take what is new with it.
    fn erase_before(&mut self, newer: &Transition) -> Result<(), StateError> {
        let is_named = |key: &str| newer.assignments.iter().any(|new| *new.key == *key);
        let is_before = |older: &Transition| older.forgotten.iter().any(|key| is_named(key));
        while let Some(place) = self.unsaved.iter().position(is_before) {
            self.writer.save(&self.unsaved[place])?;
            self.unsaved.remove(place);
        }
        Ok(())
    }

    /// Whether a restart would find a release where it is.
    pub(crate) fn has_written(&self, flag: &FlagName, release: &Release) -> bool {
        let mut records = self
            .unsaved
            .iter()
            .filter_map(|known| known.record.as_ref());
        !records.any(|record| is_of(record, flag, release))
    }

    /// Has written down again, as soon as it can be, what still holds after something else was
    /// refused: a slow disk may write that in the end, and a restart would go by it.
    pub(crate) fn restore(&mut self, transition: Transition) {
        // The next tick writes it; whoever waits for an answer has waited long enough.
        let (place, whole) = self.with_unsaved(transition);
        self.leave_unsaved(place, whole);
    }

    /// A transition with what is still unwritten of the same release, and the place of that.
    fn with_unsaved(&self, mut transition: Transition) -> (Option<usize>, Transition) {
        let place = transition.record.as_ref().and_then(|record| {
            let is_same = |known: &Transition| {
                known
                    .record
                    .as_ref()
                    .is_some_and(|known| is_of_same(known, record))
            };
            self.unsaved.iter().position(is_same)
        });
        if let Some(place) = place {
            let earlier = self.unsaved[place].clone();
            transition.lines.splice(0..0, earlier.lines);
            transition.messages.splice(0..0, earlier.messages);
            let excess = transition.lines.len().saturating_sub(UNSAVED_LINES_MAX);
            transition.lines.drain(..excess);
        }
        (place, transition)
    }

    fn leave_unsaved(&mut self, place: Option<usize>, whole: Transition) {
        self.forget_before(&whole);
        match place {
            Some(place) => self.unsaved[place] = whole,
            None => self.unsaved.push(whole),
        }
    }

    /// A change of the freeze, of a flag's settings or definition, of an app or of an assignment that waits to be written holds no
    /// longer once there is another.
    fn forget_before(&mut self, newer: &Transition) {
        for older in &mut self.unsaved {
            let is_newer = |flag: &FlagName| newer.overrides.iter().any(|(name, _)| name == flag);
            older.overrides.retain(|(flag, _)| !is_newer(flag));
            let is_newer = |flag: &FlagName| newer.created.iter().any(|(name, _)| name == flag);
            older.created.retain(|(flag, _)| !is_newer(flag));
            let is_newer = |app: &AppId| newer.apps.iter().any(|(id, _)| id == app);
            older.apps.retain(|(app, _)| !is_newer(app));
            let is_forgotten = |key: &str| newer.forgotten.iter().any(|gone| **gone == *key);
            older.assignments.retain(|older| !is_forgotten(&older.key));
            let newer = &newer.assignments;
            let assignments = &mut older.assignments;
            assignments.retain(|older| !newer.iter().any(|newer| newer.is_of_same(older)));
        }
        if newer.freeze.is_some() {
            self.unsaved
                .iter_mut()
                .for_each(|older| older.freeze = None);
        }
    }

    /// Tries again what could not be written down; gives the records that are written now.
    pub(crate) fn retry_unsaved(&mut self) -> Vec<RolloutRecord> {
        let mut written = Vec::new();
        while let Some(first) = self.unsaved.first() {
            if self.writer.save(first).is_err() {
                break;
            }
            let transition = self.unsaved.remove(0);
            tracing::info!("written down at last");
            if !transition.messages.is_empty() {
                // Whoever looked before found none.
                self.notifiers
                    .iter_mut()
                    .for_each(|notifier| notifier.written());
            }
            written.extend(transition.record);
        }
        written
    }

    /// The messages about a change, to whoever wants to know of it.
    pub(crate) fn messages(&self, notice: &Notice) -> Vec<OutboxDraft> {
        let targets = self.targets.iter().filter(|target| target.wants(notice));
        let drafts = targets.map(|target| OutboxDraft {
            target: target.name.to_string(),
            notice: notice.clone(),
        });
        drafts.collect()
    }

    /// Tells whoever is told at once.
    pub(crate) fn tell(&mut self, notice: &Notice) {
        let notifiers = self.notifiers.iter_mut();
        notifiers.for_each(|notifier| notifier.notify(notice));
    }

    /// Takes up what requests are to be decided by; [`publish`](Self::publish) makes it so.
    pub(crate) fn replace(&mut self, routing: RoutingSnapshot) {
        self.routing = routing;
        self.is_gathering = true;
    }

    /// Publishes what has been gathered.
    pub(crate) fn publish(&mut self) {
        self.is_gathering = false;
        let published = Published::new(self.routing.clone(), &self.ledger);
        self.publisher.publish(published);
    }

    /// Decides requests by a rollout's weights from now on.
    pub(crate) fn publish_weights(
        &mut self,
        flag: FlagIndex,
        weights: &StageWeights,
        state: &RolloutState,
    ) {
        let current = self.routing.flag(flag);
        let changed = Flag {
            weights: flag_weights(&current.weights, weights, &self.routing.groups),
            epoch: state.epoch,
            rolled_back: state.phase.is_taken_back(),
            rolled_back_groups: self.rolled_back_groups(current, state),
            ..current.clone()
        };
        self.routing.flags[flag.0] = Arc::new(changed);
        if !self.is_gathering {
            self.publish();
        }
    }

    fn rolled_back_groups(&self, flag: &Flag, state: &RolloutState) -> Vec<GroupIndex> {
        let is_back = |group: &GroupIndex| {
            let name = self.routing.groups.name(*group);
            let mut taken = state.rolled_back_groups.iter();
            taken.any(|taken| taken.group == *name)
        };
        let groups = flag.weights.groups.iter().map(|entry| entry.group);
        groups.filter(is_back).collect()
    }

    /// Writes down and tells that another release takes the place of one that had not ended. The
    /// weights are taken away in any case, by the release that comes.
    pub(crate) fn supersede(&mut self, record: &RolloutRecord, revision: &str) -> RolloutRecord {
        let why = format!("superseded by revision {revision}");
        let mut record = record.clone();
        record.state.phase = Phase::Aborted {
            reason: why.clone(),
        };
        record.weights = StageWeights::default();
        let entry = JournalEntry {
            who: "configuration".to_owned(),
            what: format!("revision {} aborted", record.release.revision),
            why,
            findings: Vec::new(),
        };
        let notice = Notice {
            flag: record.flag.clone(),
            revision: record.release.revision.clone(),
            phase: record.state.phase.as_str().to_owned(),
            stage: record.state.stage + 1,
            stages: record.stages.len(),
            who: entry.who.clone(),
            what: entry.what.clone(),
            why: entry.why.clone(),
            findings: Vec::new(),
            weights: record.weights.clone(),
            at_unix_ms: now_unix_ms(),
            passed: None,
            rolled_back_group: None,
        };
        let transition = Transition {
            lines: vec![line(&record.flag, entry)],
            record: Some(record.clone()),
            messages: self.messages(&notice),
            ..Transition::default()
        };
        // It is allowed, so there is no error.
        let _ = self.save(transition, Unwritten::Allowed);
        self.tell(&notice);
        record
    }
}

fn is_of_same(one: &RolloutRecord, other: &RolloutRecord) -> bool {
    is_of(one, &other.flag, &other.release)
}

fn is_of(record: &RolloutRecord, flag: &FlagName, release: &Release) -> bool {
    record.flag == *flag && record.release == *release
}

/// A line of the journal, written now.
pub(crate) fn line(flag: &FlagName, entry: JournalEntry) -> JournalLine {
    line_about(Subject::Flag(flag.clone()), entry)
}

/// A line of the journal about whatever it is, written now.
pub(crate) fn line_about(subject: Subject, entry: JournalEntry) -> JournalLine {
    JournalLine {
        sequence: 0,
        subject,
        at_unix_ms: now_unix_ms(),
        entry,
    }
}

/// What the journal has of a change that was refused and may be written yet.
pub(crate) fn not_done(refused: Vec<JournalLine>) -> Vec<JournalLine> {
    let lines = refused.into_iter().map(|line| JournalLine {
        entry: JournalEntry {
            what: format!("not done: {}", line.entry.what),
            why: NOT_IN_TIME.to_owned(),
            ..line.entry
        },
        ..line
    });
    lines.collect()
}

/// The wall clock, in milliseconds since 1970; to be shown, never to be decided by.
pub(crate) fn now_unix_ms() -> u64 {
    u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX)
}

/// The plan's weights in the flag's own order. A group that the plan does not name has none.
fn flag_weights(own: &FlagWeights, planned: &StageWeights, groups: &GroupTable) -> FlagWeights {
    let groups = own.groups.iter().map(|entry| {
        let weight = planned.groups.get(groups.name(entry.group));
        GroupWeight {
            group: entry.group,
            weight: weight.copied().unwrap_or(Weight::ZERO),
        }
    });
    FlagWeights {
        groups: groups.collect(),
        default: planned.default,
        ends: Vec::new(),
    }
}
