//! Whether the process lives, and whether it should be sent requests.

use axum::extract::State;
use axum::http::StatusCode;

use crate::admin::AdminState;

pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// Not ready from the moment it is time to stop, so that load balancers look elsewhere while
/// requests under way end.
pub(crate) async fn ready(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    if state.shutdown.is_requested() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}
