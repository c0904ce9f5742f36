//! Flags for applications: the OpenFeature Remote Evaluation Protocol (OFREP 0.3), by which they get the
//! very decision that the proxy takes for the same caller.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::error::InOwnWords;
use crate::admin::ofrep_asker::{Asker, TARGETING_KEY};
use crate::admin::ofrep_events;
use crate::domain::decision::{Decision, Reason};
use crate::domain::flag::Flag;
use crate::domain::ids::FlagIndex;
use crate::domain::prerequisite::Decisions;
use crate::domain::routing::RoutingSnapshot;

/// What an application says, as the document has it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it stands for a body")]
struct EvaluationRequest {
    /// `targetingKey` is the caller; `serin-app` is the id of the app that asks; `ip`, `method`, `host` and `path`
    /// say what they say; every other text, number or switch is the header of its name. A token in such a header is
    /// verified, and names the caller where `targetingKey` does not.
    #[schema(value_type = Option<Object>)]
    context: Option<Map<String, Value>>,
}

/// What is said of all flags, as the document has it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it stands for a body")]
struct Evaluations {
    flags: Vec<Evaluation>,
    /// Where it is told that flags may have changed.
    #[schema(rename = "eventStreams", value_type = Vec<Object>)]
    event_streams: Vec<Value>,
}

/// How a flag was evaluated.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Evaluation {
    Success {
        key: String,
        value: Value,
        variant: String,
        reason: &'static str,
        #[schema(value_type = Object)]
        metadata: Map<String, Value>,
    },
    Failure(Failure),
}

/// Why it was not.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    error_code: ErrorCode,
    error_details: String,
}

/// What went wrong, in OpenFeature's words.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ErrorCode {
    ParseError,
    InvalidContext,
    TargetingKeyMissing,
    FlagNotFound,
}

impl Failure {
    /// Of a context that cannot be read.
    pub(super) const fn of_request(error_code: ErrorCode, error_details: String) -> Self {
        Self {
            key: None,
            error_code,
            error_details,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.error_code {
            ErrorCode::FlagNotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, Extension(InOwnWords), Json(self)).into_response()
    }
}

/// Evaluates one flag.
#[utoipa::path(
    post, path = "/ofrep/v1/evaluate/flags/{key}", tag = "ofrep",
    params(("key" = String, Path, description = "the flag's name")),
    request_body = Option<EvaluationRequest>,
    responses(
        (status = 200, description = "what the caller gets", body = Evaluation),
        (status = 400, description = "the context makes no sense", body = Failure),
        (status = 404, description = "there is no such flag", body = Failure),
    ),
)]
pub(crate) async fn one(
    State(state): State<AdminState>,
    Path(key): Path<String>,
    body: Bytes,
) -> Response {
    let published = state.published.load();
    let asker = match Asker::of(&state, &published.routing, &body) {
        Ok(asker) => asker,
        Err(failure) => {
            let key = Some(key);
            return Failure { key, ..failure }.into_response();
        }
    };
    let Some(flag) = published.routing.flag_index(&key) else {
        let failure = Failure {
            error_details: format!("there is no flag `{key}`"),
            key: Some(key),
            error_code: ErrorCode::FlagNotFound,
        };
        return failure.into_response();
    };
    let mut decisions = published.routing.decisions(asker.facts());
    match evaluate(&published.routing, flag, &mut decisions) {
        Evaluation::Failure(failure) => failure.into_response(),
        success @ Evaluation::Success { .. } => Json(success).into_response(),
    }
}

/// Evaluates all flags.
#[utoipa::path(
    post, path = "/ofrep/v1/evaluate/flags", tag = "ofrep",
    params(
        ("if-none-match" = Option<String>, Header, description = "answers that are known already"),
    ),
    request_body = Option<EvaluationRequest>,
    responses(
        (
            status = 200, description = "what the caller gets of each flag", body = Evaluations,
            headers(("etag" = String, description = "changes with the answer")),
        ),
        (
            status = 304, description = "it is as known",
            headers(("etag" = String, description = "changes with the answer")),
        ),
        (status = 400, description = "the context makes no sense", body = Failure),
    ),
)]
pub(crate) async fn all(
    State(state): State<AdminState>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let published = state.published.load();
    let routing = &published.routing;
    let asker = match Asker::of(&state, routing, &body) {
        Ok(asker) => asker,
        Err(failure) => return failure.into_response(),
    };
    let mut decisions = routing.decisions(asker.facts());
    let flags = (0..routing.flags.len()).map(FlagIndex);
    let flags: Vec<_> = flags
        .map(|flag| evaluate(routing, flag, &mut decisions))
        .collect();
    let streams = ofrep_events::streams();
    let body = serde_json::json!({ "flags": flags, "eventStreams": streams }).to_string();
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let seen = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut seen = seen.filter_map(|field| field.to_str().ok());
    let is_seen = seen.any(|field| field.split(',').any(|seen| is_same(seen, &tag)));
    let mut answer = if is_seen {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], body).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

fn is_same(seen: &str, tag: &str) -> bool {
    let seen = seen.trim();
    seen == "*" || seen.strip_prefix("W/").unwrap_or(seen) == tag
}

fn evaluate(
    routing: &RoutingSnapshot,
    index: FlagIndex,
    decisions: &mut Decisions<'_>,
) -> Evaluation {
    let decision = decisions.of(index);
    let flag = routing.flag(index);
    let key = flag.name.to_string();
    if decisions.misses_key(index) {
        return Evaluation::Failure(Failure {
            key: Some(key),
            error_code: ErrorCode::TargetingKeyMissing,
            error_details: format!(
                "who gets what depends on the caller: name it by `{TARGETING_KEY}`"
            ),
        });
    }
    let chosen = flag.variants.get(flag.chosen(decision));
    Evaluation::Success {
        key,
        value: chosen.value.clone(),
        variant: chosen.name.to_string(),
        reason: decision.reason.openfeature(flag.is_drawn(decision)),
        metadata: metadata(routing, flag, decision),
    }
}

/// What else there is to say of a decision.
fn metadata(routing: &RoutingSnapshot, flag: &Flag, decision: Decision) -> Map<String, Value> {
    let mut metadata = Map::new();
    let mut say = |name: &str, value: String| {
        metadata.insert(name.to_owned(), Value::from(value));
    };
    let share = || {
        flag.weights
            .share(decision.stratum, &flag.variants)
            .to_string()
    };
    say("rule", decision.reason.to_string());
    match decision.reason {
        Reason::Group { group, .. } => {
            say("group", routing.groups.name(group).to_string());
            say("weight", share());
        }
        Reason::Prerequisite { flag } => say("requires", routing.flag(flag).name.to_string()),
        Reason::Forced { group } => say("group", routing.groups.name(group).to_string()),
        Reason::Default { .. } => say("weight", share()),
        Reason::Disabled | Reason::RolledBack | Reason::Barred => {}
    }
    metadata
}
