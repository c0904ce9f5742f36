//! One worker's connections to one endpoint.
//!
//! A connection of HTTP/1.1 is lent to one exchange at a time and comes back when the request has
//! been sent and the answer read, both to their ends. The one used last is lent first, so that what
//! a quiet hour leaves over grows old and is closed.
//!
//! Connections of HTTP/2 stay here while exchanges share them, the first that has room taking the
//! next. Where one may be shared, whoever finds none waits for one that is being made already, as
//! long as it promises room: a burst does not open a connection for each of its requests.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::iter::successors;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::domain::backend::{Endpoint, Protocol, Timeouts};
use crate::proxy::error::ProxyError;
use crate::proxy::upstream::establish::{Established, OpenConnection, Terms};
use crate::proxy::upstream::lease::Lease;
use crate::proxy::upstream::making::Making;
use crate::proxy::upstream::{http1, http2};
use crate::runtime::clock;
use crate::runtime::recorder::EndpointCounters;

/// The most connections that one worker has to one endpoint.
const CONNECTIONS_MAX: usize = 1024;

/// The most unused connections that are kept; what a burst left over beyond that is closed.
const IDLE_MAX: usize = 256;

/// How often each worker logs, at the most, that an endpoint takes no connection.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

struct Idle {
    connection: Box<http1::Connection>,
    since: Instant,
}

/// Counts an exchange as under way for as long as it exists.
pub(crate) struct InFlight(Rc<Pool>);

impl InFlight {
    /// One more at the endpoint of a pool.
    pub(crate) fn at(pool: &Rc<Pool>) -> Self {
        pool.in_flight.set(pool.in_flight.get() + 1);
        Self(Rc::clone(pool))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// Keeps and lends connections to one endpoint.
pub(crate) struct Pool {
    terms: Terms,
    counters: Arc<EndpointCounters>,
    /// Oldest first.
    idle: RefCell<Vec<Idle>>,
    /// Those of HTTP/2, lent or not.
    shared: RefCell<Vec<Rc<http2::Connection>>>,
    /// Whether the next connection may be one to share, as far as is known.
    may_share: Cell<bool>,
    /// Those that may be shared once they are made.
    making: Making,
    /// Connections that exist, lent or idle.
    open: Rc<Cell<usize>>,
    /// Exchanges that are under way, or about to be.
    in_flight: Cell<usize>,
    /// When it was last logged that no connection could be made.
    warned: Cell<Option<Instant>>,
}

impl Pool {
    pub(crate) fn new(terms: Terms, counters: Arc<EndpointCounters>) -> Self {
        let may_share = match terms.protocol {
            Protocol::Auto => terms.tls.is_some(),
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        };
        Self {
            terms,
            counters,
            idle: RefCell::default(),
            shared: RefCell::default(),
            may_share: Cell::new(may_share),
            making: Making::default(),
            open: Rc::default(),
            in_flight: Cell::default(),
            warned: Cell::default(),
        }
    }

    /// A connection that was used before, or a share of one, if there is any and it `must_be_own` not.
    pub(crate) fn reuse(self: &Rc<Self>, must_be_own: bool) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() > self.timeouts().idle {
                // All that lie below are older still.
                idle.clear();
                break;
            }
            // One that the endpoint has closed meanwhile is not ready.
            if connection.sender.is_ready() {
                return Some(Lease::whole(Rc::clone(self), connection));
            }
        }
        if must_be_own { None } else { self.share() }
    }

    /// A share of a connection that has room.
    fn share(self: &Rc<Self>) -> Option<Lease> {
        let mut shared = self.shared.borrow_mut();
        if shared.is_empty() {
            return None;
        }
        let (now, limit) = (clock::monotonic(), self.timeouts().idle);
        shared.retain(|connection| connection.is_usable(now, limit));
        let connection = shared.iter().find(|connection| connection.has_room())?;
        Some(Lease::share(Rc::clone(self), connection))
    }

    /// A new connection, or a share of one that somebody else makes meanwhile. One that `must_be_own`
    /// speaks HTTP/1.1.
    ///
    /// # Errors
    /// [`ProxyError::Busy`] when there are as many as there may be, or why none could be made.
    pub(crate) async fn connect(self: &Rc<Self>, must_be_own: bool) -> Result<Lease, ProxyError> {
        let deadline = clock::monotonic() + self.timeouts().connect;
        // Rare, and large: not part of what each request carries.
        if must_be_own {
            Box::pin(self.make(deadline, Some(Protocol::Http1))).await
        } else {
            Box::pin(self.connect_by(deadline)).await
        }
    }

    async fn connect_by(self: &Rc<Self>, deadline: Instant) -> Result<Lease, ProxyError> {
        while self.may_share.get() && self.making.promises_room() {
            let waited = timeout_at(deadline, self.making.wait()).await;
            let was_made = waited.map_err(|_| ProxyError::ConnectTimeout)?;
            if let Some(lease) = self.share() {
                return Ok(lease);
            }
            if !was_made {
                // Nor would the next: all who waited find out for themselves, at once.
                break;
            }
        }
        self.make(deadline, None).await
    }

    async fn make(
        self: &Rc<Self>,
        deadline: Instant,
        only: Option<Protocol>,
    ) -> Result<Lease, ProxyError> {
        if self.open.get() >= CONNECTIONS_MAX {
            return Err(ProxyError::Busy);
        }
        // Counted from here on, so that many who connect at once cannot pass the limit together.
        let open = OpenConnection::count(&self.open, &self.counters);
        let may_share = self.may_share.get() && only.is_none();
        let mut making = may_share.then(|| self.making.begin());
        let made = self.terms.establish(open, deadline, only).await;
        let made = made.inspect_err(|error| self.note_failure(error))?;
        self.counters.connects.add(1);
        let pool = Rc::clone(self);
        Ok(match made {
            Established::Http1(connection) => {
                if only.is_none() {
                    self.may_share.set(false);
                }
                Lease::whole(pool, connection)
            }
            Established::Http2(connection) => {
                self.may_share.set(true);
                let lease = Lease::share(pool, &connection);
                if let Some(making) = &mut making {
                    making.done(connection.streams_max());
                }
                self.shared.borrow_mut().push(connection);
                lease
            }
        })
    }

    /// Counts a connection that could not be made, and says so now and then.
    fn note_failure(&self, error: &ProxyError) {
        self.counters.connect_failures.add(1);
        let now = clock::monotonic();
        let is_news = |last: Instant| now - last > WARNING_INTERVAL;
        if self.warned.get().is_none_or(is_news) {
            self.warned.set(Some(now));
            let endpoint = self.endpoint();
            let causes = successors(error.source(), |&error| error.source());
            match causes.last() {
                Some(cause) => tracing::warn!(%endpoint, %error, %cause, "no connection"),
                None => tracing::warn!(%endpoint, %error, "no connection"),
            }
        }
    }

    /// Closes connections that nobody has used for long.
    pub(crate) fn close_idle(&self, now: Instant) {
        let limit = self.timeouts().idle;
        let is_fresh = |idle: &Idle| now - idle.since <= limit;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| is_fresh(idle) && idle.connection.sender.is_ready());
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| connection.is_usable(now, limit));
    }

    pub(super) fn keep(&self, connection: Box<http1::Connection>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            let since = clock::monotonic();
            idle.push(Idle { connection, since });
        }
    }

    pub(super) fn counters(&self) -> &EndpointCounters {
        &self.counters
    }

    /// How many exchanges are under way.
    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// How the endpoint is spoken to.
    pub(crate) const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The endpoint's limits of time.
    pub(crate) const fn timeouts(&self) -> &Timeouts {
        &self.terms.timeouts
    }

    /// The endpoint.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.terms.endpoint
    }
}
