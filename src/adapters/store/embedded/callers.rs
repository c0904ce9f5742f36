//! Writes what concerns single callers, and erases them.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, WriteTransaction};

use crate::domain::assignment::Membership;
use crate::domain::ids::GroupName;
use crate::domain::secret::Secret;

use super::commit::Meta;
use super::fault::Fault;
use super::schema::{ASSIGNMENTS, META_ERASED, SECRET_OF_PSEUDONYMS, SECRETS};

/// Erases callers from all that stands under their keys. What is left of them in pages that are not in use goes
/// with the next renewal, which is noted to be due.
pub(super) fn erase(
    transaction: &WriteTransaction,
    meta: &mut Meta<'_>,
    forgotten: &BTreeSet<Box<str>>,
) -> Result<(), Fault> {
    if forgotten.is_empty() {
        return Ok(());
    }
    meta.insert(META_ERASED, 1)?;
    let mut table = transaction.open_table(ASSIGNMENTS)?;
    for group in groups(&table)? {
        for key in forgotten {
            table.remove((group.as_str(), &**key))?;
        }
    }
    Ok(())
}

/// The groups that somebody is assigned to, found by leaping from one to the next: there are few of them, and many
/// callers. The file has the last word here, for it may have what is known of nowhere else, such as assignments
/// that have ended.
fn groups(
    table: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
) -> Result<Vec<String>, Fault> {
    let mut groups = Vec::<String>::new();
    loop {
        // The first text after a group's name.
        let next = groups
            .last()
            .map_or_else(String::new, |last| format!("{last}\0"));
        let Some(first) = table.range((next.as_str(), "")..)?.next() else {
            return Ok(groups);
        };
        groups.push(first?.0.value().0.to_owned());
    }
}

pub(super) fn write_assignments(
    transaction: &WriteTransaction,
    changed: &BTreeMap<(GroupName, Box<str>), Option<Membership>>,
) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(ASSIGNMENTS)?;
    for ((group, key), membership) in changed {
        let place = (group.as_str(), &**key);
        match membership {
            Some(membership) => {
                table.insert(place, serde_json::to_vec(membership)?.as_slice())?;
            }
            None => {
                table.remove(place)?;
            }
        }
    }
    Ok(())
}

pub(super) fn write_secret(
    transaction: &WriteTransaction,
    secret: Option<&Secret>,
) -> Result<(), Fault> {
    if let Some(secret) = secret {
        let mut table = transaction.open_table(SECRETS)?;
        table.insert(SECRET_OF_PSEUDONYMS, secret.reveal())?;
    }
    Ok(())
}
