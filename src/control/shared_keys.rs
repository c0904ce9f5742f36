//! Keys that were given to an app at run time and that a file gives to another.
//!
//! The configuration is understood without the state, so it cannot refuse them. Which of the two such a key tells is
//! up to the registry of apps, where it is the one's who may pass least.

use std::collections::{BTreeMap, HashMap};

use crate::domain::app::{AppRecord, Declarations};
use crate::domain::ids::AppId;

/// Tells the log of each.
pub(super) fn warn(declared: &Declarations, records: &BTreeMap<AppId, AppRecord>) {
    let mut added = HashMap::new();
    for (id, record) in records {
        added.extend(record.keys.iter().map(|key| (key.sha256, id)));
    }
    if added.is_empty() {
        return;
    }
    for (id, app) in declared {
        for key in &app.keys {
            let other = added.get(&key.sha256).filter(|other| **other != id);
            if let Some(other) = other {
                let fingerprint = key.sha256.fingerprint();
                tracing::warn!(
                    app = %id, %other, key = fingerprint,
                    "a file gives an app a key that another was given at run time: it tells the one that may \
                     pass least"
                );
            }
        }
    }
}
