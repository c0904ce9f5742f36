//! What is known of callers: exported, shown, and erased.
//!
//! Callers are called by pseudonyms. Whoever is to see keys has to be an operator, and it is in the journal before
//! the first is sent; so is what was erased, and there the caller is called by its pseudonym, too.

mod table;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::callers::table::{Named, rows};
use crate::admin::api::query::{Parameters, Written};
use crate::admin::api::{apart, wish, written};
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::{BusiestCallers, ForgottenCaller, FoundCaller, WatchedCaller};
use crate::domain::caller::CALLER_KEY_BYTES_MAX;
use crate::domain::caller_features::CallerFeatures;
use crate::runtime::caller_book::CallerBook;

/// The most callers that one answer lists.
const LISTED_MAX: u64 = 1000;

/// The callers of an answer, unless said otherwise.
const LISTED_DEFAULT: u64 = 20;

/// The callers with the most requests, by pseudonym.
#[utoipa::path(
    get, path = "/api/v1/callers", tag = "callers",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "how many at the most, 20 unless said otherwise"),
    ),
    responses(
        (status = 200, description = "those with the most requests first", body = BusiestCallers),
        (status = 409, description = "callers are not watched"),
    ),
)]
pub(crate) async fn list(
    State(state): State<AdminState>,
    query: Written,
) -> Result<Json<BusiestCallers>, ApiError> {
    let parameters = Parameters::read(query, &["limit"])?;
    let limit = parameters.number("limit", 1..=LISTED_MAX)?;
    let limit = usize::try_from(limit.unwrap_or(LISTED_DEFAULT)).unwrap_or(usize::MAX);
    let book = book(&state)?;
    let pseudonyms = state.commands.pseudonyms().await?;
    let now = state.clock.now();
    let listed = apart(move || {
        let mut busiest: Vec<(Box<str>, CallerFeatures)> = Vec::new();
        for part in 0..book.parts() {
            busiest.extend(book.read_part(part, now));
            busiest.sort_by(|(_, one), (_, other)| other.requests.total_cmp(&one.requests));
            busiest.truncate(limit);
        }
        let counts = book.counts();
        let caller = |(key, features): (Box<str>, CallerFeatures)| WatchedCaller {
            pseudonym: pseudonyms.of(&key).to_string(),
            features,
        };
        BusiestCallers {
            tracked: counts.tracked,
            evicted: counts.evicted,
            callers: busiest.into_iter().map(caller).collect(),
        }
    });
    Ok(Json(listed.await?))
}

/// What is known of all callers, by pseudonym: comma-separated values, whose first line names them.
#[utoipa::path(
    get, path = "/api/v1/callers/export", tag = "callers",
    responses(
        (status = 200, description = "a line for each caller, in no order", body = String, content_type = "text/csv"),
        (status = 409, description = "callers are not watched"),
    ),
)]
pub(crate) async fn export(State(state): State<AdminState>) -> Result<Response, ApiError> {
    let book = book(&state)?;
    let pseudonyms = state.commands.pseudonyms().await?;
    Ok(rows(book, state.clock.now(), Named::Pseudonym(pseudonyms)))
}

/// Why keys are to be shown, as an example.
const DISCLOSE_EXAMPLE: &str = r#"{"reason": "…"}"#;

/// What may be said when keys are to be shown.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Disclosure)]
pub(crate) struct DiscloseWish {
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// What is known of all callers, by key. It is written into the journal first.
#[utoipa::path(
    post, path = "/api/v1/callers/export", tag = "callers",
    request_body = Option<DiscloseWish>,
    responses(
        (status = 200, description = "a line for each caller, in no order", body = String, content_type = "text/csv"),
        (status = 409, description = "callers are not watched"),
    ),
)]
pub(crate) async fn disclose(
    State(state): State<AdminState>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let DiscloseWish { reason } = wish::read(&body, DISCLOSE_EXAMPLE)?;
    let by = visitor.because(reason)?;
    let book = book(&state)?;
    state.commands.disclose_callers(by).await?;
    Ok(rows(book, state.clock.now(), Named::Key))
}

/// Whom to look for, as an example.
const FIND_EXAMPLE: &str = r#"{"key": "…"}"#;

/// Whom to look for.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CallerKey)]
pub(crate) struct FindWish {
    /// The caller's key.
    #[schema(min_length = 1, max_length = 256)]
    key: String,
}

/// What is known of one caller, by its key; operators only, for whoever may try keys can find out pseudonyms.
#[utoipa::path(
    post, path = "/api/v1/callers/find", tag = "callers",
    request_body = FindWish,
    responses((status = 200, description = "what is known, which may be nothing", body = FoundCaller)),
)]
pub(crate) async fn find(
    State(state): State<AdminState>,
    body: Bytes,
) -> Result<Json<FoundCaller>, ApiError> {
    let FindWish { key } = wish::read(&body, FIND_EXAMPLE)?;
    let key = checked(key, FIND_EXAMPLE)?;
    let now = state.clock.now();
    let mut groups = Vec::new();
    state
        .assignments
        .groups_of(&key, now, |group| groups.push(group.clone()));
    let known = (*state.callers.load())
        .as_ref()
        .and_then(|book| book.find(&key, now));
    Ok(Json(FoundCaller {
        pseudonym: state.commands.pseudonyms().await?.of(&key).to_string(),
        features: known,
        groups,
    }))
}

/// Whom to forget, as an example.
const FORGET_EXAMPLE: &str = r#"{"key": "…", "reason": "…"}"#;

/// Whom to forget.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForgetCaller)]
pub(crate) struct ForgetWish {
    /// The caller's key.
    #[schema(min_length = 1, max_length = 256)]
    key: String,
    /// Why, for the journal: one line, without the key.
    #[serde(default)]
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// Erases a caller from everything that remembers callers.
#[utoipa::path(
    post, path = "/api/v1/callers/forget", tag = "callers",
    request_body = ForgetWish,
    responses(
        (status = 200, description = "it is erased, and the state file is being written anew", body = ForgottenCaller),
        (
            status = 202, description = "it is erased from memory, and from the state as soon as that can be written",
            body = ForgottenCaller,
        ),
    ),
)]
pub(crate) async fn forget(
    State(state): State<AdminState>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<(StatusCode, Json<ForgottenCaller>), ApiError> {
    let ForgetWish { key, reason } = wish::read(&body, FORGET_EXAMPLE)?;
    let key = checked(key, FORGET_EXAMPLE)?;
    if reason.contains(&key) {
        let problem = "the reason names the caller, and the journal would keep it";
        return Err(ApiError::BadRequest(problem.to_owned()));
    }
    let by = visitor.because(reason)?;
    let forgotten = state.commands.forget_caller(key, by).await?;
    let status = written(forgotten.is_written);
    Ok((status, Json(forgotten.into())))
}

/// A key that a caller can have.
fn checked(key: String, example: &str) -> Result<String, ApiError> {
    if key.is_empty() {
        return Err(ApiError::BadRequest(format!(
            "`key` is missing; expected {example}"
        )));
    }
    if key.len() > CALLER_KEY_BYTES_MAX {
        let reason = format!("a caller's key has at most {CALLER_KEY_BYTES_MAX} bytes");
        return Err(ApiError::BadRequest(reason));
    }
    Ok(key)
}

/// The book of callers, if there is one.
fn book(state: &AdminState) -> Result<Arc<CallerBook>, ApiError> {
    let book = (*state.callers.load()).clone();
    book.ok_or_else(|| {
        let problem =
            "callers are not watched; `caller_features` in the configuration has that done";
        ApiError::Conflict(problem.to_owned())
    })
}
