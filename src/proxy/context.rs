//! What a worker is given: its sockets, and what it shares with the rest of the process.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{ListenerLimits, ProxyProtocol};
use crate::domain::cookie_key::CookieKey;
use crate::proxy::access::AccessLogReader;
use crate::proxy::tail::Tail;
use crate::proxy::tls::TlsServer;
use crate::runtime::apps::AppRegistry;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::caller_book::CallerBookReader;
use crate::runtime::clock::Clock;
use crate::runtime::connections::ConnectionCounters;
use crate::runtime::feedback::FeedbackDesk;
use crate::runtime::inbox::InboxSender;
use crate::runtime::key_ring::{KeyRingReader, TokenCounters};
use crate::runtime::pseudonyms::SharedPseudonyms;
use crate::runtime::published::Subscriber;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::snapshot::SnapshotReader;

/// A listener's socket of one worker.
#[derive(Debug)]
pub struct Socket {
    /// Where connections come from.
    pub socket: TcpListener,
    /// How TLS is served there; none where HTTP is spoken plainly.
    pub tls: Option<SnapshotReader<TlsServer>>,
    /// Whose PROXY headers are read there; none where no connection may begin with one.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether callers may rate there what they were shown.
    pub feedback: bool,
    /// What clients that come by it may take up of this worker.
    pub limits: ListenerLimits,
}

/// What a worker is given to work with.
pub struct WorkerContext {
    /// Its place among the workers, from 0.
    pub index: usize,
    /// Connections of clients that it may have, of all listeners together.
    pub connections_max: usize,
    /// Its own sockets, one for each listener.
    pub sockets: Vec<Socket>,
    /// What it decides by.
    pub subscriber: Subscriber,
    /// Who was put into a group at run time.
    pub assignments: Arc<CallerAssignments>,
    /// The apps and their keys.
    pub apps: Arc<AppRegistry>,
    /// Where feedback is handed in.
    pub feedback: Arc<FeedbackDesk>,
    /// What it verifies tokens by.
    pub keys: KeyRingReader,
    /// Where it counts tokens.
    pub tokens: Arc<TokenCounters>,
    /// The key of the cookies that are given where the configuration has none.
    pub cookie_key: Arc<CookieKey>,
    /// The clock that assignments expire by.
    pub clock: Clock,
    /// Where it counts connections.
    pub connections: Arc<ConnectionCounters>,
    /// Where it leaves messages.
    pub inbox: InboxSender,
    /// What it logs of requests.
    pub access_log: AccessLogReader,
    /// Where others look on at its requests.
    pub tail: Tail,
    /// Where it tells of callers.
    pub callers: CallerBookReader,
    /// Makes pseudonyms of them.
    pub pseudonyms: Arc<SharedPseudonyms>,
    /// Tells it to stop.
    pub shutdown: Shutdown,
    /// How long what is under way has to end then.
    pub drain_deadline: Duration,
}
