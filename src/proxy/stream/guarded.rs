//! A client's stream, with bytes let in only as far as they can be read in one way.
//!
//! Stands between the stream and hyper. Bytes are read to where hyper wants them and go on from there
//! if they may, so that nothing is copied but heads that come in pieces. In the place of what may not
//! go on hyper reads a request that nobody can have sent, without a single field; it is answered with
//! the reason, as the last one of its connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::client::{Client, Order, Switch};
use crate::proxy::framing::frames::Frames;
use crate::proxy::framing::{Bounds, Framing, Refusal, Then};
use crate::runtime::clock;

/// What hyper reads in the place of a head that is refused; logs show its method as unknown.
pub(super) const STAND_IN: &[u8] = b"- / HTTP/1.1\r\n\r\n";

/// How much is read at once where a head comes in pieces.
const PIECE_BYTES: usize = 4 * 1024;

/// The most bytes that are still taken from a client that was refused, so that it gets to read why.
const DISCARDED_BYTES_MAX: usize = 256 * 1024;

/// How bytes are looked at.
#[derive(Debug)]
enum Guard {
    Http1(Framing),
    Http2(Frames),
    /// Not any more.
    None,
}

/// Why no more bytes are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A head was refused, and another stands in for it.
    Refused,
    /// A body was refused in its middle.
    Broken(Refusal),
    /// Something else is spoken than was thought.
    Left,
    /// The client asks for more than anybody may, and is told so.
    Excess,
}

/// A stream whose bytes are looked at.
pub(crate) struct Guarded<S> {
    inner: S,
    client: Rc<Client>,
    guard: Guard,
    /// Bytes that were read and have not gone on.
    held: Vec<u8>,
    /// So many of them may.
    ready: usize,
    end: Option<End>,
    discarded: usize,
    /// What is being written before what hyper writes.
    interim: Vec<u8>,
}

impl<S> Guarded<S> {
    /// A stream on which HTTP/1 is spoken, or HTTP/2 if it begins so.
    pub(crate) fn http1(inner: S, client: Rc<Client>) -> Self {
        let bounds = Bounds::of(&client.limits);
        Self::new(inner, client, Guard::Http1(Framing::within(bounds)))
    }

    /// A stream on which HTTP/1 is spoken because it was agreed on.
    pub(crate) fn agreed_http1(inner: S, client: Rc<Client>) -> Self {
        let bounds = Bounds::of(&client.limits);
        Self::new(
            inner,
            client,
            Guard::Http1(Framing::within(bounds).agreed()),
        )
    }

    /// A stream on which HTTP/2 is spoken.
    pub(crate) const fn http2(inner: S, client: Rc<Client>) -> Self {
        Self::new(inner, client, Guard::Http2(Frames::new()))
    }

    const fn new(inner: S, client: Rc<Client>, guard: Guard) -> Self {
        Self {
            inner,
            client,
            guard,
            held: Vec::new(),
            ready: 0,
            end: None,
            discarded: 0,
            interim: Vec::new(),
        }
    }

    /// The same stream after it turned out that HTTP/2 is spoken on it.
    pub(crate) fn into_http2(mut self) -> Self {
        self.guard = Guard::Http2(Frames::new());
        self.end = None;
        self.look_at_held();
        self
    }

    /// The same stream after the protocol was switched; `read` was read of it already.
    pub(crate) fn into_raw(mut self, read: &[u8]) -> Self {
        self.guard = Guard::None;
        self.end = None;
        self.take_back(read);
        self.ready = self.held.len();
        self
    }

    /// Takes back what was let on and not taken up.
    pub(crate) fn take_back(&mut self, read: &[u8]) {
        self.held.splice(..0, read.iter().copied());
        self.ready += read.len();
    }

    /// Looks at bytes that follow those passed before; returns how many go on, and what stops the others
    /// where it is not just that more bytes are needed.
    fn look(guard: &mut Guard, client: &Client, bytes: &mut [u8]) -> (usize, Option<Then>) {
        let framing = match guard {
            Guard::None => return (bytes.len(), None),
            Guard::Http2(frames) => {
                let passed = frames.advance(bytes);
                client.is_sending_head(frames.is_within_head());
                let is_excessive = frames.are_excessive(clock::monotonic);
                return (passed, is_excessive.then_some(Then::Calm));
            }
            Guard::Http1(framing) => framing,
        };
        let mut progress = framing.advance(bytes);
        if progress.then == Then::Switch && client.switch.take() == Switch::Stay {
            framing.stay();
            let passed = progress.passed;
            progress = framing.advance(&bytes[passed..]);
            progress.passed += passed;
        }
        if framing.take_wish() {
            client.asks_for_switch.set(true);
        }
        client.is_sending_head(framing.is_within_head());
        client.is_between_requests.set(framing.is_between());
        let stopped = (progress.then != Then::More).then_some(progress.then);
        (progress.passed, stopped)
    }

    /// Looks at what is held and has not been let on.
    fn look_at_held(&mut self) {
        let rest = &mut self.held[self.ready..];
        let (passed, stopped) = Self::look(&mut self.guard, &self.client, rest);
        self.ready += passed;
        self.stop(stopped);
    }

    /// Does what is to be done where bytes stop going on, with those held that did not.
    fn stop(&mut self, stopped: Option<Then>) {
        match stopped {
            None | Some(Then::More | Then::Switch) => {}
            Some(Then::Calm) => {
                self.held.truncate(self.ready);
                Frames::end_with(&mut self.held);
                self.ready = self.held.len();
                self.end = Some(End::Excess);
            }
            Some(Then::Http2) => {
                self.client.speaks_http2.set(true);
                self.end = Some(End::Left);
            }
            Some(Then::Refuse(Refusal::BadChunk)) => {
                self.client.refusal.set(Some(Refusal::BadChunk));
                self.held.truncate(self.ready);
                self.end = Some(End::Broken(Refusal::BadChunk));
            }
            Some(Then::Refuse(refusal)) => {
                self.client.refusal.set(Some(refusal));
                self.held.truncate(self.ready);
                self.held.extend_from_slice(STAND_IN);
                self.ready = self.held.len();
                self.end = Some(End::Refused);
            }
        }
    }

    /// Passes on what is held and may go on.
    fn hand_over(&mut self, into: &mut ReadBuf<'_>) {
        let step = self.ready.min(into.remaining());
        into.put_slice(&self.held[..step]);
        self.held.drain(..step);
        self.ready -= step;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Whether what is held waits for the word whether the protocol is switched.
    fn awaits_switch(&self) -> bool {
        matches!(&self.guard, Guard::Http1(framing) if framing.awaits_switch())
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads straight to where the bytes are wanted; `false` where none of them may go on yet.
    fn poll_read_through(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, into))?;
        let bytes = &mut into.filled_mut()[before..];
        if bytes.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let (passed, stopped) = Self::look(&mut self.guard, &self.client, bytes);
        if passed < bytes.len() || stopped == Some(Then::Calm) {
            self.held.extend_from_slice(&bytes[passed..]);
            into.set_filled(before + passed);
            self.stop(stopped);
        }
        Poll::Ready(Ok(passed > 0))
    }

    /// Reads more to what is held; `false` at the end of the stream.
    fn poll_read_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut piece = [0; PIECE_BYTES];
        let mut into = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut into))?;
        self.held.extend_from_slice(into.filled());
        let has_more = !into.filled().is_empty();
        if has_more {
            self.look_at_held();
        }
        Poll::Ready(Ok(has_more))
    }

    /// Waits for more bytes without any room for them; `false` at the end of the stream.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.held.is_empty() {
            self.poll_read_held(cx)
        } else {
            Poll::Ready(Ok(true))
        }
    }

    /// Takes what the client still sends and forgets it. A socket that is closed with something unread
    /// is reset, and the client might not get to read what it was told.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE_BYTES];
        while self.discarded < DISCARDED_BYTES_MAX {
            let mut into = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut into))?;
            if into.filled().is_empty() {
                break;
            }
            self.discarded += into.filled().len();
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until a client that was refused has gone, or has sent more than enough.
    pub(crate) async fn discard(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_discard(cx)).await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready > 0 {
                this.hand_over(into);
                return Poll::Ready(Ok(()));
            }
            match this.end {
                None => {}
                Some(End::Broken(refusal)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal)));
                }
                Some(End::Refused | End::Excess) => {
                    // Whatever comes of it, it must not look as if the client had gone.
                    let _ = this.poll_discard(cx);
                    return Poll::Pending;
                }
                Some(End::Left) => return Poll::Pending,
            }
            if this.held.is_empty() {
                if ready!(this.poll_read_through(cx, into))? {
                    return Poll::Ready(Ok(()));
                }
            } else if this.awaits_switch() {
                if this.client.switch.get() != Switch::Stay {
                    this.client.wake_when_told(cx);
                    return Poll::Pending;
                }
                this.look_at_held();
            } else if !ready!(this.poll_read_held(cx))? {
                // It ends within a head, of which nobody gets to see the beginning.
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    /// Writes answers that come before the answer, where they would not get into the middle of
    /// another one.
    fn poll_write_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(interim) = self.client.interim.get()
            && self.client.is_flushed.get()
            && self.interim.is_empty()
        {
            self.interim = interim.take();
        }
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_interim(cx))?;
        self.client.is_flushed.set(false);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_interim(cx))?;
        self.client.is_flushed.set(false);
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_interim(cx))?;
        let flushed = ready!(Pin::new(&mut self.inner).poll_flush(cx));
        self.client.is_flushed.set(flushed.is_ok());
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        if self.end == Some(End::Excess) {
            // It leaves when it likes, but within the time of any that is to close.
            self.client.tell(Order::Close, clock::monotonic());
            return self.poll_discard(cx);
        }
        Poll::Ready(Ok(()))
    }
}
