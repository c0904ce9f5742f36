//! What is remembered of a client's connection.
//!
//! There is no timer per connection. The worker looks at all its connections once a second; each
//! says what is to become of it ([`Client::due`]), and a look costs nothing on the way of a
//! request.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use slab::Slab;
use tokio::time::Instant;

use crate::config::{ListenerLimits, defaults};
use crate::domain::certificate::CertificateNames;
use crate::proxy::address::Address;
use crate::proxy::connection::stream::Stream;
use crate::proxy::framing::Refusal;
use crate::proxy::identity::Peer;
use crate::proxy::interim::Interim;
use crate::proxy::rest::Rest;
use crate::proxy::upgrade::Tunnel;
use crate::proxy::worker::HOUSEKEEPING;
use crate::runtime::clock;
use crate::runtime::connections::Cut;

/// How long a connection that is to close may take to send what it still holds.
const LINGER: Duration = Duration::from_secs(5);

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Go on.
    Serve,
    /// Let the request under way end, if there is one, and close.
    Close,
    /// Close at once.
    Cut,
}

/// What a client's connection is spoken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// The bare socket.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The word for it, as in a URL.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What becomes of a request for another protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Switch {
    /// That is not known yet.
    #[default]
    Undecided,
    /// HTTP goes on.
    Stay,
}

/// A client's connection.
pub(crate) struct Client {
    address: Address,
    /// The address that a trusted peer passes on, in the place of its own.
    passed_on: OnceCell<Box<Address>>,
    /// What it is spoken on.
    pub(crate) scheme: Scheme,
    /// What it may take up.
    pub(crate) limits: ListenerLimits,
    /// Whether callers may rate here what they were shown.
    pub(crate) may_rate: bool,
    /// What the client has shown of itself in the handshake.
    certificate: OnceCell<Box<CertificateNames>>,
    /// The last `Forwarded` value made for this client, with the host it was made for.
    pub(crate) forwarded: RefCell<Option<(HeaderValue, HeaderValue)>>,
    /// Why a request was not let in, as the last one of the connection.
    pub(crate) refusal: Cell<Option<Refusal>>,
    /// Whether what was taken for HTTP/1 turned out to be HTTP/2.
    pub(crate) speaks_http2: Cell<bool>,
    /// Whether a request with the field `Upgrade` was let in that nobody has looked at yet.
    pub(crate) asks_for_switch: Cell<bool>,
    /// What becomes of the request for another protocol that was let in last.
    pub(crate) switch: Cell<Switch>,
    /// Where the bytes go after a switch.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
    /// Answers that come before the answer, where they can be passed on.
    pub(crate) interim: OnceCell<Arc<Interim>>,
    /// Whether all that was written to an HTTP/1 connection has left, or does at the end of the turn.
    pub(crate) is_flushed: Cell<bool>,
    /// Whether nothing has come of a request over HTTP/1 that was not let on as a whole.
    pub(crate) is_between_requests: Cell<bool>,
    /// Whether it waits for a request with as little as possible, or is to.
    rest: Rest,
    /// The streams of an HTTP/2 connection.
    streams: RefCell<Slab<Rc<Stream>>>,
    /// Requests that are not answered to their end.
    in_flight: Cell<usize>,
    /// When the last request ended, or the connection began, to the worker's second.
    last_used: Cell<Instant>,
    /// Since when a head comes that is not whole.
    head_since: Cell<Option<Instant>>,
    /// Since when the client has taken nothing of what it was sent, if something waits for it.
    not_taking_since: Cell<Option<Instant>>,
    /// How long it may take nothing.
    take_limit: Cell<Duration>,
    /// When the connection was first served; it may have waited for that.
    began: Cell<Option<Instant>>,
    order: Cell<Order>,
    /// When it was told to close.
    closing_since: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

impl Client {
    pub(crate) fn new(peer: SocketAddr, scheme: Scheme, now: Instant) -> Self {
        Self {
            address: Address::new(peer.ip()),
            passed_on: OnceCell::new(),
            scheme,
            limits: defaults::LISTENER_LIMITS,
            may_rate: false,
            certificate: OnceCell::new(),
            forwarded: RefCell::default(),
            refusal: Cell::default(),
            speaks_http2: Cell::default(),
            asks_for_switch: Cell::default(),
            switch: Cell::default(),
            tunnel: RefCell::default(),
            interim: OnceCell::new(),
            is_flushed: Cell::new(true),
            is_between_requests: Cell::new(true),
            rest: Rest::default(),
            streams: RefCell::default(),
            in_flight: Cell::new(0),
            last_used: Cell::new(now),
            head_since: Cell::new(None),
            not_taking_since: Cell::new(None),
            take_limit: Cell::new(defaults::LISTENER_LIMITS.idle_timeout),
            began: Cell::new(None),
            order: Cell::new(Order::Serve),
            closing_since: Cell::new(None),
            waker: RefCell::default(),
        }
    }

    /// The same client within other limits.
    pub(crate) fn within(self, limits: ListenerLimits) -> Self {
        self.take_limit.set(limits.idle_timeout);
        Self { limits, ..self }
    }

    /// The same client, who may rate what it was shown.
    pub(crate) fn rating(self, may_rate: bool) -> Self {
        Self { may_rate, ..self }
    }

    /// Says that the connection is served from `now` on.
    pub(crate) fn begin(&self, now: Instant) {
        self.began.set(Some(now));
        self.last_used.set(now);
    }

    /// Takes note of whom the peer, a trusted one, passes on: from now on this is who is at the other
    /// end. It can be said once, before the first request.
    pub(crate) fn is_passed_on_for(&self, ip: IpAddr) {
        self.passed_on.get_or_init(|| Box::new(Address::new(ip)));
    }

    fn address(&self) -> &Address {
        let passed_on = self.passed_on.get();
        passed_on.map_or(&self.address, |passed_on| passed_on)
    }

    /// The address at the other end, an IPv4 one as such.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address().ip
    }

    /// The same as header value.
    pub(crate) fn ip_value(&self) -> &HeaderValue {
        &self.address().value
    }

    /// Takes note of what the client has shown of itself.
    pub(crate) fn has_shown(&self, certificate: CertificateNames) {
        self.certificate.get_or_init(|| Box::new(certificate));
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> Peer<'_> {
        Peer {
            ip: self.ip(),
            certificate: self.certificate.get().map(|shown| &**shown),
            app: None,
            token: None,
        }
    }

    pub(crate) fn begin_request(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.rest.end();
    }

    pub(crate) fn end_request(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.last_used.set(now);
    }

    /// Whether nothing is lost where a connection of HTTP/1 that waits has no room for bytes any more: no request is
    /// under way or begun, all is sent, and it has been so for a while.
    pub(crate) fn may_rest(&self) -> bool {
        self.rest.is_allowed()
            && self.in_flight.get() == 0
            && self.order.get() == Order::Serve
            && self.is_between_requests.get()
            && self.is_flushed.get()
            && self.refusal.get().is_none()
    }

    /// Something comes again.
    pub(crate) fn wakes_up(&self) {
        self.rest.end();
    }

    /// Has the connection rest if nothing was asked for between two looks.
    pub(crate) fn look_at_rest(&self) {
        if self.rest.look(self.in_flight.get() == 0) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Says whether a head has begun and is not whole.
    pub(crate) fn is_sending_head(&self, is_sending: bool) {
        if is_sending != self.head_since.get().is_some() {
            self.head_since.set(is_sending.then(clock::monotonic));
        }
    }

    /// Says how long the client may take nothing of an answer.
    pub(crate) fn must_take_within(&self, limit: Duration) {
        self.take_limit.set(limit);
    }

    /// Says that the client has taken some of what it was sent.
    pub(crate) fn has_taken(&self, now: Instant) {
        if self.not_taking_since.take().is_some() {
            self.last_used.set(now);
        }
    }

    /// Says that what the client is sent has to wait until it takes some.
    pub(crate) fn is_not_taking(&self, now: Instant) {
        if self.not_taking_since.get().is_none() {
            self.not_taking_since.set(Some(now));
        }
    }

    /// Whether the connection has been served for at least so long at `now`.
    pub(crate) fn has_been_served_for(&self, span: Duration, now: Instant) -> bool {
        self.began.get().is_some_and(|began| now - began >= span)
    }

    /// What is to become of the connection, seen at `now`, and why where that is the client's fault. Times
    /// are told to the second, so a second more is granted.
    fn due(&self, now: Instant) -> (Order, Option<Cut>) {
        let is_over = |since: Instant, limit: Duration| now - since > limit + HOUSEKEEPING;
        if let Some(since) = self.not_taking_since.get() {
            if is_over(since, self.take_limit.get()) {
                (Order::Cut, Some(Cut::NotTaking))
            } else {
                (Order::Serve, None)
            }
        } else if self.in_flight.get() > 0 {
            (Order::Serve, None)
        } else if let Some(since) = self.head_since.get()
            && now - since.max(self.last_used.get() + HOUSEKEEPING) > self.limits.header_timeout
        {
            // It waited for as long as the request before it was answered, of which the end is told to the second.
            (Order::Cut, Some(Cut::SlowHead))
        } else if let Some(since) = self.closing_since.get()
            && is_over(since.max(self.last_used.get()), LINGER)
        {
            (Order::Cut, None)
        } else if is_over(self.last_used.get(), self.limits.idle_timeout) {
            (Order::Close, None)
        } else {
            (Order::Serve, None)
        }
    }

    /// The answer follows: what should have come before it and still waits comes too late, unless it
    /// can be written right now.
    pub(crate) fn stop_interim(&self) {
        if !self.is_flushed.get()
            && let Some(interim) = self.interim.get()
        {
            interim.take();
        }
    }

    /// Says that HTTP goes on after a request for another protocol, to whoever holds back what the client
    /// sent behind it.
    pub(crate) fn stay(&self) {
        self.switch.set(Switch::Stay);
        self.wake();
    }

    /// What it was told to do.
    pub(crate) const fn order(&self) -> Order {
        self.order.get()
    }

    /// Takes note of a stream; returns its place.
    pub(crate) fn enter_stream(&self, stream: Rc<Stream>) -> usize {
        self.streams.borrow_mut().insert(stream)
    }

    /// Forgets the stream at a place.
    pub(crate) fn leave_stream(&self, place: usize) {
        self.streams.borrow_mut().try_remove(place);
    }

    /// Looks whether the connection or one of its streams is overdue, and tells it so; tells why it is cut,
    /// once.
    pub(crate) fn look(&self, now: Instant) -> Option<Cut> {
        self.streams
            .borrow()
            .iter()
            .for_each(|(_, stream)| stream.look(now));
        let (order, why) = self.due(now);
        let is_news = self.tell(order, now);
        why.filter(|_| is_news)
    }

    /// Tells the connection what to do; it is never told less than before. `false` where it knew.
    pub(crate) fn tell(&self, order: Order, now: Instant) -> bool {
        if order <= self.order.get() {
            return false;
        }
        self.order.set(order);
        self.closing_since
            .set(self.closing_since.get().or(Some(now)));
        self.wake();
        true
    }

    /// Has whoever works with the connection woken when it is told something, or that HTTP goes on.
    pub(crate) fn wake_when_told(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        let is_known = |known: &Waker| known.will_wake(cx.waker());
        if !waker.as_ref().is_some_and(is_known) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Waits until the connection is told to close.
    pub(crate) async fn told_to_close(&self) {
        self.told(Order::Close).await;
    }

    /// Waits until the connection is told this, or more.
    pub(crate) async fn told(&self, order: Order) {
        let told = |cx: &mut Context<'_>| {
            if self.order.get() >= order {
                return Poll::Ready(());
            }
            self.wake_when_told(cx);
            Poll::Pending
        };
        poll_fn(told).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_its_time_from_the_end_of_the_request_before_it_which_is_told_to_the_second() {
        let now = clock::monotonic();
        let client = Client::new("192.0.2.1:7".parse().unwrap(), Scheme::Http, now);
        client.is_sending_head(true);
        client.begin_request();
        client.end_request(now + Duration::from_secs(5));
        let end = now + Duration::from_secs(5) + client.limits.header_timeout;
        assert!(client.due(end + HOUSEKEEPING / 2).1.is_none());
        let (_, cut) = client.due(end + HOUSEKEEPING * 2);
        assert!(matches!(cut, Some(Cut::SlowHead)));
    }
}
