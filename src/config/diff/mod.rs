//! Says what a change of the configuration changes, for people.
//!
//! The two texts are compared as they are written, key by key: named things by their names, lists
//! whose order means nothing as sets, routes by what they fit. So no default and nothing from the
//! environment is in it: where `${NAME}` is written, `${NAME}` is shown, and a secret is `***`.

mod compare;
mod dump;
mod marks;
mod render;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

pub use self::dump::{dump, dump_flag};
use crate::config::diff::compare::Comparison;
use crate::config::diff::marks::Side;

/// Most changes told one by one: whoever changes more looks at the files.
const CHANGES_MAX: usize = 200;

/// What is different between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The changes, in the order of the new text; what is gone comes last within its map.
    pub changes: Vec<Change>,
    /// How many more there are.
    pub omitted: usize,
}

/// One difference. Where neither `before` nor `after` is there, `note` says what is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The way to the key or value, such as `flags.orders.rollout.revision`.
    pub path: String,
    /// How it was written, shortened; none where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// How it is written now, shortened; none where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What follows from it, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Compares two texts that [`parse`](crate::config::parse) accepts; one that is not YAML at all is
/// like one with nothing in it.
pub fn diff(old: &str, new: &str) -> Diff {
    let (old, new) = (Side::of(old), Side::of(new));
    let mut comparison = Comparison::new(&old, &new);
    comparison.compare_roots();
    comparison.into_diff()
}

impl Diff {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds a change, or counts it where there are enough.
    pub fn add(&mut self, change: Change) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(change);
        } else {
            self.omitted += 1;
        }
    }
}

/// One change a line.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, change) in self.changes.iter().enumerate() {
            if count > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{change}")?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\n… and {omitted} more changes"),
        }
    }
}

/// `path: before -> after (note)`, `path: added after` or `path: removed before`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path)?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, " {before} -> {after}")?,
            (None, Some(after)) => write!(f, " added {after}")?,
            (Some(before), None) => write!(f, " removed {before}")?,
            (None, None) => {}
        }
        match (&self.note, &self.before, &self.after) {
            (Some(note), None, None) => write!(f, " {note}"),
            (Some(note), ..) => write!(f, " ({note})"),
            (None, ..) => Ok(()),
        }
    }
}
