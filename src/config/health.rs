//! Health checks of a backend's endpoints.

use http::uri::PathAndQuery;

use crate::domain::backend::HealthCheck;

use crate::config::defaults::{self, HEALTH_CHECKS_MAX};
use crate::config::document::HealthDocument;
use crate::config::report::{Problem, Report};
use crate::config::schema::Shape;
use crate::config::text::Span;
use crate::config::written::{Count, FromText, Written};

/// The path, and perhaps the query, of a request.
#[derive(Clone, Debug)]
pub(super) struct Target(pub(super) PathAndQuery);

impl FromText for Target {
    const EXPECTED: &'static str = "a path such as `/healthz`";
    const INSTEAD_OF_NUMBER: &'static str = "write it like `/\0`";
    const SHAPE: Shape = Shape::of(r"/[^\s#]*", &["/healthz"]);

    fn from_text(text: &str) -> Result<Self, String> {
        let path = text
            .parse()
            .ok()
            .filter(|_| text.starts_with('/') && !text.contains('#'));
        let path = path.ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))?;
        Ok(Self(path))
    }
}

/// Understands `health`.
pub(super) fn health(document: &HealthDocument, report: &Report) -> HealthCheck {
    let span = |written: &Option<Written<Span>>| written.as_ref().map(|span| span.value.0);
    let interval = span(&document.interval).unwrap_or(defaults::HEALTH_INTERVAL);
    if let Some(written) = &document.interval
        && interval < defaults::HEALTH_INTERVAL_MIN
    {
        let least = humantime::format_duration(defaults::HEALTH_INTERVAL_MIN);
        let problem = Problem::new(format!("health checks at most every {least}"));
        report.add(
            written.place,
            problem.hint(format!("write at least `{least}`")),
        );
    }
    let timeout = span(&document.timeout);
    if let Some(written) = &document.timeout
        && written.value.0 > interval
    {
        let problem = Problem::new("a health check that may take longer than the interval");
        let hint = "write at most the `interval`, which is `5s` unless told otherwise";
        report.add(written.place, problem.hint(hint));
    }
    HealthCheck {
        target: document.path.value.0.clone(),
        interval,
        timeout: timeout.unwrap_or_else(|| defaults::HEALTH_TIMEOUT.min(interval)),
        unhealthy_after: count(document.unhealthy_after, defaults::UNHEALTHY_AFTER),
        healthy_after: count(document.healthy_after, defaults::HEALTHY_AFTER),
    }
}

fn count(written: Option<Count<HEALTH_CHECKS_MAX>>, default: u32) -> u32 {
    written.map_or(default, |count| u32::try_from(count.0).unwrap_or(default))
}
