//! How questions and conditions are written as text.

use http::Uri;

use crate::domain::further::condition::ConditionError;
use crate::domain::further::template::{Escape, Placeholder, Template, TemplateError};
use crate::domain::further::values::ValueName;
use crate::domain::further::{Condition, Filling, SourceUrl};
use crate::domain::variant::Variant;

use crate::config::defaults::PROMQL_BYTES_MAX;
use crate::config::schema::Shape;
use crate::config::suggest;
use crate::config::text;
use crate::config::written::FromText;

/// A query in PromQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Query(pub(in crate::config) Template);

impl FromText for Query {
    const EXPECTED: &'static str = "a query in PromQL";
    const INSTEAD_OF_NUMBER: &'static str = "a number is no question; name a metric";
    const SHAPE: Shape = Shape::NOT_BLANK;

    /// What PromQL it is, only the Prometheus that is asked can tell.
    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty; write a query that results in one number".to_owned());
        }
        if text.len() > PROMQL_BYTES_MAX {
            let hint = "let Prometheus record it under a name (a recording rule)";
            return Err(format!("is longer than {PROMQL_BYTES_MAX} bytes; {hint}"));
        }
        let template = template(text)?;
        match template.raw_place() {
            None => Ok(Self(template)),
            Some(word) => Err(format!(
                "`{{{word}}}` in backticks, where nothing can be escaped; write \"{{{word}}}\""
            )),
        }
    }
}

/// A URL of `http` with places in its path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct UrlTemplate(pub(in crate::config) Template);

impl FromText for UrlTemplate {
    const EXPECTED: &'static str = "a URL such as `http://feedback/api`";
    const SHAPE: Shape = Shape::of(r"[Hh][Tt][Tt][Pp]://[^/?#@\s]+.*", &["http://feedback/api"]);

    fn from_text(text: &str) -> Result<Self, String> {
        check_url(text)?;
        let template = template(text)?;
        let sample = Filling {
            flag: "f",
            revision: "1",
            stage: 1,
            variant: Variant::Canary,
        };
        match template.fill(&sample, Escape::Url).parse::<Uri>() {
            Ok(_) => Ok(Self(template)),
            Err(_) => Err(NO_URL.to_owned()),
        }
    }
}

impl FromText for SourceUrl {
    const EXPECTED: &'static str = "a URL such as `http://prometheus:9090`";
    const SHAPE: Shape = Shape::of(
        r"[Hh][Tt][Tt][Pp]://[^/?#@\s]+(?:/[^?#\s]*)?",
        &["http://prometheus:9090"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        check_url(text)?;
        if text.contains(['?', '#']) {
            let hint = "end it before `?`; the path of the API is added";
            return Err(format!("a Prometheus is at a URL without query; {hint}"));
        }
        Self::try_from(text).map_err(|_| NO_URL.to_owned())
    }
}

const NO_URL: &str = "the URL has characters that do not belong there; write others as `%20`";

/// What is right about a URL up to its path.
fn check_url(url: &str) -> Result<(), String> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
            return Err(format!("https is not in this version; use `http://{rest}`"));
        }
        Some((scheme, rest)) => {
            return Err(format!("unknown scheme `{scheme}`; write `http://{rest}`"));
        }
        None => return Err(format!("`{url}` has no scheme; write `http://{url}`")),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        let hint = "let the source take requests of this machine";
        return Err(format!(
            "a URL with user and password is not supported; {hint}"
        ));
    }
    text::endpoint(authority, 80).map_err(|problem| format!("the URL {problem}"))?;
    Ok(())
}

/// A text with places for what is known later.
fn template(text: &str) -> Result<Template, String> {
    Template::read(text).map_err(|error| match &error {
        TemplateError::Unknown { word } => {
            let hint = suggest::hint(word, Placeholder::words()).unwrap_or_default();
            format!("{error}; {hint}")
        }
        TemplateError::Dollar { word } => format!("{error}; write `{{{word}}}`"),
    })
}

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct JsonPointer(pub(in crate::config) String);

impl FromText for JsonPointer {
    const EXPECTED: &'static str = "a JSON pointer such as `/score`";
    const SHAPE: Shape = Shape::of(r"(?:/(?:[^~/]|~[01])*)*", &["/score", "/scores/0"]);

    fn from_text(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            let path = text.trim_start_matches('$').replace('.', "/");
            let path = path.trim_start_matches('/');
            return Err(format!("`{text}` is not a JSON pointer; write `/{path}`"));
        }
        if text
            .split('~')
            .skip(1)
            .any(|rest| !rest.starts_with(['0', '1']))
        {
            let hint = "write `~0` for `~` and `~1` for `/` within a key";
            return Err(format!("`{text}` has a single `~`; {hint}"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromText for Condition {
    const EXPECTED: &'static str = "a condition such as `latency_mean_ms < 1000`";
    const INSTEAD_OF_NUMBER: &'static str = "compare it: `latency_mean_ms < \0`";
    const SHAPE: Shape =
        Shape::NOT_BLANK.such_as(&["latency_mean_ms < 1000 and error_rate < 0.01"]);

    fn from_text(text: &str) -> Result<Self, String> {
        let read = text.parse().map_err(|error: ConditionError| {
            let hint = match &error {
                ConditionError::UnknownName { name, .. } => suggest::hint(name, ValueName::all()),
                ConditionError::Unexpected { hint, .. } => hint.clone(),
                ConditionError::Empty => Some("write `latency_mean_ms < 1000`, say".to_owned()),
                ConditionError::TooLong => Some("say it in fewer words".to_owned()),
                ConditionError::TooDeep { .. } => Some("use fewer parentheses".to_owned()),
            };
            hint.map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
        });
        let condition: Self = read?;
        if !condition.can_be_met() {
            let ranges =
                "`error_rate` is from 0 to 1, `feedback_mean` from 1 to 5, and nothing is below 0";
            return Err(format!("nothing can ever meet `{text}`; {ranges}"));
        }
        Ok(condition)
    }
}
