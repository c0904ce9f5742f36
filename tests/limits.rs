//! What clients of a listener may take up: connections, bytes and fields of heads, and time.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serin::runtime::clock;
use support::frames::{END_STREAM, End, HEADERS, Http2, block, fields, frame, get};
use support::proxy::SERIN;
use support::{Connection, Request, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

/// A proxy whose listener has limits.
struct Edge {
    proxy: TestProxy,
    backend: TestBackend,
    folder: TempDir,
}

impl Edge {
    fn within(limits: &str) -> Self {
        let (backend, folder) = (TestBackend::start("v1"), TempDir::new().unwrap());
        let path = folder.path().join("serin.yaml");
        fs::write(path, config(&backend.url(), limits)).unwrap();
        let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
        Self {
            proxy,
            backend,
            folder,
        }
    }

    /// Connects and shows that it is served.
    fn serve(&self) -> Connection {
        let mut connection = self.proxy.connect();
        assert_eq!(connection.ask(&Request::get("/")).status, 200);
        connection
    }
}

fn config(backend: &str, limits: &str) -> String {
    format!(
        "listeners: [{{ address: \"127.0.0.1:0\", limits: {limits} }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\nworkers: 1\n\
         backends: {{ v1: \"{backend}\" }}\nroutes: [{{ backend: v1 }}]\n"
    )
}

/// Sends a byte each tenth of a second until the connection is closed; tells how long that took.
fn drip(mut connection: Connection, bytes: impl Iterator<Item = u8>) -> Duration {
    let begun = clock::monotonic();
    for byte in bytes {
        if connection.socket().write_all(&[byte]).is_err() {
            break;
        }
        assert!(begun.elapsed() < SOON, "it goes on");
        sleep(Duration::from_millis(100));
    }
    assert!(connection.is_closed());
    begun.elapsed()
}

#[test]
fn connections_beyond_the_limit_are_turned_away_and_make_room_when_they_end() {
    let edge = Edge::within("{ connections: 2 }");
    let (first, mut second) = (edge.serve(), edge.serve());
    assert!(edge.proxy.connect().is_closed());
    assert_eq!(second.ask(&Request::get("/")).status, 200);
    drop(first);
    wait_until("there is room", SOON, || {
        Request::get("/").try_send_to(edge.proxy.address()).is_ok()
    });
    assert_eq!(second.ask(&Request::get("/")).status, 200);
}

#[test]
fn a_head_may_have_so_many_bytes_and_fields_and_not_one_more() {
    let edge = Edge::within("{ header_bytes: 1KiB, headers: 5 }");
    let of_length = |length: usize| {
        let bare = Request::get("/").field("x-long", "").head().len();
        Request::get("/").field("x-long", &"x".repeat(length - bare))
    };
    assert_eq!(edge.proxy.ask(&of_length(1023)).status, 200);
    assert_eq!(edge.proxy.ask(&of_length(1024)).status, 200);
    edge.proxy.ask(&of_length(1025)).problem(431);
    let with_fields = |count: usize| {
        let request = Request::get("/");
        (1..count).fold(request, |request, _| request.field("x-more", "1"))
    };
    assert_eq!(edge.proxy.ask(&with_fields(5)).status, 200);
    edge.proxy.ask(&with_fields(6)).problem(431);
    assert_eq!(edge.backend.requests(), 3);
}

#[test]
fn more_than_usual_can_be_let_in() {
    let edge = Edge::within("{ header_bytes: 200KB, headers: 300 }");
    let long = Request::get("/").field("x-long", &"x".repeat(150_000));
    assert_eq!(edge.proxy.ask(&long).status, 200);
    let many = (0..250).fold(Request::get("/"), |many, n| {
        many.field(&format!("x-{n}"), "1")
    });
    assert_eq!(edge.proxy.ask(&many).status, 200);
    assert_eq!(edge.backend.requests(), 2);
}

#[test]
fn heads_of_http_2_are_held_to_the_same() {
    let edge = Edge::within("{ header_bytes: 2KiB, headers: 10 }");
    let mut client = Http2::open(edge.proxy.address());
    let send = |stream, more: &[(&str, &str)]| {
        frame(HEADERS, 4 | END_STREAM, stream, block(&fields("GET", more)))
    };
    client.send(&send(1, &[("x-a", "1"); 9]));
    assert_eq!(client.answer(1), End::Answered(200));
    client.send(&send(3, &[("x-a", "1"); 10]));
    assert_eq!(client.answer(3), End::Answered(431));
    let mut client = Http2::open(edge.proxy.address());
    client.send(&send(1, &[("x-long", &"x".repeat(2_000))]));
    assert_eq!(client.answer(1), End::Answered(431));
    // Cookies that come one by one are one field.
    client.send(&send(3, &[("cookie", "a=1"); 20]));
    assert_eq!(client.answer(3), End::Answered(200));
    assert_eq!(edge.backend.requests(), 2);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_cut_off_and_silence_is_not() {
    let edge = Edge::within("{ header_timeout: 1s, idle_timeout: 1h }");
    let mut silent = edge.serve();
    let begun = edge.proxy.connect();
    let endless = Request::get("/").head().into_bytes();
    let endless = endless[..endless.len() - 2].iter().copied();
    let took = drip(begun, endless.clone().chain(std::iter::repeat(b'x')));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    // A second request of a connection is held to the same, from its own beginning.
    let took = drip(edge.serve(), endless.chain(std::iter::repeat(b'x')));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    // Nor is one that has said nothing yet in anybody's way.
    assert_eq!(silent.ask(&Request::get("/")).status, 200);
    assert_eq!(edge.backend.requests(), 3);
}

#[test]
fn a_head_of_http_2_that_never_ends_is_cut_off() {
    let edge = Edge::within("{ header_timeout: 1s, idle_timeout: 1h }");
    for begun in [
        // Without the mark that ends it, and a frame of which half is missing.
        frame(HEADERS, END_STREAM, 1, block(&fields("GET", &[]))),
        get(1)[..12].to_vec(),
    ] {
        let mut client = Http2::open(edge.proxy.address());
        client.send(&begun);
        assert!(client.is_closed());
    }
    let mut client = Http2::open(edge.proxy.address());
    client.send(&get(1));
    assert_eq!(client.answer(1), End::Answered(200));
    assert_eq!(edge.backend.requests(), 1);
}

#[test]
fn a_connection_without_a_request_is_closed_after_its_idle_time() {
    let edge = Edge::within("{ header_timeout: 1m, idle_timeout: 1s }");
    let begun = clock::monotonic();
    let mut asked = edge.serve();
    let mut silent = edge.proxy.connect();
    assert!(asked.is_closed() && silent.is_closed());
    let took = begun.elapsed();
    assert!(Duration::from_secs(1) <= took && took < SOON, "{took:?}");
}

#[test]
fn limits_take_a_restart() {
    let edge = Edge::within("{ headers: 50 }");
    let changed = config(&edge.backend.url(), "{ headers: 60 }");
    fs::write(edge.folder.path().join("serin.yaml"), changed).unwrap();
    edge.proxy.reload();
    let line = edge.proxy.wait_for_log("`listeners` cannot change", SOON);
    assert!(line.contains("listeners"), "{line}");
}
