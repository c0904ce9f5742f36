//! Attempts to get two requests in for one, or to get what is another's: none of them works, and a
//! connection to a backend is as good after them as before.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use support::recorder::{Edge, Seen};

/// What is to be smuggled.
const WITHIN: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\nX: ";

/// Sends a text on a connection that this side ends once so many answers have come, and returns what the
/// backend has seen.
fn seen(edge: &Edge, answers: usize, text: &str) -> Vec<Seen> {
    edge.send_for(answers, &[text.as_bytes()]);
    edge.seen()
}

#[track_caller]
fn only(seen: Vec<Seen>, what: &str) -> Seen {
    let [one] = <[Seen; 1]>::try_from(seen).unwrap();
    assert_eq!((one.what(), one.is_whole), (what, true));
    one
}

#[test]
fn a_body_stays_a_body_whatever_is_in_it() {
    let edge = Edge::start();
    let length = WITHIN.len();
    for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        for more in [
            "",
            "Connection: close\r\n",
            "Connection: content-length\r\n",
            "Connection: host, content-length\r\n",
            "Connection: keep-alive, transfer-encoding\r\n",
            "Content-Encoding: chunked\r\n",
            "X-HTTP-Method-Override: GET\r\n",
            "TE: chunked\r\n",
            "Trailer: content-length\r\n",
            "Upgrade: websocket\r\n",
            "Expect: 200-ok\r\n",
        ] {
            let head = format!("{method} /x HTTP/1.1\r\nHost: a\r\n{more}");
            let sized = format!("{head}Content-Length: {length}\r\n\r\n{WITHIN}");
            assert_eq!(
                only(seen(&edge, 1, &sized), &format!("{method} /x")).body,
                WITHIN.as_bytes()
            );
            let chunked = format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n{length:x};x=\"\\\"\"\r\n{WITHIN}\r\n0\r\n\r\n"
            );
            let one = only(seen(&edge, 1, &chunked), &format!("{method} /x"));
            assert_eq!(one.body, WITHIN.as_bytes(), "{method} {more}");
        }
    }
}

#[test]
fn trailers_do_not_frame_and_say_nothing_about_the_request() {
    let edge = Edge::start();
    let one = only(
        seen(
            &edge,
            1,
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
             Trailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\nContent-Length: 30\r\n\
             Transfer-Encoding: chunked\r\nHost: b\r\nserin-flags: forged\r\n\r\n",
        ),
        "POST /x",
    );
    assert_eq!(one.body, b"abc");
    let trailers = one.trailers.to_ascii_lowercase();
    for field in ["content-length", "transfer-encoding", "host", "serin-flags"] {
        assert!(!trailers.contains(field), "{trailers}");
    }
}

#[test]
fn nobody_hides_what_is_said_about_a_request() {
    let edge = Edge::start();
    for named in [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "forwarded",
        "via",
        "x-request-id",
        "traceparent",
        "host",
    ] {
        let text = format!(
            "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close, {named}\r\n{named}: b\r\n\r\n"
        );
        if named == "host" {
            assert_eq!(seen(&edge, 1, &text), [], "two hosts");
        } else {
            let one = only(seen(&edge, 1, &text), "GET /x");
            assert_eq!(one.all(named).len(), 1, "{named}: {}", one.head);
            assert_ne!(one.all(named), ["b"], "{named}");
        }
    }
}

#[test]
fn a_switch_that_was_not_granted_makes_no_tunnel() {
    let edge = Edge::start();
    let asked = "GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let behind = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    // It is a request like any other, and goes through all that requests go through.
    let all = seen(&edge, 3, &format!("{asked}\r\n{behind}{behind}"));
    let whats: Vec<_> = all.iter().map(Seen::what).collect();
    assert_eq!(whats, ["GET /up", "GET /admin", "GET /admin"]);
    for seen in &all[1..] {
        assert_eq!(seen.all("via"), ["1.1 serin"]);
        assert_eq!(seen.all("upgrade"), [""; 0]);
    }
    // Nor is anything that is not one.
    let sent = format!("{asked}\r\nGET /admin HTTP/1.1\nHost: a\r\n\r\n");
    let answers = edge.send_for(2, &[sent.as_bytes()]);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 400]);
    only(edge.seen(), "GET /up");
    // With a body before it.
    let sent = format!("{asked}Content-Length: 3\r\n\r\nabc{behind}");
    let all = seen(&edge, 2, &sent);
    let whats: Vec<_> = all.iter().map(Seen::what).collect();
    assert_eq!(whats, ["GET /up", "GET /admin"]);
    assert_eq!(all[0].body, b"abc");
}

#[test]
fn one_answer_too_many_is_nobodys() {
    let edge = Edge::start();
    let two = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
                HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let get = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..50 {
        edge.backend.answer_with(two);
        let answers = edge.send_for(3, &[&get.repeat(3)]);
        let bodies: Vec<_> = answers
            .iter()
            .map(|answer| answer.body.as_slice())
            .collect();
        assert_eq!(bodies, [b"ok"; 3]);
        let whats: Vec<_> = edge
            .seen()
            .iter()
            .map(|seen| seen.what().to_owned())
            .collect();
        assert_eq!(whats, ["GET /x"; 3]);
    }
}

#[test]
fn an_answer_that_can_be_read_two_ways_harms_no_other() {
    let edge = Edge::start();
    for head in [
        "content-length: 2\r\ncontent-length: 40\r\n",
        "content-length: 2, 40\r\n",
        "content-length: -2\r\n",
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
        "transfer-encoding: cow, chunked\r\ncontent-length: 2\r\n",
        "transfer-encoding : chunked\r\ncontent-length: 2\r\n",
        "x: y\0z\r\ncontent-length: 2\r\n",
        "x: y\r\n content-length: 2\r\n",
    ] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{head}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
        );
        edge.backend.answer_with(answer.as_bytes());
        let mut connection = edge.proxy.connect();
        connection.send(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = connection.answer();
        let framings = ["content-length", "transfer-encoding"].map(|name| {
            let fields = answer.fields.iter();
            fields.filter(|(known, _)| known == name).count()
        });
        assert!(
            matches!(answer.status, 200 | 502),
            "{head:?}: {}",
            answer.status
        );
        assert!(framings.iter().sum::<usize>() < 2, "{head:?}");
        assert!(!answer.body.ends_with(b"poison"), "{head:?}");
        assert!(connection.is_closed(), "{head:?}");
        edge.seen();
    }
}
