//! The configuration that is running, without its secrets.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::admin::AdminState;
use crate::admin::error::ApiError;

/// The running configuration as it is written: variables by their names, secrets as `***`.
#[utoipa::path(
    get, path = "/api/v1/config", tag = "config",
    responses(
        (status = 200, description = "as the file has it", body = Object),
        (status = 404, description = "the configuration does not come from a file"),
    ),
)]
pub(crate) async fn show(State(state): State<AdminState>) -> Result<Json<Value>, ApiError> {
    let reloaded = state.reloaded.map(|reloaded| reloaded.load());
    let running = reloaded.and_then(|reloaded| reloaded.running.clone());
    let missing = "this configuration does not come from a file";
    let running = running.ok_or_else(|| ApiError::NotFound(missing.to_owned()))?;
    Ok(Json(Value::clone(&running)))
}
