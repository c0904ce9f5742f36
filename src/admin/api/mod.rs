//! The resources of the API, one file each.

pub(crate) mod groups;
pub(crate) mod journal;
mod query;
pub(crate) mod rollouts;
pub(crate) mod status;
mod wish;

use http::StatusCode;

/// The status of an order that was carried out: 202 while a restart would undo it, for what takes
/// canary back is done before it is written where the disk keeps that waiting.
const fn written(is_written: bool) -> StatusCode {
    if is_written {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    }
}
