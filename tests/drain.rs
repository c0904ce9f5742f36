//! The end of the process: who is told what, what is still served, and when it is over.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::spawn;
use std::time::Duration;

use serin::runtime::clock;
use support::frames::{
    END_HEADERS, END_STREAM, End, GOAWAY, HEADERS, Http2, block, fields, frame, get,
};
use support::lateness::Lateness;
use support::upstream::{Conduct, Upstream};
use support::{Request, SOON, TestProxy, wait_until};

fn upstream() -> Upstream {
    let http1 = Conduct {
        is_http2: false,
        ..Conduct::http2()
    };
    Upstream::start(http1)
}

/// Before a backend that keeps what is under `/hold` until it is released.
fn start(upstream: &Upstream, shutdown: &str) -> TestProxy {
    TestProxy::start(&format!(
        "workers: 2\nbackends: {{ v1: \"{}\" }}\nroutes: [{{ backend: v1 }}]\nshutdown: {shutdown}\n",
        upstream.url()
    ))
}

fn is_ready(proxy: &TestProxy) -> bool {
    let status = proxy.command("GET", "/readyz", "").status;
    assert!(status == 200 || status == 503, "{status}");
    status == 200
}

/// Whether nobody takes connections any more: at first they are not refused, but not made either.
fn is_shut(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err()
}

#[test]
fn what_is_under_way_is_answered_and_the_last_on_its_connection() {
    let upstream = upstream();
    let mut proxy = start(&upstream, "{}");
    assert!(is_ready(&proxy));
    let held = Request::get("/hold").head();
    let ask = |_| {
        let mut connection = proxy.connect();
        connection.send(held.as_bytes());
        connection
    };
    let connections: Vec<_> = (0..20).map(ask).collect();
    wait_until("all are under way", SOON, || upstream.under_way() == 20);
    proxy.terminate();
    wait_until("it says no", SOON, || !is_ready(&proxy));
    wait_until("it is shut", SOON, || is_shut(proxy.address()));
    assert_eq!(upstream.under_way(), 20);
    assert!(!is_ready(&proxy), "it still says so");
    upstream.release();
    for mut connection in connections {
        let answer = connection.answer();
        assert_eq!((answer.status, answer.text()), (200, "held"));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(connection.is_closed());
    }
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn streams_under_way_end_behind_goaway() {
    let upstream = upstream();
    let mut proxy = start(&upstream, "{}");
    let mut client = Http2::open(proxy.address());
    client.send(&get(1));
    assert_eq!(client.answer(1), End::Answered(200));
    let mut held = fields("GET", &[]);
    for (name, value) in &mut held {
        if *name == ":path" {
            *value = "/hold";
        }
    }
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, block(&held)));
    wait_until("it is under way", SOON, || upstream.under_way() == 1);
    proxy.terminate();
    let goaway = client.read_kind(GOAWAY);
    assert_eq!(goaway.payload[4..8], [0; 4], "without an error");
    upstream.release();
    assert_eq!(client.read_kind(HEADERS).stream, 3);
    assert_eq!(client.body(3), b"held");
    assert!(client.is_closed());
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn who_asks_for_nothing_does_not_hold_it_up() {
    let upstream = upstream();
    let mut proxy = start(&upstream, "{ deadline: 1h }");
    let mut used = proxy.connect();
    assert_eq!(used.ask(&Request::get("/")).status, 200);
    let mut unused = proxy.connect();
    proxy.terminate();
    assert!(used.is_closed());
    assert!(unused.is_closed());
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn before_it_shuts_it_may_say_for_a_while_that_it_will() {
    let upstream = upstream();
    let mut proxy = start(&upstream, "{ delay: 1h }");
    let mut kept = proxy.connect();
    proxy.terminate();
    wait_until("it says no", SOON, || !is_ready(&proxy));
    for _ in 0..20 {
        let answer = proxy.get("/");
        assert_eq!(answer.status, 200);
        let answer = kept.ask(&Request::get("/"));
        assert_eq!((answer.status, answer.field("connection")), (200, None));
    }
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let upstream = upstream();
    let mut proxy = start(&upstream, "{ deadline: 1h }");
    let mut connection = proxy.connect();
    connection.send(Request::get("/hold").head().as_bytes());
    wait_until("it is under way", SOON, || upstream.under_way() == 1);
    proxy.terminate();
    wait_until("it is shut", SOON, || is_shut(proxy.address()));
    assert_eq!(upstream.under_way(), 1);
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(proxy.log().contains("stopping at once"));
    assert!(connection.is_closed());
}

#[test]
fn what_has_not_ended_by_the_deadline_is_cut() {
    let upstream = upstream();
    let mut proxy = start(&upstream, "{ deadline: 1s }");
    let lateness = Lateness::watch();
    let mut connection = proxy.connect();
    connection.send(Request::get("/part").head().as_bytes());
    assert_eq!(connection.answer_head().status, 200);
    let begun = clock::monotonic();
    proxy.terminate();
    let mut rest = Vec::new();
    let mut bytes = [0; 64];
    while let Ok(count @ 1..) = connection.read(&mut bytes) {
        rest.extend_from_slice(&bytes[..count]);
    }
    assert_eq!(rest, b"4\r\nhalf\r\n", "it does not look whole");
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let most = lateness.allow(Duration::from_millis(1500));
    assert!(took < most, "{took:?}, not {most:?}");
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(proxy.log().contains("cut at the drain deadline left=1"));
}

/// Connects again and again until it is turned away, and counts who was served; an error where
/// somebody was let in and not served.
fn knock(address: SocketAddr) -> Result<u64, String> {
    let mut served = 0;
    loop {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300))
        else {
            return Ok(served);
        };
        stream.set_read_timeout(Some(SOON)).unwrap();
        let asked = stream.write_all(
            Request::get("/")
                .field("connection", "close")
                .head()
                .as_bytes(),
        );
        let mut answer = Vec::new();
        let got = asked.and_then(|()| stream.read_to_end(&mut answer));
        match got {
            Ok(_) if answer.starts_with(b"HTTP/1.1 200 ") => served += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err("silence".to_owned()),
            other => return Err(format!("{other:?} after {served}, {answer:?}")),
        }
    }
}

#[test]
fn who_is_let_in_is_served_to_the_last() {
    let upstream = upstream();
    for _ in 0..3 {
        let mut proxy = start(&upstream, "{}");
        let address = proxy.address();
        let knocking: Vec<_> = (0..4).map(|_| spawn(move || knock(address))).collect();
        let before = upstream.asked().len();
        wait_until("they come", SOON, || upstream.asked().len() > before + 50);
        proxy.terminate();
        for knocking in knocking {
            assert!(knocking.join().unwrap().unwrap() > 0);
        }
        assert_eq!(proxy.wait().code(), Some(0));
    }
}
