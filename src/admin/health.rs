//! Whether the process lives, and whether it should be sent requests.

use axum::extract::State;
use axum::http::StatusCode;

use crate::admin::AdminState;

/// Whether the process lives.
#[utoipa::path(
    get, path = "/livez", tag = "health",
    responses((status = 200, description = "it lives", body = String, content_type = "text/plain")),
)]
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// Not ready from the moment it is time to stop, so that load balancers look elsewhere while
/// requests under way end.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (
            status = 200, description = "it takes requests", body = String,
            content_type = "text/plain",
        ),
        (status = 503, description = "it is stopping", body = String, content_type = "text/plain"),
    ),
)]
pub(crate) async fn ready(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    if state.shutdown.is_requested() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}
