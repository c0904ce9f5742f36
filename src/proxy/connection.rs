//! One client's connection: its HTTP/1 exchange, and what is remembered of it.
//!
//! There is no timer per connection. The worker looks at all its connections once a second and
//! tells those to close that nobody has used for long, and all of them when it is time to stop.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::proxy::service;
use crate::proxy::worker::Worker;

/// How long a connection may lie unused, or take to send a head.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The most bytes in the head of a request.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The most fields in the head of a request.
const HEADERS_MAX: usize = 100;

/// A client's connection.
pub(crate) struct Client {
    /// The address at the other end, an IPv4 one as such.
    pub(crate) ip: IpAddr,
    /// The same as header value.
    pub(crate) ip_value: HeaderValue,
    /// The last `Forwarded` value made for this client, with the host it was made for.
    pub(crate) forwarded: RefCell<Option<(HeaderValue, HeaderValue)>>,
    /// Requests that are not answered to their end.
    in_flight: Cell<usize>,
    /// When the last request ended, to the worker's second.
    last_used: Cell<Instant>,
    is_closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Client {
    pub(crate) fn new(peer: SocketAddr, now: Instant) -> Self {
        let ip = peer.ip().to_canonical();
        // An address in digits is always a header value.
        let ip_value = HeaderValue::from_str(&ip.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self {
            ip,
            ip_value,
            forwarded: RefCell::default(),
            in_flight: Cell::new(0),
            last_used: Cell::new(now),
            is_closing: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    pub(crate) fn begin_request(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub(crate) fn end_request(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.last_used.set(now);
    }

    /// Whether nothing has happened on this connection for longer than it may lie unused.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        self.in_flight.get() == 0 && now - self.last_used.get() > IDLE_TIMEOUT
    }

    /// Lets the request under way end, if there is one, and closes the connection.
    pub(crate) fn close(&self) {
        self.is_closing.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(stream: TcpStream, client: Rc<Client>, worker: Rc<Worker>) {
    let handle = service_fn(|request| {
        let (client, worker) = (Rc::clone(&client), Rc::clone(&worker));
        async move { Ok::<_, Infallible>(service::handle(worker, client, request).await) }
    });
    let connection = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), handle);
    let mut connection = pin!(connection);
    let mut is_told = false;
    let served = poll_fn(|cx| {
        if client.is_closing.get() && !is_told {
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        let polled = connection.as_mut().poll(cx);
        if polled.is_pending() && !is_told {
            let mut waker = client.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
        }
        Poll::map(polled, |served| served)
    });
    if let Err(error) = served.await {
        tracing::debug!(client = %client.ip, %error, "connection of a client ended");
    }
}
