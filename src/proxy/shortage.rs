//! What a worker does when the system has nothing left to give for a connection.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::runtime::clock;

/// How long no connection is taken then: those that wait can wait a little more, and asking at once would
/// take the whole worker.
const PAUSE: Duration = Duration::from_millis(50);

/// How often it is said, at the most.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A shortage at one socket.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    warned: Option<Instant>,
}

impl Shortage {
    /// Waits until it may be over.
    pub(super) async fn wait(&mut self, error: &io::Error) {
        let now = clock::monotonic();
        if self.warned.is_none_or(|last| now - last > WARNING_INTERVAL) {
            self.warned = Some(now);
            tracing::warn!(%error, "cannot accept a connection");
        }
        sleep(PAUSE).await;
    }
}
