//! How long the writer and its thread take at most.

use std::time::Duration;

/// How long things take at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long the writer waits for what it wants to be written: a synced write takes a few
    /// milliseconds on a good disk and some tens on a bad one, and the controller has a second.
    pub(super) wait_max: Duration,
    /// How long points of history wait for an occasion: charts show them all the same, and this
    /// much is what a power cut takes.
    pub(super) points_wait_max: Duration,
    /// How long the end of the process waits for the last write.
    pub(super) stop_wait_max: Duration,
    /// How long it takes after a caller was erased until the file is written anew, so that those who are erased one
    /// after another cost that once.
    pub(super) renewal_wait: Duration,
    /// How often all of history is looked through, and lost reserve is looked for.
    pub(super) upkeep: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_millis(250),
            points_wait_max: Duration::from_secs(60),
            stop_wait_max: Duration::from_secs(2),
            renewal_wait: Duration::from_secs(5),
            upkeep: Duration::from_secs(3_600),
        }
    }
}
