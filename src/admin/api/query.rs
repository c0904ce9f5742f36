//! What may be asked for in a query, and what to say where it makes no sense.

use std::ops::RangeInclusive;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::Query;

use crate::admin::error::ApiError;
use crate::domain::ids::{AppId, FlagName, GroupName};
use crate::telemetry::access_log::Statuses;

/// The parameters of a query.
pub(crate) type Written = Query<Vec<(String, String)>>;

/// Parameters that are all known, none of them written twice.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Checks the names.
    pub(super) fn read(Query(written): Written, known: &[&str]) -> Result<Self, ApiError> {
        for (n, (name, _)) in written.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
                let known = known.join(", ");
                return Err(ApiError::BadRequest(format!(
                    "unknown parameter `{name}`, expected one of {known}"
                )));
            }
            if written[..n].iter().any(|(other, _)| other == name) {
                let problem = format!("parameter `{name}` is written twice");
                return Err(ApiError::BadRequest(problem));
            }
        }
        Ok(Self(written))
    }

    fn find(&self, wanted: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    }

    /// Any text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.find(name)
    }

    /// One of some words.
    pub(super) fn one_of<'a>(
        &self,
        name: &str,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<String>, ApiError> {
        let Some(text) = self.find(name) else {
            return Ok(None);
        };
        let words: Vec<_> = words.into_iter().collect();
        if words.contains(&text) {
            return Ok(Some(text.to_owned()));
        }
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        Err(unfit(name, text, &format!("one of {}", words.join(", "))))
    }

    /// Some statuses.
    pub(super) fn statuses(&self, name: &str) -> Result<Option<Statuses>, ApiError> {
        let statuses = self.find(name).map(str::parse).transpose();
        statuses.map_err(|error| ApiError::BadRequest(format!("parameter `{name}`: {error}")))
    }

    /// A span of time, such as `500ms`.
    pub(super) fn span(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        let span = self.find(name).map(|text| {
            humantime::parse_duration(text)
                .map_err(|_| unfit(name, text, "a span of time such as `500ms`"))
        });
        span.transpose()
    }

    /// A whole number.
    pub(super) fn number(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.find(name) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (from, to) = range.into_inner();
        let expected = match to {
            u64::MAX => format!("a whole number from {from} up"),
            to => format!("a whole number from {from} to {to}"),
        };
        number.map(Some).ok_or_else(|| unfit(name, text, &expected))
    }

    /// A moment, in milliseconds since 1970: written as such, as a date with time, or as the time
    /// that has passed since.
    pub(super) fn moment(&self, name: &str, now_unix_ms: u64) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.find(name) else {
            return Ok(None);
        };
        let milliseconds = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let date = || humantime::parse_rfc3339_weak(text).ok();
        let moment = if text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().ok()
        } else if let Ok(ago) = humantime::parse_duration(text) {
            Some(now_unix_ms.saturating_sub(milliseconds(ago)))
        } else {
            date()
                .and_then(|date| date.duration_since(UNIX_EPOCH).ok())
                .map(milliseconds)
        };
        let expected = "a moment such as `2026-01-31T08:00:00Z`, the time since then such as `1h`, \
                        or milliseconds since 1970";
        moment.map(Some).ok_or_else(|| unfit(name, text, expected))
    }

    /// The name of a flag.
    pub(super) fn flag(&self, name: &str) -> Result<Option<FlagName>, ApiError> {
        let text = self.find(name);
        let flag = text.map(str::parse).transpose();
        flag.map_err(|error| ApiError::BadRequest(format!("parameter `{name}`: {error}")))
    }

    /// The id of an app.
    pub(super) fn app(&self, name: &str) -> Result<Option<AppId>, ApiError> {
        let text = self.find(name);
        let app = text.map(str::parse).transpose();
        app.map_err(|error| ApiError::BadRequest(format!("parameter `{name}`: {error}")))
    }

    /// The name of a group.
    pub(super) fn group(&self, name: &str) -> Result<Option<GroupName>, ApiError> {
        let text = self.find(name);
        let group = text.map(str::parse).transpose();
        group.map_err(|error| ApiError::BadRequest(format!("parameter `{name}`: {error}")))
    }
}

fn unfit(name: &str, text: &str, expected: &str) -> ApiError {
    ApiError::BadRequest(format!("parameter `{name}`: `{text}` is not {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn parameters(written: &[(&str, &str)]) -> Result<Parameters, ApiError> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let written = written.iter().map(pair).collect();
        Parameters::read(Query(written), &["limit", "since"])
    }

    fn moment(text: &str) -> Result<Option<u64>, ApiError> {
        parameters(&[("since", text)]).unwrap().moment("since", NOW)
    }

    #[test]
    fn a_moment_is_written_in_three_ways() {
        assert_eq!(moment("1700000000000").unwrap(), Some(1_700_000_000_000));
        assert_eq!(
            moment("2023-11-14T22:13:20Z").unwrap(),
            Some(1_700_000_000_000)
        );
        assert_eq!(moment("1h 30m").unwrap(), Some(NOW - 5_400_000));
        assert_eq!(moment("500years").unwrap(), Some(0));
        assert_eq!(parameters(&[]).unwrap().moment("since", NOW).unwrap(), None);
        for text in ["", "yesterday", "-1", "1", "2023-13-14T22:13:20Z"] {
            let said = moment(text);
            assert!(said.is_err() || text == "1", "{text}: {said:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_would() {
        let said = |error: ApiError| error.to_string();
        let limit = |text: &str| {
            let parameters = parameters(&[("limit", text)]).unwrap();
            parameters.number("limit", 1..=1000).map_err(said)
        };
        assert_eq!(limit("1000"), Ok(Some(1000)));
        for text in ["0", "1001", "-1", "ten", "", "1.5"] {
            let expected = "is not a whole number from 1 to 1000";
            assert_eq!(
                limit(text),
                Err(format!("parameter `limit`: `{text}` {expected}"))
            );
        }
        assert_eq!(
            said(parameters(&[("limt", "1")]).unwrap_err()),
            "unknown parameter `limt`, expected one of `limit`, `since`"
        );
        assert_eq!(
            said(parameters(&[("limit", "1"), ("limit", "2")]).unwrap_err()),
            "parameter `limit` is written twice"
        );
    }
}
