//! WebSocket and every other protocol that a connection is switched to (RFC 9110, section 7.8).
//!
//! Bytes are passed on unread only after a backend has said 101 to a request that asked for it. Until
//! then what a client sends behind such a request waits; it is a request of its own if the backend says
//! anything else.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Version, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use crate::domain::evidence::{Failure, OutcomeClass};
use crate::proxy::client::{Client, Order};
use crate::proxy::observe::Observation;
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::http1::Upgrade;
use crate::proxy::upstream::lease::Lease;
use crate::runtime::clock;

/// How long a tunnel may be without a byte in either direction.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// How many bytes are passed on at once.
const PIECE_BYTES: usize = 16 * 1024;

/// A request's wish for another protocol, which is granted or not: once it is dropped the client's
/// next bytes are a request again.
pub(crate) struct Wish {
    protocol: HeaderValue,
    undecided: Undecided,
}

/// Says that HTTP goes on, unless something else was said.
struct Undecided(Option<Rc<Client>>);

impl Drop for Undecided {
    fn drop(&mut self) {
        if let Some(client) = &self.0 {
            client.stay();
        }
    }
}

impl Wish {
    /// The wish of a request, if it is one that is passed on.
    ///
    /// `h2c` is not: it would be between the backend and us, and we speak HTTP/2 in the clear without
    /// it.
    pub(crate) fn of<B>(request: &Request<B>, client: &Rc<Client>) -> Option<Self> {
        if !client.asks_for_switch.get() {
            return None;
        }
        // Those before it may not have been answered yet.
        let fields = request.headers();
        let protocol = fields.get(header::UPGRADE)?;
        client.asks_for_switch.set(false);
        let undecided = Undecided(Some(Rc::clone(client)));
        let has_one = fields.get_all(header::UPGRADE).iter().count() == 1;
        let is_h2c = tokens(protocol).any(|token| token.eq_ignore_ascii_case(b"h2c"));
        let names_upgrade =
            |field| tokens(field).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
        let is_asked = fields.get_all(header::CONNECTION).iter().any(names_upgrade);
        let is_passed_on = request.version() == Version::HTTP_11 && has_one && !is_h2c && is_asked;
        is_passed_on.then(|| Self {
            protocol: protocol.clone(),
            undecided,
        })
    }

    /// Writes the wish into a head from which all of its kind was removed.
    pub(crate) fn put(&self, fields: &mut HeaderMap) {
        put(fields, self.protocol.clone());
    }

    /// Writes that it is granted into the head that says so, with the protocol that the backend names;
    /// `false` where that is not one that was asked for.
    pub(crate) fn grant(mut self, fields: &mut HeaderMap, named: Option<&HeaderValue>) -> bool {
        let was_asked =
            |token: &[u8]| tokens(&self.protocol).any(|asked| asked.eq_ignore_ascii_case(token));
        let Some(named) = named.filter(|named| tokens(named).all(was_asked)) else {
            return false;
        };
        put(fields, named.clone());
        self.undecided.0 = None;
        true
    }
}

fn tokens(field: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let parts = field.as_bytes().split(|byte| *byte == b',');
    parts.map(<[u8]>::trim_ascii)
}

/// Writes the wish, or that it is granted, into a head from which all of its kind was removed.
fn put(fields: &mut HeaderMap, protocol: HeaderValue) {
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, protocol);
}

/// What lies behind a client's connection after a switch.
pub(crate) struct Tunnel {
    upstream: Upgrade,
    observation: Box<Observation>,
    _lease: Lease,
}

impl Tunnel {
    /// For a backend that has said 101; what is observed goes on to the end of the tunnel.
    pub(crate) const fn new(
        upstream: Upgrade,
        observation: Box<Observation>,
        lease: Lease,
    ) -> Self {
        Self {
            upstream,
            observation,
            _lease: lease,
        }
    }

    /// Passes bytes on until both sides have ended, one of them breaks, none says anything for long, or
    /// the client's connection is cut.
    pub(crate) async fn run<S>(self, client: S, whose: &Client)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let observation = self.observation;
        let error = match self.upstream {
            Upgrade::Own(Ok(upstream)) => return pass(client, upstream, observation, whose).await,
            Upgrade::Own(Err(error)) => error,
            Upgrade::Hyper(upstream) => match upstream.await {
                Ok(upstream) => {
                    return pass(client, TokioIo::new(upstream), observation, whose).await;
                }
                Err(error) => BrokenError::Hyper(error),
            },
        };
        tracing::debug!(client = %whose.ip(), %error, "no tunnel");
        observation.cut(OutcomeClass::BackendFailure(Failure::Reset));
    }
}

/// Passes bytes on until the tunnel ends, and tells how it went.
async fn pass<S, U>(client: S, upstream: U, observation: Box<Observation>, whose: &Client)
where
    S: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut passing = Passing {
        observation: Some(observation),
        traffic: Traffic::default(),
    };
    let ended = tokio::select! {
        ended = pass_on(client, upstream, &passing.traffic) => ended,
        () = whose.told(Order::Cut) => Ok(()),
    };
    if let Err(Broken::Upstream(error)) = ended {
        tracing::debug!(client = %whose.ip(), %error, "a backend broke a tunnel");
        let failure = OutcomeClass::BackendFailure(Failure::CutBody);
        if let Some(observation) = passing.end() {
            observation.cut(failure);
        }
    }
}

/// What is observed of a tunnel. Whatever ends it, the end of the process included, it is told then how much
/// went through.
struct Passing {
    /// Until the end.
    observation: Option<Box<Observation>>,
    traffic: Traffic,
}

impl Passing {
    fn end(&mut self) -> Option<Box<Observation>> {
        let mut observation = self.observation.take()?;
        let Traffic { up, down } = &self.traffic;
        observation.passed_through(up.get(), down.get());
        Some(observation)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// Bytes that went through a tunnel.
#[derive(Default)]
struct Traffic {
    up: Rc<Cell<u64>>,
    down: Rc<Cell<u64>>,
}

/// Which side of a tunnel broke.
enum Broken {
    Client,
    Upstream(io::Error),
}

/// Passes bytes on in both directions. A side that has said its last word may still listen.
async fn pass_on<S, U>(mut client: S, mut upstream: U, traffic: &Traffic) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let moved = Rc::new(Cell::new(clock::monotonic()));
    let mut up = Direction::new(Rc::clone(&moved), Rc::clone(&traffic.up));
    let mut down = Direction::new(Rc::clone(&moved), Rc::clone(&traffic.down));
    let both = poll_fn(|cx| {
        let mut up_ended = match up.poll(cx, &mut client, &mut upstream) {
            Poll::Ready(Err((Side::From, _))) => return Poll::Ready(Err(Broken::Client)),
            // It wants to hear no more. What it has said before is still to be passed on.
            Poll::Ready(Err((Side::To, _))) => {
                up.stop();
                Poll::Ready(())
            }
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        };
        match down.poll(cx, &mut upstream, &mut client) {
            Poll::Ready(Err((Side::From, error))) if !up.was_stopped() => {
                return Poll::Ready(Err(Broken::Upstream(error)));
            }
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Client)),
            // Nobody would read what the client still has to say.
            Poll::Ready(Ok(())) if up.was_stopped() => up_ended = Poll::Ready(()),
            Poll::Ready(Ok(())) => {}
            Poll::Pending => return Poll::Pending,
        }
        up_ended.map(Ok)
    });
    let idle = async {
        loop {
            let until = moved.get() + IDLE_MAX;
            if clock::monotonic() >= until {
                return;
            }
            sleep_until(until).await;
        }
    };
    tokio::select! {
        biased;
        result = both => result,
        () = idle => Ok(()),
    }
}

/// Where an error came up.
#[derive(Clone, Copy)]
enum Side {
    From,
    To,
}

/// One direction of a tunnel. What the one side sent and the other does not take yet waits here, and
/// nothing more is read meanwhile.
struct Direction {
    waiting: Vec<u8>,
    place: Place,
    moved: Rc<Cell<Instant>>,
    /// How many bytes were passed on.
    bytes: Rc<Cell<u64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Open,
    /// The one side has ended, and the other is to be told.
    Ending,
    Ended,
    /// The other side takes no more.
    Stopped,
}

impl Direction {
    const fn new(moved: Rc<Cell<Instant>>, bytes: Rc<Cell<u64>>) -> Self {
        Self {
            waiting: Vec::new(),
            place: Place::Open,
            moved,
            bytes,
        }
    }

    fn stop(&mut self) {
        self.place = Place::Stopped;
        self.waiting = Vec::new();
    }

    fn was_stopped(&self) -> bool {
        self.place == Place::Stopped
    }

    fn poll<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
    ) -> Poll<Result<(), (Side, io::Error)>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let (mut from, mut to) = (Pin::new(from), Pin::new(to));
        let mut piece = [0; PIECE_BYTES];
        loop {
            while !self.waiting.is_empty() {
                let written = to.as_mut().poll_write(cx, &self.waiting);
                let written = ready!(written).map_err(|error| (Side::To, error))?;
                if written == 0 {
                    return Poll::Ready(Err((Side::To, io::ErrorKind::WriteZero.into())));
                }
                self.moved.set(clock::monotonic());
                self.bytes.set(self.bytes.get() + written as u64);
                self.waiting.drain(..written);
            }
            self.waiting = Vec::new();
            match self.place {
                Place::Open => {}
                Place::Ending => {
                    let shut = to.as_mut().poll_shutdown(cx);
                    ready!(shut).map_err(|error| (Side::To, error))?;
                    self.place = Place::Ended;
                    return Poll::Ready(Ok(()));
                }
                Place::Ended | Place::Stopped => return Poll::Ready(Ok(())),
            }
            let mut into = ReadBuf::new(&mut piece);
            match from.as_mut().poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if into.filled().is_empty() => self.place = Place::Ending,
                Poll::Ready(Ok(())) => self.waiting.extend_from_slice(into.filled()),
                // TLS that ends without a word of its own ends all the same.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.place = Place::Ending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err((Side::From, error))),
                Poll::Pending => {
                    // What has been written is not to wait for more.
                    let flushed = to.as_mut().poll_flush(cx);
                    if let Poll::Ready(Err(error)) = flushed {
                        return Poll::Ready(Err((Side::To, error)));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
