//! Which requests are sent to a backend once more.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::domain::retries::{Retries, RetryCause};
use crate::domain::weight::Weight;

use crate::config::defaults;
use crate::config::document::RetriesDocument;
use crate::config::report::{Problem, Report};
use crate::config::schema;

/// Understands `retries`.
pub(super) fn retries(document: Option<&RetriesDocument>, report: &Report) -> Retries {
    let Some(document) = document else {
        return Retries::default();
    };
    let attempts = document.attempts.map(|count| count.0);
    let attempts = attempts.and_then(|count| u32::try_from(count).ok());
    let budget = document.budget.as_ref();
    if let Some(budget) = budget.filter(|budget| budget.value == Weight::ZERO) {
        let problem = Problem::new("a budget of 0% allows no retry");
        report.add(
            budget.place,
            problem.hint("remove `retries`, or write a share such as `20%`"),
        );
    }
    let on = match &document.on {
        None => defaults::RETRY_ON.to_vec(),
        Some(causes) => {
            if causes.value.is_empty() && !report.has_problem_within(causes.place) {
                let problem = Problem::new("nothing is retried");
                report.add(causes.place, problem.hint("write `on: [connect, reset]`"));
            }
            let mut on: Vec<RetryCause> = Vec::new();
            for cause in &causes.value {
                if on.contains(&cause.value.0) {
                    let problem = Problem::new(format!("`{}` is listed twice", cause.value));
                    report.add(cause.place, problem.hint("remove one of the two"));
                }
                on.push(cause.value.0);
            }
            on
        }
    };
    Retries {
        attempts: attempts.unwrap_or(defaults::RETRY_ATTEMPTS),
        on,
        budget: budget.map_or(defaults::RETRY_BUDGET, |budget| budget.value),
    }
}

/// What an attempt fails by, as it is written: a word, or a status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause(RetryCause);

impl Cause {
    fn of_word(word: &str) -> Option<Self> {
        match word {
            "connect" => Some(RetryCause::Connect),
            "reset" => Some(RetryCause::Reset),
            "timeout" => Some(RetryCause::Timeout),
            _ => None,
        }
        .map(Self)
    }

    /// A status is one of a server's failures.
    fn of_status(status: u64) -> Option<Self> {
        let status = u16::try_from(status)
            .ok()
            .filter(|status| (500..600).contains(status))?;
        Some(Self(RetryCause::Status(StatusCode::from_u16(status).ok()?)))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RetryCause::Connect => f.write_str("connect"),
            RetryCause::Reset => f.write_str("reset"),
            RetryCause::Timeout => f.write_str("timeout"),
            RetryCause::Status(status) => f.write_str(status.as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CauseVisitor)
    }
}

impl JsonSchema for Cause {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cause".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::or_variable(json_schema!({ "anyOf": [
            { "type": "string", "enum": ["connect", "reset", "timeout"] },
            { "type": "integer", "minimum": 500, "maximum": 599 },
        ] }))
    }
}

struct CauseVisitor;

impl CauseVisitor {
    fn found<E: Error>(&self, what: &dyn fmt::Display) -> E {
        E::custom(format_args!("expected {}, found `{what}`", EXPECTED))
    }
}

const EXPECTED: &str = "`connect`, `reset`, `timeout` or a status from 500 to 599";

impl Visitor<'_> for CauseVisitor {
    type Value = Cause;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cause, E> {
        let status = || Cause::of_status(text.parse().ok()?);
        let cause = Cause::of_word(text).or_else(status);
        cause.ok_or_else(|| self.found(&text))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Cause, E> {
        Cause::of_status(number).ok_or_else(|| self.found(&number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Cause, E> {
        Err(self.found(&number))
    }
}

#[cfg(test)]
mod tests {
    use std::env::VarError;
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::config::{ConfigErrors, parse};

    fn understood(retries: &str) -> Result<Retries, String> {
        let text = format!(
            "listeners: [{{ address: 0.0.0.0:80 }}]\nroutes: [{{ backend: a }}]\n\
             backends:\n  a:\n    endpoints: [http://a]\n    {retries}\n"
        );
        let no_file = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let parsed = parse(&text, &no_file, &|_| Err(VarError::NotPresent));
        let shown = |errors: ConfigErrors| errors.display(Path::new("f")).to_string();
        parsed
            .map(|config| config.backends[0].retries.clone())
            .map_err(shown)
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let status = RetryCause::Status(StatusCode::SERVICE_UNAVAILABLE);
        let all = "retries: { attempts: 2, on: [timeout, 503], budget: 5% }";
        let expected = Retries {
            attempts: 2,
            on: vec![RetryCause::Timeout, status],
            budget: Weight::from_basis_points(500).unwrap(),
        };
        assert_eq!(understood(all), Ok(expected));
        let expected = Retries {
            attempts: 1,
            on: vec![RetryCause::Connect, RetryCause::Reset],
            budget: defaults::RETRY_BUDGET,
        };
        assert_eq!(understood("retries: {}"), Ok(expected));
        assert_eq!(understood(""), Ok(Retries::default()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (retries, problem) in [
            ("{ attempts: 0 }", "expected a whole number from 1 to 10"),
            ("{ attempts: 11 }", "expected a whole number from 1 to 10"),
            ("{ on: [] }", "nothing is retried"),
            ("{ on: [reset, reset] }", "`reset` is listed twice"),
            ("{ on: [503, \"503\"] }", "`503` is listed twice"),
            ("{ on: [404] }", "a status from 500 to 599, found `404`"),
            ("{ on: [sometimes] }", "found `sometimes`"),
            ("{ on: [-1] }", "found `-1`"),
            ("{ budget: 0% }", "a budget of 0% allows no retry"),
            ("{ budget: 20 }", "write `20%`"),
            ("{ tries: 1 }", "unknown key `tries`"),
        ] {
            let refused = understood(&format!("retries: {retries}")).unwrap_err();
            assert!(refused.contains(problem), "{retries}: {refused}");
            assert!(refused.starts_with("f:6:"), "{refused}");
        }
    }
}
