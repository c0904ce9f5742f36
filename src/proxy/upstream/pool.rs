//! One worker's connections to one server.
//!
//! A connection is lent to one exchange at a time and comes back when the answer has been read to
//! its end. The one used last is lent first, so that what a quiet hour leaves over grows old and
//! is closed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::domain::backend::{Endpoint, Timeouts};
use crate::proxy::error::ProxyError;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::connect::connect;
use crate::runtime::clock;
use crate::runtime::recorder::EndpointCounters;

/// The most connections that one worker has to one server.
const CONNECTIONS_MAX: usize = 1024;

/// The most unused connections that are kept; what a burst left over beyond that is closed.
const IDLE_MAX: usize = 256;

/// The most fields in the head of an answer; hyper's own default, stated.
const RESPONSE_HEADERS_MAX: usize = 100;

struct Idle {
    sender: SendRequest<Upload>,
    since: Instant,
}

/// Keeps and lends connections to one server.
pub(crate) struct Pool {
    endpoint: Endpoint,
    timeouts: Timeouts,
    counters: Arc<EndpointCounters>,
    idle: RefCell<Vec<Idle>>,
    /// Connections that exist, lent or idle.
    open: Rc<Cell<usize>>,
}

impl Pool {
    pub(crate) fn new(
        endpoint: Endpoint,
        timeouts: Timeouts,
        counters: Arc<EndpointCounters>,
    ) -> Self {
        let (idle, open) = (RefCell::default(), Rc::default());
        Self {
            endpoint,
            timeouts,
            counters,
            idle,
            open,
        }
    }

    /// A connection that was used before, if one is left.
    pub(crate) fn reuse(self: &Rc<Self>) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { sender, since }) = idle.pop() {
            if sender.is_closed() {
                continue;
            }
            if since.elapsed() > self.timeouts.idle {
                // All that lie below are older still.
                idle.clear();
                return None;
            }
            return Some(Lease {
                pool: Rc::clone(self),
                sender,
            });
        }
        None
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`ProxyError::Busy`] when there are as many as there may be, or why none could be made.
    pub(crate) async fn connect(self: &Rc<Self>) -> Result<Lease, ProxyError> {
        if self.open.get() >= CONNECTIONS_MAX {
            return Err(ProxyError::Busy);
        }
        // Counted from here on, so that many who connect at once cannot pass the limit together.
        let open = OpenConnection::count(self);
        let stream = connect(&self.endpoint, self.timeouts.connect)
            .await
            .inspect_err(|_| {
                self.counters.connect_failures.add(1);
            })?;
        self.counters.connects.add(1);
        let sender = handshake(stream, open).await.map_err(ProxyError::Broken)?;
        Ok(Lease {
            pool: Rc::clone(self),
            sender,
        })
    }

    /// Closes connections that nobody has used for long.
    pub(crate) fn close_idle(&self, now: Instant) {
        let is_kept =
            |idle: &Idle| now - idle.since <= self.timeouts.idle && !idle.sender.is_closed();
        self.idle.borrow_mut().retain(is_kept);
    }

    /// The server's limits of time.
    pub(crate) const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The server.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

async fn handshake(stream: TcpStream, open: OpenConnection) -> hyper::Result<SendRequest<Upload>> {
    let (sender, connection) = http1::Builder::new()
        .max_headers(RESPONSE_HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a backend ended");
        }
        drop(open);
    });
    Ok(sender)
}

/// Counts a connection for as long as it exists.
struct OpenConnection {
    open: Rc<Cell<usize>>,
    counters: Arc<EndpointCounters>,
}

impl OpenConnection {
    fn count(pool: &Pool) -> Self {
        pool.open.set(pool.open.get() + 1);
        pool.counters.connections.add(1);
        Self {
            open: Rc::clone(&pool.open),
            counters: Arc::clone(&pool.counters),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
        self.counters.connections.subtract(1);
    }
}

/// A connection lent to one exchange. Dropped before it is given back, it is closed: what was
/// left half said on it must not be read as part of the next exchange.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    pub(crate) sender: SendRequest<Upload>,
}

impl Lease {
    /// Counts a request sent on this connection.
    pub(crate) fn count_request(&self) {
        self.pool.counters.requests.add(1);
    }

    /// Returns the connection after the answer has been read to its end.
    pub(crate) fn give_back(self) {
        let Self { pool, sender } = self;
        let mut idle = pool.idle.borrow_mut();
        if !sender.is_closed() && idle.len() < IDLE_MAX {
            idle.push(Idle {
                sender,
                since: clock::monotonic(),
            });
        }
    }
}
