//! Reads the file beside its writer, and keeps the outbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable};

use crate::adapters::store::limits::OUTBOX_MESSAGES_MAX;
use crate::control::ports::{
    HistoryPoint, JournalLine, JournalQuery, Outbox, OutboxMessage, StateError, StateReader,
    StoreHealth,
};
use crate::domain::ids::FlagName;

use super::commit::{Delivery, after};
use super::fault::Fault;
use super::history;
use super::schema::{JOURNAL, OUTBOX, column, line};
use super::shared::Shared;

/// Reads what the writer of the same store has written.
#[derive(Clone, Debug)]
pub(super) struct EmbeddedReader(pub(super) Arc<Shared>);

impl StateReader for EmbeddedReader {
    fn journal(&self, wanted: &JournalQuery) -> Result<Vec<JournalLine>, StateError> {
        let transaction = self.0.begin_read()?;
        lines(&transaction, wanted).map_err(|fault| self.0.error(&fault))
    }

    fn history(
        &self,
        flag: &FlagName,
        from_unix_ms: u64,
        to_unix_ms: u64,
    ) -> Result<Vec<HistoryPoint>, StateError> {
        let transaction = self.0.begin_read()?;
        let waiting = self.0.collector().of(flag);
        let window = (from_unix_ms, to_unix_ms);
        let points = history::read(&transaction, flag, window, waiting);
        points.map_err(|fault| self.0.error(&fault))
    }

    fn health(&self) -> StoreHealth {
        self.0.health()
    }
}

impl EmbeddedReader {
    fn deliver(&self, id: u64, delivery: Delivery) {
        let mut queue = self.0.queue();
        let deliveries = &mut queue.batch.deliveries;
        if deliveries.len() >= OUTBOX_MESSAGES_MAX && !deliveries.contains_key(&id) {
            // More than there can be messages; what is forgotten here is delivered once more.
            self.0.note_dropped(1);
            return;
        }
        add_delivery(deliveries, id, delivery);
        drop(queue);
        self.0.ring();
    }
}

/// Adds what became of a message to what became of it before.
pub(super) fn add_delivery(deliveries: &mut BTreeMap<u64, Delivery>, id: u64, newer: Delivery) {
    let entry = deliveries.entry(id);
    entry
        .and_modify(|older| {
            *older = match (*older, newer) {
                (Delivery::Settled, _) | (_, Delivery::Settled) => Delivery::Settled,
                (
                    Delivery::PutOff {
                        attempts: before, ..
                    },
                    Delivery::PutOff {
                        due_unix_ms,
                        attempts,
                    },
                ) => Delivery::PutOff {
                    due_unix_ms,
                    attempts: attempts.saturating_add(before),
                },
            }
        })
        .or_insert(newer);
}

impl Outbox for EmbeddedReader {
    fn due(&self, now_unix_ms: u64, limit: usize) -> Result<Vec<OutboxMessage>, StateError> {
        // The queue is asked first: what it no longer holds when it is, is in the file by then.
        let deliveries = {
            let queue = self.0.queue();
            let mut deliveries = queue.delivering.clone();
            for (id, delivery) in &queue.batch.deliveries {
                add_delivery(&mut deliveries, *id, *delivery);
            }
            deliveries
        };
        let transaction = self.0.begin_read()?;
        let messages = due(&transaction, &deliveries, now_unix_ms, limit);
        messages.map_err(|fault| self.0.error(&fault))
    }

    fn settle(&self, id: u64) {
        self.deliver(id, Delivery::Settled);
    }

    fn put_off(&self, id: u64, due_unix_ms: u64) {
        let attempts = 1;
        self.deliver(
            id,
            Delivery::PutOff {
                due_unix_ms,
                attempts,
            },
        );
    }
}

fn lines(transaction: &ReadTransaction, wanted: &JournalQuery) -> Result<Vec<JournalLine>, Fault> {
    let table = transaction.open_table(JOURNAL)?;
    let subject = wanted.subject.as_ref().map(column);
    let mut lines = Vec::new();
    let (first, end) = (
        wanted.after.map_or(0, |after| after.saturating_add(1)),
        wanted.before.unwrap_or(u64::MAX),
    );
    for entry in table.range(first..end.max(first))?.rev() {
        if lines.len() >= wanted.limit {
            break;
        }
        let (sequence, value) = entry?;
        let (about, at_unix_ms, bytes) = value.value();
        let is_about = subject.as_ref().is_none_or(|subject| **subject == *about);
        let is_recent = wanted.since_unix_ms.is_none_or(|since| at_unix_ms >= since);
        if is_about && is_recent {
            lines.push(line(sequence.value(), bytes)?);
        }
    }
    Ok(lines)
}

/// The messages due, as they are after deliveries that are not in the file yet.
fn due(
    transaction: &ReadTransaction,
    deliveries: &BTreeMap<u64, Delivery>,
    now_unix_ms: u64,
    limit: usize,
) -> Result<Vec<OutboxMessage>, Fault> {
    let table = transaction.open_table(OUTBOX)?;
    let mut messages = Vec::new();
    for entry in table.iter()? {
        if messages.len() >= limit {
            break;
        }
        let (id, value) = entry?;
        let (due_unix_ms, bytes) = value.value();
        let delivery = deliveries.get(&id.value());
        if delivery.is_none() && due_unix_ms > now_unix_ms {
            continue;
        }
        let stored = serde_json::from_slice(bytes)?;
        let waiting = match delivery {
            Some(delivery) => after(*delivery, stored),
            None => Some((due_unix_ms, stored)),
        };
        let is_due = waiting.filter(|(due_unix_ms, _)| *due_unix_ms <= now_unix_ms);
        messages.extend(is_due.map(|(_, message)| message));
    }
    Ok(messages)
}
