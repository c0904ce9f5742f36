//! Writes the whole state into a new file, which takes the place of the old one.
//!
//! A database leaves what was removed in pages that it does not use, until it needs them. Where a caller was
//! erased that is not enough; in a file that has been written from what is in use there is nothing else. What the
//! file system does with the blocks of the old file is beyond our reach, and so are copies that others have made.

use std::time::Duration;

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    TableHandle, Value, WriteTransaction,
};
use tokio::time::Instant;

use crate::runtime::clock;

use super::apps::APPS;
use super::fault::Fault;
use super::feedback::FEEDBACK;
use super::medium::{self, Medium};
use super::schema::{
    ASSIGNMENTS, CREATED, EVIDENCE, FREEZE, HISTORY, JOURNAL, META, META_ERASED, META_SEAL, OUTBOX,
    OVERRIDES, RECORDS, SECRETS, begin,
};
use super::shared::Shared;

/// How soon it is tried again where it has failed: there was no room, or the disk is slow.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The renewal of a file in use.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    due: Option<Instant>,
}

impl Renewal {
    /// Notes that something was erased; what else is until then goes from the file at the same time.
    pub(super) fn note(&mut self, wait: Duration) {
        let due = clock::monotonic() + wait;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When it is due, where something was erased.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the file anew where that is due, or at the end if something was erased, and tells whether it was tried:
    /// the database has to be opened anew then. What is not done when the process ends is done by the next start.
    pub(super) fn carry_out(
        &mut self,
        shared: &Shared,
        medium: &mut dyn Medium,
        is_end: bool,
    ) -> bool {
        let now = clock::monotonic();
        let is_due = self.due.is_some_and(|due| is_end || now >= due);
        // What room is left is for rollbacks. And what is still to go from the file must not be copied, for
        // afterwards nobody knows that it lies in unused pages.
        if !is_due || shared.has_shortage() || shared.queue().feedback.has_removals() {
            return false;
        }
        let written = medium::guarded(|| {
            let write = |old: &_| medium.write_anew(&mut |new| copy(old, new));
            shared.with_database(write).unwrap_or(Ok(()))
        });
        self.due = written.err().map(|fault| {
            warn(&fault);
            now + AGAIN_AFTER
        });
        true
    }
}

fn warn(fault: &Fault) {
    tracing::warn!(%fault, "the state file is not written anew yet after a caller was forgotten");
}

/// Whether something was erased since the file was written.
pub(super) fn is_due(database: &Database) -> Result<bool, Fault> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok(meta.get(META_ERASED)?.is_some())
}

/// Writes the file anew if that is due, and gives the database that is to be used from now on.
pub(super) fn renewed(database: Database, medium: &mut dyn Medium) -> Result<Database, Fault> {
    if !is_due(&database)? {
        return Ok(database);
    }
    match medium.write_anew(&mut |new| copy(&database, new)) {
        Ok(()) => {
            drop(database);
            Ok(medium::open(medium)?.0)
        }
        Err(fault) => {
            warn(&fault);
            Ok(database)
        }
    }
}

/// Copies all tables into an empty database.
fn copy(old: &Database, new: &Database) -> Result<(), Fault> {
    let source = old.begin_read()?;
    let transaction = begin(new)?;
    let mut tables = Tables {
        source: &source,
        target: &transaction,
        copied: Vec::new(),
    };
    tables.copy(META)?;
    tables.copy(RECORDS)?;
    tables.copy(FREEZE)?;
    tables.copy(JOURNAL)?;
    tables.copy(HISTORY)?;
    tables.copy(OUTBOX)?;
    tables.copy(EVIDENCE)?;
    tables.copy(OVERRIDES)?;
    tables.copy(CREATED)?;
    tables.copy(ASSIGNMENTS)?;
    tables.copy(APPS)?;
    tables.copy(FEEDBACK)?;
    tables.copy(SECRETS)?;
    tables.are_all()?;
    transaction.open_table(META)?.remove(META_ERASED)?;
    transaction.commit()?;
    // A seal, so that the last two commits tell the same.
    let transaction = begin(new)?;
    {
        let mut meta = transaction.open_table(META)?;
        let seals = meta.get(META_SEAL)?.map_or(0, |seals| seals.value());
        meta.insert(META_SEAL, seals + 1)?;
    }
    transaction.commit()?;
    Ok(())
}

struct Tables<'t> {
    source: &'t ReadTransaction,
    target: &'t WriteTransaction,
    copied: Vec<String>,
}

impl Tables<'_> {
    fn copy<K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), Fault> {
        let source = match self.source.open_table(definition) {
            Ok(source) => source,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut target = self.target.open_table(definition)?;
        for entry in source.iter()? {
            let (key, value) = entry?;
            target.insert(key.value(), value.value())?;
        }
        self.copied.push(definition.name().to_owned());
        Ok(())
    }

    /// Makes sure that no table was left behind.
    fn are_all(&self) -> Result<(), Fault> {
        for table in self.source.list_tables()? {
            if !self.copied.iter().any(|copied| copied == table.name()) {
                let name = table.name();
                let problem = format!("table `{name}` would be lost");
                return Err(Fault::Other(problem));
            }
        }
        Ok(())
    }
}
