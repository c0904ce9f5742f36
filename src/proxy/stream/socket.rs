//! A client's socket, from which what is small leaves at the end of the worker's [`turn`](crate::proxy::turn).
//!
//! Whoever wrote it need not stay for that: nothing that was taken here is lost with its writer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_local};

use crate::proxy::client::Client;
use crate::proxy::stream::outbox::{Outbox, some};
use crate::proxy::turn::Departing;
use crate::proxy::worker::Worker;

/// A client's socket, shared by who writes to it and who has what was written leave.
pub(super) struct Socket {
    inner: RefCell<Inner>,
    client: Rc<Client>,
    worker: Rc<Worker>,
}

struct Inner {
    tcp: TcpStream,
    outbox: Outbox,
    /// Whether it is to leave at the end of the turn.
    is_listed: bool,
    /// Whether nobody writes any more.
    is_left: bool,
    /// Sends what the client did not take at once.
    late: Option<AbortHandle>,
    /// Why nothing can be written, until the writer has been told.
    failed: Option<io::Error>,
    /// Who wants to write, and has to wait.
    writer: Option<Waker>,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, client: Rc<Client>, worker: Rc<Worker>) -> Rc<Self> {
        Rc::new(Self {
            inner: RefCell::new(Inner {
                tcp,
                outbox: Outbox::with_room(0),
                is_listed: false,
                is_left: false,
                late: None,
                failed: None,
                writer: None,
            }),
            client,
            worker,
        })
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner.borrow_mut().tcp).poll_read(cx, into)
    }

    pub(super) fn poll_write(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner.borrow_mut();
        ready!(inner.poll_free(cx))?;
        let Inner { tcp, outbox, .. } = &mut *inner;
        if let Some(kept) = outbox.keep(pieces) {
            if !std::mem::replace(&mut inner.is_listed, true) {
                self.worker.departures.list(Rc::clone(self) as _);
            }
            return Poll::Ready(Ok(kept));
        }
        let written = outbox.poll_pass(cx, tcp, pieces);
        self.note(written.is_pending());
        inner.waits(cx, written.is_pending());
        written
    }

    pub(super) fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_free(cx)
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        ready!(inner.poll_free(cx))?;
        let Inner { tcp, outbox, .. } = &mut *inner;
        let sent = outbox.poll_send(cx, tcp);
        self.note(sent.is_pending());
        inner.waits(cx, sent.is_pending());
        ready!(sent)?;
        Pin::new(&mut inner.tcp).poll_shutdown(cx)
    }

    /// Sends what waits as the client takes it. Ends with whoever writes.
    fn send_late(self: &Rc<Self>) -> AbortHandle {
        let socket = Rc::clone(self);
        let late = spawn_local(async move {
            poll_fn(|cx| socket.poll_late(cx)).await;
        });
        late.abort_handle()
    }

    fn poll_late(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.borrow_mut();
        let Inner { tcp, outbox, .. } = &mut *inner;
        let sent = outbox.poll_send(cx, tcp);
        self.note(sent.is_pending());
        let sent = ready!(sent);
        inner.late = None;
        if let Err(error) = sent {
            inner.fails(error);
        } else if let Some(writer) = inner.writer.take() {
            writer.wake();
        }
        Poll::Ready(())
    }

    fn note(&self, is_waiting: bool) {
        let now = self.worker.coarse_now();
        if is_waiting {
            self.client.is_not_taking(now);
        } else {
            self.client.has_taken(now);
        }
    }

    /// Nobody writes any more. What is to leave at the end of the turn does; what the client does not take then is lost,
    /// as with any socket that is closed.
    pub(super) fn is_left(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.is_left = true;
        if let Some(late) = inner.late.take() {
            late.abort();
        }
    }
}

impl Departing for Socket {
    /// Sends what waits, as far as the client takes it; what it does not take is sent by a task of its own.
    fn leave(self: Rc<Self>) {
        let mut inner = self.inner.borrow_mut();
        inner.is_listed = false;
        let sent = inner.send();
        self.note(matches!(sent, Ok(false)));
        match sent {
            Ok(true) => {}
            Ok(false) if inner.is_left => {}
            Ok(false) => inner.late = Some(self.send_late()),
            Err(error) => inner.fails(error),
        }
    }
}

impl Inner {
    /// Whether something may be written.
    fn poll_free(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        self.waits(cx, self.late.is_some());
        if self.late.is_some() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes note of who has to wait.
    fn waits(&mut self, cx: &Context<'_>, is_waiting: bool) {
        if is_waiting {
            self.writer = Some(cx.waker().clone());
        }
    }

    /// Sends what waits; `false` where the client does not take all of it now.
    fn send(&mut self) -> io::Result<bool> {
        while !self.outbox.waiting().is_empty() {
            match self.tcp.try_write(self.outbox.waiting()) {
                Ok(sent) => self.outbox.advance(some(sent)?),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Nothing can be written any more; the writer gets to know.
    fn fails(&mut self, error: io::Error) {
        self.failed = Some(error);
        self.outbox = Outbox::with_room(0);
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}
