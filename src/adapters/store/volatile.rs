//! State that lives as long as the process: for the demo, for tests, and in place of a file that
//! cannot be used.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::control::ports::{
    HISTORY_POINTS_MAX, HistoryPoint, JournalLine, JournalQuery, KnownEvidence, Outbox,
    OutboxMessage, SavedState, StateError, StateReader, StateWriter, StoreHealth, Transition,
};
use crate::domain::app::AppRecord;
use crate::domain::assignment::Membership;
use crate::domain::feedback::{FeedbackChange, SavedFeedback};
use crate::domain::ids::{AppId, FlagName, GroupName};
use crate::domain::rollout::{Freeze, RolloutRecord};
use crate::domain::secret::Secret;
use crate::domain::settings::FlagOverrides;
use crate::runtime::clock;

use super::limits::{
    HISTORY_FLAGS_MAX, JOURNAL_LINES_MAX, OUTBOX_MESSAGES_MAX, POINTS_IN_MEMORY_MAX, RELEASES_MAX,
    millis,
};
use super::points::{GRADES, append, thinned};

/// Remembers in memory. Clones share what they remember.
#[derive(Clone, Debug, Default)]
pub struct MemoryState(Arc<Mutex<Memory>>);

impl MemoryState {
    /// What is remembered of rollouts, as a start would find it.
    pub fn saved(&self) -> SavedState {
        let memory = self.lock();
        SavedState {
            records: memory.records.clone(),
            freeze: memory.freeze.clone(),
            overrides: memory.overrides.clone(),
            created: memory.created.clone(),
            apps: memory.apps.clone(),
            assignments: memory.assignments.clone(),
            pseudonyms: memory.pseudonyms.clone(),
            evidence: memory.evidence.values().cloned().collect(),
            feedback: memory.feedback.clone(),
        }
    }

    /// Nothing in here can be left half done by a panic, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateWriter for MemoryState {
    fn save(&mut self, transition: &Transition) -> Result<(), StateError> {
        self.lock().apply(transition, millis(clock::wall()));
        Ok(())
    }

    fn keep(&mut self, points: Vec<HistoryPoint>) {
        let mut memory = self.lock();
        for point in points {
            memory.keep(point);
        }
    }

    fn keep_evidence(&mut self, evidence: KnownEvidence) {
        self.lock().keep_evidence(evidence);
    }

    fn keep_feedback(&mut self, changes: Vec<FeedbackChange>) {
        let mut memory = self.lock();
        for FeedbackChange { flag, part } in changes {
            memory.feedback.entry(flag).or_default().apply(part);
        }
    }
}

impl StateReader for MemoryState {
    fn journal(&self, wanted: &JournalQuery) -> Result<Vec<JournalLine>, StateError> {
        let memory = self.lock();
        let lines = memory.journal.iter().rev();
        let fits = lines.filter(|line| {
            wanted.before.is_none_or(|before| line.sequence < before)
                && wanted.after.is_none_or(|after| line.sequence > after)
                && wanted
                    .subject
                    .as_ref()
                    .is_none_or(|subject| line.subject == *subject)
                && wanted
                    .since_unix_ms
                    .is_none_or(|since| line.at_unix_ms >= since)
        });
        Ok(fits.take(wanted.limit).cloned().collect())
    }

    fn history(
        &self,
        flag: &FlagName,
        from_unix_ms: u64,
        to_unix_ms: u64,
    ) -> Result<Vec<HistoryPoint>, StateError> {
        let memory = self.lock();
        let points = memory.history.get(flag).into_iter().flatten();
        let window = from_unix_ms..to_unix_ms;
        let within = points.filter(|point| window.contains(&point.at_unix_ms));
        Ok(thinned(within.cloned().collect(), HISTORY_POINTS_MAX))
    }

    fn health(&self) -> StoreHealth {
        StoreHealth {
            dropped: self.lock().dropped,
            ..StoreHealth::default()
        }
    }
}

impl Outbox for MemoryState {
    fn due(&self, now_unix_ms: u64, limit: usize) -> Result<Vec<OutboxMessage>, StateError> {
        let memory = self.lock();
        let waiting = memory.outbox.values();
        let due = waiting.filter(|(due_unix_ms, _)| *due_unix_ms <= now_unix_ms);
        let messages = due.map(|(_, message)| message.clone());
        Ok(messages.take(limit).collect())
    }

    fn settle(&self, id: u64) {
        self.lock().outbox.remove(&id);
    }

    fn put_off(&self, id: u64, due_unix_ms: u64) {
        if let Some((due, message)) = self.lock().outbox.get_mut(&id) {
            *due = due_unix_ms;
            message.attempts = message.attempts.saturating_add(1);
        }
    }
}

/// Stands in for a store whose file cannot be used: writes nothing down and says so, and
/// remembers what happened while the process lives, so that it can still be looked at and told.
#[derive(Clone, Debug)]
pub struct UnusableStore {
    reason: String,
    memory: MemoryState,
    /// What was asked for last: a writer repeats it until it succeeds, which it never does here.
    last: Transition,
}

impl UnusableStore {
    /// A store that cannot be used for a reason, such as an
    /// [`OpenError`](super::OpenError) as text.
    pub fn new(reason: String) -> Self {
        Self {
            reason,
            memory: MemoryState::default(),
            last: Transition::default(),
        }
    }
}

impl StateWriter for UnusableStore {
    fn save(&mut self, transition: &Transition) -> Result<(), StateError> {
        let mut memory = self.memory.lock();
        memory.failed_writes += 1;
        if *transition != self.last {
            memory.apply(transition, millis(clock::wall()));
            self.last = transition.clone();
        }
        Err(StateError {
            reason: self.reason.clone(),
        })
    }

    fn keep(&mut self, points: Vec<HistoryPoint>) {
        self.memory.keep(points);
    }

    fn keep_evidence(&mut self, evidence: KnownEvidence) {
        self.memory.keep_evidence(evidence);
    }

    fn keep_feedback(&mut self, changes: Vec<FeedbackChange>) {
        self.memory.keep_feedback(changes);
    }
}

impl StateReader for UnusableStore {
    fn journal(&self, wanted: &JournalQuery) -> Result<Vec<JournalLine>, StateError> {
        self.memory.journal(wanted)
    }

    fn history(
        &self,
        flag: &FlagName,
        from_unix_ms: u64,
        to_unix_ms: u64,
    ) -> Result<Vec<HistoryPoint>, StateError> {
        self.memory.history(flag, from_unix_ms, to_unix_ms)
    }

    fn health(&self) -> StoreHealth {
        let memory = self.memory.lock();
        StoreHealth {
            problem: Some(self.reason.clone()),
            failed_writes: memory.failed_writes,
            dropped: memory.dropped,
            file_bytes: 0,
        }
    }
}

impl Outbox for UnusableStore {
    fn due(&self, now_unix_ms: u64, limit: usize) -> Result<Vec<OutboxMessage>, StateError> {
        self.memory.due(now_unix_ms, limit)
    }

    fn settle(&self, id: u64) {
        self.memory.settle(id);
    }

    fn put_off(&self, id: u64, due_unix_ms: u64) {
        self.memory.put_off(id, due_unix_ms);
    }
}

/// What is remembered.
#[derive(Debug, Default)]
struct Memory {
    /// The one written last at the end.
    records: Vec<RolloutRecord>,
    freeze: Option<Freeze>,
    overrides: BTreeMap<FlagName, FlagOverrides>,
    created: BTreeMap<FlagName, Arc<str>>,
    apps: BTreeMap<AppId, AppRecord>,
    assignments: BTreeMap<(GroupName, Box<str>), Membership>,
    pseudonyms: Option<Secret>,
    /// Oldest first.
    journal: VecDeque<JournalLine>,
    last_sequence: u64,
    /// By number: when each is due, and what it is.
    outbox: BTreeMap<u64, (u64, OutboxMessage)>,
    last_message: u64,
    /// Oldest first.
    history: BTreeMap<FlagName, Vec<HistoryPoint>>,
    evidence: BTreeMap<FlagName, KnownEvidence>,
    feedback: BTreeMap<FlagName, SavedFeedback>,
    failed_writes: u64,
    dropped: u64,
}

impl Memory {
    fn apply(&mut self, transition: &Transition, now_unix_ms: u64) {
        if let Some(record) = &transition.record {
            self.remember(record);
        }
        if let Some(freeze) = &transition.freeze {
            self.freeze.clone_from(freeze);
        }
        for (flag, overrides) in &transition.overrides {
            self.overrides.insert(flag.clone(), overrides.clone());
        }
        self.overrides.retain(|_, overrides| !overrides.is_empty());
        for (flag, definition) in &transition.created {
            match definition {
                Some(text) => self.created.insert(flag.clone(), Arc::clone(text)),
                None => self.created.remove(flag),
            };
        }
        for (app, record) in &transition.apps {
            match record {
                Some(record) => self.apps.insert(app.clone(), record.clone()),
                None => self.apps.remove(app),
            };
        }
        self.assignments
            .retain(|(_, key), _| !transition.forgotten.contains(key));
        if let Some(secret) = &transition.pseudonyms {
            self.pseudonyms = Some(secret.clone());
        }
        for change in &transition.assignments {
            let place = (change.group.clone(), change.key.clone());
            match change.membership {
                Some(membership) => self.assignments.insert(place, membership),
                None => self.assignments.remove(&place),
            };
        }
        for line in &transition.lines {
            self.last_sequence += 1;
            let mut line = line.clone();
            line.sequence = self.last_sequence;
            self.journal.push_back(line);
            if self.journal.len() > JOURNAL_LINES_MAX {
                self.journal.pop_front();
            }
        }
        for draft in &transition.messages {
            self.last_message += 1;
            let message = OutboxMessage {
                id: self.last_message,
                written_unix_ms: now_unix_ms,
                attempts: 0,
                draft: draft.clone(),
            };
            self.outbox.insert(message.id, (0, message));
            if self.outbox.len() > OUTBOX_MESSAGES_MAX {
                self.outbox.pop_first();
                self.dropped += 1;
            }
        }
    }

    fn remember(&mut self, record: &RolloutRecord) {
        let is_same =
            |known: &RolloutRecord| known.flag == record.flag && known.release == record.release;
        self.records.retain(|known| !is_same(known));
        self.records.push(record.clone());
        let of_flag = |known: &RolloutRecord| known.flag == record.flag;
        if self.records.iter().filter(|known| of_flag(known)).count() > RELEASES_MAX
            && let Some(oldest) = self.records.iter().position(of_flag)
        {
            self.records.remove(oldest);
        }
    }

    fn keep_evidence(&mut self, evidence: KnownEvidence) {
        let is_known = self.evidence.contains_key(&evidence.flag);
        if is_known || self.evidence.len() < HISTORY_FLAGS_MAX {
            self.evidence.insert(evidence.flag.clone(), evidence);
        }
    }

    fn keep(&mut self, mut point: HistoryPoint) {
        let is_known = self.history.contains_key(&point.flag);
        if !is_known && self.history.len() >= HISTORY_FLAGS_MAX {
            self.dropped += 1;
            return;
        }
        let points = self.history.entry(point.flag.clone()).or_default();
        point.counts = point.counts.without_callers();
        let is_same_stage = points
            .last()
            .is_some_and(|last| last.stage == point.stage && last.phase == point.phase);
        if point.counts.is_empty() && is_same_stage {
            return;
        }
        append(points, point, GRADES[0].slot_ms);
        if points.len() > POINTS_IN_MEMORY_MAX {
            *points = thinned(std::mem::take(points), POINTS_IN_MEMORY_MAX / 2);
        }
    }
}
