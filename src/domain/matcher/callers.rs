//! Matches a request by a list of caller keys.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;

/// The caller's key is on the list.
#[derive(Clone, Debug, Default)]
pub struct CallersMatcher {
    /// The keys; shared, because a list may be long and snapshots are made often.
    pub keys: Arc<HashSet<Box<str>>>,
}

impl CallersMatcher {
    /// Reads one key a line; blank lines and lines that start with `#` are passed over.
    pub fn from_lines(text: &str) -> Self {
        // Some editors begin a file with a mark of its encoding.
        text.trim_start_matches('\u{feff}')
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    }
}

impl<'a> FromIterator<&'a str> for CallersMatcher {
    fn from_iter<I: IntoIterator<Item = &'a str>>(keys: I) -> Self {
        Self {
            keys: Arc::new(keys.into_iter().map(Box::from).collect()),
        }
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
        let list = CallersMatcher::from_lines("# beta\n u-1 \r\n\nu-2\n#u-3\n");
        assert_eq!(list.keys.len(), 2);
        assert!(list.keys.contains("u-1") && list.keys.contains("u-2"));
    }
}
