//! Whatever a backend sends, in whatever pieces: our own codec reads the same answer as hyper's client, refuses the
//! same, and keeps the same connections.

#![no_main]

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper::rt::{Read, ReadBufCursor, Write};
use libfuzzer_sys::fuzz_target;
use serin_fuzz::proxy::upstream::codec::chunked::Piece;
use serin_fuzz::proxy::upstream::codec::head::{HeadReader, Read as Head};

/// The first bytes say where the others are cut.
const CUTS: usize = 4;

/// How an answer has ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It is whole, and the connection may be used again or not.
    Whole { is_kept: bool },
    /// More must come.
    Open,
    Broken,
}

/// An answer as it was read.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    version: Version,
    reason: Option<Vec<u8>>,
    fields: Vec<(String, Vec<u8>)>,
    /// How long the body is, as far as the head tells.
    length: Option<u64>,
    body: Vec<u8>,
    trailers: Option<Vec<(String, Vec<u8>)>>,
    end: End,
}

/// What is read in the place of an answer: more must come, or it is none.
#[derive(Debug, PartialEq, Eq)]
enum None {
    Open,
    Broken,
}

/// What comes from a backend.
struct Wire {
    pieces: VecDeque<Bytes>,
    /// Whether it hangs up then.
    hangs_up: bool,
    /// Whether it was asked for something, before which it says nothing.
    is_asked: bool,
}

fn sorted(fields: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let pairs = fields.iter();
    let pairs = pairs.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    // Those of one name stay in their order.
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    pairs
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked {
            return Poll::Pending;
        }
        let Some(piece) = self.pieces.front_mut() else {
            return if self.hangs_up {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        };
        let step = piece.len().min(into.remaining());
        into.put_slice(&piece.split_to(step));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls two futures, of which the one drives the other, until that is done or both stand still.
fn drive<F: Future>(
    driver: &mut Pin<&mut impl Future>,
    is_driven: &mut bool,
    future: F,
) -> Option<F::Output> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut future = pin!(future);
    for _ in 0..4 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        if *is_driven {
            *is_driven = driver.as_mut().poll(&mut cx).is_pending();
        }
    }
    None
}

fn read_by_hyper(wire: Wire, method: &Method) -> Result<Answer, None> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut shaking = pin!(http1::handshake::<_, Empty<Bytes>>(wire));
    let Poll::Ready(Ok((mut sender, connection))) = shaking.as_mut().poll(&mut cx) else {
        panic!("a connection begins at once");
    };
    let mut driver = pin!(connection);
    let mut is_driven = driver.as_mut().poll(&mut cx).is_pending();
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method.clone();
    let answered = drive(&mut driver, &mut is_driven, sender.send_request(request));
    let response = answered.ok_or(None::Open)?.map_err(|_| None::Broken)?;
    let (head, mut content) = response.into_parts();
    let length = hyper::body::Body::size_hint(&content).exact();
    let reason = head.extensions.get::<ReasonPhrase>();
    let mut answer = Answer {
        status: head.status,
        version: head.version,
        reason: reason.map(|it| it.as_bytes().to_vec()),
        fields: sorted(&head.headers),
        length,
        body: Vec::new(),
        trailers: Option::None,
        end: End::Open,
    };
    loop {
        match drive(&mut driver, &mut is_driven, content.frame()) {
            Option::None => return Ok(answer),
            Some(Some(Err(_))) => {
                answer.end = End::Broken;
                return Ok(answer);
            }
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => answer.body.extend_from_slice(&data),
                Err(frame) => answer.trailers = frame.trailers_ref().map(sorted),
            },
            Some(Option::None) => break,
        }
    }
    let ready = drive(&mut driver, &mut is_driven, sender.ready());
    // What has come behind the answer is only found now.
    let is_kept = matches!(ready, Some(Ok(()))) && {
        let mut cx = Context::from_waker(Waker::noop());
        is_driven && driver.as_mut().poll(&mut cx).is_pending() && sender.is_ready()
    };
    answer.end = End::Whole { is_kept };
    Ok(answer)
}

fn read_by_ourselves(mut wire: Wire, method: &Method) -> Result<Answer, None> {
    let (mut reader, mut bytes) = (HeadReader::default(), BytesMut::new());
    let mut head = loop {
        let read = reader.read(&mut bytes, method, &mut HeaderMap::new());
        match read.map_err(|_| None::Broken)? {
            Head::Head(head) => break head,
            Head::Interim(_) => {}
            Head::NotYet => match wire.pieces.pop_front() {
                Some(piece) => bytes.extend_from_slice(&piece),
                Option::None if wire.hangs_up => return Err(None::Broken),
                Option::None => return Err(None::Open),
            },
        }
    };
    let mut answer = Answer {
        status: head.status,
        version: head.version,
        reason: head.reason.map(|it| it.to_vec()),
        fields: sorted(&head.fields),
        length: head.content.left(),
        body: Vec::new(),
        trailers: Option::None,
        end: End::Open,
    };
    loop {
        match head.content.take(&mut bytes) {
            Err(_) => {
                answer.end = End::Broken;
                return Ok(answer);
            }
            Ok(Piece::Data(data)) => answer.body.extend_from_slice(&data),
            Ok(Piece::Trailers(fields)) => answer.trailers = Some(sorted(&fields)),
            Ok(Piece::End) => break,
            Ok(Piece::NotYet) => match wire.pieces.pop_front() {
                Some(piece) => bytes.extend_from_slice(&piece),
                Option::None if !wire.hangs_up => return Ok(answer),
                Option::None if head.content.end().is_err() => {
                    answer.end = End::Broken;
                    return Ok(answer);
                }
                Option::None => head.keeps_alive = false,
            },
        }
    }
    let has_more = !bytes.is_empty() || !wire.pieces.is_empty() || wire.hangs_up;
    let is_kept = head.keeps_alive && !has_more;
    answer.end = End::Whole { is_kept };
    Ok(answer)
}

fuzz_target!(|data: &[u8]| {
    let Some(([manner, cuts @ ..], bytes)) = data.split_first_chunk::<{ CUTS + 1 }>() else {
        return;
    };
    let mut cuts: Vec<_> = cuts
        .iter()
        .map(|cut| usize::from(*cut).min(bytes.len()))
        .collect();
    cuts.sort_unstable();
    let (mut from, mut pieces) = (0, VecDeque::new());
    for cut in cuts.into_iter().chain([bytes.len()]) {
        if from < cut {
            pieces.push_back(Bytes::copy_from_slice(&bytes[from..cut]));
        }
        from = cut;
    }
    let method = if manner & 1 == 0 {
        Method::GET
    } else {
        Method::HEAD
    };
    let hangs_up = manner & 2 != 0;
    let wire = |pieces| Wire {
        pieces,
        hangs_up,
        is_asked: false,
    };
    let by_hyper = read_by_hyper(wire(pieces.clone()), &method);
    let by_ourselves = read_by_ourselves(wire(pieces), &method);
    assert_eq!(by_hyper, by_ourselves, "{:?}", String::from_utf8_lossy(bytes));
});
