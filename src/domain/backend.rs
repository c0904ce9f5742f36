//! A pool of servers, as configured.

use std::fmt;
use std::time::Duration;

use crate::domain::ids::BackendName;

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// A host name or an IP address, the latter without brackets.
    pub host: Box<str>,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How long each part of an exchange with a server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first attempt to an established connection.
    pub connect: Duration,
    /// From the whole request sent to the head of the answer.
    pub response: Duration,
    /// Without a byte in either direction once the answer has begun, and of an unused connection
    /// in the pool.
    pub idle: Duration,
}

/// A pool of servers that serve the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name.
    pub name: BackendName,
    /// Its servers, in the file's order; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Its limits of time.
    pub timeouts: Timeouts,
}
