//! Bodies, connections and time: what is forwarded whole, and what becomes of it when a backend
//! fails in one way or another. Each failure is counted exactly once, as what it was.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::{scope, sleep};
use std::time::Duration;

use serin::runtime::clock;
use socket2::{Domain, Socket, Type};
use support::backend::pattern;
use support::proxy::backends;
use support::{Behaviour, Request, SOON, TestBackend, TestProxy, wait_until};

const MEBIBYTE: usize = 1024 * 1024;

/// A backend behind a flag that gives everyone stable, so that failures are counted for an arm.
struct Path {
    proxy: TestProxy,
    backend: TestBackend,
}

impl Path {
    fn to(behaviour: Behaviour) -> Self {
        Self::within(behaviour, "{}")
    }

    /// With limits of time.
    fn within(behaviour: Behaviour, timeouts: &str) -> Self {
        let backend = TestBackend::with("stable", behaviour);
        let proxy = proxy_to(&backend.url(), timeouts);
        Self { proxy, backend }
    }

    fn get(&self) -> support::Answer {
        self.proxy.get("/")
    }
}

fn proxy_to(url: &str, timeouts: &str) -> TestProxy {
    TestProxy::start(&format!(
        "workers: 1\n\
         backends: {{ v1: {{ endpoints: [\"{url}\"], timeouts: {timeouts} }}, v2: \"http://[::1]\" }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n"
    ))
}

/// Asserts that all requests so far were counted once each, `failed` of them as a failure of the
/// backend of one kind, or none of them as any.
#[track_caller]
fn assert_counted(proxy: &TestProxy, codes: &[(&str, u64)], failed: Option<(&str, u64)>) {
    for (code, count) in codes {
        proxy.wait_for_count("serin_requests_total", &[("code", code)], *count);
    }
    let metrics = proxy.metrics();
    let all = codes.iter().map(|(_, count)| count).sum::<u64>();
    let counted = metrics.count("serin_requests_total", &[]);
    assert_eq!(counted, all, "requests");
    let failures = metrics.count("serin_backend_failures_total", &[]);
    assert_eq!(failures, failed.map_or(0, |(_, count)| count), "failures");
    if let Some((kind, count)) = failed {
        let of_kind = metrics.count("serin_backend_failures_total", &[("failure", kind)]);
        assert_eq!(of_kind, count, "{kind}");
    }
}

#[test]
fn a_big_upload_arrives_byte_by_byte() {
    let path = Path::to(Behaviour::Verify);
    let body = pattern(32 * MEBIBYTE);
    let expected = format!("{} bytes as sent", body.len());
    let answer = path
        .proxy
        .ask(&Request::new("POST", "/").body(body.clone()));
    assert_eq!((answer.status, answer.text()), (200, expected.as_str()));
    let head = path.backend.last_head();
    let length = body.len().to_string();
    assert_eq!(head.field("content-length"), Some(length.as_str()));

    let mut connection = path.proxy.connect();
    let head = Request::new("POST", "/").field("transfer-encoding", "chunked");
    connection.send(head.head().as_bytes());
    for chunk in body.chunks(MEBIBYTE) {
        connection.send(format!("{:x}\r\n", chunk.len()).as_bytes());
        connection.send(chunk);
        connection.send(b"\r\n");
    }
    connection.send(b"0\r\n\r\n");
    assert_eq!(connection.answer().text(), expected);
    let head = path.backend.last_head();
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    assert_counted(&path.proxy, &[("200", 2)], None);
}

#[test]
fn a_big_answer_arrives_byte_by_byte() {
    let path = Path::to(Behaviour::Bytes(32 * MEBIBYTE));
    let answer = path.get();
    assert!(answer.is_whole);
    assert!(answer.body == pattern(32 * MEBIBYTE), "the bytes differ");
    assert_counted(&path.proxy, &[("200", 1)], None);
}

#[test]
fn a_slow_reader_holds_up_the_backend_and_fills_no_memory() {
    let path = Path::to(Behaviour::Bytes(256 * MEBIBYTE));
    assert_eq!(path.proxy.command("GET", "/livez", "").status, 200);
    let before = path.proxy.resident_bytes();
    let mut connection = path.proxy.connect();
    connection.send(Request::get("/").head().as_bytes());
    let answer = connection.answer_head();
    assert_eq!(answer.status, 200);
    let (mut buffer, mut most) = (vec![0; 256 * 1024], 0);
    for _ in 0..128 {
        let count = connection.read(&mut buffer).unwrap();
        assert!(count > 0);
        most = most.max(path.proxy.resident_bytes());
    }
    let grown = most.saturating_sub(before) / (1024 * 1024);
    assert!(grown < 16, "{grown} MiB more than before");
    // The client leaves in the middle, which is nobody's fault.
    drop(connection);
    assert_counted(&path.proxy, &[("200", 1)], None);
}

#[test]
fn a_backend_that_does_not_read_holds_up_the_client_and_fills_no_memory() {
    let path = Path::to(Behaviour::Stall);
    assert_eq!(path.proxy.command("GET", "/livez", "").status, 200);
    let before = path.proxy.resident_bytes();
    let mut connection = path.proxy.connect();
    let length = 256 * MEBIBYTE;
    let head = Request::new("POST", "/").field("content-length", &length.to_string());
    connection.send(head.head().as_bytes());
    wait_until("the backend has the head", SOON, || {
        path.backend.requests() == 1
    });
    let socket = connection.socket();
    socket
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let (mut socket, chunk) = (socket, vec![0; MEBIBYTE]);
    let mut sent = 0;
    while let Ok(count) = socket.write(&chunk) {
        sent += count;
        assert!(sent < length, "all was taken though nobody reads it");
    }
    let grown = path.proxy.resident_bytes().saturating_sub(before) / (1024 * 1024);
    assert!(grown < 16, "{grown} MiB more than before");
}

#[test]
fn an_answer_begins_before_the_request_has_ended() {
    let early = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let path = Path::to(Behaviour::RawThenSilence(early.into()));
    let mut connection = path.proxy.connect();
    connection.send(Request::get("/").head().as_bytes());
    assert_eq!(connection.answer_head().status, 200);
}

#[test]
fn trailers_of_an_answer_are_passed_on() {
    let raw = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
               5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n";
    let path = Path::to(Behaviour::Raw(raw.into()));
    let answer = path.proxy.ask(&Request::get("/").field("te", "trailers"));
    assert_eq!((answer.text(), answer.is_whole), ("hello", true));
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    assert_counted(&path.proxy, &[("200", 1)], None);
}

#[test]
fn answers_without_a_body_end_where_they_end() {
    let path = Path::to(Behaviour::Raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".into(),
    ));
    let mut connection = path.proxy.connect();
    for _ in 0..3 {
        let answer = connection.ask(&Request::new("HEAD", "/"));
        assert_eq!(answer.field("content-length"), Some("5"));
    }
    path.backend.behave(Behaviour::Raw(
        b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n".into(),
    ));
    assert_eq!(
        connection.ask(&Request::get("/")).field("etag"),
        Some("\"1\"")
    );
    path.backend
        .behave(Behaviour::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".into()));
    assert_eq!(connection.ask(&Request::get("/")).status, 204);
    assert_eq!(path.backend.connections(), 1);
    assert_counted(&path.proxy, &[("200", 3), ("304", 1), ("204", 1)], None);
}

#[test]
fn one_connection_to_the_backend_serves_request_after_request() {
    let path = Path::to(Behaviour::Name);
    let mut connection = path.proxy.connect();
    for _ in 0..50 {
        assert_eq!(connection.ask(&Request::get("/")).text(), "stable");
    }
    // Other clients share it.
    for _ in 0..50 {
        assert_eq!(path.get().text(), "stable");
    }
    assert_eq!(path.backend.connections(), 1);
    let metrics = path.proxy.metrics();
    let backend = [("backend", "v1")];
    assert_eq!(metrics.count("serin_upstream_connects_total", &backend), 1);
    assert_eq!(
        metrics.count("serin_upstream_requests_total", &backend),
        100
    );
    assert_eq!(metrics.count("serin_upstream_connections", &backend), 1);
}

#[test]
fn a_kept_connection_that_the_backend_has_closed_costs_nobody_anything() {
    let path = Path::to(Behaviour::AnswerThenClose);
    let post = Request::new("POST", "/").body("hello");
    for asked in 1..=60 {
        let request = if asked % 2 == 0 {
            &post
        } else {
            &Request::get("/")
        };
        assert_eq!(path.proxy.ask(request).status, 200);
        wait_until("the backend closes", SOON, || {
            path.backend.closed() == asked
        });
    }
    path.backend.behave(Behaviour::Name);
    for _ in 0..10 {
        assert_eq!(path.proxy.ask(&post).status, 200);
        path.backend.drop_connections();
    }
    assert_counted(&path.proxy, &[("200", 70)], None);
}

#[test]
fn a_backend_that_refuses_is_told_at_once_as_502() {
    let dead = TestBackend::dead();
    let proxy = proxy_to(&dead.url(), "{}");
    let begun = clock::monotonic();
    let answer = proxy.get("/");
    let took = begun.elapsed();
    let problem = answer.problem(502);
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(problem["title"], "Bad Gateway");
    assert_eq!(problem["detail"], "the backend accepts no connection");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let id = answer.field("x-request-id").unwrap();
    assert_eq!(problem["request_id"], id);
    let failures = proxy
        .metrics()
        .count("serin_upstream_connect_failures_total", &[]);
    assert_eq!(failures, 1);
    assert_counted(&proxy, &[("502", 1)], Some(("connect", 1)));
}

#[test]
fn a_backend_that_takes_no_connection_in_time_is_told_as_504() {
    let full = FullBacklog::new();
    let proxy = proxy_to(&format!("http://{}", full.address), "{ connect: 300ms }");
    let begun = clock::monotonic();
    let problem = proxy.get("/").problem(504);
    let took = begun.elapsed();
    assert_eq!(
        problem["detail"],
        "the backend did not accept a connection in time"
    );
    let limit = Duration::from_millis(300)..Duration::from_secs(1);
    assert!(limit.contains(&took), "{took:?}");
    assert_counted(&proxy, &[("504", 1)], Some(("connect", 1)));
}

/// A server whose queue of connections is full: what else arrives is neither taken nor refused.
struct FullBacklog {
    address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<TcpStream>,
}

impl FullBacklog {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&free.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the queue has no end");
        }
        Self {
            address,
            _listener: listener,
            _waiting: waiting,
        }
    }
}

#[test]
fn a_backend_that_does_not_answer_in_time_is_told_as_504() {
    let path = Path::within(Behaviour::Stall, "{ response: 300ms }");
    let begun = clock::monotonic();
    let problem = path.get().problem(504);
    let took = begun.elapsed();
    assert_eq!(problem["detail"], "the backend did not answer in time");
    let limit = Duration::from_millis(300)..Duration::from_secs(1);
    assert!(limit.contains(&took), "{took:?}");
    assert_counted(&path.proxy, &[("504", 1)], Some(("timeout", 1)));
    // One that answers in time is waited for.
    path.backend
        .behave(Behaviour::Slow(Duration::from_millis(100)));
    assert_eq!(path.get().status, 200);
    assert_counted(&path.proxy, &[("504", 1), ("200", 1)], Some(("timeout", 1)));
}

#[test]
fn the_time_to_answer_begins_when_the_upload_has_ended() {
    let path = Path::within(Behaviour::Name, "{ response: 300ms }");
    let mut connection = path.proxy.connect();
    let head = Request::new("POST", "/").field("content-length", "40");
    connection.send(head.head().as_bytes());
    // A client that takes its time, longer than the backend has for its answer.
    for _ in 0..40 {
        connection.send(b"x");
        sleep(Duration::from_millis(20));
    }
    assert_eq!(connection.answer().text(), "stable");
    assert_counted(&path.proxy, &[("200", 1)], None);
}

#[test]
fn a_backend_that_falls_silent_in_its_answer_is_cut_off() {
    let raw = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    let path = Path::within(Behaviour::RawThenSilence(raw.into()), "{ idle: 300ms }");
    let begun = clock::monotonic();
    let answer = path.get();
    let took = begun.elapsed();
    assert_eq!((answer.text(), answer.is_whole), ("hello", false));
    let limit = Duration::from_millis(300)..Duration::from_secs(2);
    assert!(limit.contains(&took), "{took:?}");
    assert_counted(&path.proxy, &[("200", 1)], Some(("timeout", 1)));
}

#[test]
fn an_answer_that_is_cut_off_is_never_shown_as_whole() {
    let cut = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello",
    ];
    for (seen, raw) in (1..).zip(cut) {
        let path = Path::to(Behaviour::RawThenClose(raw.into()));
        let answer = path.get();
        assert_eq!((answer.text(), answer.is_whole), ("hello", false), "{seen}");
        assert_counted(&path.proxy, &[("200", 1)], Some(("cut_body", 1)));
    }
    // Without a length and without chunks, the end of the connection is the end of the answer.
    let raw = "HTTP/1.1 200 OK\r\n\r\nhello";
    let path = Path::to(Behaviour::RawThenClose(raw.into()));
    let answer = path.get();
    assert_eq!((answer.text(), answer.is_whole), ("hello", true));
    assert_counted(&path.proxy, &[("200", 1)], None);
}

#[test]
fn an_answer_that_is_no_http_is_told_as_502() {
    for raw in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhi",
        "",
    ] {
        let path = Path::to(Behaviour::RawThenClose(raw.into()));
        let problem = path.get().problem(502);
        assert_eq!(
            problem["detail"], "the backend broke off the exchange",
            "{raw}"
        );
        assert_counted(&path.proxy, &[("502", 1)], Some(("reset", 1)));
        assert_eq!(
            path.backend.requests(),
            1,
            "what may have been done is not repeated"
        );
    }
}

#[test]
fn an_error_of_the_backend_is_passed_on_and_counted() {
    let path = Path::to(Behaviour::Status(503));
    let answer = path.get();
    assert_eq!((answer.status, answer.text()), (503, "stable"));
    path.backend.behave(Behaviour::Status(404));
    assert_eq!(path.get().status, 404);
    let codes = [("503", 1), ("404", 1)];
    assert_counted(&path.proxy, &codes, Some(("status", 1)));
}

#[test]
fn a_client_that_leaves_is_nobodys_fault() {
    let path = Path::to(Behaviour::Stall);
    // Before there is an answer, and in the middle of its own upload.
    let upload = Request::new("POST", "/").field("content-length", "10");
    for (asked, head) in [(1, Request::get("/").head()), (2, upload.head() + "hello")] {
        let mut connection = path.proxy.connect();
        connection.send(head.as_bytes());
        wait_until("the backend is asked", SOON, || {
            path.backend.requests() == asked
        });
    }
    assert_counted(&path.proxy, &[("499", 1), ("408", 1)], None);
    path.backend.behave(Behaviour::Name);
    assert_eq!(path.get().text(), "stable");
    assert_counted(&path.proxy, &[("499", 1), ("408", 1), ("200", 1)], None);
}

#[test]
fn the_endpoints_of_a_backend_have_their_turns_and_a_dead_one_costs_nobody_anything() {
    let endpoints = [1, 2, 3].map(|n| TestBackend::start(&n.to_string()));
    let dead = TestBackend::dead();
    let mut urls: Vec<_> = endpoints.iter().map(TestBackend::url).collect();
    urls.insert(1, dead.url());
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends: {{ a: {{ endpoints: {urls:?} }} }}\nroutes: [{{ backend: a }}]\n"
    ));
    let mut connection = proxy.connect();
    for _ in 0..80 {
        let post = Request::new("POST", "/").body("hello");
        assert_eq!(connection.ask(&post).status, 200);
    }
    let asked: Vec<_> = endpoints.iter().map(TestBackend::requests).collect();
    // Whose turn comes after the dead one's takes that turn as well.
    assert_eq!(asked, [20, 40, 20]);
    assert_counted(&proxy, &[("200", 80)], None);
    let metrics = proxy.metrics();
    let endpoint = dead.address().to_string();
    let labels = [("backend", "a"), ("endpoint", endpoint.as_str())];
    let failures = metrics.count("serin_upstream_connect_failures_total", &labels);
    assert_eq!(failures, 20);
}

#[test]
fn stable_answers_for_a_canary_that_takes_no_connection() {
    let (stable, canary) = (
        TestBackend::with("stable", Behaviour::Echo),
        TestBackend::dead(),
    );
    let proxy = TestProxy::start(
        &(backends(&[("v1", &stable), ("v2", &canary)])
            + "flags: { orders: { stable: v1, canary: v2, default: 100% } }\n\
               routes: [{ flag: orders }]\n"),
    );
    for _ in 0..10 {
        let answer = proxy.ask(&Request::new("POST", "/").body("hello"));
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("serin-flags: orders=stable\r\n"));
    }
    assert_counted(&proxy, &[("200", 10)], Some(("connect", 10)));
    let metrics = proxy.metrics();
    let canary = [("variant", "canary"), ("flag", "orders")];
    let counted = |name: &str| metrics.count(name, &canary);
    assert_eq!(counted("serin_requests_total"), 10);
    assert_eq!(counted("serin_backend_failures_total"), 10);
    assert_eq!(metrics.count("serin_rescued_requests_total", &[]), 10);
}

#[test]
fn neither_a_half_sent_canary_request_nor_a_dead_stable_is_rescued() {
    let (mut stable, canary) = (
        TestBackend::start("stable"),
        TestBackend::with("canary", Behaviour::RawThenClose(Vec::new())),
    );
    let proxy = TestProxy::start(
        &(backends(&[("v1", &stable), ("v2", &canary)])
            + "flags: { all: { stable: v1, canary: v2, default: 100% },\n\
               \x20        none: { stable: v1, canary: v2 } }\n\
               routes: [{ path: /all, flag: all }, { path: /none, flag: none }]\n"),
    );
    proxy.get("/all").problem(502);
    assert_eq!(stable.requests(), 0);
    stable.die();
    proxy.get("/none").problem(502);
    assert_eq!(canary.requests(), 1);
    assert_eq!(
        proxy.metrics().count("serin_rescued_requests_total", &[]),
        0
    );
}

#[test]
fn many_clients_at_once_each_get_their_own_answer() {
    let path = Path::to(Behaviour::Echo);
    scope(|threads| {
        for client in 0..16 {
            let path = &path;
            threads.spawn(move || {
                let mut connection = path.proxy.connect();
                for n in 0..50 {
                    let target = format!("/{client}/{n}");
                    let answer = connection.ask(&Request::get(&target));
                    assert!(answer.text().starts_with(&format!("GET {target} ")));
                }
            });
        }
    });
    assert_counted(&path.proxy, &[("200", 800)], None);
}
