//! What is done with apps by a word: their review, and new keys.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::apps::{answer, known};
use crate::admin::api::flags::expected;
use crate::admin::api::wish;
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::AppWithKey;
use crate::control::app_orders::AppOrder;
use crate::domain::app::Review;
use crate::domain::ids::AppId;

/// The longest name of a key, in characters.
const KEY_NAME_CHARS_MAX: usize = 64;

/// The longest time that may be said of a key: what is longer is for good.
const SPAN_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What may be said with a verb, as an example.
const VERB_EXAMPLE: &str = r#"{"reason": "…"}"#;

/// What may be said with a verb; nothing need be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = AppVerdict)]
pub(crate) struct VerbWish {
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
    /// With `rotate-key`: what people call the new key.
    #[schema(max_length = 64)]
    key_name: String,
    /// With `rotate-key`: for how long it lasts, such as `90d`; for good, if absent.
    #[schema(example = "90d")]
    expires_in: Option<String>,
    /// With `rotate-key`: after how long the keys before it end, such as `24h`; as they would, if absent.
    #[schema(example = "24h")]
    expire_old: Option<String>,
}

/// The verbs, as the document has them.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[allow(dead_code, reason = "it stands for a text")]
enum Verb {
    Approve,
    Suspend,
    Revoke,
    RotateKey,
}

/// Approves, suspends or revokes an app, or gives it a new key.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/{verb}", tag = "apps",
    params(
        ("app" = AppId, Path, description = "the app's id"),
        ("verb" = inline(Verb), Path, description = "what is to be done"),
        (
            "if-match" = Option<String>, Header,
            description = "the version that it must have, as an entity tag",
        ),
    ),
    request_body = Option<VerbWish>,
    responses(
        (
            status = 200, description = "its next request goes by it; a new key is shown this once",
            body = AppWithKey,
            headers(("etag" = String, description = "its version, for `If-Match`")),
        ),
        (status = 404, description = "there is no such app or verb"),
        (status = 409, description = "it is revoked for good, or has too many keys"),
        (status = 412, description = "it is not what `If-Match` says any more"),
    ),
)]
pub(crate) async fn command(
    State(state): State<AdminState>,
    Path((app, verb)): Path<(String, String)>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wish: VerbWish = wish::read(&body, VERB_EXAMPLE)?;
    let by = visitor.because(wish.reason.clone())?;
    let order = match verb.as_str() {
        "approve" => AppOrder::Review(Review::Approve),
        "suspend" => AppOrder::Review(Review::Suspend),
        "revoke" => AppOrder::Review(Review::Revoke),
        "rotate-key" => rotation(&wish)?,
        _ => {
            let known = "only approve, suspend, revoke, rotate-key";
            return Err(ApiError::NotFound(format!(
                "there is no verb `{verb}`, {known}"
            )));
        }
    };
    let is_of_key = wish.expires_in.is_some() || wish.expire_old.is_some();
    if matches!(order, AppOrder::Review(_)) && (is_of_key || !wish.key_name.is_empty()) {
        let problem = "`key_name`, `expires_in` and `expire_old` go with `rotate-key` only";
        return Err(ApiError::BadRequest(problem.to_owned()));
    }
    let app = known(app)?;
    let ordered = state
        .commands
        .order_app(app, order, expected(&headers)?, by);
    answer(ordered.await?, StatusCode::OK)
}

fn rotation(wish: &VerbWish) -> Result<AppOrder, ApiError> {
    let name = &wish.key_name;
    if name.chars().count() > KEY_NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let problem = format!("`key_name` is one line of at most {KEY_NAME_CHARS_MAX} characters");
        return Err(ApiError::BadRequest(problem));
    }
    let span = |key: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let span = humantime::parse_duration(text);
        let span = span.ok().filter(|span| *span <= SPAN_MAX);
        let unfit =
            || ApiError::BadRequest(format!("`{key}`: `{text}` is no duration such as `24h`"));
        span.map(Some).ok_or_else(unfit)
    };
    Ok(AppOrder::RotateKey {
        name: name.clone(),
        lasting: span("expires_in", &wish.expires_in)?,
        expire_old: span("expire_old", &wish.expire_old)?,
    })
}
