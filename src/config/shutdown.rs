//! How Serin stops.

use std::time::Duration;

use crate::config::defaults;
use crate::config::document::ShutdownDocument;

/// How Serin stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// For how long everything is served as before, though `/readyz` says no.
    pub delay: Duration,
    /// How long what is under way has to end after that.
    pub deadline: Duration,
}

/// Understands `shutdown`.
pub(super) fn shutdown(document: &ShutdownDocument) -> ShutdownConfig {
    let default = defaults::SHUTDOWN;
    let delay = document.delay.as_ref().map(|written| written.value);
    let deadline = document.deadline.as_ref().map(|written| written.value.0);
    ShutdownConfig {
        delay: delay.unwrap_or(default.delay),
        deadline: deadline.unwrap_or(default.deadline),
    }
}
