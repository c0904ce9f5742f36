//! What the writer's thread shares with those who ask and those who read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase};

use crate::adapters::store::limits::{
    FEEDBACK_WAITING_MAX, JOURNAL_LINES_MAX, OUTBOX_MESSAGES_MAX,
};
use crate::adapters::store::points::Collector;
use crate::control::ports::{FeedbackChange, KnownEvidence, StateError, StoreHealth, Transition};
use crate::domain::ids::FlagName;

use super::commit::{Batch, Delivery};
use super::waiting::WaitingFeedback;

/// What is wrong while only what was held in reserve is left.
const SHORTAGE: &str = "the disk is full; what was held in reserve is left for rollbacks";

/// Shared by the writer's thread, the writer and the readers.
#[derive(Debug)]
pub(super) struct Shared {
    /// What to call the file in a message.
    name: String,
    /// `None` while it is opened anew, and after the end.
    database: RwLock<Option<Database>>,
    queue: Mutex<Queue>,
    /// Rung when there is something to write, and when something was written.
    bell: Condvar,
    pub(super) collector: Mutex<Collector>,
    /// What is known of harm and waits to be written, the newest of each flag.
    evidence: Mutex<BTreeMap<FlagName, KnownEvidence>>,
    problem: Mutex<Option<String>>,
    /// Whether the room held in reserve is in use, or could not be had.
    has_shortage: AtomicBool,
    failed_writes: AtomicU64,
    dropped: AtomicU64,
    file_bytes: AtomicU64,
}

/// The most transitions that are remembered for being asked for again: there is one for each release, and
/// for each flag, at the most.
const UNTOLD_MAX: usize = 256;

/// What waits to be written, and what became of what was.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) batch: Batch,
    /// Changes of votes and comments.
    pub(super) feedback: WaitingFeedback,
    /// Deliveries of the batch that is being written.
    pub(super) delivering: BTreeMap<u64, Delivery>,
    /// The number of the last transition asked for.
    pub(super) asked: u64,
    /// Transitions by number, until they have failed or were told to be written.
    untold: VecDeque<(u64, Transition)>,
    /// All up to this number have ended, and were written unless they had failed before.
    written: u64,
    /// The number of the last transition whose end is known, and how its batch ended.
    pub(super) ended: (u64, Option<StateError>),
    pub(super) is_stopping: bool,
    /// Whether all was written before the end that could be; the file may still be written anew.
    pub(super) is_complete: bool,
    pub(super) has_stopped: bool,
}

impl Queue {
    /// Queues a transition; gives its number, and how many lines or messages were dropped for it.
    ///
    /// What is newer takes the place of what is older of the same release, so a disk that hangs
    /// finds the last decision when it wakes up, and no other. A transition that is asked for
    /// again before its end was told keeps its number, and is written once.
    pub(super) fn push(&mut self, transition: &Transition, now_unix_ms: u64) -> (u64, u64) {
        let mut untold = self.untold.iter();
        if let Some((number, _)) = untold.find(|(_, known)| known == transition) {
            return (*number, 0);
        }
        self.asked += 1;
        self.untold.push_back((self.asked, transition.clone()));
        // Those that nobody asks for again.
        trim(&mut self.untold, UNTOLD_MAX);
        let batch = &mut self.batch;
        if let Some(record) = &transition.record {
            batch
                .records
                .retain(|older| older.flag != record.flag || older.release != record.release);
            batch.records.push(record.clone());
        }
        if let Some(change) = &transition.freeze {
            batch.freeze = Some(change.clone());
        }
        batch.overrides.extend(transition.overrides.iter().cloned());
        batch.created.extend(transition.created.iter().cloned());
        batch.apps.extend(transition.apps.iter().cloned());
        for key in &transition.forgotten {
            batch.assignments.retain(|(_, known), _| known != key);
        }
        batch.forgotten.extend(transition.forgotten.iter().cloned());
        if let Some(secret) = &transition.pseudonyms {
            batch.pseudonyms = Some(secret.clone());
        }
        for change in &transition.assignments {
            let place = (change.group.clone(), change.key.clone());
            batch.assignments.insert(place, change.membership);
        }
        batch.lines.extend(transition.lines.iter().cloned());
        let messages = transition.messages.iter().cloned();
        batch
            .messages
            .extend(messages.map(|draft| (now_unix_ms, draft)));
        let dropped = trim(&mut batch.lines, JOURNAL_LINES_MAX)
            + trim(&mut batch.messages, OUTBOX_MESSAGES_MAX);
        (self.asked, dropped)
    }

    /// Whether a transition waits to be written.
    pub(super) fn has_transition(&self) -> bool {
        self.ended.0 < self.asked
    }

    /// Whether it waits to be written what became of a message.
    pub(super) fn has_delivery(&self) -> bool {
        !self.batch.deliveries.is_empty()
    }

    /// Notes how the transitions up to a number ended.
    pub(super) fn end(&mut self, number: u64, error: Option<StateError>) {
        if error.is_some() {
            let before = self.ended.0;
            self.untold
                .retain(|(known, _)| *known <= before || *known > number);
        } else {
            self.written = number;
        }
        self.ended = (number, error);
    }

    /// How a transition ended, as it is told to whoever asked for it; `None` when it has not.
    pub(super) fn told(&mut self, number: u64) -> Option<Result<(), StateError>> {
        if self.ended.0 < number {
            return None;
        }
        self.untold.retain(|(known, _)| *known != number);
        if number <= self.written {
            return Some(Ok(()));
        }
        Some(self.ended.1.clone().map_or(Ok(()), Err))
    }
}

/// Drops the oldest entries of what has grown too long; says how many.
fn trim<T>(list: &mut VecDeque<T>, max: usize) -> u64 {
    let excess = list.len().saturating_sub(max);
    list.drain(..excess);
    excess as u64
}

impl Shared {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            database: RwLock::default(),
            queue: Mutex::default(),
            bell: Condvar::new(),
            collector: Mutex::default(),
            evidence: Mutex::default(),
            problem: Mutex::default(),
            has_shortage: AtomicBool::new(false),
            failed_writes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            file_bytes: AtomicU64::new(0),
        }
    }

    /// The queue. Nobody panics half way through changing it.
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// The points that wait.
    pub(super) fn collector(&self) -> MutexGuard<'_, Collector> {
        lock(&self.collector)
    }

    /// Leaves evidence to be written.
    pub(super) fn leave_evidence(&self, evidence: KnownEvidence) {
        lock(&self.evidence).insert(evidence.flag.clone(), evidence);
    }

    /// Takes the evidence that waits.
    pub(super) fn take_evidence(&self) -> Vec<KnownEvidence> {
        std::mem::take(&mut *lock(&self.evidence))
            .into_values()
            .collect()
    }

    /// Puts back what could not be written, where nothing newer has come.
    pub(super) fn put_back_evidence(&self, evidence: Vec<KnownEvidence>) {
        let mut waiting = lock(&self.evidence);
        for evidence in evidence {
            waiting.entry(evidence.flag.clone()).or_insert(evidence);
        }
    }

    /// Leaves changes of votes and comments to be written.
    pub(super) fn leave_feedback(&self, changes: Vec<FeedbackChange>) {
        let mut queue = self.queue();
        let dropped = queue.feedback.add(changes, FEEDBACK_WAITING_MAX);
        drop(queue);
        self.note_dropped(dropped);
        self.ring();
    }

    /// Takes the changes that wait.
    pub(super) fn take_feedback(&self) -> Vec<FeedbackChange> {
        self.queue().feedback.take()
    }

    /// Puts back what could not be written, before what has come since.
    pub(super) fn put_back_feedback(&self, changes: Vec<FeedbackChange>) {
        self.queue().feedback.put_back(changes);
    }

    /// Rings for whoever waits for the queue.
    pub(super) fn ring(&self) {
        self.bell.notify_all();
    }

    /// Waits for a ring while a condition holds, at most so long.
    pub(super) fn wait_while<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        limit: std::time::Duration,
        condition: impl FnMut(&mut Queue) -> bool,
    ) -> MutexGuard<'a, Queue> {
        let waited = self.bell.wait_timeout_while(queue, limit, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Puts a database in the place of another, which is given back.
    pub(super) fn swap(&self, database: Option<Database>) -> Option<Database> {
        let mut place = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut place, database)
    }

    /// Does something with the database; `None` where there is none.
    pub(super) fn with_database<T>(&self, act: impl FnOnce(&Database) -> T) -> Option<T> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().map(act)
    }

    /// Begins to read. The writer is never waited for, nor does it wait for whoever reads.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StateError> {
        let begun = self.with_database(ReadableDatabase::begin_read);
        match begun {
            Some(Ok(transaction)) => Ok(transaction),
            Some(Err(error)) => Err(self.error(&error)),
            None => Err(self.error(&"it is closed after an error, or for good")),
        }
    }

    /// An error that names the file.
    pub(super) fn error(&self, reason: &dyn std::fmt::Display) -> StateError {
        StateError {
            reason: format!("{}: {reason}", self.name),
        }
    }

    pub(super) fn note_failure(&self, error: &StateError) {
        self.failed_writes.fetch_add(1, Ordering::Relaxed);
        let mut problem = lock(&self.problem);
        if problem.as_ref() != Some(&error.reason) {
            tracing::error!(reason = error.reason, "state could not be written down");
            *problem = Some(error.reason.clone());
        }
    }

    pub(super) fn note_success(&self, file_bytes: u64) {
        self.file_bytes.store(file_bytes, Ordering::Relaxed);
        if lock(&self.problem).take().is_some() {
            tracing::info!("state can be written down again");
        }
    }

    pub(super) fn note_shortage(&self, has_shortage: bool) {
        let had_shortage = self.has_shortage.swap(has_shortage, Ordering::Relaxed);
        match (had_shortage, has_shortage) {
            (false, true) => tracing::error!("{}: {SHORTAGE}", self.name),
            (true, false) => tracing::info!("{}: there is room on the disk again", self.name),
            _ => {}
        }
    }

    pub(super) fn has_shortage(&self) -> bool {
        self.has_shortage.load(Ordering::Relaxed)
    }

    pub(super) fn note_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn health(&self) -> StoreHealth {
        StoreHealth {
            problem: lock(&self.problem).clone().or_else(|| {
                let shortage = || format!("{}: {SHORTAGE}", self.name);
                self.has_shortage().then(shortage)
            }),
            failed_writes: self.failed_writes.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            file_bytes: self.file_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Locks what is whole between any two statements, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::store::samples::transition;

    #[test]
    fn what_is_asked_for_again_is_written_once_whatever_was_asked_for_meanwhile() {
        let (one, two) = (transition("a", "1", 1), transition("b", "1", 1));
        let mut queue = Queue::default();
        assert_eq!(queue.push(&one, 0), (1, 0));
        assert_eq!(queue.push(&two, 0), (2, 0));
        assert_eq!(queue.push(&one, 0), (1, 0));
        assert_eq!(queue.batch.lines.len(), 2);
        assert_eq!(queue.told(1), None);
        queue.end(2, None);
        assert_eq!(queue.push(&one, 0), (1, 0));
        assert_eq!((queue.told(1), queue.told(2)), (Some(Ok(())), Some(Ok(()))));
    }

    #[test]
    fn what_has_failed_is_written_when_it_is_asked_for_again() {
        let (one, two) = (transition("a", "1", 1), transition("b", "1", 1));
        let mut queue = Queue::default();
        queue.push(&one, 0);
        queue.end(1, None);
        queue.push(&two, 0);
        let full = StateError {
            reason: "full".to_owned(),
        };
        queue.end(2, Some(full.clone()));
        assert_eq!(queue.push(&one, 0), (1, 0), "it was written before");
        assert_eq!(queue.told(1), Some(Ok(())));
        assert_eq!(queue.told(2), Some(Err(full)));
        assert_eq!(queue.push(&two, 0), (3, 0));
    }
}
