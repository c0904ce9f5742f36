//! Time as the decisions see it: a value that is passed in.
//!
//! Monotonic, so that a wall clock set back or forward changes no hold time and no deadline.
//! Wall time is shown, and opens windows of time; nothing else goes by it.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on a monotonic clock, as the time since that clock's own start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The moment `elapsed` after the clock's start.
    pub const fn since_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time passed since the clock's start.
    pub const fn elapsed(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later_by: Duration) -> Self {
        Self(self.0.saturating_add(later_by))
    }
}

/// The time from `earlier` to `self`; zero where `earlier` is the later one.
impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
