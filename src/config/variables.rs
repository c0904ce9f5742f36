//! Fills in `${NAME}` from the environment.
//!
//! Values only, after the tree is read: what a variable holds is text and never becomes keys,
//! lists or comments. Where a key takes a number or a boolean, the text is read as one.
//!
//! What comes from the environment may be a secret, whatever key it stands at. Its places are
//! marked as hidden, and problems there show `${NAME}` and never the value; see
//! [`Report::hide_what_differs`] for problems of other places.

use std::env::VarError;

use crate::config::report::{Problem, Report};
use crate::config::tree::{Content, Node};

/// Looks a variable of the environment up.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Result<String, VarError>;

/// The most that one variable brings in: no single value of a configuration is longer.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Where a placeholder of its own may stand: at the key `salt`, `${revision}` is the rollout's.
const KEPT: (&str, &str) = ("salt", "revision");

/// Replaces each `${NAME}` below a node, and `$${` by `${`; what cannot be replaced goes to the
/// report.
pub(super) fn fill_in(node: &mut Node, variable: Variable<'_>, report: &Report) {
    fill_in_below(node, None, variable, report);
}

fn fill_in_below(node: &mut Node, key: Option<&str>, variable: Variable<'_>, report: &Report) {
    match &mut node.content {
        Content::Text(text) if text.contains("${") => {
            let filling = Filling::of(text, key, variable);
            if !filling.names.is_empty() {
                report.hide_variables(node.place, &filling.names);
            }
            for problem in filling.problems {
                // These name the variable; none shows its value.
                report.add(node.place, problem.without_value());
                report.refuse(node.place);
            }
            *text = filling.text;
        }
        Content::List(items) => {
            for item in items {
                fill_in_below(item, key, variable, report);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                fill_in_below(&mut entry.value, Some(&entry.name), variable, report);
            }
        }
        _ => {}
    }
}

/// A text with its variables filled in.
#[derive(Default)]
struct Filling {
    text: String,
    /// The variables it depends on, each once.
    names: Vec<String>,
    problems: Vec<Problem>,
}

impl Filling {
    fn of(written: &str, key: Option<&str>, variable: Variable<'_>) -> Self {
        let mut filling = Self::default();
        let mut rest = written;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(literal) = before.strip_suffix('$') {
                filling.text.push_str(literal);
                filling.text.push_str("${");
                rest = &from[2..];
                continue;
            }
            filling.text.push_str(before);
            let Some((name, after)) = from[2..].split_once('}') else {
                filling.problems.push(not_closed());
                break;
            };
            rest = after;
            if key == Some(KEPT.0) && name == KEPT.1 {
                filling.text.push_str(&from[..name.len() + 3]);
            } else {
                filling.add(name, variable);
            }
        }
        filling.text.push_str(rest);
        filling
    }

    fn add(&mut self, name: &str, variable: Variable<'_>) {
        if !is_variable_name(name) {
            let problem = Problem::new(format!("`${{{name}}}` does not name a variable"));
            self.problems.push(problem.hint(format!(
                "a name is letters, digits and `_`; for this very text write `$${{{name}}}`"
            )));
            return;
        }
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        match value(name, variable) {
            Ok(value) => self.text.push_str(&value),
            Err(problem) if self.problems.contains(&problem) => {}
            Err(problem) => self.problems.push(problem),
        }
    }
}

fn value(name: &str, variable: Variable<'_>) -> Result<String, Problem> {
    let why = match variable(name) {
        Ok(value) if value.is_empty() => "is empty".to_owned(),
        Ok(value) if value.len() > VALUE_BYTES_MAX => {
            format!("is longer than {VALUE_BYTES_MAX} bytes")
        }
        Ok(value) => return Ok(value),
        Err(VarError::NotPresent) => "is not set".to_owned(),
        Err(VarError::NotUnicode(_)) => "is not UTF-8".to_owned(),
    };
    let problem = Problem::new(format!("the environment variable `{name}` {why}"));
    Err(problem.hint(format!(
        "set it where serin is started, as in `{name}=… serin`, or write `$${{{name}}}` for this \
         very text"
    )))
}

fn not_closed() -> Problem {
    let problem = Problem::new("`${` is not closed");
    problem.hint("write `${NAME}` for a variable, or `$${` for this very text")
}

/// As POSIX has it (Base Definitions, section 8.1), with lower case as many programs use it.
fn is_variable_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Result<String, VarError> {
        match name {
            "A" => Ok("one".to_owned()),
            "_b2" => Ok("${A}".to_owned()),
            "EMPTY" => Ok(String::new()),
            "LONG" => Ok("x".repeat(VALUE_BYTES_MAX + 1)),
            "ODD" => Err(VarError::NotUnicode("secret".into())),
            _ => Err(VarError::NotPresent),
        }
    }

    fn filled(written: &str) -> String {
        let filling = Filling::of(written, Some("key"), &variable);
        assert!(filling.problems.is_empty(), "{:?}", filling.problems);
        filling.text
    }

    fn problem(written: &str) -> String {
        let filling = Filling::of(written, None, &variable);
        assert_eq!(filling.problems.len(), 1, "{:?}", filling.problems);
        format!("{:?}", filling.problems[0])
    }

    #[test]
    fn variables_are_filled_in_once_and_the_escape_is_taken_off() {
        for (written, text) in [
            ("${A}", "one"),
            ("x${A}y${A}", "xoneyone"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$A $ {A} $", "$A $ {A} $"),
            ("${_b2}", "${A}"),
            ("$${ ${A}", "${ one"),
        ] {
            assert_eq!(filled(written), text, "{written}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_named_without_its_value() {
        for (written, part) in [
            ("${NONE}", "the environment variable `NONE` is not set"),
            ("${NONE}${NONE}", "is not set"),
            ("${EMPTY}", "`EMPTY` is empty"),
            ("${LONG}", "`LONG` is longer than 65536 bytes"),
            ("${ODD}", "`ODD` is not UTF-8"),
            ("${A", "`${` is not closed"),
            ("${}", "`${}` does not name a variable"),
            ("${A:-b}", "`${A:-b}` does not name a variable"),
            ("${1A}", "`${1A}` does not name a variable"),
        ] {
            let problem = problem(written);
            assert!(problem.contains(part), "{problem}");
            assert!(
                !problem.contains("secret") && !problem.contains("one"),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_salt_keeps_the_revisions_placeholder() {
        let filling = Filling::of("${revision}-${A}", Some("salt"), &variable);
        assert_eq!(filling.text, "${revision}-one");
        assert_eq!(filling.names, ["A"]);
        assert!(problem("${revision}").contains("`revision` is not set"));
    }
}
