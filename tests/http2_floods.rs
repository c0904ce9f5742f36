//! Clients of HTTP/2 that ask for more than anybody could want: they pay for it, and others do not.

mod support;

use support::frames::{
    DATA, END_HEADERS, END_STREAM, End, HEADERS, Http2, PING, RST_STREAM, WINDOW_UPDATE, frame,
    get, post, settings,
};
use support::recorder::Edge;
use support::{Behaviour, SOON, TestBackend, TestProxy, wait_until};

/// How much more memory a flood may take, in bytes.
const GROWTH_MAX: u64 = 32 * 1024 * 1024;

/// Sends the same for ever, as it were, without reading a thing, and looks what became of all.
#[track_caller]
fn flood(first: &[u8], rounds: u32, piece: impl Fn(u32) -> Vec<u8>) {
    let edge = Edge::start();
    let before = edge.proxy.resident_bytes();
    let mut client = Http2::open(edge.proxy.address());
    client.send(first);
    for round in 0..rounds {
        client.send(&piece(round));
    }
    // Others are served meanwhile, by the same worker.
    let mut other = Http2::open(edge.proxy.address());
    other.send(&get(1));
    assert_eq!(other.answer(1), End::Answered(200));
    let growth = edge.proxy.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "{growth} bytes more");
    assert!(!edge.proxy.log().contains("panicked"));
}

#[test]
fn requests_that_are_taken_back_at_once() {
    flood(&[], 5_000, |round| {
        let stream = 2 * round + 1;
        let reset = frame(RST_STREAM, 0, stream, [0, 0, 0, 8]);
        [get(stream), reset].concat()
    });
}

#[test]
fn requests_that_make_the_proxy_take_them_back() {
    // Each is malformed, and has to be reset.
    flood(&[], 5_000, |round| {
        let stream = 2 * round + 1;
        post(stream, &[("connection", "close")])
    });
}

#[test]
fn requests_that_are_never_sent_to_their_end() {
    flood(&[], 2_000, |round| post(2 * round + 1, &[]));
}

#[test]
fn pings_and_settings_that_nobody_waits_for() {
    // As many as fit in the sockets between, for no answer is read.
    flood(&[], 2_000, |_| frame(PING, 0, 0, "12345678").repeat(10));
    flood(&[], 2_000, |_| settings(&[(3, 100)]).repeat(10));
}

#[test]
fn data_that_is_none() {
    flood(&post(1, &[]), 5_000, |_| frame(DATA, 0, 1, "").repeat(10));
}

#[test]
fn heads_without_end() {
    flood(&frame(HEADERS, 0, 1, ""), 5_000, |_| {
        frame(9, 0, 1, "").repeat(10)
    });
    flood(&frame(HEADERS, 0, 1, ""), 500, |_| {
        frame(9, 0, 1, b"\x00\x01x\x01y".repeat(1_000))
    });
}

#[test]
fn tables_that_grow_when_they_are_read() {
    // One long field that is kept, and then named again and again (a "HPACK bomb").
    let long = [b"\x40\x01x\x7f\x81\x1e".as_slice(), &b"y".repeat(4_000)].concat();
    let block = support::frames::block(&support::frames::fields("GET", &[]));
    flood(&[], 200, |round| {
        let stream = 2 * round + 1;
        let bomb = [&block, &long, &b"\xbe".repeat(8_000)[..]].concat();
        frame(HEADERS, END_HEADERS | 1, stream, bomb)
    });
}

#[test]
fn a_stream_that_is_not_taken_is_ended_and_the_others_go_on() {
    let backend = TestBackend::with("v1", Behaviour::Bytes(1024 * 1024));
    let proxy = TestProxy::start(&format!(
        "workers: 1\n\
         backends: {{ v1: {{ endpoints: [\"{}\"], timeouts: {{ idle: 1s }} }} }}\n\
         routes: [{{ backend: v1 }}]\n",
        backend.url()
    ));
    // One window never opens, one opens a little and then no more, and one is wide open, as the
    // connection's is.
    let mut client = Http2::with(proxy.address(), &[(4, 0)]);
    client.send(&[get(1), get(3), get(5)].concat());
    for (stream, window) in [
        (0, [0, 0x20, 0, 0]),
        (3, [0, 0, 0, 9]),
        (5, [0, 0x20, 0, 0]),
    ] {
        client.send(&frame(WINDOW_UPDATE, 0, stream, window));
    }
    let (mut reset, mut taken, mut is_whole) = (Vec::new(), 0, false);
    while reset.len() < 2 || !is_whole {
        let got = client.read().unwrap();
        match got.kind {
            RST_STREAM => reset.push(got.stream),
            DATA if got.stream == 5 => {
                taken += got.payload.len();
                is_whole = got.flags & END_STREAM != 0;
            }
            _ => {}
        }
    }
    reset.sort_unstable();
    assert_eq!((reset, taken), (vec![1, 3], 1024 * 1024));
    // What they held up is let go; the third's may be kept.
    let connections = || proxy.metrics().count("serin_upstream_connections", &[]);
    wait_until("connections are let go", SOON, || connections() <= 1);
    // Nobody's fault but the client's.
    assert_eq!(
        proxy.metrics().count("serin_backend_failures_total", &[]),
        0
    );
    client.send(&get(7));
    assert_eq!(client.answer(7), End::Answered(200));
}
