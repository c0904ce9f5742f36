//! An HTTP/2 connection, shared by exchanges.
//!
//! It takes as many exchanges at once as the peer lets it, which is known from the start: a
//! connection counts as made only when the peer's settings have come (RFC 9113, section 3.4). So a
//! peer that speaks no HTTP/2 is found out before anything of a request was sent, and none is
//! refused for being one too many.
//!
//! There are no pings: many servers of gRPC close connections on which more than one comes in five
//! minutes. A connection on which an answer is overdue is left instead: it takes no new exchange,
//! those under way go on, and it closes with the last.

mod executor;
mod loan;
mod share;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::proxy::upstream::establish::OpenConnection;
use crate::proxy::upstream::http2::executor::LinkedExecutor;
use crate::proxy::upstream::http2::loan::LentUpload;
use crate::runtime::clock;

pub(super) use self::share::Share;

/// The most exchanges that share a connection, whatever the peer would take: what one lost packet
/// holds up, and what one lost connection takes with it, stays within bounds.
pub(super) const STREAMS_MAX: usize = 100;

/// How much of an answer may be under way before the client has taken it, which is what we hold where
/// it takes nothing: enough for 64 MB/s from a server that is a millisecond away.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all answers on a connection. Room for each of them, so that clients who do not take
/// their answers hold up nobody else's.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;

/// The largest head of an answer, in bytes as HTTP/2 counts them.
const HEAD_BYTES_MAX: u32 = 32 * 1024;

/// A connection that exchanges share. Dropped, it closes with the last exchange that is under way.
pub(super) struct Connection {
    sender: SendRequest<LentUpload>,
    link: Rc<Link>,
    scheme: http::uri::Scheme,
    /// How many exchanges are under way.
    streams: Cell<usize>,
    /// When there was one the last time.
    used: Cell<Instant>,
    is_left: Cell<bool>,
}

/// What is known of a connection, for as long as some task works on it.
struct Link {
    /// How many exchanges the peer lets be under way; 0 until it has said so.
    streams_max: Cell<usize>,
    /// Whom to wake when something has come from the peer.
    waiting: Cell<Option<Waker>>,
    open: OpenConnection,
}

impl Connection {
    /// Begins to speak HTTP/2 on a stream, and waits for the peer's settings.
    ///
    /// # Errors
    /// When the peer speaks no HTTP/2 or hangs up; with the reason, where one is known.
    pub(super) async fn open<S>(
        stream: S,
        scheme: http::uri::Scheme,
        open: OpenConnection,
    ) -> Result<Self, Option<hyper::Error>>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let link = Rc::new(Link {
            streams_max: Cell::new(0),
            waiting: Cell::default(),
            open,
        });
        let (sender, mut connection) = Builder::new(LinkedExecutor(Rc::clone(&link)))
            .initial_max_send_streams(0)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Some)?;
        poll_fn(|context| {
            link.waiting.set(Some(context.waker().clone()));
            match Pin::new(&mut connection).poll(context) {
                Poll::Ready(ended) => Poll::Ready(Err(ended.err())),
                Poll::Pending => match connection.current_max_send_streams() {
                    0 => Poll::Pending,
                    max => {
                        link.streams_max.set(max);
                        Poll::Ready(Ok(()))
                    }
                },
            }
        })
        .await?;
        let known = Rc::clone(&link);
        spawn_local(async move {
            let ended = poll_fn(|context| {
                let polled = Pin::new(&mut connection).poll(context);
                known.streams_max.set(connection.current_max_send_streams());
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "connection to a backend ended");
            }
        });
        Ok(Self {
            sender,
            link,
            scheme,
            streams: Cell::new(0),
            used: Cell::new(clock::monotonic()),
            is_left: Cell::new(false),
        })
    }

    /// How many exchanges it takes at once.
    pub(super) fn streams_max(&self) -> usize {
        self.link.streams_max.get().min(STREAMS_MAX)
    }

    /// Whether it takes another exchange now.
    pub(super) fn has_room(&self) -> bool {
        self.streams.get() < self.streams_max()
    }

    /// Whether it is any good for exchanges to come, now or later.
    pub(super) fn is_usable(&self, now: Instant, idle_limit: Duration) -> bool {
        let is_fresh = self.streams.get() > 0 || now - self.used.get() <= idle_limit;
        is_fresh && !self.is_left.get() && self.sender.is_ready()
    }

    /// Gives it no more exchanges.
    pub(super) fn leave(&self) {
        self.is_left.set(true);
    }
}
