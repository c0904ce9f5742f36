//! Flags: how they stand, and what is set of them at run time.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::page::page;
use crate::admin::api::query::Written;
use crate::admin::api::share::ShareWish;
use crate::admin::api::wish;
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::FlagList;
use crate::control::flags::{FlagOrder, FlagStatus};
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::settings::FlagChange;

/// What may be said, as an example.
const EXAMPLE: &str =
    r#"{"enabled": true, "default": "10%", "groups": {"beta": "50%", "vip": null}, "reason": "…"}"#;

/// What may be said with a reset, as an example.
const RESET_EXAMPLE: &str = r#"{"reason": "…"}"#;

/// What is to change of a flag; what is left out stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = FlagChange)]
pub(crate) struct Wish {
    /// Whether it is on; off means stable for everyone.
    enabled: Option<bool>,
    /// The share of everyone who is in none of its groups: a weight such as `10%`, or the weights of variants.
    default: Option<ShareWish>,
    /// The shares of groups; `null` for a group that the flag is to name no more.
    #[schema(value_type = Object, example = json!({ "beta": "50%" }))]
    groups: BTreeMap<String, Option<ShareWish>>,
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = FlagReset)]
pub(crate) struct ResetWish {
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// All flags.
#[utoipa::path(
    get, path = "/api/v1/flags", tag = "flags",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "how many at the most"),
        ("after" = Option<FlagName>, Query, description = "`next` of the part before"),
    ),
    responses(
        (
            status = 200, description = "all flags, in the order of the configuration",
            body = FlagList,
        ),
    ),
)]
pub(crate) async fn list(
    State(state): State<AdminState>,
    written: Written,
) -> Result<Json<FlagList>, ApiError> {
    let status = state.status.load();
    let (flags, next) = page(&status.flags, written, |flag| &flag.flag)?;
    Ok(Json(FlagList { flags, next }))
}

/// How a flag stands.
#[utoipa::path(
    get, path = "/api/v1/flags/{flag}", tag = "flags",
    params(
        ("flag" = FlagName, Path, description = "the flag's name"),
        ("if-none-match" = Option<String>, Header, description = "versions that are known already"),
    ),
    responses(
        (
            status = 200, description = "how it stands", body = FlagStatus,
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (
            status = 304, description = "it is as known",
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (status = 404, description = "there is no such flag"),
    ),
)]
pub(crate) async fn show(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let status = state.status.load();
    let mut flags = status.flags.iter();
    let found = flags.find(|known| known.flag.as_str() == flag);
    let found = found.ok_or_else(|| {
        let known: Vec<_> = status.flags.iter().map(|flag| flag.flag.as_str()).collect();
        let known = known.join(", ");
        ApiError::NotFound(format!("no flag `{flag}`, there are: {known}"))
    })?;
    let is_known = tags(&headers, header::IF_NONE_MATCH)
        .is_some_and(|tags| tags.iter().any(|tag| tag == "*" || *tag == found.version));
    if is_known {
        let answer = StatusCode::NOT_MODIFIED.into_response();
        return Ok(tagged(answer, &found.version));
    }
    Ok(tagged(Json(found).into_response(), &found.version))
}

/// Changes what is set of a flag; what is left out stays.
#[utoipa::path(
    patch, path = "/api/v1/flags/{flag}", tag = "flags",
    params(
        ("flag" = FlagName, Path, description = "the flag's name"),
        (
            "if-match" = Option<String>, Header,
            description = "the version that it must have, as an entity tag",
        ),
    ),
    request_body = Wish,
    responses(
        (
            status = 200, description = "it is so from the next request on", body = FlagStatus,
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (status = 404, description = "there is no such flag or group"),
        (status = 409, description = "a rollout sets its weights"),
        (status = 412, description = "it is not what `If-Match` says any more"),
    ),
)]
pub(crate) async fn change(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wish: Wish = wish::read(&body, EXAMPLE)?;
    let mut groups = BTreeMap::new();
    for (group, share) in wish.groups {
        let name: GroupName = group
            .parse()
            .map_err(|error| ApiError::BadRequest(format!("`groups`: {error}")))?;
        let key = format!("groups.{group}");
        let share = share.map(|share| share.read(&key)).transpose()?;
        groups.insert(name, share);
    }
    let default = wish.default.map(|share| share.read("default"));
    let change = FlagChange {
        enabled: wish.enabled,
        groups,
        default: default.transpose()?,
    };
    if change == FlagChange::default() {
        let reason = format!("nothing to change; expected {EXAMPLE}, or a part of it");
        return Err(ApiError::BadRequest(reason));
    }
    let order = FlagOrder::Change(change);
    give(&state, &flag, order, &headers, visitor, wish.reason).await
}

/// Has everything as configured.
#[utoipa::path(
    delete, path = "/api/v1/flags/{flag}/overrides", tag = "flags",
    params(
        ("flag" = FlagName, Path, description = "the flag's name"),
        (
            "if-match" = Option<String>, Header,
            description = "the version that it must have, as an entity tag",
        ),
    ),
    request_body = Option<ResetWish>,
    responses(
        (
            status = 200, description = "all is as configured", body = FlagStatus,
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (status = 404, description = "there is no such flag or group"),
        (status = 409, description = "a rollout sets its weights"),
        (status = 412, description = "it is not what `If-Match` says any more"),
    ),
)]
pub(crate) async fn reset(
    State(state): State<AdminState>,
    Path(flag): Path<String>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let ResetWish { reason } = wish::read(&body, RESET_EXAMPLE)?;
    give(&state, &flag, FlagOrder::Reset, &headers, visitor, reason).await
}

async fn give(
    state: &AdminState,
    flag: &str,
    order: FlagOrder,
    headers: &HeaderMap,
    visitor: Visitor,
    reason: String,
) -> Result<Response, ApiError> {
    let expected = expected(headers)?;
    let by = visitor.because(reason)?;
    let changed = state.commands.change_flag(flag, order, expected, by);
    let changed: FlagStatus = changed.await?;
    let version = changed.version.clone();
    Ok(tagged(Json(changed).into_response(), &version))
}

/// The version that a change depends on, if it does (RFC 9110, section 13.1.1).
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(tags) = tags(headers, header::IF_MATCH) else {
        return Ok(None);
    };
    match tags.as_slice() {
        [any] if any == "*" => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => {
            let problem = "`If-Match` must be one entity tag, such as \"3f2a\", or `*`";
            Err(ApiError::BadRequest(problem.to_owned()))
        }
    }
}

/// The entity tags of a field, without their quotes.
pub(super) fn tags(headers: &HeaderMap, name: header::HeaderName) -> Option<Vec<String>> {
    let mut fields = headers.get_all(name).iter().peekable();
    fields.peek()?;
    let texts = fields.filter_map(|field| field.to_str().ok());
    let tags = texts.flat_map(|text| text.split(',')).map(str::trim);
    let bare = |tag: &str| tag.trim_start_matches("W/").trim_matches('"').to_owned();
    Some(tags.filter(|tag| !tag.is_empty()).map(bare).collect())
}

/// An answer with the version of what it shows.
pub(super) fn tagged(mut answer: Response, version: &str) -> Response {
    // A version is plain text.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}
