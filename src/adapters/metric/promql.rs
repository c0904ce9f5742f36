//! PromQL: an instant query to a Prometheus, or to whatever speaks its API.
//!
//! `GET /api/v1/query` evaluates at the server's own present. The result has to be one number: a
//! scalar, or a vector of exactly one sample. Several are refused rather than one of them chosen.

use std::time::Duration;

use http::{StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use crate::adapters::http_client::Answer;
use crate::adapters::quoted::quoted;
use crate::domain::further::{Sample, Silence, SourceUrl};

/// How far the server's clock may be ahead of ours before its samples are of no use: machines that
/// keep their time differ by milliseconds.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// Where a query is asked.
pub(super) fn url(server: &SourceUrl, query: &str) -> Result<Uri, Silence> {
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    let url = format!("{}/api/v1/query?query={query}", server.as_str());
    let too_long = |_| Silence("the query makes no URL; it may be too long".to_owned());
    url.parse().map_err(too_long)
}

/// What the API answers, as far as it is of interest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    status: String,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// A moment in seconds since 1970, and the value as text, which may be `NaN`.
type Point = (f64, String);

#[derive(Deserialize)]
struct Series {
    value: Option<Point>,
}

/// The sample of an answer that came when the wall clock showed `now`.
pub(super) fn read(answer: Answer, now: Duration) -> Result<Sample, Silence> {
    let status = answer.status;
    let body = answer.whole().map_err(|error| Silence(error.to_string()))?;
    // Errors come with a status of 4xx or 5xx and the same kind of body.
    let Ok(reply) = serde_json::from_slice::<Reply>(&body) else {
        return Err(Silence(no_reply(status)));
    };
    match (&*reply.status, reply.data) {
        ("success", Some(data)) => sample(point(data)?, now),
        ("error", _) => {
            let (kind, what) = (quoted(&reply.error_type), quoted(&reply.error));
            Err(Silence(format!("Prometheus answers {kind}: {what}")))
        }
        _ => Err(Silence(no_reply(status))),
    }
}

fn no_reply(status: StatusCode) -> String {
    if status.is_success() {
        "the answer is none of a Prometheus".to_owned()
    } else {
        format!(
            "the answer is {}, and none of a Prometheus",
            status.as_u16()
        )
    }
}

fn point(data: Data) -> Result<Point, Silence> {
    let unreadable = |_| Silence("the answer is none of a Prometheus".to_owned());
    match data.result_type.as_str() {
        "scalar" => serde_json::from_value(data.result).map_err(unreadable),
        "vector" => {
            let series: Vec<Series> = serde_json::from_value(data.result).map_err(unreadable)?;
            let count = series.len();
            match series.into_iter().next() {
                None => Err(Silence("the query finds no sample".to_owned())),
                Some(only) if count == 1 => {
                    let histogram = || Silence("the query finds a histogram, no number".to_owned());
                    only.value.ok_or_else(histogram)
                }
                Some(_) => Err(Silence(format!(
                    "the query finds {count} samples where one is needed; add them up by `sum(…)`"
                ))),
            }
        }
        other => Err(Silence(format!(
            "the query results in a {}, not in a number",
            quoted(other)
        ))),
    }
}

fn sample((at, value): Point, now: Duration) -> Result<Sample, Silence> {
    let Ok(value) = value.parse() else {
        return Err(Silence(format!("`{}` is no number", quoted(&value))));
    };
    // By wall clocks, since the other machine's is the only one it can tell by. What comes of a
    // wrong one is that a stage holds.
    let age = now.as_secs_f64() - at;
    if age < -AHEAD_MAX.as_secs_f64() {
        let ahead = -age.round();
        return Err(Silence(format!(
            "the sample is {ahead} s ahead of this machine's clock"
        )));
    }
    let age = Duration::try_from_secs_f64(age.max(0.0)).unwrap_or(Duration::MAX);
    Ok(Sample { value, age })
}
