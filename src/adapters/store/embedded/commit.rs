//! Writes a batch of changes as one transaction: all of it or nothing.
//!
//! After a transaction that changes where a rollout is comes a *seal*, a second one that changes
//! nothing of it; points of history ride along. The file always holds its last two commits and
//! one bit that says which counts; with the seal both tell the same of every rollout, so no damage
//! to that bit brings back a state that was left. The seal is set when the writer has its answer
//! already, and costs it nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use redb::{Database, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use crate::adapters::store::limits::{
    HISTORY_FLAGS_MAX, JOURNAL_AGE_MAX, JOURNAL_LINES_KEPT, JOURNAL_LINES_MAX, OUTBOX_MESSAGES_MAX,
    RELEASES_MAX, millis,
};
use crate::control::ports::{
    FeedbackChange, HistoryPoint, JournalLine, KnownEvidence, OutboxDraft, OutboxMessage,
};
use crate::domain::app::AppRecord;
use crate::domain::assignment::Membership;
use crate::domain::ids::{AppId, FlagName, GroupName};
use crate::domain::rollout::{Freeze, RolloutRecord};
use crate::domain::secret::Secret;
use crate::domain::settings::FlagOverrides;

use super::apps;
use super::callers;
use super::fault::Fault;
use super::schema::{
    CREATED, EVIDENCE, FREEZE, FREEZE_KEY, HISTORY, JOURNAL, META, META_LINE, META_MESSAGE,
    META_SEAL, META_WRITTEN, OUTBOX, OVERRIDES, RECORDS, ReleaseKey, begin, column,
};
use super::{feedback, history};

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Where rollouts are, each release once, the one decided last at the end.
    pub(super) records: Vec<RolloutRecord>,
    /// A change of the freeze.
    pub(super) freeze: Option<Option<Freeze>>,
    /// What was set of flags at run time; empty where all is as configured.
    pub(super) overrides: BTreeMap<FlagName, FlagOverrides>,
    /// Definitions of flags that are created; none of those deleted.
    pub(super) created: BTreeMap<FlagName, Option<Arc<str>>>,
    /// What was done of apps; none where that is nothing.
    pub(super) apps: BTreeMap<AppId, Option<AppRecord>>,
    /// Callers put into groups, and those taken out.
    pub(super) assignments: BTreeMap<(GroupName, Box<str>), Option<Membership>>,
    /// Callers to be erased, before anything of them is written.
    pub(super) forgotten: BTreeSet<Box<str>>,
    /// The secret that pseudonyms are made by.
    pub(super) pseudonyms: Option<Secret>,
    /// Lines for the journal, oldest first.
    pub(super) lines: VecDeque<JournalLine>,
    /// Messages to be delivered, oldest first, each with when it was written.
    pub(super) messages: VecDeque<(u64, OutboxDraft)>,
    /// What became of messages, by number.
    pub(super) deliveries: BTreeMap<u64, Delivery>,
    /// What is known of harm as rollouts move, the newest of each flag.
    pub(super) evidence: Vec<KnownEvidence>,
    /// Votes and comments that go with callers who are forgotten.
    pub(super) feedback: Vec<FeedbackChange>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It is to be forgotten.
    Settled,
    /// It is to be tried again.
    PutOff {
        /// When, in milliseconds since 1970.
        due_unix_ms: u64,
        /// How many more attempts have failed.
        attempts: u32,
    },
}

/// What is written along, when there is an occasion.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Points<'a> {
    /// Points of history.
    pub(super) new: &'a [HistoryPoint],
    /// What is known of harm.
    pub(super) evidence: &'a [KnownEvidence],
    /// Votes and comments.
    pub(super) feedback: &'a [FeedbackChange],
    /// Whether the whole history is to be looked through.
    pub(super) is_checked: bool,
}

/// Writes it all; says how many messages had to be dropped for it.
pub(super) fn write(database: &Database, batch: &Batch, now_unix_ms: u64) -> Result<u64, Fault> {
    let transaction = begin(database)?;
    let dropped = {
        let mut meta = transaction.open_table(META)?;
        write_records(&transaction, &mut meta, &batch.records)?;
        write_freeze(&transaction, batch.freeze.as_ref())?;
        write_overrides(&transaction, &batch.overrides)?;
        write_created(&transaction, &batch.created)?;
        apps::write(&transaction, &batch.apps)?;
        callers::erase(&transaction, &mut meta, &batch.forgotten)?;
        callers::write_secret(&transaction, batch.pseudonyms.as_ref())?;
        callers::write_assignments(&transaction, &batch.assignments)?;
        write_lines(&transaction, &mut meta, &batch.lines, now_unix_ms)?;
        write_evidence(&transaction, &batch.evidence)?;
        feedback::write(&transaction, &batch.feedback)?;
        write_outbox(&transaction, &mut meta, batch)?
    };
    transaction.commit()?;
    Ok(dropped)
}

/// Sets the seal, and writes points.
pub(super) fn seal(database: &Database, points: Points<'_>) -> Result<(), Fault> {
    let transaction = begin(database)?;
    next(&mut transaction.open_table(META)?, META_SEAL)?;
    write_points(&transaction, points)?;
    write_evidence(&transaction, points.evidence)?;
    feedback::write(&transaction, points.feedback)?;
    transaction.commit()?;
    Ok(())
}

pub(super) type Meta<'txn> = Table<'txn, &'static str, u64>;

/// Counts a number up.
fn next(meta: &mut Meta<'_>, name: &str) -> Result<u64, Fault> {
    let number = meta.get(name)?.map_or(0, |number| number.value()) + 1;
    meta.insert(name, number)?;
    Ok(number)
}

fn write_records(
    transaction: &WriteTransaction,
    meta: &mut Meta<'_>,
    records: &[RolloutRecord],
) -> Result<(), Fault> {
    let mut table = transaction.open_table(RECORDS)?;
    for record in records {
        let written = next(meta, META_WRITTEN)?;
        let bytes = serde_json::to_vec(record)?;
        table.insert(key(record), (written, bytes.as_slice()))?;
        forget_oldest(&mut table, record.flag.as_str())?;
    }
    Ok(())
}

fn key(record: &RolloutRecord) -> ReleaseKey<'_> {
    let release = &record.release;
    (
        record.flag.as_str(),
        &release.revision,
        release.stable.as_str(),
        release.canary.as_str(),
    )
}

/// Forgets the releases of a flag written longest ago, where there are too many.
fn forget_oldest(
    table: &mut Table<'_, ReleaseKey<'static>, (u64, &'static [u8])>,
    flag: &str,
) -> Result<(), Fault> {
    let mut of_flag = Vec::new();
    for entry in table.range((flag, "", "", "")..)? {
        let (key, value) = entry?;
        let (name, revision, stable, canary) = key.value();
        if name != flag {
            break;
        }
        let release = [revision, stable, canary].map(str::to_owned);
        of_flag.push((value.value().0, release));
    }
    of_flag.sort();
    let excess = of_flag.len().saturating_sub(RELEASES_MAX);
    for (_, [revision, stable, canary]) in of_flag.drain(..excess) {
        table.remove((flag, revision.as_str(), stable.as_str(), canary.as_str()))?;
    }
    Ok(())
}

fn write_freeze(
    transaction: &WriteTransaction,
    change: Option<&Option<Freeze>>,
) -> Result<(), Fault> {
    let mut table = transaction.open_table(FREEZE)?;
    match change {
        Some(Some(freeze)) => {
            table.insert(FREEZE_KEY, serde_json::to_vec(freeze)?.as_slice())?;
        }
        Some(None) => {
            table.remove(FREEZE_KEY)?;
        }
        None => {}
    }
    Ok(())
}

fn write_overrides(
    transaction: &WriteTransaction,
    changed: &BTreeMap<FlagName, FlagOverrides>,
) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(OVERRIDES)?;
    for (flag, overrides) in changed {
        if overrides.is_empty() {
            table.remove(flag.as_str())?;
        } else {
            let bytes = serde_json::to_vec(overrides)?;
            table.insert(flag.as_str(), bytes.as_slice())?;
        }
    }
    Ok(())
}

fn write_created(
    transaction: &WriteTransaction,
    changed: &BTreeMap<FlagName, Option<Arc<str>>>,
) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(CREATED)?;
    for (flag, definition) in changed {
        match definition {
            Some(text) => table.insert(flag.as_str(), &**text)?,
            None => table.remove(flag.as_str())?,
        };
    }
    Ok(())
}

fn write_lines(
    transaction: &WriteTransaction,
    meta: &mut Meta<'_>,
    lines: &VecDeque<JournalLine>,
    now_unix_ms: u64,
) -> Result<(), Fault> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(JOURNAL)?;
    for line in lines {
        let sequence = next(meta, META_LINE)?;
        let bytes = serde_json::to_vec(line)?;
        table.insert(
            sequence,
            (&*column(&line.subject), line.at_unix_ms, bytes.as_slice()),
        )?;
    }
    while table.len()? > JOURNAL_LINES_MAX as u64 {
        table.pop_first()?;
    }
    let oldest_kept = now_unix_ms.saturating_sub(millis(JOURNAL_AGE_MAX));
    while table.len()? > JOURNAL_LINES_KEPT as u64 {
        let first = table.first()?.map(|(_, line)| line.value().1);
        if first.is_none_or(|at_unix_ms| at_unix_ms >= oldest_kept) {
            break;
        }
        table.pop_first()?;
    }
    Ok(())
}

fn write_outbox(
    transaction: &WriteTransaction,
    meta: &mut Meta<'_>,
    batch: &Batch,
) -> Result<u64, Fault> {
    let mut table = transaction.open_table(OUTBOX)?;
    for (id, delivery) in &batch.deliveries {
        let stored = match table.remove(id)? {
            Some(stored) => serde_json::from_slice::<OutboxMessage>(stored.value().1)?,
            None => continue,
        };
        if let Some((due_unix_ms, message)) = after(*delivery, stored) {
            let bytes = serde_json::to_vec(&message)?;
            table.insert(id, (due_unix_ms, bytes.as_slice()))?;
        }
    }
    for (written_unix_ms, draft) in &batch.messages {
        let message = OutboxMessage {
            id: next(meta, META_MESSAGE)?,
            written_unix_ms: *written_unix_ms,
            attempts: 0,
            draft: draft.clone(),
        };
        let bytes = serde_json::to_vec(&message)?;
        table.insert(message.id, (0, bytes.as_slice()))?;
    }
    let mut dropped = 0;
    while table.len()? > OUTBOX_MESSAGES_MAX as u64 {
        table.pop_first()?;
        dropped += 1;
    }
    Ok(dropped)
}

/// A message after what became of it, with when it is due; `None` when it is to be forgotten.
pub(super) fn after(
    delivery: Delivery,
    mut message: OutboxMessage,
) -> Option<(u64, OutboxMessage)> {
    match delivery {
        Delivery::Settled => None,
        Delivery::PutOff {
            due_unix_ms,
            attempts,
        } => {
            message.attempts = message.attempts.saturating_add(attempts);
            Some((due_unix_ms, message))
        }
    }
}

/// Writes points, and ages what is there by the newest of them: a clock that is set back makes
/// nothing old.
fn write_points(transaction: &WriteTransaction, points: Points<'_>) -> Result<(), Fault> {
    let mut table = transaction.open_table(HISTORY)?;
    let moments = points.new.iter().map(|point| point.at_unix_ms);
    let now_unix_ms = moments.max().unwrap_or(0);
    let mut aged = None;
    for point in points.new {
        history::write(&mut table, point)?;
        // The points of a flag come together.
        if aged != Some(&point.flag) {
            history::age(&mut table, point.flag.as_str(), now_unix_ms)?;
            aged = Some(&point.flag);
        }
    }
    if points.is_checked {
        history::check_bounds(&mut table, now_unix_ms)?;
    }
    Ok(())
}

fn write_evidence(transaction: &WriteTransaction, known: &[KnownEvidence]) -> Result<(), Fault> {
    if known.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(EVIDENCE)?;
    for evidence in known {
        let bytes = serde_json::to_vec(evidence)?;
        table.insert(evidence.flag.as_str(), bytes.as_slice())?;
    }
    let excess = table.len()?.saturating_sub(HISTORY_FLAGS_MAX as u64);
    if excess > 0 {
        let stored = table.iter()?.map(|entry| Ok(entry?.0.value().to_owned()));
        let flags = stored.collect::<Result<Vec<_>, Fault>>()?;
        let mut ranked = rank(flags, &last_moves(transaction)?, known);
        ranked.truncate(usize::try_from(excess).unwrap_or(usize::MAX));
        for flag in ranked {
            table.remove(flag.as_str())?;
        }
    }
    Ok(())
}

/// When each flag's rollout last moved, as a number that grows.
fn last_moves(transaction: &WriteTransaction) -> Result<BTreeMap<String, u64>, Fault> {
    let mut moves = BTreeMap::new();
    for entry in transaction.open_table(RECORDS)?.iter()? {
        let (key, value) = entry?;
        let last = moves.entry(key.value().0.to_owned()).or_default();
        *last = value.value().0.max(*last);
    }
    Ok(moves)
}

/// Flags whose evidence may be forgotten, the dispensable first: what was just written is of a rollout under
/// way, what has no record of none any more, and of the others that is first which moved longest ago.
fn rank(
    mut flags: Vec<String>,
    last_moves: &BTreeMap<String, u64>,
    just_written: &[KnownEvidence],
) -> Vec<String> {
    let just_written = just_written.iter().map(|known| known.flag.as_str());
    let just_written: BTreeSet<_> = just_written.collect();
    flags.sort_by_cached_key(|flag| {
        let is_under_way = just_written.contains(flag.as_str());
        (is_under_way, last_moves.get(flag).copied())
    });
    flags
}
