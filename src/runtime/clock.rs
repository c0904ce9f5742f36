//! The only place that asks the time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::domain::timestamp::Timestamp;

/// A monotonic clock that starts when it is made.
///
/// It follows tokio's time, so a test that pauses that time moves this clock by hand as well.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts a clock.
    pub fn start() -> Self {
        Self { start: monotonic() }
    }

    /// The time passed since the clock's start.
    pub fn now(self) -> Timestamp {
        Timestamp::since_start(self.start.elapsed())
    }
}

/// A moment on the monotonic clock, for measuring durations.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The wall clock as the time since 1970, to be shown. Nothing is decided by it but whether a window of time
/// is open.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
