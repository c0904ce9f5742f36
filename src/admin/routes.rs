//! Path and method to handler: the whole API on one screen.

use axum::Router;
use axum::middleware;
use axum::routing::{delete, get, post, put};

use crate::admin::api::{backends, events, flags, groups, journal, requests, rollouts, status};
use crate::admin::error::{ApiError, as_problem};
use crate::admin::{AdminState, auth, guard, health, limits, metrics, ofrep};

pub(crate) fn router(state: AdminState) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/status", get(status::show))
        .route(
            "/api/v1/freeze",
            post(status::freeze).delete(status::freeze),
        )
        .route("/api/v1/reload", post(status::reload))
        .route("/api/v1/requests", get(requests::requests))
        .route("/api/v1/backends", get(backends::list))
        .route("/api/v1/flags", get(flags::list))
        .route(
            "/api/v1/flags/{flag}",
            get(flags::show).patch(flags::change),
        )
        .route("/api/v1/flags/{flag}/overrides", delete(flags::reset))
        .route("/api/v1/rollouts", get(rollouts::list))
        .route("/api/v1/rollouts/{flag}", get(rollouts::show))
        .route("/api/v1/rollouts/{flag}/history", get(journal::history))
        .route("/api/v1/rollouts/{flag}/plan", get(rollouts::plan))
        .route("/api/v1/rollouts/{flag}/trace", get(rollouts::trace))
        .route("/api/v1/rollouts/{flag}/{verb}", post(rollouts::command))
        .route("/api/v1/journal", get(journal::journal))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/groups", get(groups::all))
        .route("/api/v1/groups/{group}", get(groups::show))
        .route("/api/v1/groups/{group}/callers", get(groups::callers))
        .route(
            "/api/v1/groups/{group}/callers/{key}",
            put(groups::assign).delete(groups::remove),
        )
        .route("/ofrep/v1/evaluate/flags", post(ofrep::all))
        .route("/ofrep/v1/evaluate/flags/{key}", post(ofrep::one))
        .fallback(|| async { ApiError::NotFound("there is nothing at this path".to_owned()) })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(middleware::from_fn(limits::limited))
        .layer(middleware::from_fn_with_state(state.clone(), auth::admit))
        .layer(middleware::from_fn_with_state(state.clone(), guard::guard))
        .layer(middleware::map_response(as_problem))
        .with_state(state)
}
