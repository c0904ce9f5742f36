//! A stream after a switch of protocols, with what was read of it behind the head that said so.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::upstream::http1::own::wire::Wire;

/// A stream on which another protocol is spoken.
pub(crate) struct OwnTunnel {
    wire: Wire,
    /// What was read before, and comes first.
    read: Bytes,
}

impl OwnTunnel {
    pub(super) const fn new(wire: Wire, read: Bytes) -> Self {
        Self { wire, read }
    }
}

impl AsyncRead for OwnTunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.wire).poll_read(cx, into);
        }
        let step = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..step]);
        self.read.advance(step);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OwnTunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
