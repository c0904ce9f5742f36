//! Requests over HTTP/2: which are none, what a backend sees of those that are, and what becomes of
//! them when a side leaves.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use support::frames::{
    DATA, END_HEADERS, END_STREAM, End, GOAWAY, HEADERS, Http2, RST_STREAM, block, fields, frame,
    get, post,
};
use support::proxy::backends;
use support::recorder::Edge;
use support::{Behaviour, SOON, TestBackend, TestProxy, wait_until};

const PROTOCOL: u32 = 1;
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;

type Fields = Vec<(&'static str, &'static str)>;

/// A `GET` with other fields in the place of those of the same name, without those that are empty.
fn with(changed: &[(&'static str, &'static str)]) -> Fields {
    let mut all = fields("GET", &[]);
    for (name, value) in changed {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(field) => field.1 = value,
            None => all.push((name, value)),
        }
    }
    all.retain(|(_, value)| !value.is_empty());
    all
}

fn plus(more: &[(&'static str, &'static str)]) -> Fields {
    fields("GET", more)
}

/// Heads that are none (RFC 9113, section 8), and what the client is told.
// One line for each.
#[rustfmt::skip]
fn bad_heads() -> Vec<(Fields, End)> {
    let reset = End::Reset(PROTOCOL);
    let refused = End::Answered(400);
    vec![
        (plus(&[("X-Upper", "1")]), reset),
        (plus(&[("x y", "1")]), reset),
        (plus(&[("x:y", "1")]), reset),
        (plus(&[("", "1")]), reset),
        (plus(&[("x", "a\0b")]), reset),
        (plus(&[("x", "a\r\nhost: b")]), reset),
        (plus(&[("x", "a\nb")]), reset),
        (plus(&[("connection", "close")]), reset),
        (plus(&[("connection", "x-secret")]), reset),
        (plus(&[("keep-alive", "timeout=5")]), reset),
        (plus(&[("proxy-connection", "close")]), reset),
        (plus(&[("transfer-encoding", "chunked")]), reset),
        (plus(&[("upgrade", "websocket")]), reset),
        (plus(&[("te", "gzip")]), reset),
        (plus(&[("te", "trailers, gzip")]), reset),
        (plus(&[(":path", "/y")]), reset),
        (plus(&[(":method", "POST")]), reset),
        (plus(&[(":scheme", "http")]), reset),
        (plus(&[(":authority", "a")]), reset),
        (plus(&[(":foo", "bar")]), reset),
        (plus(&[(":status", "200")]), reset),
        ([vec![("x", "y")], fields("GET", &[])].concat(), reset),
        (with(&[(":method", "")]), reset),
        (with(&[(":scheme", "")]), reset),
        (with(&[(":path", "")]), reset),
        ([with(&[(":path", "")]), vec![(":path", "")]].concat(), reset),
        (with(&[(":path", "x")]), reset),
        (with(&[(":path", "*")]), refused),
        (with(&[(":path", "/a b")]), reset),
        (with(&[(":path", "http://a/")]), reset),
        (with(&[(":method", "G T")]), reset),
        (with(&[(":scheme", "ftp")]), refused),
        (with(&[(":authority", "u@a")]), refused),
        (with(&[(":authority", "u:p@a:80")]), refused),
        (with(&[(":authority", "a,b")]), refused),
        (with(&[(":authority", "a/b")]), reset),
        (with(&[(":authority", "a b")]), reset),
        (with(&[(":authority", "")]), refused),
        (with(&[("host", "b")]), refused),
        (with(&[("host", "a:80")]), refused),
        (plus(&[("host", "a"), ("host", "b")]), refused),
        ([with(&[(":authority", "")]), vec![("host", "a"), ("host", "a")]].concat(), refused),
        (plus(&[("content-length", "0"), ("content-length", "0")]), refused),
        (plus(&[("content-length", "5")]), reset),
        (plus(&[("content-length", "+0")]), reset),
        (plus(&[("content-length", "x")]), reset),
        (with(&[(":method", "CONNECT")]), reset),
        (vec![(":method", "CONNECT"), (":authority", "a:443")], End::Answered(501)),
        (with(&[(":method", "CONNECT"), (":protocol", "websocket")]), reset),
    ]
}

#[test]
fn a_head_that_breaks_a_rule_goes_no_further_and_others_go_on() {
    let edge = Edge::start();
    let mut wrong = Vec::new();
    for (fields, expected) in bad_heads() {
        let mut client = Http2::open(edge.proxy.address());
        let flags = END_HEADERS | END_STREAM;
        client.send(&frame(HEADERS, flags, 1, block(&fields)));
        let mut end = client.answer(1);
        if end == End::Gone(PROTOCOL) && expected == End::Reset(PROTOCOL) {
            // What cannot even be held by the library's types costs the whole connection.
            end = expected;
            client = Http2::open(edge.proxy.address());
        }
        client.send(&get(3));
        let next = client.answer(3);
        let seen = edge.seen();
        if end != expected || next != End::Answered(200) || seen.len() != 1 {
            wrong.push(format!(
                "{fields:?}: {end:?}, then {next:?}, seen {}",
                seen.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_backend_sees_a_request_like_any_other() {
    let edge = Edge::start();
    let mut client = Http2::open(edge.proxy.address());
    let more = [
        ("cookie", "a=1"),
        ("x", "y"),
        ("cookie", "b=2; c=3"),
        ("te", "trailers"),
        ("cookie", "d=4"),
        ("accept-encoding", ""),
    ];
    let head = block(&fields("GET", &more));
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, head));
    assert_eq!(client.answer(1), End::Answered(200));
    assert_eq!(client.body(1), b"ok");
    let seen = edge.seen().remove(0);
    assert_eq!(seen.what(), "GET /x");
    assert_eq!(seen.all("cookie"), ["a=1; b=2; c=3; d=4"]);
    assert_eq!(seen.all("host"), ["a"]);
    assert_eq!(seen.all("te"), ["trailers"]);
    assert_eq!(seen.all("via"), ["2 serin"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.all("content-length"), [""; 0]);
    // By `Host` alone.
    let named = [with(&[(":authority", "")]), vec![("host", "b:81")]].concat();
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, block(&named)));
    assert_eq!(client.answer(3), End::Answered(200));
    assert_eq!(edge.seen().remove(0).all("host"), ["b:81"]);
}

#[test]
fn a_body_is_framed_anew_with_and_without_a_length() {
    let edge = Edge::start();
    let mut client = Http2::open(edge.proxy.address());
    let mut stream = 1;
    for method in ["POST", "GET", "DELETE", "FOO"] {
        for more in [&[][..], &[("content-length", "6")]] {
            let head = block(&fields(method, more));
            client.send(&frame(HEADERS, END_HEADERS, stream, head));
            client.send(&frame(DATA, 0, stream, "abc"));
            client.send(&frame(DATA, 0, stream, ""));
            client.send(&frame(DATA, END_STREAM, stream, "def"));
            assert_eq!(client.answer(stream), End::Answered(200));
            let seen = edge.seen().remove(0);
            assert_eq!(seen.body, b"abcdef", "{method} {more:?}");
            stream += 2;
        }
    }
    // Trailers go on too.
    client.send(&post(stream, &[("trailer", "x-sum"), ("te", "trailers")]));
    client.send(&frame(DATA, 0, stream, "abc"));
    let trailers = block(&[("x-sum", "1")]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers));
    assert_eq!(client.answer(stream), End::Answered(200));
    let seen = edge.seen().remove(0);
    assert_eq!(
        (seen.body.as_slice(), seen.trailers.as_str()),
        (&b"abc"[..], "x-sum: 1\r\n")
    );
}

/// More fields of a `POST`, and what comes behind its head.
type Body = (&'static [(&'static str, &'static str)], Vec<Vec<u8>>);

#[test]
fn a_body_that_breaks_a_rule_never_becomes_whole() {
    let edge = Edge::start();
    let trailers =
        |fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields));
    let data = |flags, text: &str| frame(DATA, flags, 1, text);
    // `:path` out of the table that all know, too.
    let indexed = frame(HEADERS, END_HEADERS | END_STREAM, 1, [0x84]);
    let cases: [Body; 9] = [
        (&[], vec![data(0, "abc"), trailers(&[(":path", "/y")])]),
        (&[], vec![data(0, "abc"), indexed]),
        (
            &[],
            vec![data(0, "abc"), trailers(&[("x", "y"), (":path", "/y")])],
        ),
        (&[], vec![data(0, "abc"), trailers(&[("X", "y")])]),
        (
            &[],
            vec![data(0, "abc"), trailers(&[("connection", "close")])],
        ),
        (&[("content-length", "2")], vec![data(END_STREAM, "abc")]),
        (&[("content-length", "5")], vec![data(END_STREAM, "abc")]),
        (
            &[("content-length", "5")],
            vec![data(0, "abc"), data(END_STREAM, "d")],
        ),
        (
            &[("content-length", "5")],
            vec![data(0, "abc"), trailers(&[("x", "y")])],
        ),
    ];
    for (more, rest) in cases {
        let mut client = Http2::open(edge.proxy.address());
        client.send(&post(1, more));
        rest.iter().for_each(|frame| client.send(frame));
        let end = client.end(1);
        if end == End::Gone(PROTOCOL) {
            client = Http2::open(edge.proxy.address());
        } else {
            assert_eq!(end, End::Reset(PROTOCOL), "{more:?} {rest:?}");
        }
        client.send(&get(3));
        assert_eq!(client.answer(3), End::Answered(200));
        let seen = edge.seen();
        let whole: Vec<_> = seen.iter().filter(|seen| seen.is_whole).collect();
        assert_eq!(whole.len(), 1, "{seen:?}");
        assert_eq!(whole[0].what(), "GET /x");
    }
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let edge = Edge::start();
    let long = "x".repeat(8_000);
    let many: Vec<_> = (0..8).map(|_| ("x-long", long.as_str())).collect();
    let block = block(&fields("GET", &many));
    let mut client = Http2::open(edge.proxy.address());
    let mut frames = frame(HEADERS, END_STREAM, 1, &block[..16_000]);
    let rest: Vec<_> = block[16_000..].chunks(16_000).collect();
    for (at, part) in rest.iter().enumerate() {
        let flags = if at + 1 == rest.len() { END_HEADERS } else { 0 };
        frames.extend(frame(9, flags, 1, part));
    }
    client.send(&frames);
    assert_eq!(client.answer(1), End::Answered(431));
    client.send(&get(3));
    assert_eq!(client.answer(3), End::Answered(200));
    assert_eq!(edge.seen().len(), 1);
    // Continuations without end are not taken for ever.
    client.send(&frame(HEADERS, END_STREAM, 5, &block[..100]));
    for _ in 0..2_000 {
        client.send(&frame(9, 0, 5, &block[..100]));
    }
    assert!(client.is_closed());
    assert_eq!(edge.seen(), []);
}

#[test]
fn a_method_or_target_that_is_too_long_is_refused_as_in_http_1() {
    let edge = Edge::start();
    let path = |length: usize| "/".repeat(length);
    for (method, path, expected) in [
        ("A".repeat(64), path(1), 200),
        ("A".repeat(65), path(1), 501),
        ("GET".to_owned(), path(16_000), 200),
        ("GET".to_owned(), path(16 * 1024 + 1), 414),
        ("GET".to_owned(), path(30_000), 414),
    ] {
        let mut client = Http2::open(edge.proxy.address());
        let mut head = fields(&method, &[]);
        head.iter_mut().find(|field| field.0 == ":path").unwrap().1 = &path;
        let block = block(&head);
        let parts: Vec<_> = block.chunks(16_000).collect();
        for (at, part) in parts.iter().enumerate() {
            let kind = if at == 0 { HEADERS } else { 9 };
            let ends = if at == 0 { END_STREAM } else { 0 };
            let is_last = at + 1 == parts.len();
            let flags = ends | if is_last { END_HEADERS } else { 0 };
            client.send(&frame(kind, flags, 1, part));
        }
        assert_eq!(client.answer(1), End::Answered(expected), "{}", path.len());
        assert_eq!(edge.seen().len(), usize::from(expected == 200));
    }
}

#[test]
fn a_fixed_connection_of_http_1_is_not_http_2() {
    let edge = Edge::start();
    let first = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = edge.send(&[first, support::frames::PREFACE, &get(1)]);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 505]);
    assert_eq!(edge.seen().len(), 1);
}

fn slow(behaviour: Behaviour) -> (TestBackend, TestProxy) {
    let backend = TestBackend::with("v1", behaviour);
    let config = backends(&[("v1", &backend)]) + "workers: 1\nroutes: [{ backend: v1 }]\n";
    let proxy = TestProxy::start(&config);
    (backend, proxy)
}

#[test]
fn a_client_that_resets_a_stream_has_left_and_nobody_failed() {
    let (backend, proxy) = slow(Behaviour::Stall);
    let mut client = Http2::open(proxy.address());
    client.send(&get(1));
    wait_until("it has come", SOON, || backend.requests() == 1);
    client.send(&frame(RST_STREAM, 0, 1, [0, 0, 0, 8]));
    proxy.wait_for_count("serin_requests_total", &[("code", "499")], 1);
    assert_eq!(
        proxy.metrics().count("serin_backend_failures_total", &[]),
        0
    );
    backend.behave(Behaviour::Name);
    wait_until("the backend is told", SOON, || backend.closed() == 1);
    client.send(&get(3));
    assert_eq!(client.answer(3), End::Answered(200));
}

#[test]
fn an_answer_that_breaks_off_resets_its_stream_only() {
    let (backend, proxy) = slow(Behaviour::RawThenClose(
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_vec(),
    ));
    let mut client = Http2::open(proxy.address());
    client.send(&get(1));
    assert_eq!(client.answer(1), End::Answered(200));
    assert!(matches!(client.end(1), End::Reset(code) if code != NO_ERROR && code != CANCEL));
    backend.behave(Behaviour::Name);
    client.send(&get(3));
    assert_eq!(client.answer(3), End::Answered(200));
}

#[test]
fn what_is_under_way_ends_before_the_process_does() {
    let (backend, mut proxy) = slow(Behaviour::Stall);
    let mut client = Http2::open(proxy.address());
    client.send(&[get(1), get(3)].concat());
    wait_until("both have come", SOON, || backend.requests() == 2);
    proxy.terminate();
    let goaway = client.read_kind(GOAWAY);
    assert_eq!(goaway.payload[4..8], [0; 4]);
    backend.behave(Behaviour::Name);
    assert_eq!(client.answer(1), End::Answered(200));
    assert!(client.is_closed());
    assert!(proxy.wait().success());
}

#[test]
fn connections_outlive_a_reload() {
    let edge = Edge::start();
    let mut client = Http2::open(edge.proxy.address());
    client.send(&get(1));
    assert_eq!(client.answer(1), End::Answered(200));
    edge.proxy.reload();
    edge.proxy.wait_for_log("configuration", SOON);
    client.send(&get(3));
    assert_eq!(client.answer(3), End::Answered(200));
}
