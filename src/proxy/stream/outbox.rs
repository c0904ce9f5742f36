//! Bytes that were written to a stream and have not left.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// The most bytes that wait.
pub(super) const WAITING_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of one write that wait; copying more costs as much as it saves.
const SMALL_BYTES_MAX: usize = 4 * 1024;

/// The most slices that are written at once; the others come next.
const SLICES_MAX: usize = 16;

/// The most buffers that are kept for others, of a worker.
const KEPT_MAX: usize = 64;

thread_local! {
    /// Buffers of which everything has left, the last one on top: that is in the processor's caches, and an allocator
    /// goes a long way for pieces of this size.
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What waits, in its order.
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// So many of them have left.
    sent: usize,
    /// How much room is made at once.
    room: usize,
}

impl Outbox {
    /// An empty one, with room for so many bytes once there are any.
    pub(super) const fn with_room(room: usize) -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            room,
        }
    }

    /// What has not left.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Takes note that so many bytes more have left. Once all have, their room is given back, for a connection may be
    /// quiet for long.
    pub(super) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.sent == self.bytes.len() {
            give_back(std::mem::take(&mut self.bytes));
            self.sent = 0;
        }
    }

    /// Keeps what may wait, and tells how many bytes that is.
    pub(super) fn keep(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        let may_wait = bytes <= SMALL_BYTES_MAX && self.bytes.len() + bytes <= WAITING_BYTES_MAX;
        may_wait.then(|| {
            if self.bytes.capacity() == 0 {
                self.bytes = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
                self.bytes.reserve(self.room.max(bytes));
            }
            for part in slices {
                self.bytes.extend_from_slice(part);
            }
            bytes
        })
    }

    /// Sends all that waits.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.waiting().is_empty() {
            let taken = ready!(Pin::new(&mut *stream).poll_write(cx, self.waiting()))?;
            self.advance(some(taken)?);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what cannot wait, behind what has.
    pub(super) fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(stream);
        while !self.waiting().is_empty() {
            let before = self.waiting();
            let mut all = [IoSlice::new(&[]); SLICES_MAX];
            all[0] = IoSlice::new(before);
            let others = slices.len().min(SLICES_MAX - 1);
            all[1..=others].copy_from_slice(&slices[..others]);
            let taken = ready!(stream.as_mut().poll_write_vectored(cx, &all[..=others]))?;
            let of_waiting = some(taken)?.min(before.len());
            self.advance(of_waiting);
            if taken > of_waiting {
                return Poll::Ready(Ok(taken - of_waiting));
            }
        }
        match slices {
            [whole] => stream.poll_write(cx, whole),
            _ => stream.poll_write_vectored(cx, slices),
        }
    }
}

/// Has a buffer used again by the next who has something to send.
fn give_back(mut buffer: Vec<u8>) {
    if !(1..=WAITING_BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    KEPT.with_borrow_mut(|kept| {
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    });
}

/// The number of bytes that were taken, if any were.
pub(super) fn some(taken: usize) -> io::Result<usize> {
    if taken == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(outbox: &mut Outbox, part: &[u8]) -> *const u8 {
        assert_eq!(outbox.keep(&[IoSlice::new(part)]), Some(part.len()));
        assert_eq!(outbox.waiting(), part);
        outbox.waiting().as_ptr()
    }

    #[test]
    fn a_buffer_is_used_again_once_all_of_it_has_left() {
        let (mut one, mut other) = (Outbox::with_room(0), Outbox::with_room(0));
        let first = kept(&mut one, &[b'a'; 100]);
        one.advance(60);
        let second = kept(&mut other, &[b'b'; 50]);
        assert_ne!(first, second, "something waits in it");
        assert_eq!(one.waiting(), [b'a'; 40]);
        one.advance(40);
        other.advance(50);
        assert_eq!(kept(&mut other, &[b'c'; 50]), second, "the last one on top");
        assert_eq!(kept(&mut one, &[b'd'; 80]), first);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let part = [b'a'; SMALL_BYTES_MAX];
        let mut large = Outbox::with_room(WAITING_BYTES_MAX + 1);
        kept(&mut large, &part);
        large.advance(part.len());
        assert_eq!(KEPT.with_borrow(Vec::len), 0, "too large a one");
        let mut all: Vec<_> = (0..=KEPT_MAX).map(|_| Outbox::with_room(0)).collect();
        for outbox in &mut all {
            kept(outbox, &part);
        }
        for outbox in &mut all {
            outbox.advance(part.len());
        }
        assert_eq!(KEPT.with_borrow(Vec::len), KEPT_MAX);
    }
}
