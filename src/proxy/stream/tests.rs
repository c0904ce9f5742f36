use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::io::{AsyncRead, ReadBuf};

use crate::proxy::client::{Client, Scheme};
use crate::proxy::stream::guarded::{Guarded, STAND_IN};
use crate::runtime::clock;

/// Gives bytes in pieces, and then an end.
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let step = piece.len().min(into.remaining());
            let rest = piece.split_off(step);
            into.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What hyper gets to read, and how it ends, if it reads so many bytes at once.
fn read(pieces: Vec<Vec<u8>>, at_once: usize) -> (Vec<u8>, &'static str) {
    let peer = "192.0.2.1:7".parse().unwrap();
    let client = Rc::new(Client::new(peer, Scheme::Http, clock::monotonic()));
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
    let mut guarded = Guarded::http1(Pieces(pieces.collect()), Rc::clone(&client));
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    loop {
        let mut buffer = vec![0; at_once];
        let mut into = ReadBuf::new(&mut buffer);
        match Pin::new(&mut guarded).poll_read(&mut cx, &mut into) {
            Poll::Ready(Ok(())) if into.filled().is_empty() => return (all, "end"),
            Poll::Ready(Ok(())) => all.extend_from_slice(into.filled()),
            Poll::Ready(Err(_)) => return (all, "error"),
            Poll::Pending if client.refusal.get().is_some() => return (all, "refused"),
            Poll::Pending if client.speaks_http2.get() => return (all, "another protocol"),
            // It waits for the word.
            Poll::Pending => client.stay(),
        }
    }
}

const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "GET / HTTP/1.1\n",
    "Host: a\r\n",
    "X: y\n",
    "Upgrade: b\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n",
    "abc",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET /whole HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "GET /up HTTP/1.1\r\nHost: a\r\nUpgrade: b\r\n\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn hyper_reads_the_same_in_whatever_pieces_it_comes(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..16),
        mut ends in proptest::collection::vec(0..300_usize, 0..8),
        at_once in proptest::sample::select(&[1_usize, 7, 100, 8192][..]),
    ) {
        let bytes = pieces.concat().into_bytes();
        ends.iter_mut().for_each(|end| *end = (*end).min(bytes.len()));
        ends.sort_unstable();
        ends.push(bytes.len());
        let mut from = 0;
        let parts = ends.iter().map(|end| {
            let part = bytes[from..*end].to_vec();
            from = *end;
            part
        });
        let in_parts = read(parts.collect(), at_once);
        let whole = read(vec![bytes.clone()], 8192);
        let own = whole.0.strip_suffix(STAND_IN);
        let own = own.filter(|_| whole.1 == "refused").unwrap_or(&whole.0);
        if whole.1 == "error" {
            // A part of a body that turns out to be none may have gone on before.
            prop_assert!(in_parts.0.starts_with(&whole.0));
        } else if whole.1 == "refused" && in_parts.1 == "end" {
            // A head that comes in pieces is refused once it is whole.
            prop_assert_eq!(own, &in_parts.0);
        } else {
            prop_assert_eq!(&whole, &in_parts);
        }
        // What goes on is what came, up to where another head stands in.
        prop_assert!(bytes.starts_with(own));
    }
}
