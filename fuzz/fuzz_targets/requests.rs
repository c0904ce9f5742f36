//! Whatever request is passed on, with whatever body in whatever pieces: our own codec writes what hyper's client
//! writes, or neither writes it to its end.

#![no_main]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use libfuzzer_sys::fuzz_target;
use serin_fuzz::proxy::upstream::codec::request::{Framing, write_head};

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PURGE",
];

const TARGETS: [&str; 4] = ["/", "/a?b=c", "*", "http://shop.test/a?b"];

/// The fields that a request may have, besides those that frame its body.
const NAMES: [&str; 8] = [
    "host", "x", "y", "trailer", "te", "connection", "expect", "cookie",
];

/// What a server says of a body that it has read the head of.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// There is none.
    None,
    /// It has as many bytes as its head says.
    Length,
    /// It has so many bytes, of which its head says nothing.
    Sized,
    /// It is in chunks, as its head says.
    Chunked,
    /// It comes by HTTP/2, and has the bytes that come.
    Unsized,
}

/// A request's body as a server hands it on.
#[derive(Clone)]
struct Content {
    frames: VecDeque<Result<Bytes, HeaderMap>>,
    size: Option<u64>,
    is_none: bool,
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = self.frames.pop_front().map(|frame| match frame {
            Ok(data) => Frame::data(data),
            Err(trailers) => Frame::trailers(trailers),
        });
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.is_none
    }

    fn size_hint(&self) -> SizeHint {
        let size = self.size.filter(|_| !self.is_none);
        size.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A backend that takes all and says nothing.
struct Wire(Rc<RefCell<Vec<u8>>>);

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What was written of a request.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    line: String,
    /// Their order between different names says nothing.
    fields: Vec<String>,
    body: Vec<u8>,
}

impl Written {
    fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
        let end = end.expect("a head is written whole");
        let head: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
        let mut lines = head.split("\r\n").map(str::to_owned);
        let line = lines.next().unwrap_or_default();
        let mut fields: Vec<_> = lines.collect();
        fields.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
        let body = bytes[end + 4..].to_vec();
        Self { line, fields, body }
    }
}

/// None where it breaks off, of which hyper may write nothing.
fn written_by_hyper(request: Request<Content>) -> Option<Written> {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let mut cx = Context::from_waker(Waker::noop());
    let mut shaking = pin!(http1::handshake::<_, Content>(Wire(Rc::clone(&bytes))));
    let Poll::Ready(Ok((mut sender, connection))) = shaking.as_mut().poll(&mut cx) else {
        panic!("a connection begins at once");
    };
    let mut driver = pin!(connection);
    let mut is_broken = driver.as_mut().poll(&mut cx).is_ready();
    let mut answered = pin!(sender.send_request(request));
    for _ in 0..4 {
        is_broken = is_broken
            || answered.as_mut().poll(&mut cx).is_ready()
            || driver.as_mut().poll(&mut cx).is_ready();
    }
    let bytes = bytes.borrow();
    (!is_broken).then(|| Written::of(&bytes))
}

/// As a connection of our own does it.
fn written_by_ourselves(request: Request<Content>) -> Option<Written> {
    let mut bytes = Vec::new();
    let has_body = !request.body().is_end_stream();
    let size = has_body.then(|| request.body().size_hint().exact());
    let mut framing = write_head(&mut bytes, &request, &[], size);
    if !has_body || framing == Framing::Length(0) {
        return Some(Written::of(&bytes));
    }
    let mut frames = request.into_body().frames;
    let end = loop {
        let trailers = match frames.pop_front() {
            Some(Ok(data)) => {
                if !data.is_empty() {
                    bytes.extend(framing.frame(data).concat());
                }
                if framing != Framing::Length(0) {
                    continue;
                }
                None
            }
            Some(Err(trailers)) => Some(trailers),
            None => None,
        };
        break framing.end(trailers.as_ref());
    };
    bytes.extend(end?);
    Some(Written::of(&bytes))
}

fn manner(byte: u8) -> Manner {
    match byte % 5 {
        0 => Manner::None,
        1 => Manner::Length,
        2 => Manner::Sized,
        3 => Manner::Chunked,
        _ => Manner::Unsized,
    }
}

/// Lines of a name's number and a value.
fn fields(text: &[u8]) -> HeaderMap {
    let lines = text.split(|byte| *byte == b'\n');
    let pairs = lines.filter_map(|line| {
        let (number, value) = line.split_first()?;
        let name = NAMES[usize::from(*number) % NAMES.len()];
        let value = HeaderValue::from_bytes(value).ok()?;
        Some((HeaderName::from_static(name), value))
    });
    let mut fields = HeaderMap::new();
    pairs.for_each(|(name, value)| {
        fields.append(name, value);
    });
    fields
}

fuzz_target!(|data: &[u8]| {
    let Some(([kinds, how, head, cuts @ ..], text)) = data.split_first_chunk::<6>() else {
        return;
    };
    let (head, rest) = text.split_at(usize::from(*head).min(text.len()));
    let (behind, body) = rest.split_at(usize::from(how >> 4).min(rest.len()));
    let manner = manner(*how);
    let mut cuts = cuts.map(|cut| usize::from(cut).min(body.len()));
    cuts.sort_unstable();
    let (mut from, mut frames) = (0, VecDeque::new());
    for cut in cuts.into_iter().chain([body.len()]) {
        frames.push_back(Ok(Bytes::copy_from_slice(&body[from..cut])));
        from = cut;
    }
    if matches!(manner, Manner::None) {
        frames.clear();
    }
    let trailers = fields(behind);
    if !trailers.is_empty() && matches!(manner, Manner::Chunked | Manner::Unsized) {
        frames.push_back(Err(trailers));
    }
    // One in four breaks off.
    let said = body.len() + usize::from(kinds & 0xc0 == 0xc0);
    // A server that knows of no byte says that there is no body.
    let is_none = matches!(manner, Manner::None) || matches!(manner, Manner::Sized) && said == 0;
    let mut request = Request::new(Content {
        frames,
        size: matches!(manner, Manner::Length | Manner::Sized).then_some(said as u64),
        is_none,
    });
    let method = METHODS[usize::from(kinds & 7)];
    *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
    *request.uri_mut() = Uri::from_static(TARGETS[usize::from(kinds >> 3 & 3)]);
    *request.headers_mut() = fields(head);
    let fields = request.headers_mut();
    match manner {
        Manner::Length => {
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(said));
        }
        Manner::Chunked => {
            fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Manner::None | Manner::Sized | Manner::Unsized => {}
    }
    let by_hyper = written_by_hyper(request.clone());
    let by_ourselves = written_by_ourselves(request);
    assert_eq!(by_hyper, by_ourselves, "{manner:?}");
});
