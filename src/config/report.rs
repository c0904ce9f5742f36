//! Collects the problems of a file while it is read and understood.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::config::error::{ConfigError, ConfigErrors};
use crate::config::tree::{self, Node, Place};

/// Stands in a problem or hint for the value's text as it is written in the file.
///
/// A number's own spelling is lost when it is read (`2.40` is 2.4); it is looked up only where a
/// problem quotes it. No YAML text can hold a NUL, so nothing else looks like it.
pub(super) const AS_WRITTEN: char = '\0';

/// Most places shown with their problems: the text is read once more for each of them, and nobody
/// corrects more at a time.
const SHOWN_MAX: usize = 100;

/// What is wrong, and what would have been right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    text: String,
    hint: Option<String>,
}

impl Problem {
    /// A problem in a few words: lower case, no full stop, names and values in backticks.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
        }
    }

    /// Adds what would have been right.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// A problem and, after the first `; `, its hint.
    pub(super) fn from_message(message: &str) -> Self {
        match message.split_once("; ") {
            Some((text, hint)) => Self::new(text).hint(hint),
            None => Self::new(message),
        }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<BTreeMap<Place, Vec<Problem>>>,
    /// Keys and values that have a problem, or whose content has: what depends on them is not
    /// reported again.
    refused: RefCell<HashSet<Place>>,
    /// The last key or value within each list and map.
    ends: RefCell<HashMap<Place, Place>>,
    /// Which keys each kind of map knows, and which of them were written.
    #[cfg(test)]
    pub(super) coverage: RefCell<BTreeMap<(&'static str, &'static str), bool>>,
}

impl Report {
    /// Adds a problem.
    pub(super) fn add(&self, place: Place, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        let known = problems.entry(place).or_default();
        // The document is read several times, so the same problem may be found again.
        if !known.contains(&problem) {
            known.push(problem);
        }
    }

    /// Marks a key or value as not to be read; `false` where it is marked already.
    pub(super) fn refuse(&self, place: Place) -> bool {
        self.refused.borrow_mut().insert(place)
    }

    /// Whether a key or value is not to be read.
    pub(super) fn is_refused(&self, place: Place) -> bool {
        self.refused.borrow().contains(&place)
    }

    /// Notes the last key or value within a list or map.
    pub(super) fn close(&self, place: Place, last: Place) {
        self.ends.borrow_mut().insert(place, last);
    }

    /// Whether a value or something within it has a problem, which may be why something else is
    /// not there.
    pub(super) fn has_problem_within(&self, place: Place) -> bool {
        let last = self.ends.borrow().get(&place).copied().unwrap_or(place);
        self.problems.borrow().range(place..=last).next().is_some()
    }

    /// The problems with their positions in the text, in its order; none is `Ok`.
    pub(super) fn finish(self, text: &str, root: &Node) -> Result<(), ConfigErrors> {
        let problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(());
        }
        let mut errors = Vec::new();
        let omitted = problems.len().saturating_sub(SHOWN_MAX);
        for (place, problems) in problems.into_iter().take(SHOWN_MAX) {
            let written = tree::locate(text, place);
            let value = written.text.unwrap_or_default();
            let quote = |text: String| text.replace(AS_WRITTEN, &value);
            errors.extend(problems.into_iter().map(|problem| {
                ConfigError::new(
                    (written.line, written.column),
                    root.path_to(place),
                    quote(problem.text),
                    problem.hint.map(quote),
                )
            }));
        }
        Err(ConfigErrors::new(errors, omitted))
    }
}
