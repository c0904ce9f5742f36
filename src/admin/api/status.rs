//! Everything at one look, and the orders that concern everything.

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::admin::AdminState;
use crate::admin::api::written;
use crate::admin::api::{backends, wish};
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::Overview;
use crate::control::emergency::{FlagTakenBack, TakenBack};
use crate::control::reload::ReloadStatus;
use crate::control::status::FreezeStatus;

/// Everything at one look.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "status",
    responses((status = 200, description = "how everything stands", body = Overview)),
)]
pub(crate) async fn show(State(state): State<AdminState>) -> Json<Overview> {
    let status = state.status.load();
    Json(Overview {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: state.clock.now().elapsed().as_secs_f64(),
        freeze: status.freeze.clone(),
        reload: state
            .reloaded
            .map(|reload| ReloadStatus::clone(&reload.load())),
        store: status.store.clone(),
        rollouts: status.rollouts.clone(),
        flags_left_aside: status.left_aside.clone(),
        backends: backends::all(&state.published),
        key_sources: state.key_sources.load().to_vec(),
    })
}

/// What may be said, as an example.
const EXAMPLE: &str = r#"{"reason": "…"}"#;

/// What may be said with an order; nothing need be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Order)]
pub(crate) struct Wish {
    /// Why, for the journal: one line.
    #[schema(max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// Promotes nothing anywhere until it is lifted; rolling back stays possible.
#[utoipa::path(
    post, path = "/api/v1/freeze", tag = "status",
    request_body = Option<Wish>,
    responses(
        (status = 200, description = "nothing is promoted", body = FreezeStatus),
        (status = 202, description = "the same, and not written down yet", body = FreezeStatus),
    ),
)]
pub(crate) async fn freeze(
    State(state): State<AdminState>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<(StatusCode, Json<FreezeStatus>), ApiError> {
    set_freeze(&state, true, visitor, &body).await
}

/// Lets promotions go on.
#[utoipa::path(
    delete, path = "/api/v1/freeze", tag = "status",
    request_body = Option<Wish>,
    responses((status = 200, description = "promotions go on", body = FreezeStatus)),
)]
pub(crate) async fn unfreeze(
    State(state): State<AdminState>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<(StatusCode, Json<FreezeStatus>), ApiError> {
    set_freeze(&state, false, visitor, &body).await
}

async fn set_freeze(
    state: &AdminState,
    on: bool,
    visitor: Visitor,
    body: &[u8],
) -> Result<(StatusCode, Json<FreezeStatus>), ApiError> {
    let Wish { reason } = wish::read(body, EXAMPLE)?;
    let freeze = state.commands.freeze(on, visitor.because(reason)?).await?;
    Ok((written(freeze.is_written), Json(freeze)))
}

/// Takes canary back in all flags.
#[utoipa::path(
    post, path = "/api/v1/rollback", tag = "rollouts",
    request_body = Option<Wish>,
    responses(
        (status = 200, description = "what became of it in each flag", body = TakenBack),
        (status = 202, description = "the same, and not all of it is written yet", body = TakenBack),
    ),
)]
pub(crate) async fn rollback(
    State(state): State<AdminState>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<(StatusCode, Json<TakenBack>), ApiError> {
    let Wish { reason } = wish::read(&body, EXAMPLE)?;
    let by = visitor.because(reason)?;
    let taken = state.commands.take_back_all(by).await?;
    let is_written = |flag: &FlagTakenBack| flag.is_written || flag.problem.is_some();
    let code = written(taken.flags.iter().all(is_written));
    Ok((code, Json(taken)))
}

/// Reads the configuration again.
#[utoipa::path(
    post, path = "/api/v1/reload", tag = "status",
    request_body = Option<Wish>,
    responses(
        (status = 200, description = "it was taken", body = ReloadStatus),
        (status = 409, description = "the configuration does not come from a file"),
        (
            status = 422,
            description = "it is wrong, and the one before it goes on; `problems` has all that is",
        ),
    ),
)]
pub(crate) async fn reload(
    State(state): State<AdminState>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<Json<ReloadStatus>, ApiError> {
    let Wish { reason } = wish::read(&body, EXAMPLE)?;
    Ok(Json(state.reload.request(visitor.because(reason)?).await?))
}
