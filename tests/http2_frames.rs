//! Frames of HTTP/2 that break a rule, by the sections of RFC 9113 and 7541: what it costs, the
//! stream or the connection, and under which name. And those that look as if, and do not.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, End, GOAWAY, HEADERS, Http2, PADDED, PING,
    PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block,
    fields, frame, get, post, settings,
};
use support::recorder::Edge;

// Section 7.
const NO_ERROR: u32 = 0;
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

/// Which of the reasons a connection ends for the library tells apart: the streams' and windows' ones. All
/// else is a `PROTOCOL_ERROR` to it, which section 5.4 lets it be.
fn is_named(code: u32, codes: &[u32]) -> bool {
    codes.contains(&code) || code == PROTOCOL
}

/// What is to come of some frames.
#[derive(Debug)]
enum Expected {
    /// Stream 1 is answered with 200.
    Answer,
    /// The stream ends for one of these reasons, or the connection does.
    Stream(&'static [u32]),
    /// The connection ends for one of these reasons, and is closed.
    Connection(&'static [u32]),
}
use Expected::{Answer, Connection, Stream};

/// A section, what is sent after the preface and the settings, and what is to come of it.
type Case = (&'static str, Vec<u8>, Expected);

fn join(frames: &[&[u8]]) -> Vec<u8> {
    frames.concat()
}

fn head(flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(HEADERS, flags, stream, payload)
}

fn simple() -> Vec<u8> {
    block(&fields("GET", &[]))
}

/// The head of a `GET` in two frames.
fn in_two(stream: u32) -> [Vec<u8>; 2] {
    let block = simple();
    let (first, second) = block.split_at(10);
    [
        head(END_STREAM, stream, first),
        frame(CONTINUATION, END_HEADERS, stream, second),
    ]
}

/// The same in as many as it takes.
fn in_pieces(stream: u32, size: usize) -> Vec<u8> {
    let block = simple();
    let (first, rest) = block.split_at(size);
    let mut all = head(END_STREAM, stream, first);
    let pieces = rest.chunks(size);
    let last = pieces.len() - 1;
    for (at, piece) in pieces.enumerate() {
        let flags = if at == last { END_HEADERS } else { 0 };
        all.extend(frame(CONTINUATION, flags, stream, piece));
    }
    all
}

fn padded(length: u8, payload: &[u8], padding: usize) -> Vec<u8> {
    [&[length], payload, &vec![0; padding]].concat()
}

// One line for each.
#[rustfmt::skip]
fn framing() -> Vec<Case> {
    let whole = END_HEADERS | END_STREAM;
    let [first, second] = in_two(1);
    let far = [0x80, 0, 0, 3, 15];
    vec![
        ("3.4", get(1), Answer),
        ("4.1 unknown kind", join(&[&frame(0x16, 0, 0, "????"), &get(1)]), Answer),
        ("4.1 flags", join(&[&frame(PING, 0x16, 0, "12345678"), &get(1)]), Answer),
        ("4.1 reserved bit", join(&[&frame(PING, 0, 0x8000_0000, "12345678"), &get(1)]), Answer),
        ("4.2 data of 16 KiB", join(&[&post(1, &[]), &frame(DATA, END_STREAM, 1, vec![0; 16_384])]), Answer),
        ("4.2 data too long", join(&[&post(1, &[]), &frame(DATA, END_STREAM, 1, vec![0; 16_385])]), Stream(&[FRAME_SIZE])),
        ("4.2 head too long", head(whole, 1, vec![0; 16_385]), Connection(&[FRAME_SIZE])),
        ("4.2 settings too long", frame(SETTINGS, 0, 0, vec![0; 16_386]), Connection(&[FRAME_SIZE])),
        ("4.3 another between", join(&[&first, &frame(PRIORITY, 0, 1, far), &second]), Connection(&[PROTOCOL])),
        ("4.3 another stream between", join(&[&first, &get(3), &second]), Connection(&[PROTOCOL])),
        ("5.5 unknown kind", join(&[&get(1), &frame(0xff, 0, 0, "????")]), Answer),
        ("5.5 unknown kind between", join(&[&first, &frame(0xff, 0, 1, "????"), &second]), Connection(&[PROTOCOL])),
        ("6.1 stream 0", frame(DATA, END_STREAM, 0, "x"), Connection(&[PROTOCOL])),
        ("6.1 padding", join(&[&post(1, &[]), &frame(DATA, END_STREAM | PADDED, 1, padded(3, b"abc", 3))]), Answer),
        ("6.1 too much padding", join(&[&post(1, &[]), &frame(DATA, END_STREAM | PADDED, 1, padded(9, b"abc", 3))]), Connection(&[PROTOCOL])),
        ("6.1 no length of padding", join(&[&post(1, &[]), &frame(DATA, END_STREAM | PADDED, 1, "")]), Connection(&[PROTOCOL, FRAME_SIZE])),
        ("6.2 padding", head(whole | PADDED, 1, padded(3, &simple(), 3)), Answer),
        ("6.2 priority", head(whole | WITH_PRIORITY, 1, [&far[..], &simple()].concat()), Answer),
        ("6.2 both", head(whole | WITH_PRIORITY | PADDED, 1, padded(3, &[&far[..], &simple()].concat(), 3)), Answer),
        ("6.2 stream 0", head(whole, 0, simple()), Connection(&[PROTOCOL])),
        ("6.2 too much padding", head(whole | PADDED, 1, padded(255, &simple(), 3)), Connection(&[PROTOCOL])),
        ("6.3 stream 0", frame(PRIORITY, 0, 0, far), Connection(&[PROTOCOL])),
        ("6.3 length", join(&[&post(1, &[]), &frame(PRIORITY, 0, 1, [0; 4])]), Stream(&[FRAME_SIZE])),
        ("5.3.1 head by itself", head(whole | WITH_PRIORITY, 1, [&[0, 0, 0, 1, 15][..], &simple()].concat()), Stream(&[PROTOCOL])),
        ("5.3.1 by itself", join(&[&post(1, &[]), &frame(PRIORITY, 0, 1, [0, 0, 0, 1, 15])]), Stream(&[PROTOCOL])),
        ("6.4 stream 0", frame(RST_STREAM, 0, 0, [0, 0, 0, 8]), Connection(&[PROTOCOL])),
        ("6.4 idle", frame(RST_STREAM, 0, 1, [0, 0, 0, 8]), Connection(&[PROTOCOL])),
        ("6.4 length", join(&[&post(1, &[]), &frame(RST_STREAM, 0, 1, [0, 0, 8])]), Connection(&[FRAME_SIZE])),
        ("6.10 in two", join(&[&first, &second]), Answer),
        ("6.10 in four", in_pieces(1, 10), Answer),
        ("6.10 data between", join(&[&first, &frame(DATA, 0, 1, "x"), &second]), Connection(&[PROTOCOL])),
        ("6.10 stream 0", join(&[&first, &frame(CONTINUATION, END_HEADERS, 0, "")]), Connection(&[PROTOCOL])),
        ("6.10 behind a whole head", join(&[&post(1, &[]), &frame(CONTINUATION, END_HEADERS, 1, simple())]), Connection(&[PROTOCOL])),
        ("6.10 behind the last", join(&[&first, &second, &frame(CONTINUATION, END_HEADERS, 1, simple())]), Connection(&[PROTOCOL, STREAM_CLOSED])),
        ("6.10 behind data", join(&[&post(1, &[]), &frame(DATA, 0, 1, "x"), &frame(CONTINUATION, END_HEADERS, 1, simple())]), Connection(&[PROTOCOL])),
        ("8.4 push", join(&[&post(1, &[]), &frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2][..], &simple()].concat())]), Connection(&[PROTOCOL])),
    ]
}

// One line for each.
#[rustfmt::skip]
fn streams() -> Vec<Case> {
    let reset = frame(RST_STREAM, 0, 1, [0, 0, 0, 8]);
    let data = frame(DATA, END_STREAM, 1, "x");
    let continuation = frame(CONTINUATION, END_HEADERS, 1, simple());
    let update = frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 100]);
    let priority = frame(PRIORITY, 0, 1, [0, 0, 0, 3, 15]);
    vec![
        ("5.1 idle data", data.clone(), Connection(&[PROTOCOL])),
        ("5.1 idle reset", reset.clone(), Connection(&[PROTOCOL])),
        ("5.1 idle update", update.clone(), Connection(&[PROTOCOL])),
        ("5.1 idle continuation", continuation.clone(), Connection(&[PROTOCOL])),
        ("5.1 idle priority", join(&[&priority, &get(1)]), Answer),
        ("5.1 half closed data", join(&[&get(1), &data]), Stream(&[STREAM_CLOSED])),
        ("5.1 half closed head", join(&[&get(1), &get(1)]), Stream(&[STREAM_CLOSED])),
        ("5.1 half closed continuation", join(&[&get(1), &continuation]), Connection(&[STREAM_CLOSED, PROTOCOL])),
        ("5.1 half closed update", join(&[&get(1), &update]), Answer),
        ("5.1 half closed priority", join(&[&get(1), &priority]), Answer),
        ("5.1 closed data", join(&[&post(1, &[]), &reset, &data]), Stream(&[STREAM_CLOSED])),
        ("5.1 closed head", join(&[&post(1, &[]), &reset, &get(1)]), Stream(&[STREAM_CLOSED])),
        ("5.1 closed continuation", join(&[&post(1, &[]), &reset, &continuation]), Connection(&[STREAM_CLOSED, PROTOCOL])),
        ("5.1.1 even", get(2), Connection(&[PROTOCOL])),
        ("5.1.1 smaller", join(&[&post(5, &[]), &get(3)]), Connection(&[PROTOCOL])),
        ("5.1.1 skipped", join(&[&get(1), &post(9, &[])]), Answer),
        ("8.1 a second head that is no end", join(&[&post(1, &[]), &post(1, &[])]), Stream(&[PROTOCOL])),
        ("7 unknown code of a reset", join(&[&post(3, &[]), &frame(RST_STREAM, 0, 3, [0, 0, 0, 0xff]), &get(5), &get(1)]), Connection(&[PROTOCOL])),
    ]
}

// One line for each.
#[rustfmt::skip]
fn control() -> Vec<Case> {
    let open = post(1, &[]);
    vec![
        ("6.5 ack with payload", frame(SETTINGS, 1, 0, [0; 6]), Connection(&[FRAME_SIZE])),
        ("6.5 stream", frame(SETTINGS, 0, 1, [0, 3, 0, 0, 0, 100]), Connection(&[PROTOCOL])),
        ("6.5 length", frame(SETTINGS, 0, 0, [0, 3, 0]), Connection(&[FRAME_SIZE])),
        ("6.5.2 push", settings(&[(2, 2)]), Connection(&[PROTOCOL])),
        ("6.5.2 window", settings(&[(4, 1 << 31)]), Connection(&[FLOW_CONTROL])),
        ("6.5.2 frame too short", settings(&[(5, 16_383)]), Connection(&[PROTOCOL])),
        ("6.5.2 frame too long", settings(&[(5, 1 << 24)]), Connection(&[PROTOCOL])),
        ("6.5.2 unknown", join(&[&settings(&[(0xff, 1)]), &get(1)]), Answer),
        ("6.5.2 connect protocol", join(&[&settings(&[(8, 1)]), &get(1)]), Answer),
        ("6.7 stream", frame(PING, 0, 1, "12345678"), Connection(&[PROTOCOL])),
        ("6.7 length", frame(PING, 0, 0, "123456"), Connection(&[FRAME_SIZE])),
        ("6.7 ack", join(&[&frame(PING, 1, 0, "12345678"), &get(1)]), Answer),
        ("6.8 stream", frame(GOAWAY, 0, 1, [0; 8]), Connection(&[PROTOCOL])),
        ("6.8 short", frame(GOAWAY, 0, 0, [0; 7]), Connection(&[FRAME_SIZE])),
        ("6.9 nothing", frame(WINDOW_UPDATE, 0, 0, [0; 4]), Connection(&[PROTOCOL])),
        ("6.9 nothing for a stream", join(&[&open, &frame(WINDOW_UPDATE, 0, 1, [0; 4])]), Stream(&[PROTOCOL])),
        ("6.9 length", frame(WINDOW_UPDATE, 0, 0, [0, 0, 1]), Connection(&[FRAME_SIZE])),
        ("6.9.1 too much", frame(WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0xff, 0xff]), Connection(&[FLOW_CONTROL])),
        ("6.9.1 too much for a stream", join(&[&open, &frame(WINDOW_UPDATE, 0, 1, [0x7f, 0xff, 0xff, 0xff])]), Stream(&[FLOW_CONTROL])),
        ("6.9.2 too much by settings", join(&[&open, &frame(WINDOW_UPDATE, 0, 1, [0, 0xff, 0xff, 0xff]), &settings(&[(4, 0x7fff_ffff)])]), Connection(&[FLOW_CONTROL])),
    ]
}

// One line for each.
#[rustfmt::skip]
fn compression() -> Vec<Case> {
    let whole = END_HEADERS | END_STREAM;
    let with = |bytes: &[u8]| head(whole, 1, [&simple(), bytes].concat());
    let bad = || Connection(&[COMPRESSION]);
    vec![
        ("2.3.3 no such index", with(&[0xff, 0x80, 0x01]), bad()),
        ("2.3.3 no such name", with(&[0x7f, 0x80, 0x01, 1, b'x']), bad()),
        ("4.2 size at the end", with(&[0x20]), bad()),
        ("4.2 two sizes at the beginning", head(whole, 1, [&[0x20, 0x3f, 0xe1, 0x1f][..], &simple()].concat()), Answer),
        ("5.2 padding of eight bits", with(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]), bad()),
        ("5.2 padding of zeros", with(&[0, 1, b'x', 0x81, 0x00]), bad()),
        ("5.2 end of string", with(&[0, 1, b'x', 0x85, 0x1f, 0xff, 0xff, 0xff, 0xfc]), bad()),
        ("6.1 index 0", with(&[0x80]), bad()),
        ("6.3 size over the limit", head(whole, 1, [&[0x3f, 0xff, 0xff, 0x03][..], &simple()].concat()), bad()),
        ("5.1 integer without end", with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]), bad()),
        ("5.2 string beyond the block", with(&[0, 1, b'x', 100, b'y']), bad()),
        ("6.2.1 kept and used", head(whole, 1, [&simple()[..], &[0x40, 1, b'x', 1, b'y', 0xbe]].concat()), Answer),
        ("6.2.3 never kept", with(&[0x10, 1, b'x', 1, b'y']), Answer),
    ]
}

fn ends(edge: &Edge, bytes: &[u8], expected: &Expected) -> (End, bool) {
    let mut client = Http2::open(edge.proxy.address());
    client.send(bytes);
    let end = match expected {
        Answer => client.answer(1),
        Stream(_) => client.end(1),
        Connection(_) => client.end(u32::MAX),
    };
    let is_gone = matches!(end, End::Gone(_));
    (end, !is_gone || client.is_closed())
}

#[track_caller]
fn try_all(cases: Vec<Case>) {
    let edge = Edge::start();
    let mut wrong = Vec::new();
    for (section, bytes, expected) in cases {
        let (end, is_closed) = ends(&edge, &bytes, &expected);
        let is_right = match (&expected, end) {
            (Answer, End::Answered(status)) => status == 200,
            (Stream(codes), End::Reset(code)) => codes.contains(&code),
            (Stream(codes) | Connection(codes), End::Gone(code)) => is_named(code, codes),
            _ => false,
        };
        if !is_right || !is_closed {
            wrong.push(format!(
                "{section}: {end:?}, closed: {is_closed}, not {expected:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let mut client = Http2::open(edge.proxy.address());
    client.send(&get(1));
    assert_eq!(client.answer(1), End::Answered(200));
}

#[test]
fn frames_are_what_they_must_be() {
    try_all(framing());
}

#[test]
fn streams_live_once() {
    try_all(streams());
}

#[test]
fn settings_pings_and_windows_keep_their_rules() {
    try_all(control());
}

#[test]
fn a_block_of_fields_that_cannot_be_read_costs_the_connection() {
    try_all(compression());
}

#[test]
fn a_stream_too_many_is_refused_and_the_others_go_on() {
    let edge = Edge::start();
    let mut client = Http2::open(edge.proxy.address());
    let streams: Vec<u32> = (0..129).map(|n| 2 * n + 1).collect();
    for stream in &streams {
        client.send(&post(*stream, &[]));
    }
    assert_eq!(client.end(streams[128]), End::Reset(REFUSED));
    client.send(&frame(DATA, END_STREAM, 1, "x"));
    assert_eq!(client.answer(1), End::Answered(200));
    client.send(&get(301));
    assert_eq!(client.answer(301), End::Answered(200));
}

#[test]
fn a_preface_is_known_however_it_comes() {
    let edge = Edge::start();
    let all = [PREFACE, &settings(&[]), &get(1)].concat();
    let mut client = Http2::bare(edge.proxy.address());
    for byte in &all {
        client.send(&[*byte]);
    }
    assert_eq!(client.answer(1), End::Answered(200));
    assert_eq!(edge.seen().len(), 1);
    // Another one is none, and nothing of it goes on.
    for broken in [
        &b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        b"INVALID CONNECTION PREFACE\r\n\r\n",
        b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = Http2::bare(edge.proxy.address());
        client.send(broken);
        client.send(&get(1));
        assert!(client.is_closed(), "{broken:?}");
    }
    assert_eq!(edge.seen(), []);
}

#[test]
fn settings_are_acknowledged_and_pings_are_answered() {
    let edge = Edge::start();
    let mut client = Http2::with(edge.proxy.address(), &[(3, 100)]);
    let ack = loop {
        let frame = client.read_kind(SETTINGS);
        if frame.flags == 1 {
            break frame;
        }
    };
    assert_eq!(ack.payload, b"");
    client.send(&frame(PING, 0, 0, "serin ok"));
    let ping = client.read_kind(PING);
    assert_eq!((ping.flags, ping.payload.as_slice()), (1, &b"serin ok"[..]));
    // Whatever a client leaves for.
    client.send(&frame(GOAWAY, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0xff]));
    assert!(matches!(client.end(0), End::Gone(NO_ERROR) | End::Closed));
}

#[test]
fn no_more_is_sent_than_the_client_takes() {
    let edge = Edge::start();
    let mut client = Http2::with(edge.proxy.address(), &[(4, 1)]);
    client.send(&get(1));
    assert_eq!(client.answer(1), End::Answered(200));
    assert_eq!(client.read_kind(DATA).payload, b"o");
    // Less than nothing, and then one more than that.
    client.send(&settings(&[(4, 0)]));
    client.send(&frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 1]));
    client.send(&frame(PING, 0, 0, "12345678"));
    assert_eq!(client.read_kind(PING).flags, 1);
    client.send(&settings(&[(4, 1), (4, 2)]));
    assert_eq!(client.read_kind(DATA).payload, b"k");
}
