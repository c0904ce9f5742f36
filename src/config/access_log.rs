//! Where a line about each request is written, and what is in it.

use std::path::PathBuf;

use crate::domain::weight::Weight;

use crate::config::defaults::ACCESS_LOG_SAMPLE;
use crate::config::document::{AccessLogDocument, AnyAccessLogDocument, LineFormatDocument};
use crate::config::text::NonEmpty;
use crate::config::written::{Placed, ShortOr, Written};

/// A line about each request that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// Where lines go.
    pub target: LogTarget,
    /// The share of requests that get one, drawn at random.
    pub sample: Weight,
    /// Whether the query is shown with the path.
    pub shows_query: bool,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The process's standard output.
    Stdout,
    /// Its standard error, where its own log is, too.
    Stderr,
    /// A file, as it is written: a relative path is the caller's to resolve.
    File(PathBuf),
}

/// Understands `access_log`.
pub(super) fn access_log(
    document: Option<&Placed<AnyAccessLogDocument>>,
) -> Option<AccessLogConfig> {
    let short = |path: &Written<NonEmpty>| AccessLogConfig {
        target: target(path),
        sample: ACCESS_LOG_SAMPLE,
        shows_query: false,
    };
    Some(match &document?.value {
        ShortOr::Short(path) => short(path),
        ShortOr::Long(AccessLogDocument {
            path,
            format: None | Some(LineFormatDocument::Json),
            sample,
            query,
        }) => AccessLogConfig {
            sample: sample
                .as_ref()
                .map_or(ACCESS_LOG_SAMPLE, |share| share.value),
            shows_query: query.is_some_and(|query| query.0),
            ..short(path)
        },
    })
}

/// A file of such a name is written `./stdout`.
fn target(path: &Written<NonEmpty>) -> LogTarget {
    match path.value.0.as_str() {
        "stdout" => LogTarget::Stdout,
        "stderr" => LogTarget::Stderr,
        path => LogTarget::File(PathBuf::from(path)),
    }
}
