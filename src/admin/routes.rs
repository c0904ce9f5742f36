//! Path and method to handler: the whole API on one screen.
//!
//! Each handler has its path, method and answers written above it, and the document is made of that; so what
//! is here is in the document, and nothing else is.

use axum::{Extension, Router, middleware};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::api::{
    app_verbs, apps, backends, callers, config, definitions, events, explain, feedback, flags,
    groups, journal, requests, rollouts, status,
};
use crate::admin::error::{ApiError, as_problem};
use crate::admin::openapi::{self, Document};
use crate::admin::{AdminState, auth, guard, health, limits, metrics, ofrep, ofrep_events};

fn routes() -> OpenApiRouter<AdminState> {
    openapi::begin()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(openapi::document))
        .routes(routes!(status::show))
        .routes(routes!(status::freeze, status::unfreeze))
        .routes(routes!(status::rollback))
        .routes(routes!(status::reload))
        .routes(routes!(config::show))
        .routes(routes!(explain::explain))
        .routes(routes!(flags::list))
        .routes(routes!(
            flags::show,
            flags::change,
            definitions::define,
            definitions::delete
        ))
        .routes(routes!(flags::reset))
        .routes(routes!(rollouts::list))
        .routes(routes!(rollouts::show))
        .routes(routes!(journal::history))
        .routes(routes!(rollouts::plan))
        .routes(routes!(rollouts::trace))
        .routes(routes!(rollouts::command))
        .routes(routes!(journal::journal))
        .routes(routes!(events::events))
        .routes(routes!(requests::requests))
        .routes(routes!(backends::list))
        .routes(routes!(groups::list))
        .routes(routes!(groups::show))
        .routes(routes!(groups::callers))
        .routes(routes!(groups::assign, groups::remove))
        .routes(routes!(apps::list))
        .routes(routes!(apps::show, apps::define, apps::delete))
        .routes(routes!(app_verbs::command))
        .routes(routes!(feedback::list, feedback::hand_in))
        .routes(routes!(callers::list))
        .routes(routes!(callers::export, callers::disclose))
        .routes(routes!(callers::find))
        .routes(routes!(callers::forget))
        .routes(routes!(ofrep_events::events))
        .routes(routes!(ofrep::all))
        .routes(routes!(ofrep::one))
}

pub(crate) fn router(state: AdminState) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .fallback(|| async { ApiError::NotFound("there is nothing at this path".to_owned()) })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(Extension(Document::new(document)))
        .layer(middleware::from_fn(limits::limited))
        .layer(middleware::from_fn_with_state(state.clone(), auth::admit))
        .layer(middleware::from_fn_with_state(state.clone(), guard::guard))
        .layer(middleware::map_response(as_problem))
        .with_state(state)
}
