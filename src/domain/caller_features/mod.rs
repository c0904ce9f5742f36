//! What can be said of a caller by its requests alone: how many, how they went, what they asked for.
//!
//! A [`CallerTally`] is a fixed number of bytes, whatever its caller does. Counts age by halving: at the end of
//! each *half-life* all of them are halved, so that what a caller did yesterday fades and nothing has to be
//! remembered of when it did it. [`CallerFeatures`] is what is made of them, in the order of
//! [`CallerFeatures::NAMES`]: the columns of an export, and what segments are learned from.

mod latencies;
mod tally;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use tally::{CallerTally, PathMark, Sighting};

/// What is known of a caller, each as one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallerFeatures {
    /// Requests, aged.
    pub requests: f64,
    /// Requests in a second of the time watched.
    pub requests_per_second: f64,
    /// The share that was answered with a status of 400 or above, or not to the end; from 0 to 1.
    pub error_share: f64,
    /// The mean time to the head of an answer, in milliseconds; 0 where no backend has answered.
    pub latency_mean_ms: f64,
    /// The time within which 99 of 100 heads came, in milliseconds and to a fifth; 0 where none has come.
    pub latency_p99_ms: f64,
    /// The mean length of a request's body, in bytes.
    pub request_bytes_mean: f64,
    /// The mean length of an answer's body, in bytes.
    pub response_bytes_mean: f64,
    /// The share of methods other than GET, HEAD, OPTIONS and TRACE; from 0 to 1.
    pub write_share: f64,
    /// How many paths, about: exact while there are few, 266 where there are more than can be told.
    pub distinct_paths: f64,
}

impl CallerFeatures {
    /// The names of the numbers, in their order, with their units.
    pub const NAMES: [&str; 9] = [
        "requests",
        "requests_per_second",
        "error_share",
        "latency_mean_ms",
        "latency_p99_ms",
        "request_bytes_mean",
        "response_bytes_mean",
        "write_share",
        "distinct_paths",
    ];

    /// The numbers, in the order of their names.
    pub const fn values(&self) -> [f64; Self::NAMES.len()] {
        [
            self.requests,
            self.requests_per_second,
            self.error_share,
            self.latency_mean_ms,
            self.latency_p99_ms,
            self.request_bytes_mean,
            self.response_bytes_mean,
            self.write_share,
            self.distinct_paths,
        ]
    }
}
