//! What is written of checks beside the judge's own: whom they ask, and what they tolerate.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::further::SourceUrl;
use crate::domain::ids::CustomCheckName;

use crate::config::further::{JsonPointer, Query, UrlTemplate};
use crate::config::number::Number;
use crate::config::text::Span;
use crate::config::written::{Placed, Written};

/// Where custom checks find their metrics.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ prometheus: { url: \"http://prometheus:9090\" } }`"
)]
pub(in crate::config) struct MetricsDocument {
    /// The Prometheus that `promql` asks.
    pub(in crate::config) prometheus: Option<PrometheusDocument>,
}

/// A Prometheus.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ url: \"http://prometheus:9090\" }`"
)]
pub(in crate::config) struct PrometheusDocument {
    /// `http://host:port`, perhaps with a path; the API is below it, at `/api/v1/query`.
    pub(in crate::config) url: Written<SourceUrl>,
}

/// A number of another system, held to limits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ name: score, promql: \"…\", min: 4.0 }`"
)]
pub(in crate::config) struct CustomCheckDocument {
    /// What findings and metrics call it; unlike every other check.
    pub(in crate::config) name: Written<CustomCheckName>,
    /// A query that results in one number. A check needs this or `http_json`.
    pub(in crate::config) promql: Option<Written<Query>>,
    /// A number in a JSON document. A check needs this or `promql`.
    pub(in crate::config) http_json: Option<Placed<HttpJsonDocument>>,
    /// The least that is tolerated. A check needs a limit: this, `max` or `compare`.
    pub(in crate::config) min: Option<Placed<Number>>,
    /// The most that is tolerated.
    pub(in crate::config) max: Option<Placed<Number>>,
    /// What is tolerated beside stable.
    pub(in crate::config) compare: Option<Placed<CompareDocument>>,
    /// How often it is asked: each second at the most.
    pub(in crate::config) every: Option<Written<Span>>,
    /// How long an answer may take.
    pub(in crate::config) timeout: Option<Written<Span>>,
    /// How old a sample may be; an older one is none.
    pub(in crate::config) max_age: Option<Written<Span>>,
}

/// A number in a JSON document.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ url: \"http://feedback/api\", pointer: /score }`"
)]
pub(in crate::config) struct HttpJsonDocument {
    /// Where the document is: a URL of http.
    pub(in crate::config) url: Written<UrlTemplate>,
    /// Where the number is in it, as a JSON pointer (RFC 6901): `/scores/0`.
    pub(in crate::config) pointer: Written<JsonPointer>,
}

/// What is tolerated beside stable.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as `{ min_ratio: 0.95 }`")]
pub(in crate::config) struct CompareDocument {
    /// What is asked of stable. Without it, the check's own question with `stable` for `{variant}`.
    pub(in crate::config) promql: Option<Written<Query>>,
    /// The same, of a JSON document.
    pub(in crate::config) http_json: Option<Placed<HttpJsonDocument>>,
    /// The least that is tolerated of canary's value over stable's.
    pub(in crate::config) min_ratio: Option<Placed<Number>>,
    /// The most that is tolerated of it.
    pub(in crate::config) max_ratio: Option<Placed<Number>>,
}
