//! A stream whose small writes leave together.
//!
//! Answers of many requests share a connection of HTTP/2, and its frames are written one by one: a system call,
//! and over TLS a record, for each. Here they wait until whoever drives the connection has done with what is to be done
//! at once, and leave as one.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::stream::outbox::{Outbox, WAITING_BYTES_MAX};

/// A stream, shared by who writes to it and who has what was written leave.
pub(crate) struct Gathered<S>(Rc<RefCell<Gathering<S>>>);

struct Gathering<S> {
    stream: S,
    outbox: Outbox,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S> Gathered<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Rc::new(RefCell::new(Gathering {
            stream,
            outbox: Outbox::with_room(WAITING_BYTES_MAX),
        })))
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Has what was written leave.
    pub(crate) fn poll_leave(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.borrow_mut();
        ready!(gathering.poll_send(cx))?;
        Pin::new(&mut gathering.stream).poll_flush(cx)
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Sends all that waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_send(cx, &mut self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Gathering { stream, outbox } = &mut *self.0.borrow_mut();
        match outbox.keep(slices) {
            Some(kept) => Poll::Ready(Ok(kept)),
            None => outbox.poll_pass(cx, stream, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done by who has it leave, which is soon.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.borrow_mut();
        ready!(gathering.poll_send(cx))?;
        Pin::new(&mut gathering.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::runtime::Builder;

    use super::*;

    proptest! {
        /// Whatever is written in whichever pieces comes out in its order, through however narrow a pipe.
        #[test]
        fn nothing_is_lost_or_moved(
            sizes in prop::collection::vec(prop_oneof![0..64_usize, 0..6_000_usize, 0..40_000_usize], 1..24),
            width in 1..20_000_usize,
            leaves in any::<u64>(),
        ) {
            let runtime = Builder::new_current_thread().build().unwrap();
            let sent: Vec<u8> = (0..=250_u8).cycle().take(sizes.iter().sum()).collect();
            let received = runtime.block_on(async {
                let (near, mut far) = duplex(width);
                let mut stream = Gathered::new(near);
                let writing = async {
                    let mut rest = &sent[..];
                    for (turn, size) in sizes.iter().enumerate() {
                        let (piece, after) = rest.split_at(*size);
                        stream.write_all(piece).await.unwrap();
                        rest = after;
                        if (leaves >> turn) & 1 == 1 {
                            poll_fn(|cx| stream.poll_leave(cx)).await.unwrap();
                        }
                    }
                    stream.shutdown().await.unwrap();
                };
                let mut received = Vec::new();
                let reading = far.read_to_end(&mut received);
                let (_, read) = tokio::join!(writing, reading);
                read.unwrap();
                received
            });
            prop_assert_eq!(received, sent);
        }
    }

    #[tokio::test]
    async fn small_writes_wait_until_they_are_to_leave() {
        let (near, mut far) = duplex(64);
        let mut stream = Gathered::new(near);
        stream.write_all(b"one ").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"two").await.unwrap();
        let mut byte = [0];
        let early = poll_fn(|cx| {
            let mut into = ReadBuf::new(&mut byte);
            Poll::Ready(Pin::new(&mut far).poll_read(cx, &mut into).is_pending())
        });
        assert!(early.await, "nothing has left");
        poll_fn(|cx| stream.poll_leave(cx)).await.unwrap();
        let mut all = [0; 7];
        far.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"one two");
    }
}
