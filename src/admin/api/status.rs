//! Everything at one look, and the orders that concern everything.

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::admin::AdminState;
use crate::admin::api::written;
use crate::admin::api::{backends, wish};
use crate::admin::auth::Visitor;
use crate::admin::error::ApiError;
use crate::admin::wire::Overview;
use crate::control::reload::ReloadStatus;
use crate::control::status::FreezeStatus;

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
        backends: backends::all(&state.published),
    })
}

/// What may be said, as an example.
const EXAMPLE: &str = r#"{"reason": "…"}"#;

/// What may be said with an order; nothing need be.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    /// Why, for the journal.
    reason: String,
}

/// `POST` freezes, `DELETE` lifts.
pub(crate) async fn freeze(
    State(state): State<AdminState>,
    method: Method,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<(StatusCode, Json<FreezeStatus>), ApiError> {
    let Wish { reason } = wish::read(&body, EXAMPLE)?;
    let on = method == Method::POST;
    let freeze = state.commands.freeze(on, visitor.because(reason)?).await?;
    Ok((written(freeze.is_written), Json(freeze)))
}

pub(crate) async fn reload(
    State(state): State<AdminState>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<Json<ReloadStatus>, ApiError> {
    let Wish { reason } = wish::read(&body, EXAMPLE)?;
    Ok(Json(state.reload.request(visitor.because(reason)?).await?))
}
