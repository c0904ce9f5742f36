//! A client's socket that tells whether the client takes what it is sent.
//!
//! Only the socket knows: an answer is through with us long before its last bytes have left, and
//! a client that reads slowly looks, from further up, just like one that does not read at all.

pub(crate) mod gathered;
pub(crate) mod guarded;
mod outbox;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::proxy::client::Client;
use crate::proxy::worker::Worker;

/// The most bytes that are put together before they are written: one piece costs the system some 250 ns less than two,
/// which is more than copying so many does.
const SMALL_BYTES_MAX: usize = 4 * 1024;

/// A socket, and whose it is.
pub(crate) struct ClientStream {
    socket: TcpStream,
    /// What was read of the socket and is to be read again.
    read_before: Vec<u8>,
    client: Rc<Client>,
    worker: Rc<Worker>,
}

impl ClientStream {
    pub(crate) const fn new(socket: TcpStream, client: Rc<Client>, worker: Rc<Worker>) -> Self {
        Self {
            socket,
            read_before: Vec::new(),
            client,
            worker,
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

    fn note(&self, written: &Poll<io::Result<usize>>) {
        let now = self.worker.coarse_now();
        if written.is_pending() {
            self.client.is_not_taking(now);
        } else {
            self.client.has_taken(now);
        }
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
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let socket = Pin::new(&mut this.socket);
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let written = match pieces {
            [whole] => socket.poll_write(cx, whole),
            _ if bytes <= SMALL_BYTES_MAX => this.worker.with_scratch(|whole| {
                for piece in pieces {
                    whole.extend_from_slice(piece);
                }
                socket.poll_write(cx, whole)
            }),
            _ => socket.poll_write_vectored(cx, pieces),
        };
        this.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
