//! What stands where in the state file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{
    Database, ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use crate::control::ports::{JournalLine, KnownEvidence, OutboxMessage, SavedState, Subject};
use crate::domain::assignment::Membership;
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::rollout::{Freeze, RolloutRecord};
use crate::domain::secret::Secret;
use crate::domain::settings::FlagOverrides;

use super::apps;
use super::codec;
use super::fault::Fault;
use super::feedback;

/// The form that this version writes, and the only one it knows.
pub(super) const FORMAT: u64 = 1;

/// Numbers, by the names below.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Flag, revision, stable, canary -> a number that grows with each write, and the record as JSON.
pub(super) const RECORDS: TableDefinition<'_, ReleaseKey<'_>, (u64, &[u8])> =
    TableDefinition::new("records");
/// One entry while nothing may be promoted: the freeze as JSON.
pub(super) const FREEZE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("freeze");
/// Sequence number -> flag, group or app (see [`column()`]), moment, and the line as JSON.
pub(super) const JOURNAL: TableDefinition<'_, u64, (&str, u64, &[u8])> =
    TableDefinition::new("journal");
/// Flag, grade (0 is the finest), end of the span -> the rest of a point, see [`codec`].
pub(super) const HISTORY: TableDefinition<'_, PointKey<'_>, &[u8]> =
    TableDefinition::new("history");
/// Number -> when the message is due, and the message as JSON.
pub(super) const OUTBOX: TableDefinition<'_, u64, (u64, &[u8])> = TableDefinition::new("outbox");

/// Flag -> what is known of harm, as JSON.
pub(super) const EVIDENCE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("evidence");

/// Flag -> what was set of it at run time, as JSON; has come later, so an older file has none.
pub(super) const OVERRIDES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("overrides");

/// Flag -> its definition, where it was created at run time; has come later as well.
pub(super) const CREATED: TableDefinition<'_, &str, &str> = TableDefinition::new("created");

/// Group, caller's key -> until when, as JSON; has come later as well.
pub(super) const ASSIGNMENTS: TableDefinition<'_, (&str, &str), &[u8]> =
    TableDefinition::new("assignments");

/// Secrets, by the names below; has come later as well.
pub(super) const SECRETS: TableDefinition<'_, &str, &str> = TableDefinition::new("secrets");

pub(super) type ReleaseKey<'a> = (&'a str, &'a str, &'a str, &'a str);
pub(super) type PointKey<'a> = (&'a str, u8, u64);

/// In [`META`]: the form of the file.
pub(super) const META_FORMAT: &str = "format";
/// In [`META`]: how many records were written.
pub(super) const META_WRITTEN: &str = "written";
/// In [`META`]: the number of the last line of the journal.
pub(super) const META_LINE: &str = "line";
/// In [`META`]: the number of the last message.
pub(super) const META_MESSAGE: &str = "message";
/// In [`META`]: how many seals were set, see [`super::commit`].
pub(super) const META_SEAL: &str = "seal";
/// In [`META`]: there while something was erased and the file was not written anew since, see [`super::renewal`].
pub(super) const META_ERASED: &str = "erased";
/// In [`SECRETS`]: by which pseudonyms of callers are made.
pub(super) const SECRET_OF_PSEUDONYMS: &str = "pseudonyms";
/// In [`FREEZE`]: the only key.
pub(super) const FREEZE_KEY: &str = "freeze";

/// Begins a transaction of which, once it is committed, either all is on the disk or nothing.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::Immediate)?;
    // With one phase, a damaged last commit is taken for one that was cut short, and the state
    // before it is presented as the last. With two it is known to be damage.
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Makes all tables in a new file.
pub(super) fn create(database: &Database) -> Result<(), Fault> {
    let transaction = begin(database)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(FREEZE)?;
        transaction.open_table(JOURNAL)?;
        transaction.open_table(HISTORY)?;
        transaction.open_table(OUTBOX)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Reads a file from end to end: what a start has to know, and that all the rest is understood.
///
/// The bounds of every table keep this short, and what is damaged is found at the start and not
/// in the middle of a rollout.
pub(super) fn read_through(transaction: &ReadTransaction) -> Result<SavedState, Fault> {
    check_format(transaction)?;
    let mut records = Vec::new();
    for entry in transaction.open_table(RECORDS)?.iter()? {
        let (_, value) = entry?;
        let (written, bytes) = value.value();
        records.push((written, serde_json::from_slice::<RolloutRecord>(bytes)?));
    }
    records.sort_by_key(|(written, _)| *written);
    let freeze = transaction.open_table(FREEZE)?;
    let freeze = match freeze.get(FREEZE_KEY)? {
        Some(bytes) => Some(serde_json::from_slice::<Freeze>(bytes.value())?),
        None => None,
    };
    for entry in transaction.open_table(JOURNAL)?.iter()? {
        let (sequence, value) = entry?;
        line(sequence.value(), value.value().2)?;
    }
    for entry in transaction.open_table(OUTBOX)?.iter()? {
        serde_json::from_slice::<OutboxMessage>(entry?.1.value().1)?;
    }
    for entry in transaction.open_table(HISTORY)?.iter()? {
        let (key, bytes) = entry?;
        let (flag, _, at_unix_ms) = key.value();
        point(flag, at_unix_ms, bytes.value())?;
    }
    Ok(SavedState {
        evidence: evidence(transaction)?,
        feedback: feedback::read(transaction)?,
        records: records.into_iter().map(|(_, record)| record).collect(),
        freeze,
        overrides: overrides(transaction)?,
        created: created(transaction)?,
        apps: apps::read(transaction)?,
        assignments: assignments(transaction)?,
        pseudonyms: pseudonyms(transaction)?,
    })
}

/// What was set of flags at run time.
fn overrides(transaction: &ReadTransaction) -> Result<BTreeMap<FlagName, FlagOverrides>, Fault> {
    let table = match transaction.open_table(OVERRIDES) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut overrides = BTreeMap::new();
    for entry in table.iter()? {
        let (flag, bytes) = entry?;
        let name = flag.value().parse::<FlagName>();
        let name = name.map_err(|error| Fault::Other(error.to_string()))?;
        overrides.insert(name, serde_json::from_slice(bytes.value())?);
    }
    Ok(overrides)
}

/// The definitions of flags that were created.
fn created(transaction: &ReadTransaction) -> Result<BTreeMap<FlagName, Arc<str>>, Fault> {
    let table = match transaction.open_table(CREATED) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut created = BTreeMap::new();
    for entry in table.iter()? {
        let (flag, text) = entry?;
        let name = flag.value().parse::<FlagName>();
        let name = name.map_err(|error| Fault::Other(error.to_string()))?;
        created.insert(name, text.value().into());
    }
    Ok(created)
}

/// Which callers are assigned to groups.
fn assignments(
    transaction: &ReadTransaction,
) -> Result<BTreeMap<(GroupName, Box<str>), Membership>, Fault> {
    let table = match transaction.open_table(ASSIGNMENTS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut assignments = BTreeMap::new();
    for entry in table.iter()? {
        let (place, bytes) = entry?;
        let (group, key) = place.value();
        let group = group.parse::<GroupName>();
        let group = group.map_err(|error| Fault::Other(error.to_string()))?;
        let membership = serde_json::from_slice(bytes.value())?;
        assignments.insert((group, key.into()), membership);
    }
    Ok(assignments)
}

/// The secret that pseudonyms of callers are made by.
fn pseudonyms(transaction: &ReadTransaction) -> Result<Option<Secret>, Fault> {
    match transaction.open_table(SECRETS) {
        Ok(table) => {
            let secret = table.get(SECRET_OF_PSEUDONYMS)?;
            Ok(secret.map(|secret| Secret::new(secret.value())))
        }
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What was known of harm. It has come into the file later than the rest, so it may not be there; and what
/// another version's judge knew is of no use to this one's, and no reason to refuse the file.
fn evidence(transaction: &ReadTransaction) -> Result<Vec<KnownEvidence>, Fault> {
    let table = match transaction.open_table(EVIDENCE) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut known = Vec::new();
    for entry in table.iter()? {
        let (flag, bytes) = entry?;
        match serde_json::from_slice(bytes.value()) {
            Ok(evidence) => known.push(evidence),
            Err(error) => {
                let flag = flag.value();
                tracing::warn!(flag, %error, "evidence of another version is not taken up again");
            }
        }
    }
    Ok(known)
}

fn check_format(transaction: &ReadTransaction) -> Result<(), Fault> {
    let not_ours = || Fault::Other("it is a database, but not one of Serin's".to_owned());
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(not_ours()),
    };
    let format = meta.get(META_FORMAT)?.ok_or_else(not_ours)?.value();
    if format == FORMAT {
        return Ok(());
    }
    Err(Fault::Other(format!(
        "its format is {format}, and this version knows {FORMAT} only"
    )))
}

/// What a line of the journal is about, as it stands beside it. No flag's name has a `/`.
pub(super) fn column(subject: &Subject) -> Cow<'_, str> {
    match subject {
        Subject::Flag(flag) => flag.as_str().into(),
        Subject::Group(group) => format!("group/{group}").into(),
        Subject::App(app) => format!("app/{app}").into(),
        Subject::Callers(who) => format!("callers/{who}").into(),
    }
}

/// A line of the journal, as it is stored under its number.
pub(super) fn line(sequence: u64, bytes: &[u8]) -> Result<JournalLine, Fault> {
    let mut line: JournalLine = serde_json::from_slice(bytes)?;
    line.sequence = sequence;
    Ok(line)
}

/// A point of history, as it is stored under its key.
pub(super) fn point(
    flag: &str,
    at_unix_ms: u64,
    bytes: &[u8],
) -> Result<crate::control::ports::HistoryPoint, Fault> {
    let name = flag.parse();
    let point = name
        .ok()
        .and_then(|name| codec::decode(&name, at_unix_ms, bytes));
    point.ok_or_else(|| {
        Fault::Other(format!(
            "the point of history of flag `{flag}` at {at_unix_ms} is not understood"
        ))
    })
}
