//! Apps: which there are, and what operators make of them.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::flags::{expected, tagged, tags};
use crate::admin::api::query::{Parameters, Written};
use crate::admin::api::{apart, wish};
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::{AppList, AppWithKey};
use crate::control::app_orders::{AppError, AppOrder, AppView, Ordered};
use crate::domain::app::{AppProfile, AppStatus, RATE_MAX, RateLimit};
use crate::domain::ids::AppId;

/// The most apps of one answer.
const LISTED_MAX: u64 = 1000;

/// The apps of an answer, unless said otherwise.
const LISTED_DEFAULT: u64 = 100;

/// The words of `status`.
const STATUSES: [AppStatus; 4] = [
    AppStatus::Pending,
    AppStatus::Approved,
    AppStatus::Suspended,
    AppStatus::Revoked,
];

/// Apps, in the order of their ids.
#[utoipa::path(
    get, path = "/api/v1/apps", tag = "apps",
    params(
        ("status" = Option<AppStatus>, Query, description = "of this status only"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "the most apps; 100"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "a part of them", body = AppList)),
)]
pub(crate) async fn list(
    State(state): State<AdminState>,
    written: Written,
) -> Result<Json<AppList>, ApiError> {
    let parameters = Parameters::read(written, &["status", "limit", "after"])?;
    let limit = parameters.number("limit", 1..=LISTED_MAX)?;
    let limit = usize::try_from(limit.unwrap_or(LISTED_DEFAULT)).unwrap_or(usize::MAX);
    let after = parameters.text("after").map(ToOwned::to_owned);
    let status = parameters.one_of("status", STATUSES.map(AppStatus::as_str))?;
    let page = apart(move || {
        let apps = state.apps.all();
        let total = apps.len();
        let is_wanted = |status_of: AppStatus| {
            status
                .as_ref()
                .is_none_or(|status| status == status_of.as_str())
        };
        let mut wanted = apps.iter().filter(|app| {
            let is_later = after
                .as_ref()
                .is_none_or(|after| app.id.as_str() > after.as_str());
            is_later && is_wanted(app.status)
        });
        let apps: Vec<_> = wanted
            .by_ref()
            .take(limit)
            .map(|app| AppView::of(app))
            .collect();
        let has_more = wanted.next().is_some();
        let next = apps.last().filter(|_| has_more);
        AppList {
            next: next.map(|last| last.app.clone()),
            total,
            apps,
        }
    });
    Ok(Json(page.await?))
}

/// How an app stands.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}", tag = "apps",
    params(
        ("app" = AppId, Path, description = "the app's id"),
        ("if-none-match" = Option<String>, Header, description = "versions that are known already"),
    ),
    responses(
        (
            status = 200, description = "how it stands", body = AppView,
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (
            status = 304, description = "it is as known",
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (status = 404, description = "there is no such app"),
    ),
)]
pub(crate) async fn show(
    State(state): State<AdminState>,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = state.apps.find(&app);
    let found = found.ok_or(AppError::NoApp(app))?;
    let view = AppView::of(&found);
    let known = tags(&headers, header::IF_NONE_MATCH).unwrap_or_default();
    if known.iter().any(|tag| tag == "*" || *tag == view.version) {
        return Ok(tagged(
            StatusCode::NOT_MODIFIED.into_response(),
            &view.version,
        ));
    }
    let version = view.version.clone();
    Ok(tagged(Json(view).into_response(), &version))
}

/// What may be said of an app, as an example.
const EXAMPLE: &str = r#"{"name": "Weather", "owner": "acme", "attributes": {"tier": "gold"}, "rate_limit": {"requests_per_second": 50}, "reason": "…"}"#;

/// What an app is; what is left out is empty.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = AppDefinition)]
pub(crate) struct Wish {
    /// What people call it.
    #[schema(max_length = 256)]
    name: String,
    /// Whose it is.
    #[schema(max_length = 256)]
    owner: String,
    /// What else is known of it, for groups; `tier` is one of them.
    #[schema(example = json!({ "tier": "gold" }))]
    attributes: BTreeMap<String, String>,
    /// How often it may ask; as often as it likes, if absent.
    rate_limit: Option<LimitWish>,
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// How often an app may ask.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RateLimitWish)]
pub(crate) struct LimitWish {
    /// Requests in each second.
    #[schema(minimum = 1, maximum = 1_000_000)]
    requests_per_second: u32,
    /// Requests at once, after a pause; those of a second, if absent.
    #[schema(minimum = 1, maximum = 1_000_000)]
    burst: Option<u32>,
}

impl LimitWish {
    fn read(self) -> Result<RateLimit, ApiError> {
        let limit = RateLimit {
            requests_per_second: self.requests_per_second,
            burst: self.burst.unwrap_or(self.requests_per_second),
        };
        let fits = |number| (1..=RATE_MAX).contains(&number);
        if fits(limit.requests_per_second) && fits(limit.burst) {
            return Ok(limit);
        }
        let problem = format!("`rate_limit`: its numbers are whole ones from 1 to {RATE_MAX}");
        Err(ApiError::BadRequest(problem))
    }
}

/// Registers an app, which gets a key and waits for its review; with `If-Match`, defines one anew that was
/// registered, which keeps its keys and its status.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}", tag = "apps",
    params(
        ("app" = AppId, Path, description = "the app's id"),
        (
            "if-match" = Option<String>, Header,
            description = "the version that it must have, as an entity tag",
        ),
    ),
    request_body = Option<Wish>,
    responses(
        (
            status = 200, description = "it is defined anew", body = AppWithKey,
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (
            status = 201, description = "it is registered, and its key is shown this once",
            body = AppWithKey,
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (status = 404, description = "there is none that could be defined anew"),
        (status = 409, description = "there is one already, or a file declares it"),
        (status = 412, description = "it is not what `If-Match` says any more"),
        (status = 507, description = "there is no room for more apps"),
    ),
)]
pub(crate) async fn define(
    State(state): State<AdminState>,
    Path(app): Path<String>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let app: AppId = app
        .parse()
        .map_err(|error| ApiError::BadRequest(format!("{error}")))?;
    let wish: Wish = wish::read(&body, EXAMPLE)?;
    let by = visitor.because(wish.reason)?;
    let profile = AppProfile {
        name: wish.name,
        owner: wish.owner,
        attributes: wish.attributes,
        rate_limit: wish.rate_limit.map(LimitWish::read).transpose()?,
    };
    let is_anew = headers.contains_key(header::IF_MATCH);
    let (order, status) = match is_anew {
        true => (AppOrder::Redefine(profile), StatusCode::OK),
        false => (AppOrder::Register(profile), StatusCode::CREATED),
    };
    let ordered = state
        .commands
        .order_app(app, order, expected(&headers)?, by);
    answer(ordered.await?, status)
}

/// What may be said with the end of one, as an example.
const REMOVE_EXAMPLE: &str = r#"{"reason": "…"}"#;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = AppRemoval)]
pub(crate) struct RemoveWish {
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// Deletes an app that was registered, with its keys.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}", tag = "apps",
    params(
        ("app" = AppId, Path, description = "the app's id"),
        (
            "if-match" = Option<String>, Header,
            description = "the version that it must have, as an entity tag",
        ),
    ),
    request_body = Option<RemoveWish>,
    responses(
        (status = 204, description = "it is gone"),
        (status = 404, description = "there is no such app"),
        (status = 409, description = "a file declares it"),
        (status = 412, description = "it is not what `If-Match` says any more"),
    ),
)]
pub(crate) async fn delete(
    State(state): State<AdminState>,
    Path(app): Path<String>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let RemoveWish { reason } = wish::read(&body, REMOVE_EXAMPLE)?;
    let by = visitor.because(reason)?;
    let ordered = state
        .commands
        .order_app(known(app)?, AppOrder::Delete, expected(&headers)?, by);
    ordered.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is no id is the id of no app.
pub(super) fn known(app: String) -> Result<AppId, AppError> {
    app.parse().map_err(|_| AppError::NoApp(app))
}

/// How an app stands, with a key that was made; nobody is to keep that answer.
pub(super) fn answer(ordered: Ordered, status: StatusCode) -> Result<Response, ApiError> {
    let app = ordered.app.ok_or(AppError::Stopping)?;
    let version = app.version.clone();
    let key = ordered.key.map(|key| key.reveal().to_owned());
    let mut answer = (status, Json(AppWithKey { app, key })).into_response();
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(tagged(answer, &version))
}
