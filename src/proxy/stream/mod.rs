//! A client's socket that tells whether the client takes what it is sent.
//!
//! Only the socket knows: an answer is through with us long before its last bytes have left, and
//! a client that reads slowly looks, from further up, just like one that does not read at all.

pub(crate) mod gathered;
pub(crate) mod guarded;
mod outbox;
mod socket;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::proxy::client::Client;
use crate::proxy::stream::socket::Socket;
use crate::proxy::worker::Worker;

/// A socket, and whose it is.
pub(crate) struct ClientStream {
    socket: Rc<Socket>,
    /// What was read of the socket and is to be read again.
    read_before: Vec<u8>,
}

impl ClientStream {
    pub(crate) fn new(socket: TcpStream, client: Rc<Client>, worker: Rc<Worker>) -> Self {
        Self {
            socket: Socket::new(socket, client, worker),
            read_before: Vec::new(),
        }
    }

    /// Has bytes that were read before read again, before any others.
    pub(crate) fn read_again(&mut self, bytes: Vec<u8>) {
        self.read_before = bytes;
    }

    /// Hands out what was read before.
    fn hand_out(&mut self, into: &mut ReadBuf<'_>) {
        let step = self.read_before.len().min(into.remaining());
        into.put_slice(&self.read_before[..step]);
        self.read_before.drain(..step);
        if self.read_before.is_empty() {
            self.read_before = Vec::new();
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.socket.is_left();
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read_before.is_empty() {
            self.hand_out(into);
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read(cx, into)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is to leave soon needs nobody who waits for it.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_shutdown(cx)
    }
}
