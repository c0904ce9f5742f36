//! Backends, and how their endpoints are.

use axum::Json;
use axum::extract::State;

use crate::admin::AdminState;
use crate::admin::wire::{BackendList, BackendStatus, EndpointStatus};
use crate::domain::ids::BackendIndex;
use crate::runtime::published::{Published, Subscriber};
use crate::runtime::recorder::EndpointReading;

/// All backends, and how their endpoints are.
#[utoipa::path(
    get, path = "/api/v1/backends", tag = "status",
    responses((status = 200, description = "in the configuration's order", body = BackendList)),
)]
pub(crate) async fn list(State(state): State<AdminState>) -> Json<BackendList> {
    Json(BackendList {
        backends: all(&state.published),
    })
}

/// All backends, in the configuration's order.
pub(super) fn all(published: &Subscriber) -> Vec<BackendStatus> {
    let published = published.load();
    let indexes = (0..published.routing.backends.len()).map(BackendIndex);
    indexes.map(|index| status(&published, index)).collect()
}

fn status(published: &Published, index: BackendIndex) -> BackendStatus {
    let backend = published.routing.backend(index);
    let endpoints = backend.endpoints.iter().enumerate();
    let endpoints = endpoints.map(|(place, endpoint)| {
        let mut counts = EndpointReading::default();
        for meters in &published.meters {
            counts.merge(meters.endpoints(index)[place].read());
        }
        // All workers have the same.
        let health = published.meters.first();
        let health = health.map(|meters| meters.health(index)[place].read());
        EndpointStatus {
            endpoint: endpoint.to_string(),
            is_healthy: health.and_then(|health| health.is_healthy),
            is_ejected: health.and_then(|health| health.is_ejected),
            ejections: health.map_or(0, |health| health.ejections),
            requests: counts.requests,
            connect_failures: counts.connect_failures,
        }
    });
    BackendStatus {
        backend: backend.name.clone(),
        endpoints: endpoints.collect(),
    }
}
