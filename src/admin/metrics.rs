//! The page that Prometheus scrapes.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::admin::AdminState;
use crate::admin::error::ApiError;
use crate::telemetry::Exporter;

/// All metrics.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses(
        (
            status = 200, description = "in the text format of Prometheus", body = String,
            content_type = "text/plain; version=0.0.4",
        ),
    ),
)]
pub(crate) async fn metrics(State(state): State<AdminState>) -> Result<Response, ApiError> {
    let text = state
        .exporter
        .render()
        .map_err(|error| ApiError::Unavailable(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, Exporter::CONTENT_TYPE)], text).into_response())
}
