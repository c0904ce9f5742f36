//! One worker's connections to one endpoint.
//!
//! A connection is lent to one exchange at a time and comes back when the request has been sent
//! and the answer read, both to their ends. The one used last is lent first, so that what a quiet
//! hour leaves over grows old and is closed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, timeout};

use crate::domain::backend::{Endpoint, Timeouts};
use crate::proxy::error::ProxyError;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::connect::connect;
use crate::runtime::clock;
use crate::runtime::recorder::EndpointCounters;

/// The most connections that one worker has to one endpoint.
const CONNECTIONS_MAX: usize = 1024;

/// The most unused connections that are kept; what a burst left over beyond that is closed.
const IDLE_MAX: usize = 256;

/// How often each worker logs, at the most, that an endpoint takes no connection.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A connection that nobody else uses; closed when dropped, whatever is under way on it.
struct Connection {
    sender: SendRequest<Upload>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Keeps and lends connections to one endpoint.
pub(crate) struct Pool {
    endpoint: Endpoint,
    timeouts: Timeouts,
    counters: Arc<EndpointCounters>,
    /// Oldest first.
    idle: RefCell<Vec<Idle>>,
    /// Connections that exist, lent or idle.
    open: Rc<Cell<usize>>,
    /// When it was last logged that no connection could be made.
    warned: Cell<Option<Instant>>,
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
            warned: Cell::default(),
        }
    }

    /// A connection that was used before, if one is left.
    pub(crate) fn reuse(self: &Rc<Self>) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() > self.timeouts.idle {
                // All that lie below are older still.
                idle.clear();
                return None;
            }
            // One that the endpoint has closed meanwhile is not ready.
            if connection.sender.is_ready() {
                let pool = Rc::clone(self);
                return Some(Lease { pool, connection });
            }
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
        let connected = connect(&self.endpoint, self.timeouts.connect).await;
        let stream = connected.inspect_err(|error| self.note_failure(error))?;
        self.counters.connects.add(1);
        let connection = handshake(stream, open).await.map_err(ProxyError::Broken)?;
        let pool = Rc::clone(self);
        Ok(Lease { pool, connection })
    }

    /// Counts a connection that could not be made, and says so now and then.
    fn note_failure(&self, error: &ProxyError) {
        self.counters.connect_failures.add(1);
        let now = clock::monotonic();
        let is_news = |last: Instant| now - last > WARNING_INTERVAL;
        if self.warned.get().is_none_or(is_news) {
            self.warned.set(Some(now));
            tracing::warn!(endpoint = %self.endpoint, %error, "no connection");
        }
    }

    /// Closes connections that nobody has used for long.
    pub(crate) fn close_idle(&self, now: Instant) {
        let is_fresh = |idle: &Idle| now - idle.since <= self.timeouts.idle;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| is_fresh(idle) && idle.connection.sender.is_ready());
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            let since = clock::monotonic();
            idle.push(Idle { connection, since });
        }
    }

    /// The endpoint's limits of time.
    pub(crate) const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// The endpoint.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

async fn handshake(stream: TcpStream, open: OpenConnection) -> hyper::Result<Connection> {
    // hyper takes at most 100 fields in a head unless told otherwise, and being told the same
    // makes it keep them on the heap.
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a backend ended");
        }
        drop(open);
    });
    let driver = driver.abort_handle();
    Ok(Connection { sender, driver })
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
    connection: Connection,
}

impl Lease {
    /// Sends a request, and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        let answered = self.connection.sender.try_send_request(request).await;
        self.pool.counters.requests.add(u64::from(answered.is_ok()));
        answered
    }

    /// Returns the connection after the request has been sent and the answer read, both to their
    /// ends.
    pub(crate) fn give_back(self) {
        let Self {
            pool,
            mut connection,
        } = self;
        if connection.sender.is_ready() {
            pool.keep(connection);
        } else {
            // It has a last word to say; it is kept once it has said it.
            spawn_local(async move {
                let ready = timeout(pool.timeouts.idle, connection.sender.ready()).await;
                if ready.is_ok_and(|ready| ready.is_ok()) {
                    pool.keep(connection);
                }
            });
        }
    }
}
