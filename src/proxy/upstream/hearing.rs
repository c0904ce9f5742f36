//! Hears answers that come before the answer, on their way from a backend to hyper.
//!
//! hyper ignores them. All bytes go on to it; only the heads of those that begin with `HTTP/1.1 1` are
//! kept as well, until they are whole. What a connection begins with is looked at besides: whoever takes
//! HTTP/2 for granted says so with its first frame.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use memchr::{memchr_iter, memmem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::interim::Interim;
use crate::proxy::upstream::said::Said;

/// How an answer begins that comes before the answer.
const BEGINNING: &[u8] = b"HTTP/1.1 1";

/// The longest head that is kept.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How much may come before an answer's head has, in bytes. Without an end to it, a backend that sends answers
/// before the answer as fast as it can would have a worker read nothing else. A body is not counted: at most
/// a piece of it comes with its head.
pub(super) const BEFORE_BYTES_MAX: usize = 1024 * 1024;

/// Who is to hear what a backend says. Between tasks of one thread; hyper wants it to be more.
#[derive(Debug, Default)]
pub(super) struct Ear {
    is_open: AtomicBool,
    /// Whether the connection has begun with a frame of HTTP/2.
    has_heard_frame: AtomicBool,
    whose: Mutex<Option<Arc<Interim>>>,
    /// How many bytes may still come.
    left: AtomicUsize,
    /// What was said to the backend.
    pub(super) said: Said,
}

impl Ear {
    /// A request is sent; opens where somebody wants to hear what comes before its answer.
    pub(super) fn begin(&self, whose: Option<&Arc<Interim>>) {
        self.left.store(BEFORE_BYTES_MAX, Ordering::Relaxed);
        self.set(whose.cloned());
    }

    /// The answer is there, or there will be none; returns who wanted to hear.
    pub(super) fn end(&self) -> Option<Arc<Interim>> {
        self.left.store(usize::MAX, Ordering::Relaxed);
        self.set(None)
    }

    fn set(&self, whose: Option<Arc<Interim>>) -> Option<Arc<Interim>> {
        self.is_open.store(whose.is_some(), Ordering::Relaxed);
        let mut known = self.whose.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *known, whose)
    }

    /// Counts what has come.
    ///
    /// # Errors
    /// Where it is more than may come before an answer.
    fn count(&self, bytes: usize) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed).checked_sub(bytes);
        let left = left.ok_or(io::ErrorKind::InvalidData)?;
        self.left.store(left, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it is HTTP/2 that the backend speaks.
    pub(super) fn has_heard_frame(&self) -> bool {
        self.has_heard_frame.load(Ordering::Relaxed)
    }

    /// Hears a head; `false` where it is none, or nobody wants to hear any more.
    fn hear(&self, head: &[u8]) -> bool {
        let whose = self.whose.lock().unwrap_or_else(PoisonError::into_inner);
        whose.as_ref().is_some_and(|interim| interim.hear(head))
    }
}

/// A stream of a backend.
#[derive(Debug)]
pub(super) struct Hearing<S> {
    inner: S,
    ear: Arc<Ear>,
    /// Whether anything has been read.
    has_begun: bool,
    /// The beginning of a head.
    kept: Vec<u8>,
}

impl<S> Hearing<S> {
    pub(super) const fn new(inner: S, ear: Arc<Ear>) -> Self {
        Self {
            inner,
            ear,
            has_begun: false,
            kept: Vec::new(),
        }
    }

    /// Listens until the answer itself begins, or it is not certain that it has not: hyper takes LF alone
    /// for the end of a line, and what it takes for a body must not be heard.
    fn listen(&mut self, bytes: &[u8]) {
        if self.kept.is_empty() && !begins(bytes) {
            return self.give_up();
        }
        self.kept.extend_from_slice(bytes);
        while begins(&self.kept)
            && let Some(end) = memmem::find(&self.kept, b"\r\n\r\n")
        {
            let rest = self.kept.split_off(end + 4);
            if !self.ear.hear(&self.kept) {
                return self.give_up();
            }
            self.kept = rest;
        }
        if !begins(&self.kept) || self.kept.len() > HEAD_BYTES_MAX || has_bare_end(&self.kept) {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.ear.is_open.store(false, Ordering::Relaxed);
        self.kept = Vec::new();
    }
}

/// Whether a connection begins with what servers of HTTP/2 say first: a frame of settings (RFC 9113, section
/// 3.4), or that they go, for they were not spoken to like that.
pub(super) fn is_frame(bytes: &[u8]) -> bool {
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    // No such frame has 64 KiB, and both are of no stream.
    matches!(bytes, [0, _, _, SETTINGS | GOAWAY, 0, 0, 0, 0, 0, ..])
}

/// Whether a head is heard that was read as a whole: by the same rules.
pub(super) fn is_heard(head: &[u8]) -> bool {
    begins(head) && head.len() <= HEAD_BYTES_MAX && !has_bare_end(head)
}

/// Whether a line ends with LF alone.
fn has_bare_end(bytes: &[u8]) -> bool {
    memchr_iter(b'\n', bytes).any(|end| end == 0 || bytes[end - 1] != b'\r')
}

/// Whether bytes begin like an answer before the answer, as far as they go.
fn begins(bytes: &[u8]) -> bool {
    let common = bytes.len().min(BEGINNING.len());
    bytes[..common] == BEGINNING[..common] && !bytes.starts_with(b"HTTP/1.1 101")
}

impl<S: AsyncRead + Unpin> AsyncRead for Hearing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, into))?;
        let bytes = into.filled().len() - before;
        if bytes > 0 {
            self.ear.said.answered();
            self.ear.count(bytes)?;
        }
        if !self.has_begun {
            self.has_begun = true;
            let is_frame = is_frame(&into.filled()[before..]);
            self.ear.has_heard_frame.store(is_frame, Ordering::Relaxed);
        }
        if self.ear.is_open.load(Ordering::Relaxed) {
            self.listen(&into.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hearing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ear.said.offered([bytes]);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ear.said.offered(pieces.iter().map(|piece| &**piece));
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

    /// What is heard of bytes that come in pieces of a size.
    fn heard(said: &str, size: usize) -> String {
        let interim = Arc::new(Interim::new(Waker::noop().clone()));
        let ear = Arc::new(Ear::default());
        ear.begin(Some(&interim));
        let mut hearing = Hearing::new((), Arc::clone(&ear));
        for piece in said.as_bytes().chunks(size) {
            if ear.is_open.load(Ordering::Relaxed) {
                hearing.listen(piece);
            }
        }
        String::from_utf8(interim.take()).unwrap()
    }

    proptest! {
        #[test]
        fn hints_are_heard_in_whatever_pieces_and_nothing_after_the_answer(size in 1..200_usize) {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            prop_assert_eq!(heard(&format!("{HINTS}{HINTS}{answer}{HINTS}"), size), HINTS.repeat(2));
            prop_assert_eq!(heard(&format!("{answer}{HINTS}"), size), "");
            let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
            prop_assert_eq!(heard(&format!("{HINTS}{switch}{HINTS}"), size), HINTS);
        }

        #[test]
        fn nothing_is_heard_once_it_is_uncertain_where_a_head_has_ended(size in 1..200_usize) {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n";
            for uncertain in [
                "HTTP/1.1 103 x\n\n",
                "HTTP/1.1 103 x\r\n\n",
                "HTTP/1.1 103 x\n\r\n",
                "HTTP/1.1 103 x\na: b\r\n\r\n",
                "HTTP/1.1 103 x\r\nno colon\r\n\r\n",
            ] {
                let said = format!("{HINTS}{uncertain}{answer}{HINTS}");
                prop_assert_eq!(heard(&said, size), HINTS, "{:?}", uncertain);
            }
        }
    }

    #[test]
    fn where_reads_end_with_the_answers_head_its_body_is_not_heard() {
        let interim = Arc::new(Interim::new(Waker::noop().clone()));
        let ear = Arc::new(Ear::default());
        ear.begin(Some(&interim));
        let mut hearing = Hearing::new((), Arc::clone(&ear));
        hearing.listen(b"HTTP/1.1 103 x\n\nHTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n");
        assert!(!ear.is_open.load(Ordering::Relaxed));
        ear.end();
        assert_eq!(Arc::strong_count(&interim), 1);
    }
}
