//! Slow, stubborn and hasty clients and backends, and whose fault it was each time.
//!
//! Pauses in here are what is tested: somebody sends or reads slowly on purpose.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::thread::sleep;
use std::time::Duration;

use support::backend::pattern;
use support::{Behaviour, Request, SOON, TestBackend, TestProxy, wait_until};

const MEBIBYTE: usize = 1024 * 1024;

struct Path {
    proxy: TestProxy,
    backend: TestBackend,
}

impl Path {
    fn within(behaviour: Behaviour, timeouts: &str) -> Self {
        let backend = TestBackend::with("stable", behaviour);
        let url = backend.url();
        let proxy = TestProxy::start(&format!(
            "workers: 1\n\
             backends:\n  v1: {{ endpoints: [\"{url}\"], timeouts: {timeouts} }}\n  \
             v2: \"http://[::1]\"\n\
             flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n"
        ));
        Self { proxy, backend }
    }

    /// Waits until so many requests ended by somebody's fault, or by nobody's.
    #[track_caller]
    fn assert_fault(&self, fault: &str, count: u64) {
        let labels = [("fault", fault)];
        self.proxy
            .wait_for_count("serin_outcomes_total", &labels, count);
        let metrics = self.proxy.metrics();
        assert_eq!(metrics.count("serin_outcomes_total", &[]), count);
    }

    #[track_caller]
    fn assert_failure(&self, kind: &str) {
        let labels = [("failure", kind)];
        self.proxy
            .wait_for_count("serin_backend_failures_total", &labels, 1);
        self.assert_fault("backend", 1);
    }
}

/// The head of an answer and half of its body.
fn half_an_answer() -> Behaviour {
    Behaviour::RawThenRead(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_vec())
}

#[test]
fn a_client_that_reads_slowly_gets_the_whole_answer() {
    let path = Path::within(Behaviour::Bytes(8 * MEBIBYTE), "{ idle: 1s }");
    let mut connection = path.proxy.connect();
    connection.send(Request::get("/").head().as_bytes());
    assert_eq!(connection.answer_head().status, 200);
    // Two megabytes a second, a little at a time: four times the idle limit in all.
    let (mut buffer, mut body) = (vec![0; 32 * 1024], 0);
    while body < 8 * MEBIBYTE - 64 * 1024 {
        let count = connection.read(&mut buffer).unwrap();
        assert!(count > 0, "cut after {body} bytes");
        body += count;
        sleep(Duration::from_millis(16));
    }
    path.assert_fault("none", 1);
}

#[test]
fn a_client_that_stops_reading_is_cut_and_its_connection_to_the_backend_with_it() {
    let path = Path::within(Behaviour::Bytes(64 * MEBIBYTE), "{ idle: 500ms }");
    let mut connection = path.proxy.connect();
    connection.send(Request::get("/").head().as_bytes());
    assert_eq!(connection.answer_head().status, 200);
    wait_until("the backend sees its connection closed", SOON, || {
        path.backend.closed() == 1
    });
    path.assert_fault("none", 1);
}

#[test]
fn an_answer_waits_for_as_long_as_the_upload_moves() {
    let path = Path::within(half_an_answer(), "{ idle: 1s }");
    let mut connection = path.proxy.connect();
    let head = Request::new("POST", "/").field("content-length", "1000");
    connection.send(head.head().as_bytes());
    assert_eq!(connection.answer_head().status, 200);
    for _ in 0..8 {
        connection.send(b"more");
        sleep(Duration::from_millis(300));
        assert_eq!(path.proxy.metrics().count("serin_outcomes_total", &[]), 0);
    }
    // The client pauses for longer than it may, while the backend is waiting for it.
    path.assert_fault("client", 1);
}

#[test]
fn a_client_that_spoils_or_leaves_its_upload_after_the_head_is_at_fault() {
    let path = Path::within(half_an_answer(), "{}");
    let mut spoiling = path.proxy.connect();
    let head = Request::new("POST", "/").field("transfer-encoding", "chunked");
    spoiling.send(head.head().as_bytes());
    assert_eq!(spoiling.answer_head().status, 200);
    spoiling.send(b"this is no chunk\r\n");
    path.assert_fault("client", 1);
}

#[test]
fn a_backend_that_hangs_until_clients_give_up_has_failed() {
    let path = Path::within(Behaviour::Stall, "{ response: 2s }");
    let mut patient = path.proxy.connect();
    patient.send(Request::get("/").head().as_bytes());
    wait_until("the backend is asked", SOON, || {
        path.backend.requests() == 1
    });
    // A fifth of the time that the backend has is what a client may be kept waiting.
    sleep(Duration::from_millis(600));
    drop(patient);
    path.assert_failure("timeout");
}

#[test]
fn a_backend_that_hangs_after_the_head_has_failed_too() {
    let path = Path::within(half_an_answer(), "{ response: 1s }");
    let mut patient = path.proxy.connect();
    patient.send(Request::get("/").head().as_bytes());
    assert_eq!(patient.answer_head().status, 200);
    sleep(Duration::from_millis(400));
    drop(patient);
    path.assert_failure("timeout");
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_a_broken_exchange() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    let path = Path::within(Behaviour::RawThenSilence(switch.to_vec()), "{}");
    path.proxy.get("/").problem(502);
    path.assert_failure("reset");
}

#[test]
fn a_connection_stays_open_for_clients_of_http_1_0_that_ask_for_it() {
    let path = Path::within(Behaviour::Name, "{}");
    let mut connection = path.proxy.connect();
    let asked = b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n";
    for _ in 0..2 {
        connection.send(asked);
        let answer = connection.answer();
        assert_eq!((answer.status, answer.text()), (200, "stable"));
    }
}

#[test]
fn a_slow_download_ends_whole_after_the_signal_to_stop() {
    let path = Path::within(Behaviour::Bytes(4 * MEBIBYTE), "{}");
    let mut connection = path.proxy.connect();
    connection.send(Request::get("/").head().as_bytes());
    assert_eq!(connection.answer_head().status, 200);
    path.proxy.terminate();
    let (mut buffer, mut body) = (vec![0; 64 * 1024], Vec::new());
    loop {
        let count = connection.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        body.extend_from_slice(&buffer[..count]);
        sleep(Duration::from_millis(20));
    }
    let whole = pattern(4 * MEBIBYTE);
    assert!(
        whole.ends_with(&body[body.len() - 1000..]),
        "cut at {}",
        body.len()
    );
    let mut proxy = path.proxy;
    assert_eq!(proxy.wait().code(), Some(0));
}
