//! Collects the problems of a file while it is read and understood.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::secret::HIDDEN;

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
    /// Whether it can be shown where the value is hidden: it holds no part of it.
    is_without_value: bool,
}

impl Problem {
    /// A problem in a few words: lower case, no full stop, names and values in backticks.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
            is_without_value: false,
        }
    }

    /// Says that no part of the value, nor of any other that may be hidden, is in it;
    /// [`AS_WRITTEN`] may be.
    pub(super) fn without_value(self) -> Self {
        Self {
            is_without_value: true,
            ..self
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

/// Why a value is not to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hidden {
    /// Variables of the environment are in it, named as they are written. How the value is written
    /// may be shown.
    Variables(String),
    /// Its key is for a secret. Nothing of it may be shown.
    Secret,
}

impl Hidden {
    fn unfit(&self, expected: Option<&str>) -> Problem {
        let problem = match self {
            Self::Variables(names) => {
                let problem = format!("the value with {names}, which is not shown, does not fit");
                Problem::new(problem)
            }
            Self::Secret => Problem::new("this secret, which is not shown, does not fit"),
        };
        let problem = match (expected, self) {
            (Some(expected), _) => problem.hint(format!("expected {expected}")),
            (None, Self::Variables(_)) => problem.hint("look at what the environment holds"),
            (None, Self::Secret) => problem,
        };
        problem.without_value()
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
    /// Values that are not to be shown.
    hidden: RefCell<HashMap<Place, Hidden>>,
    /// Which keys each kind of map knows, and which of them were written.
    #[cfg(test)]
    pub(super) coverage: RefCell<BTreeMap<(&'static str, &'static str), bool>>,
}

impl Report {
    /// Adds a problem.
    pub(super) fn add(&self, place: Place, problem: Problem) {
        let problem = match self.hidden.borrow().get(&place) {
            Some(hidden) if !problem.is_without_value => hidden.unfit(None),
            _ => problem,
        };
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

    /// Marks a value as brought in by variables of the environment.
    pub(super) fn hide_variables(&self, place: Place, names: &[String]) {
        let names: Vec<_> = names.iter().map(|name| format!("`${{{name}}}`")).collect();
        let hidden = Hidden::Variables(names.join(" and "));
        self.hidden.borrow_mut().insert(place, hidden);
    }

    /// Marks a value as one that nothing is shown of, not even how it is written.
    pub(super) fn hide_secret(&self, place: Place) {
        let mut hidden = self.hidden.borrow_mut();
        hidden.entry(place).or_insert(Hidden::Secret);
    }

    /// Whether nothing of a value is to be shown, not even how it is written.
    pub(super) fn is_secret(&self, place: Place) -> bool {
        self.hidden.borrow().get(&place) == Some(&Hidden::Secret)
    }

    /// Whether a value was brought in by the environment: its text may mean a number.
    pub(super) fn is_from_variables(&self, place: Place) -> bool {
        let hidden = self.hidden.borrow();
        matches!(hidden.get(&place), Some(Hidden::Variables(_)))
    }

    /// What to say of a hidden value that does not fit; none where the value is not hidden.
    pub(super) fn unfit(&self, place: Place, expected: impl FnOnce() -> String) -> Option<Problem> {
        let hidden = self.hidden.borrow();
        let hidden = hidden.get(&place)?;
        Some(hidden.unfit(Some(&expected())))
    }

    /// Whether the environment must be kept out of what is said.
    pub(super) fn may_tell_of_variables(&self) -> bool {
        let hidden = self.hidden.borrow();
        let mut hidden = hidden.values();
        hidden.any(|why| *why != Hidden::Secret) && !self.problems.borrow().is_empty()
    }

    /// Takes the environment out of problems of other places, such as that one address is in the
    /// way of another: what is also said when the variables hold something else does not depend on
    /// them, and everything else is not shown.
    pub(super) fn hide_what_differs(&self, with_other_values: &Self) {
        let said = with_other_values.problems.borrow();
        for (place, problems) in self.problems.borrow_mut().iter_mut() {
            for problem in problems {
                let is_independent = said.get(place).is_some_and(|said| said.contains(problem));
                if !problem.is_without_value && !is_independent {
                    let text = "does not go together with a value from the environment, which is \
                                not shown";
                    *problem = Problem::new(text).hint("look at what its variables hold");
                }
            }
        }
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
        let problems = self.problems.take();
        if problems.is_empty() {
            return Ok(());
        }
        let mut errors = Vec::new();
        let omitted = problems.len().saturating_sub(SHOWN_MAX);
        for (place, problems) in problems.into_iter().take(SHOWN_MAX) {
            errors.extend(self.placed((text, root), place, problems));
        }
        Err(ConfigErrors::new(errors, omitted))
    }

    /// The problems of a value and within it; its text, whose root is given, may have been read after others.
    pub(super) fn errors_within(&self, text: &str, root: &Node, place: Place) -> Vec<ConfigError> {
        let last = self.ends.borrow().get(&place).copied().unwrap_or(place);
        let problems = self.problems.borrow();
        let within = problems.range(place..=last).take(SHOWN_MAX);
        let placed = within.map(|(place, found)| self.placed((text, root), *place, found.clone()));
        placed.flatten().collect()
    }

    /// The problems of one place of a text, which may have been read after others.
    fn placed(
        &self,
        (text, root): (&str, &Node),
        place: Place,
        problems: Vec<Problem>,
    ) -> Vec<ConfigError> {
        let within = Place::of_number(place.number() - root.place.number());
        let written = tree::locate(text, within);
        let value = match written.text {
            Some(_) if self.is_secret(place) => HIDDEN.to_owned(),
            text => text.unwrap_or_default(),
        };
        let quote = |text: String| text.replace(AS_WRITTEN, &value);
        let error = |problem: Problem| {
            ConfigError::new(
                (written.line, written.column),
                root.path_to(place),
                quote(problem.text),
                problem.hint.map(quote),
            )
        };
        problems.into_iter().map(error).collect()
    }
}
