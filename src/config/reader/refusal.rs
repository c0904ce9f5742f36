//! Why a value does not fit, with the place that only the reader knows.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::config::report::{AS_WRITTEN, Problem};
use crate::config::tree::Place;

/// Why a value does not fit.
#[derive(Debug)]
pub(in crate::config) struct Refusal {
    /// The innermost value concerned; none until the error has left it.
    pub(super) place: Option<Place>,
    pub(super) reason: Reason,
}

/// What is to be said about it.
#[derive(Debug)]
pub(super) enum Reason {
    /// The value is wrong.
    Problem(Problem),
    /// A map lacks this key.
    Missing(&'static str),
    /// Something inside was refused, and has been reported.
    Reported,
}

impl Refusal {
    /// A value with a problem.
    pub(super) fn new(place: Place, problem: Problem) -> Self {
        Self {
            place: Some(place),
            reason: Reason::Problem(problem),
        }
    }

    /// A value whose problem, or whose content's, has been reported.
    pub(super) fn reported(place: Place) -> Self {
        Self {
            place: Some(place),
            reason: Reason::Reported,
        }
    }

    /// Sets the place, unless something inside has set it.
    pub(super) fn at(self, place: Place) -> Self {
        Self {
            place: self.place.or(Some(place)),
            ..self
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.reason)
    }
}

impl Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            place: None,
            reason: Reason::Problem(Problem::from_message(&message.to_string())),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let problem = match found {
            Unexpected::Unit | Unexpected::Option => {
                Problem::new("has no value").hint(format!("expected {expected}, or remove the key"))
            }
            _ => {
                let found = kind_of(found);
                Problem::new(format!("expected {expected}, found {found}"))
            }
        };
        Self {
            place: None,
            reason: Reason::Problem(problem),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            place: None,
            reason: Reason::Missing(field),
        }
    }
}

fn kind_of(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        Unexpected::Bool(_) => format!("the boolean `{AS_WRITTEN}`"),
        Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => {
            format!("the number `{AS_WRITTEN}`")
        }
        // It may be one of a webhook, which is a secret.
        Unexpected::Str(text) if text.contains("://") => "a URL".to_owned(),
        Unexpected::Str(text) => format!("the text `{text}`"),
        other => other.to_string(),
    }
}
