//! A pool of servers, as configured.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;

use crate::domain::ids::BackendName;
use crate::domain::outlier::OutlierRule;
use crate::domain::retries::Retries;

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

/// How much each server of a pool may be asked at once, by all workers or by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections, used or idle.
    pub connections: usize,
    /// Requests that wait for one.
    pub pending: usize,
}

impl Limits {
    /// The part of one of so many workers, rounded up: each has room for one at least.
    pub const fn per_worker(self, workers: usize) -> Self {
        Self {
            connections: self.connections.div_ceil(workers),
            pending: self.pending.div_ceil(workers),
        }
    }
}

/// A pool of servers that serve the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name.
    pub name: BackendName,
    /// Its servers, in the file's order; at least one.
    pub endpoints: Vec<Endpoint>,
    /// How requests are spread over them.
    pub balancing: Balancing,
    /// Its limits of time.
    pub timeouts: Timeouts,
    /// How much it may be asked at once.
    pub limits: Limits,
    /// How it is found out whether they are well; none where nobody asks them.
    pub health: Option<HealthCheck>,
    /// When one of them gets no requests for a while because requests to it go wrong; never where none.
    pub outlier: Option<OutlierRule>,
    /// Which HTTP is spoken to them.
    pub protocol: Protocol,
    /// Who speaks HTTP/1.1 to them.
    pub http1_client: Http1Client,
    /// How TLS is spoken to them; none for bare TCP.
    pub tls: Option<Arc<BackendTls>>,
    /// Which requests are sent to them once more.
    pub retries: Retries,
}

/// How it is found out whether a server is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What it is asked for.
    pub target: PathAndQuery,
    /// From one question to the next.
    pub interval: Duration,
    /// How long the answer may take; at most the interval.
    pub timeout: Duration,
    /// How many checks in a row must fail until it is taken for unhealthy; at least 1.
    pub unhealthy_after: u32,
    /// How many must go well until it is taken for healthy again; at least 1.
    pub healthy_after: u32,
}

/// How requests are spread over a backend's servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancing {
    /// Who is asked next.
    pub policy: BalancePolicy,
    /// The share of each server beside the others', in their order, 1 to 256; empty where all have the
    /// same.
    pub weights: Vec<NonZeroU16>,
}

/// Which of a backend's servers is asked next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BalancePolicy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Of two drawn at random the one with fewer requests under way.
    PowerOfTwo,
    /// The one with the fewest requests under way.
    LeastRequest,
    /// The same one for all requests of a caller.
    RingHash,
}

/// Which HTTP is spoken to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Over TLS what the two agree on, over bare TCP HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; over bare TCP without asking first.
    Http2,
}

/// Who speaks HTTP/1.1 to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http1Client {
    /// Our own codec, which costs less for each request.
    #[default]
    Own,
    /// The client of hyper.
    Hyper,
}

/// A certificate as X.509 DER.
pub type Der = Box<[u8]>;

/// How TLS is spoken to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendTls {
    /// The only authorities whose certificates are good; none for those that the system trusts.
    pub authorities: Option<Vec<Der>>,
    /// The name that its servers are asked for, and that their certificates must hold; none for
    /// the host of each endpoint.
    pub server_name: Option<Box<str>>,
    /// Whom Serin shows itself as, where it is asked.
    pub client: Option<ClientIdentity>,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The own certificate first, then those of the authorities above it.
    pub chain: Vec<Der>,
    /// The private key of the first, as PKCS #1, SEC 1 or PKCS #8.
    pub key: Box<[u8]>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        let client = ClientIdentity {
            chain: vec![Box::from([1])],
            key: Box::from([222, 173]),
        };
        let shown = format!("{client:?}");
        assert_eq!(shown, "ClientIdentity { certificates: 1, .. }");
    }
}
