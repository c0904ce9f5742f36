//! The resources of the API, one file each.

pub(crate) mod app_verbs;
pub(crate) mod apps;
pub(crate) mod backends;
pub(crate) mod callers;
pub(crate) mod config;
pub(crate) mod definitions;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod feedback;
pub(crate) mod flags;
pub(crate) mod groups;
pub(crate) mod journal;
mod page;
mod query;
pub(crate) mod requests;
pub(crate) mod rollouts;
mod share;
pub(crate) mod status;
mod wish;

use http::StatusCode;
use tokio::task::spawn_blocking;

use crate::admin::error::ApiError;

/// Does what takes long on a thread of its own: it must not keep the controller, which shares the API's
/// thread, from its tick. There are no more of them than there are connections.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = spawn_blocking(work).await;
    done.map_err(|error| ApiError::Unavailable(error.to_string()))
}

/// The status of an order that was carried out: 202 while a restart would undo it, for what takes
/// canary back is done before it is written where the disk keeps that waiting.
const fn written(is_written: bool) -> StatusCode {
    if is_written {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    }
}
