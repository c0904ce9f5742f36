//! Messages and an outbox for tests.

use std::sync::Mutex;

use crate::control::ports::{Outbox, OutboxDraft, OutboxMessage, StateError};
use crate::domain::rollout::{Notice, StageWeights};

/// A message with a number, for a target.
pub(crate) fn message(id: u64, target: &str) -> OutboxMessage {
    OutboxMessage {
        id,
        written_unix_ms: 1_764_000_000_000,
        attempts: 0,
        draft: OutboxDraft {
            target: target.to_owned(),
            notice: Notice {
                flag: "orders".parse().unwrap(),
                revision: "2".to_owned(),
                phase: "rolled_back".to_owned(),
                stage: 1,
                stages: 2,
                who: "judge".to_owned(),
                what: format!("change {id}"),
                why: "too many errors".to_owned(),
                findings: Vec::new(),
                weights: StageWeights::default(),
                at_unix_ms: 1_764_000_000_000,
                passed: None,
                rolled_back_group: None,
            },
        },
    }
}

/// An outbox in memory.
#[derive(Debug, Default)]
pub(crate) struct TestOutbox {
    /// With the moment from which each is due.
    messages: Mutex<Vec<(OutboxMessage, u64)>>,
    /// Whether it can be read.
    is_broken: Mutex<bool>,
}

impl TestOutbox {
    pub(crate) fn put(&self, message: OutboxMessage) {
        let due = message.written_unix_ms;
        self.messages.lock().unwrap().push((message, due));
    }

    pub(crate) fn break_down(&self, is_broken: bool) {
        *self.is_broken.lock().unwrap() = is_broken;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.lock().unwrap().is_empty()
    }

    /// What waits, with the moment from which it is due.
    pub(crate) fn waiting(&self) -> Vec<(OutboxMessage, u64)> {
        self.messages.lock().unwrap().clone()
    }
}

impl Outbox for TestOutbox {
    fn due(&self, now_unix_ms: u64, limit: usize) -> Result<Vec<OutboxMessage>, StateError> {
        if *self.is_broken.lock().unwrap() {
            let reason = "state.redb: it is torn".to_owned();
            return Err(StateError { reason });
        }
        let messages = self.messages.lock().unwrap();
        let due = messages.iter().filter(|(_, due)| *due <= now_unix_ms);
        Ok(due
            .map(|(message, _)| message.clone())
            .take(limit)
            .collect())
    }

    fn settle(&self, id: u64) {
        self.messages
            .lock()
            .unwrap()
            .retain(|(message, _)| message.id != id);
    }

    fn put_off(&self, id: u64, due_unix_ms: u64) {
        for (message, due) in self.messages.lock().unwrap().iter_mut() {
            if message.id == id {
                message.attempts += 1;
                *due = due_unix_ms;
            }
        }
    }
}
