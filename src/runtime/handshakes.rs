//! Counts the handshakes of TLS that one worker was asked for.

use crate::runtime::recorder::Counter;

/// What came of handshakes, each a number that only grows.
#[derive(Debug, Default)]
pub struct HandshakeCounters {
    /// The connection was served.
    pub completed: Counter,
    /// The client spoke something else, wanted what is not served, refused the certificate or left.
    pub failed: Counter,
    /// The client took too long.
    pub timed_out: Counter,
}

impl HandshakeCounters {
    /// The numbers by the names they are exported under.
    pub fn read(&self) -> [(&'static str, u64); 3] {
        [
            ("completed", self.completed.get()),
            ("failed", self.failed.get()),
            ("timed_out", self.timed_out.get()),
        ]
    }
}
