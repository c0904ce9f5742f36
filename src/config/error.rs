//! What is wrong with a configuration: all of it, each with its place.

use std::fmt;
use std::path::Path;

/// The longest path, problem or hint shown, in characters: what a file holds is not limited, what
/// ends up in a log line is.
const SHOWN_CHARS_MAX: usize = 300;

/// One problem of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 in characters.
    pub column: usize,
    /// The way to the key or value, such as `flags.orders.rollout.stages[2]`; empty for the file.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What would have been right, where that can be said.
    pub hint: Option<String>,
}

impl ConfigError {
    pub(super) fn new(
        (line, column): (usize, usize),
        path: String,
        problem: String,
        hint: Option<String>,
    ) -> Self {
        Self {
            line,
            column,
            path: on_one_line(&path, SHOWN_CHARS_MAX),
            problem: on_one_line(&problem, SHOWN_CHARS_MAX),
            hint: hint.map(|hint| on_one_line(&hint, SHOWN_CHARS_MAX)),
        }
    }
}

/// Shortened, and without control characters, which could break the report's lines or the reader's terminal.
pub(super) fn on_one_line(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(chars_max));
    for (count, c) in text.chars().enumerate() {
        if count == chars_max {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// `line:col: path: problem; hint`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// All problems of a configuration file, in its order: at least one. Past a hundred places with
/// problems only their number is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    /// In how many more places there are problems.
    omitted: usize,
}

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>, omitted: usize) -> Self {
        // Stable: on the same spot (an alias read twice) the order of reading remains.
        errors.sort_by_key(|error| (error.line, error.column));
        Self { errors, omitted }
    }

    /// A problem of the file as a whole, found at a position.
    pub(super) fn of_whole(position: (usize, usize), problem: &str, hint: &str) -> Self {
        let hint = Some(hint.to_owned());
        let error = ConfigError::new(position, String::new(), problem.to_owned(), hint);
        Self::new(vec![error], 0)
    }

    /// The problems, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// Shows each problem on a line of its own, led by the file's name as editors and terminals
    /// link it: `file:line:col: path: problem; hint`.
    pub fn display<'a>(&'a self, file: &'a Path) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| self.write_lines(f, Some(file)))
    }

    fn write_lines(&self, f: &mut fmt::Formatter<'_>, file: Option<&Path>) -> fmt::Result {
        for (count, error) in self.errors.iter().enumerate() {
            if count > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = file {
                write!(f, "{}:", file.display())?;
            }
            write!(f, "{error}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n… and problems in {} more places", self.omitted)?;
        }
        Ok(())
    }
}

/// One problem a line, without a file's name.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_lines(f, None)
    }
}

impl std::error::Error for ConfigErrors {}
