//! Places what is found wrong with a configuration only later, beside what is running.

use crate::config::error::ConfigErrors;
use crate::config::report::{Problem, Report};
use crate::config::tree::{self, Node, Place};

/// Something wrong with a configuration that is right in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The way to the key, from the top: `["flags", "orders", "canary"]`. Where a key is not
    /// written, the map that it would be in is shown.
    pub path: Vec<String>,
    /// What is wrong.
    pub problem: String,
    /// What would have been right.
    pub hint: String,
}

/// Shows objections with their places in a text that has been [parsed](super::parse) before.
///
/// Gives at least one problem for at least one objection.
pub fn object(text: &str, objections: &[Objection]) -> ConfigErrors {
    let text = text.trim_start_matches('\u{feff}');
    let Ok(root) = tree::read(text, &Report::default()) else {
        return of_whole(objections);
    };
    let report = Report::default();
    for Objection {
        path,
        problem,
        hint,
    } in objections
    {
        let problem = Problem::new(problem.as_str()).hint(hint.as_str());
        report.add(place_of(&root, path), problem);
    }
    report
        .finish(text, &root)
        .err()
        .unwrap_or_else(|| of_whole(objections))
}

fn of_whole(objections: &[Objection]) -> ConfigErrors {
    let first = objections.first();
    let (problem, hint) = first.map_or(("it is refused", ""), |objection| {
        (objection.problem.as_str(), objection.hint.as_str())
    });
    ConfigErrors::of_whole((1, 1), problem, hint)
}

/// The value that a path leads to, or the last on the way that is written.
fn place_of(root: &Node, path: &[String]) -> Place {
    let mut node = root;
    for key in path {
        match node.get(key) {
            Some(value) => node = value,
            None => break,
        }
    }
    node.place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objection_stands_where_the_key_is_or_would_be() {
        let text = "flags:\n  orders:\n    stable: v1\n";
        let shown = |path: &[&str]| {
            let objection = Objection {
                path: path.iter().map(ToString::to_string).collect(),
                problem: "not so".to_owned(),
                hint: "but so".to_owned(),
            };
            object(text, &[objection]).to_string()
        };
        let at_key = shown(&["flags", "orders", "stable"]);
        assert_eq!(at_key, "3:13: flags.orders.stable: not so; but so");
        let beside = shown(&["flags", "orders", "canary"]);
        assert_eq!(beside, "3:5: flags.orders: not so; but so");
    }
}
