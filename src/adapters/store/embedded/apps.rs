//! What was done of apps, in the file.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use crate::domain::app::AppRecord;
use crate::domain::ids::AppId;

use super::fault::Fault;

/// App -> what was done of it at run time, as JSON; has come later as well.
pub(super) const APPS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("apps");

/// Writes what has changed.
pub(super) fn write(
    transaction: &WriteTransaction,
    changed: &BTreeMap<AppId, Option<AppRecord>>,
) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(APPS)?;
    for (app, record) in changed {
        match record {
            Some(record) => {
                table.insert(app.as_str(), serde_json::to_vec(record)?.as_slice())?;
            }
            None => {
                table.remove(app.as_str())?;
            }
        }
    }
    Ok(())
}

/// All of it.
pub(super) fn read(transaction: &ReadTransaction) -> Result<BTreeMap<AppId, AppRecord>, Fault> {
    let table = match transaction.open_table(APPS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut apps = BTreeMap::new();
    for entry in table.iter()? {
        let (app, bytes) = entry?;
        let id = app.value().parse::<AppId>();
        let id = id.map_err(|error| Fault::Other(error.to_string()))?;
        apps.insert(id, serde_json::from_slice(bytes.value())?);
    }
    Ok(apps)
}
