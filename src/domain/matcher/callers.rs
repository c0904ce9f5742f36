//! Matches a request by a list of caller keys.

use std::sync::Arc;

use crate::domain::caller::RequestFacts;
use crate::domain::key_index::{KeyIndex, TooManyKeys};
use crate::domain::matcher::Matches;

/// The caller's key is on the list.
#[derive(Clone, Debug)]
pub struct CallersMatcher {
    /// The keys; shared, because a list may be long and snapshots are made often.
    pub keys: Arc<KeyIndex>,
}

impl CallersMatcher {
    /// Takes the keys of a list.
    ///
    /// # Errors
    /// Where they are too many.
    pub fn new<'k>(keys: impl Iterator<Item = &'k str> + Clone) -> Result<Self, TooManyKeys> {
        let keys = Arc::new(KeyIndex::new(keys)?);
        Ok(Self { keys })
    }

    /// Reads one key a line; blank lines and lines that start with `#` are passed over.
    ///
    /// # Errors
    /// Where there are too many.
    pub fn from_lines(text: &str) -> Result<Self, TooManyKeys> {
        // Some editors begin a file with a mark of its encoding.
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        Self::new(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
    }
}

impl Matches for CallersMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        facts
            .caller
            .key()
            .is_some_and(|key| self.keys.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_key_a_line_and_comments() {
        let list = CallersMatcher::from_lines("# beta\n u-1 \r\n\nu-2\n#u-3\n").unwrap();
        assert_eq!(list.keys.len(), 2);
        assert!(list.keys.contains("u-1") && list.keys.contains("u-2"));
    }
}
