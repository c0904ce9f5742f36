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
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::domain::backend::{Endpoint, Limits, Protocol, Timeouts};
use crate::domain::evidence::OutcomeClass;
use crate::proxy::error::ProxyError;
use crate::proxy::turn::Departures;
use crate::proxy::upstream::alarms::Alarms;
use crate::proxy::upstream::establish::{Established, OpenConnection, Terms};
use crate::proxy::upstream::lease::Lease;
use crate::proxy::upstream::making::Making;
use crate::proxy::upstream::room::Room;
use crate::proxy::upstream::{http1, http2};
use crate::runtime::clock;
use crate::runtime::endpoint_health::EndpointHealth;
use crate::runtime::recorder::EndpointCounters;

/// The most unused connections that are kept; what a burst left over beyond that is closed.
const IDLE_MAX: usize = 256;

/// How often each worker logs, at the most, that an endpoint takes no connection.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

struct Idle {
    connection: Box<http1::Connection>,
    since: Instant,
}

/// A connection that was waited for.
pub(crate) struct Lent {
    pub(crate) lease: Lease,
    /// Whether nobody has used it before.
    pub(crate) is_new: bool,
}

impl Lent {
    const fn kept(lease: Lease) -> Self {
        Self {
            lease,
            is_new: false,
        }
    }
}

/// Counts an exchange as under way for as long as it exists.
pub(crate) struct InFlight(Rc<Pool>);

impl InFlight {
    /// One more at the endpoint of a pool.
    pub(crate) fn at(pool: &Rc<Pool>) -> Self {
        pool.in_flight.set(pool.in_flight.get() + 1);
        Self(Rc::clone(pool))
    }

    /// Where it is under way.
    pub(crate) const fn pool(&self) -> &Rc<Pool> {
        &self.0
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
    health: Arc<EndpointHealth>,
    /// With how many failures in a row it is suspect; none where it does not matter.
    failures_max: Cell<Option<NonZeroU32>>,
    /// Oldest first.
    idle: RefCell<Vec<Idle>>,
    /// Those of HTTP/2, lent or not.
    shared: RefCell<Vec<Rc<http2::Connection>>>,
    /// Whether the next connection may be one to share, as far as is known.
    may_share: Cell<bool>,
    /// Those that may be shared once they are made.
    making: Making,
    /// How many connections there may be, lent or idle, and who waits for one.
    room: Rc<Room>,
    /// Exchanges that are under way, or about to be.
    in_flight: Cell<usize>,
    /// What says that an answer is overdue.
    alarms: Alarms,
    /// By which requests leave.
    departures: Rc<Departures>,
    /// When it was last logged that no connection could be made.
    warned: Cell<Option<Instant>>,
}

impl Pool {
    /// A pool with nothing in it. `limits` are this worker's part.
    pub(crate) fn new(
        terms: Terms,
        limits: Limits,
        (counters, health): (&Arc<EndpointCounters>, &Arc<EndpointHealth>),
        departures: Rc<Departures>,
    ) -> Self {
        let may_share = match terms.protocol {
            Protocol::Auto => terms.tls.is_some(),
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        };
        let room = Rc::new(Room::new(limits, Arc::clone(counters)));
        Self {
            terms,
            counters: Arc::clone(counters),
            health: Arc::clone(health),
            failures_max: Cell::default(),
            idle: RefCell::default(),
            shared: RefCell::default(),
            may_share: Cell::new(may_share),
            making: Making::default(),
            room,
            in_flight: Cell::default(),
            alarms: Alarms::default(),
            departures,
            warned: Cell::default(),
        }
    }

    /// Sets how many connections there may be and how many requests may wait for one; this worker's part.
    pub(crate) fn resize(&self, limits: Limits) {
        self.room.resize(limits);
    }

    /// Sets with how many failures in a row the endpoint is suspect, if with any.
    pub(crate) fn tell_after(&self, failures_max: Option<NonZeroU32>) {
        self.failures_max.set(failures_max);
    }

    /// Takes in how an exchange with the endpoint went. What the client or we have spoiled says nothing.
    pub(crate) fn note_outcome(&self, class: OutcomeClass) {
        let Some(most) = self.failures_max.get() else {
            return;
        };
        match class {
            OutcomeClass::BackendFailure(failure) => self.health.failed(failure, most.get()),
            class if class.is_evidence() => self.health.succeeded(),
            _ => {}
        }
    }

    /// A connection that was used before, or a share of one, if there is any and it `must_be_own` not;
    /// none where others have waited for it already.
    pub(crate) fn reuse(self: &Rc<Self>, must_be_own: bool, now: Instant) -> Option<Lease> {
        if self.room.is_waited_for() {
            return None;
        }
        self.take_kept(must_be_own, now)
    }

    fn take_kept(self: &Rc<Self>, must_be_own: bool, now: Instant) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, since }) = idle.pop() {
            if now.saturating_duration_since(since) > self.timeouts().idle {
                // All that lie below are older still.
                idle.clear();
                break;
            }
            if connection.is_ready() {
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

    /// Whether a request would have to wait for a connection.
    pub(crate) fn is_full(&self) -> bool {
        self.room.is_full()
            && (self.room.is_waited_for()
                || self.idle.borrow().is_empty()
                    && !self.shared.borrow().iter().any(|it| it.has_room()))
    }

    /// A new connection, a share of one that somebody else makes meanwhile, or one that became free while
    /// there was room for no more. One that `must_be_own` speaks HTTP/1.1.
    ///
    /// # Errors
    /// [`ProxyError::Busy`] or [`ProxyError::NoneFree`] when there are as many as there may be, or why
    /// none could be made.
    pub(crate) async fn connect(self: &Rc<Self>, must_be_own: bool) -> Result<Lent, ProxyError> {
        // Rare, and large: not part of what each request carries.
        if must_be_own {
            Box::pin(self.make_in_turn(Some(Protocol::Http1))).await
        } else {
            Box::pin(self.share_or_make()).await
        }
    }

    async fn share_or_make(self: &Rc<Self>) -> Result<Lent, ProxyError> {
        let deadline = clock::monotonic() + self.timeouts().connect;
        while self.may_share.get() && self.making.promises_room() {
            let waited = timeout_at(deadline, self.making.wait()).await;
            let was_made = waited.map_err(|_| ProxyError::ConnectTimeout)?;
            if let Some(lease) = self.share() {
                return Ok(Lent::kept(lease));
            }
            if !was_made {
                // Nor would the next: all who waited find out for themselves, at once.
                break;
            }
        }
        if self.room.is_full() || self.room.is_waited_for() {
            return self.make_in_turn(None).await;
        }
        self.make(deadline, None).await
    }

    /// Makes a connection once there is room for it, unless one becomes free before.
    async fn make_in_turn(self: &Rc<Self>, only: Option<Protocol>) -> Result<Lent, ProxyError> {
        let deadline = clock::monotonic() + self.timeouts().connect;
        let mut must_wait = self.room.is_waited_for();
        while must_wait || self.room.is_full() {
            self.room.wait(deadline).await?;
            if let Some(lease) = self.take_kept(only.is_some(), clock::monotonic()) {
                return Ok(Lent::kept(lease));
            }
            must_wait = false;
        }
        let deadline = clock::monotonic() + self.timeouts().connect;
        self.make(deadline, only).await
    }

    async fn make(
        self: &Rc<Self>,
        deadline: Instant,
        only: Option<Protocol>,
    ) -> Result<Lent, ProxyError> {
        // Counted from here on, so that many who connect at once cannot pass the limit together.
        let open = OpenConnection::count(&self.room);
        let may_share = self.may_share.get() && only.is_none();
        let mut making = may_share.then(|| self.making.begin());
        let made = self.terms.establish(open, deadline, only).await;
        let made = made.inspect_err(|error| self.note_failure(error))?;
        self.counters.connects.add(1);
        let pool = Rc::clone(self);
        let lease = match made {
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
                self.room.has_freed_many();
                lease
            }
        };
        Ok(Lent {
            lease,
            is_new: true,
        })
    }

    /// Counts a connection that could not be made, and says so now and then.
    fn note_failure(&self, error: &ProxyError) {
        self.counters.connect_failures.add(1);
        self.warn(error, "no connection");
    }

    /// Says now and then that the endpoint broke off an exchange, and how.
    pub(crate) fn note_break(&self, error: &ProxyError) {
        self.warn(error, "no answer");
    }

    fn warn(&self, error: &ProxyError, what: &str) {
        let now = clock::monotonic();
        let is_news = |last: Instant| now - last > WARNING_INTERVAL;
        if self.warned.get().is_none_or(is_news) {
            self.warned.set(Some(now));
            let endpoint = self.endpoint();
            let causes = successors(error.source(), |&error| error.source());
            // Over TLS the two have agreed on what they speak.
            if let Some(hint) = error.cure().filter(|_| self.terms.tls.is_none()) {
                return tracing::warn!(%endpoint, %error, hint, "{what}");
            }
            match causes.last() {
                Some(cause) => tracing::warn!(%endpoint, %error, %cause, "{what}"),
                None => tracing::warn!(%endpoint, %error, "{what}"),
            }
        }
    }

    /// Closes connections that nobody has used for long.
    pub(crate) fn close_idle(&self, now: Instant) {
        let limit = self.timeouts().idle;
        let is_fresh = |idle: &Idle| now - idle.since <= limit;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| is_fresh(idle) && idle.connection.is_ready());
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| connection.is_usable(now, limit));
    }

    pub(super) fn keep(&self, connection: Box<http1::Connection>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            let since = clock::monotonic();
            idle.push(Idle { connection, since });
            self.room.has_freed_one();
        }
    }

    /// Counts a request that the endpoint has failed and that is sent once more, if the budget allows.
    pub(crate) fn count_retry(&self, is_granted: bool) {
        let EndpointCounters {
            retries,
            retries_denied,
            ..
        } = &*self.counters;
        if is_granted { retries } else { retries_denied }.add(1);
    }

    /// Counts a request that is sent once more because a kept connection was closed under it.
    pub(crate) fn count_repeat(&self) {
        self.counters.repeats.add(1);
    }

    pub(super) fn counters(&self) -> &EndpointCounters {
        &self.counters
    }

    /// How the endpoint is.
    pub(crate) const fn health(&self) -> &Arc<EndpointHealth> {
        &self.health
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

    /// What says that an answer is overdue.
    pub(crate) const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// By which requests leave.
    pub(super) fn departures(&self) -> &Departures {
        &self.departures
    }

    /// The endpoint.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.terms.endpoint
    }
}
