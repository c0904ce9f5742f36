//! Frames of HTTP/2 that cost their sender little.

use std::thread::spawn;
use std::time::Duration;

use crate::support::flood::{Field, head};
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, End, HEADERS, Http2, PING, PRIORITY, RST_STREAM,
    WINDOW_UPDATE, block, fields, frame, get, post, settings,
};
use crate::support::{Behaviour, SOON, wait_until};

/// `ENHANCE_YOUR_CALM` (RFC 9113, section 7).
const CALM: u32 = 11;

const GONE: &str = "GOAWAY ENHANCE_YOUR_CALM";

/// `PROTOCOL_ERROR`.
const PROTOCOL_ERROR: u32 = 1;

const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, CANCEL)
}

/// Sends one piece after the other until the connection is ended, or so many; tells how many, and how it
/// ended. Whatever comes back is read.
#[track_caller]
fn pour(field: &Field, first: &[u8], most: u32, piece: impl Fn(u32) -> Vec<u8>) -> (u32, End) {
    let mut client = Http2::open(field.proxy.address());
    let mut reader = client.split();
    let reading = spawn(move || reader.end(0));
    client.send(first);
    let mut sent = 0;
    while sent < most && client.try_send(&piece(sent)).is_ok() && !reading.is_finished() {
        sent += 1;
    }
    (sent, reading.join().unwrap())
}

/// The same of a flood that is to be cut for being one, before so many pieces.
#[track_caller]
fn flood(name: &str, what: &str, first: &[u8], most: u32, piece: impl Fn(u32) -> Vec<u8>) {
    let field = Field::start("", Behaviour::Name, "");
    let watch = field.watch();
    let (sent, end) = pour(&field, first, most, piece);
    assert!(sent < most, "{name} goes on");
    // What it was told may be lost where it went on sending.
    assert!(
        matches!(end, End::Gone(CALM) | End::Closed),
        "{name}: {end:?}"
    );
    wait_until("it is counted", SOON, || field.cuts("flood") == 1);
    watch.end(name, format!("{sent} {what}"), GONE);
}

#[test]
fn requests_that_are_taken_back_at_once() {
    flood("rapid reset", "requests", &[], 100_000, |round| {
        let stream = 2 * round + 1;
        [get(stream), reset(stream)].concat()
    });
}

/// How many requests are under way at a time; as many may be that are being reset.
const AT_ONCE: u32 = 60;

/// Begins requests and waits until a backend has them, again and again, each with something behind it;
/// tells how many it took until the connection was ended, and how.
fn let_in_and_then(field: &Field, most: u32, behind: impl Fn(u32) -> Vec<u8>) -> (u32, End) {
    let mut client = Http2::open(field.proxy.address());
    let mut reader = client.split();
    let reading = spawn(move || reader.end(0));
    for begun in (0..most).step_by(AT_ONCE as usize) {
        let streams = || (begun..begun + AT_ONCE).map(|place| 2 * place + 1);
        let all = field.backend.requests() + AT_ONCE as usize;
        let heads: Vec<_> = streams().flat_map(|it| head("GET", "/x", it)).collect();
        client.send(&heads);
        wait_until("the backend has them, or it has ended", SOON, || {
            field.backend.requests() >= all || reading.is_finished()
        });
        if reading.is_finished() {
            return (begun, reading.join().unwrap());
        }
        client.send(&streams().flat_map(&behind).collect::<Vec<_>>());
    }
    (most, End::Silence)
}

/// What a backend hangs in.
const HANG: Behaviour = Behaviour::Slow(Duration::from_secs(60));

/// More requests than reach a backend for nothing.
const IN_VAIN_MAX: u32 = 2_000;

#[test]
fn requests_that_are_taken_back_when_a_backend_has_them() {
    let field = Field::start("", HANG, "");
    let watch = field.watch();
    let (sent, end) = let_in_and_then(&field, IN_VAIN_MAX, reset);
    assert_eq!(end, End::Gone(CALM), "{sent}");
    wait_until("it is counted", SOON, || field.cuts("flood") == 1);
    let what = format!("{sent} requests");
    watch.end("slow rapid reset", what, GONE);
}

#[test]
fn clients_that_change_their_minds_are_no_flood() {
    let field = Field::start("", HANG, "");
    // As when a browser leaves two pages full of images before they have come.
    let mut client = Http2::open(field.proxy.address());
    for page in 0..2 {
        let images = || (100 * page..100 * (page + 1)).map(|image| 2 * image + 1);
        client.send(
            &images()
                .flat_map(|it| head("GET", "/x", it))
                .collect::<Vec<_>>(),
        );
        let all = 100 * (page as usize + 1);
        wait_until("the backend has them", SOON, || {
            field.backend.requests() == all
        });
        client.send(&images().flat_map(reset).collect::<Vec<_>>());
    }
    client.send(&head("GET", "/", 401));
    assert_eq!(client.answer(401), End::Answered(200));
    // One in twenty of many calls is given up, in a second or less.
    for call in 201..1_200 {
        let stream = 2 * call + 1;
        if call % 20 == 0 {
            client.send(&[head("GET", "/x", stream), reset(stream)].concat());
        } else {
            client.send(&head("GET", "/", stream));
            assert_eq!(client.answer(stream), End::Answered(200));
        }
    }
    assert_eq!(field.cuts("flood"), 0);
}

/// What is sent on a stream.
type Frames<'a> = &'a dyn Fn(u32) -> Vec<u8>;

#[test]
fn requests_that_make_the_proxy_take_them_back() {
    let overflow = [0x7f, 0xff, 0xff, 0xff];
    let variants: [(&str, Frames<'_>, End, &str); 4] = [
        (
            "whose window overflows",
            &|it| frame(WINDOW_UPDATE, 0, it, overflow),
            End::Gone(CALM),
            GONE,
        ),
        (
            "with another head behind the end",
            &|it| frame(HEADERS, END_HEADERS, it, ""),
            End::Gone(CALM),
            GONE,
        ),
        (
            "with a body behind the end",
            &|it| frame(DATA, 0, it, "x"),
            End::Gone(PROTOCOL_ERROR),
            "GOAWAY PROTOCOL_ERROR at the first",
        ),
        (
            "whose window grows by nothing",
            &|it| frame(WINDOW_UPDATE, 0, it, [0; 4]),
            End::Gone(PROTOCOL_ERROR),
            "GOAWAY PROTOCOL_ERROR at the first",
        ),
    ];
    for (variant, behind, expected, cut_by) in variants {
        let field = Field::start("", HANG, "");
        let watch = field.watch();
        let (sent, end) = let_in_and_then(&field, IN_VAIN_MAX, behind);
        assert_eq!(end, expected, "{variant}");
        assert_eq!(field.cuts("flood"), u64::from(end == End::Gone(CALM)));
        watch.end("MadeYouReset", format!("{sent} requests {variant}"), cut_by);
    }
}

#[test]
fn requests_that_are_malformed() {
    flood("malformed requests", "requests", &[], 100_000, |round| {
        post(2 * round + 1, &[("connection", "close")])
    });
}

#[test]
fn heads_without_end() {
    let first = frame(HEADERS, 0, 1, "");
    flood("CONTINUATION, empty", "frames", &first, 100_000, |_| {
        frame(CONTINUATION, 0, 1, "")
    });
    let fields = b"\x00\x01x\x01y".repeat(1_000);
    flood("CONTINUATION, full", "frames", &first, 10_000, |_| {
        frame(CONTINUATION, 0, 1, &fields)
    });
}

#[test]
fn fields_that_grow_when_they_are_read() {
    // One long field that is kept, and then named again and again (a "HPACK bomb").
    let long = [b"\x40\x01x\x7f\x81\x1e".as_slice(), &b"y".repeat(4_000)].concat();
    let known = block(&fields("GET", &[]));
    let bomb = [&known, &long, &b"\xbe".repeat(8_000)[..]].concat();
    flood("HPACK bomb", "heads", &[], 10_000, |round| {
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, &bomb)
    });
}

#[test]
fn frames_that_are_to_be_answered() {
    flood("settings", "frames", &[], 100_000, |_| {
        settings(&[(3, 100)])
    });
    flood("ping", "thousand frames", &[], 1_000, |_| {
        frame(PING, 0, 0, "12345678").repeat(1_000)
    });
}

#[test]
fn frames_that_say_nothing() {
    flood("priority", "thousand frames", &[], 1_000, |_| {
        frame(PRIORITY, 0, 1, [0, 0, 0, 3, 7]).repeat(1_000)
    });
    flood("unknown frames", "thousand frames", &[], 1_000, |_| {
        frame(99, 0, 1, "x").repeat(1_000)
    });
    let first = head("POST", "/x", 1);
    flood("empty data", "frames", &first, 100_000, |_| {
        frame(DATA, 0, 1, "")
    });
}
