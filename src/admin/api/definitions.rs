//! Flags that are created, defined anew and deleted at run time.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::flags::{expected, tagged, tags};
use crate::admin::api::query::{Parameters, Written};
use crate::admin::api::wish;
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::config::DEFINITION_BYTES_MAX;
use crate::control::created::{Defined, Precondition};
use crate::control::flags::FlagStatus;
use crate::domain::ids::FlagName;

/// What a definition looks like, as an example.
const EXAMPLE: &str = r#"{"stable": "v1", "canary": "v2", "default": "0%"}"#;

/// Takes a definition as it would stand below the flag's name in the file; why comes in the query, since
/// the body is the definition alone.
#[utoipa::path(
    put, path = "/api/v1/flags/{flag}", tag = "flags",
    params(
        ("flag" = FlagName, Path, description = "the flag's name"),
        ("reason" = Option<String>, Query, max_length = 500, description = "why, for the journal"),
        ("if-match" = Option<String>, Header, description = "the version that it must have"),
        ("if-none-match" = Option<String>, Header, description = "`*`: only if there is none"),
    ),
    request_body = Object,
    responses(
        (
            status = 200, description = "it is as defined", body = FlagStatus,
            headers(("etag" = String, description = "its version")),
        ),
        (
            status = 201, description = "it is created", body = FlagStatus,
            headers(
                ("etag" = String, description = "its version"),
                ("location" = String, description = "where it is"),
            ),
        ),
        (status = 409, description = "there is one, the file declares it, or others need it as it is"),
        (status = 412, description = "it has another version, or there is one, or none"),
        (status = 422, description = "the definition is wrong; `problems` has all that is"),
        (status = 507, description = "there is no room for more flags"),
    ),
)]
pub(crate) async fn define(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
    Extension(visitor): Extension<Visitor>,
    written: Written,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let parameters = Parameters::read(written, &["reason"])?;
    let by = visitor.because(parameters.text("reason").unwrap_or_default().to_owned())?;
    let precondition = precondition(&headers)?;
    let name: FlagName = flag
        .parse()
        .map_err(|error| ApiError::BadRequest(format!("{error}")))?;
    let definition = definition(&body)?;
    let defined = state
        .commands
        .define_flag(name, definition.into(), precondition, by);
    let Defined { status, is_new } = defined.await?;
    let (version, place) = (status.version.clone(), format!("/api/v1/flags/{flag}"));
    let mut answer = tagged(Json(status).into_response(), &version);
    if is_new {
        *answer.status_mut() = StatusCode::CREATED;
        // A name is plain text.
        if let Ok(place) = HeaderValue::from_str(&place) {
            answer.headers_mut().insert(header::LOCATION, place);
        }
    }
    Ok(answer)
}

/// A definition as text. Only the reader of the configuration knows what may be in it.
fn definition(body: &[u8]) -> Result<&str, ApiError> {
    if body.len() > DEFINITION_BYTES_MAX {
        return Err(ApiError::TooLong(DEFINITION_BYTES_MAX));
    }
    let unread = |problem: &dyn std::fmt::Display| {
        ApiError::BadRequest(format!(
            "{problem}; expected a definition such as {EXAMPLE}"
        ))
    };
    serde_json::from_slice::<Map<String, Value>>(body).map_err(|error| unread(&error))?;
    std::str::from_utf8(body).map_err(|error| unread(&error))
}

/// What a definition depends on (RFC 9110, sections 13.1.1 and 13.1.2).
fn precondition(headers: &HeaderMap) -> Result<Precondition, ApiError> {
    let is_absent = match tags(headers, header::IF_NONE_MATCH).as_deref() {
        None => false,
        Some([any]) if any == "*" => true,
        Some(_) => {
            let problem = "`If-None-Match` must be `*` here: that there is no such flag";
            return Err(ApiError::BadRequest(problem.to_owned()));
        }
    };
    match (is_absent, headers.contains_key(header::IF_MATCH)) {
        (false, false) => Ok(Precondition::None),
        (true, false) => Ok(Precondition::IsAbsent),
        (false, true) => Ok(Precondition::IsThere(expected(headers)?)),
        (true, true) => {
            let problem = "`If-Match` beside `If-None-Match`: a flag is there or is not";
            Err(ApiError::BadRequest(problem.to_owned()))
        }
    }
}

/// What may be said with the end of a flag, as an example.
const DELETE_EXAMPLE: &str = r#"{"reason": "…"}"#;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Deletion)]
pub(crate) struct DeleteWish {
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// Deletes a flag that was created at run time.
#[utoipa::path(
    delete, path = "/api/v1/flags/{flag}", tag = "flags",
    params(
        ("flag" = FlagName, Path, description = "the flag's name"),
        ("if-match" = Option<String>, Header, description = "the version that it must have"),
    ),
    request_body = Option<DeleteWish>,
    responses(
        (status = 204, description = "it is gone"),
        (status = 404, description = "there is no such flag"),
        (status = 409, description = "the file declares it, or others need it"),
        (status = 412, description = "it has another version"),
    ),
)]
pub(crate) async fn delete(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let DeleteWish { reason } = wish::read(&body, DELETE_EXAMPLE)?;
    let by = visitor.because(reason)?;
    let expected = expected(&headers)?;
    state.commands.delete_flag(&flag, expected, by).await?;
    Ok(StatusCode::NO_CONTENT)
}
