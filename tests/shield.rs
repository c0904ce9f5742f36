//! A shielded canary: what stable answers in its place, and what is left to canary whatever it does.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use support::proxy::SERIN;
use support::upstream::{Conduct, Upstream};
use support::{Answer, Behaviour, Request, SOON, TestBackend, TestProxy, wait_for, wait_until};
use tempfile::TempDir;

/// How long canary may take for an answer.
const RESPONSE: &str = "500ms";

/// A proxy before a canary that gets all requests, and a stable.
struct Edge {
    proxy: TestProxy,
    stable: TestBackend,
    canary: TestBackend,
    folder: TempDir,
}

impl Edge {
    /// A shielded canary that behaves so.
    fn shielding(canary: Behaviour) -> Self {
        Self::start("shield: true", canary)
    }

    fn start(flag: &str, canary: Behaviour) -> Self {
        let stable = TestBackend::with("stable", Behaviour::Echo);
        let canary = TestBackend::with("canary", canary);
        let folder = TempDir::new().unwrap();
        let text = config(&stable.url(), &canary.url(), flag);
        fs::write(folder.path().join("serin.yaml"), text).unwrap();
        Self {
            proxy: TestProxy::in_folder(folder.path(), Command::new(SERIN)),
            stable,
            canary,
            folder,
        }
    }

    /// Asks something that stable answers for canary.
    #[track_caller]
    fn assert_rescued(&self, request: &Request, failure: &str) -> Answer {
        let before = self.count("serin_rescued_requests_total", &[]);
        let answer = self.proxy.ask(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let head = self.stable.last_head();
        assert_eq!(head.field("serin-flags"), Some("orders=stable"));
        self.assert_counted(failure, before + 1, before + 1);
        answer
    }

    /// So many failures of canary and of nobody else, of which so many were made good.
    #[track_caller]
    fn assert_counted(&self, failure: &str, failures: u64, rescued: u64) {
        let labels = [("failure", failure), ("variant", "canary")];
        self.proxy
            .wait_for_count("serin_backend_failures_total", &labels, failures);
        assert_eq!(self.count("serin_backend_failures_total", &[]), failures);
        assert_eq!(self.count("serin_rescued_requests_total", &[]), rescued);
        let stable = [("variant", "stable")];
        assert_eq!(self.count("serin_outcomes_total", &stable), 0);
        assert_eq!(self.count("serin_requests_total", &stable), 0);
    }

    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.proxy.metrics().count(name, labels)
    }

    /// The first line of the access log.
    fn logged(&self) -> Value {
        let path = self.folder.path().join("log");
        let line = wait_for("a line", SOON, || {
            let text = fs::read_to_string(&path).ok()?;
            text.split_once('\n').map(|(line, _)| line.to_owned())
        });
        line.parse().unwrap()
    }
}

fn config(stable: &str, canary: &str, flag: &str) -> String {
    format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\nworkers: 1\naccess_log: {{ path: log }}\n\
         backends:\n  v1: \"{stable}\"\n  v2: {{ endpoints: [\"{canary}\"], timeouts: {{ response: {RESPONSE} }} }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: 100%, {flag} }} }}\n\
         routes: [{{ flag: orders }}]\n"
    )
}

/// A head that promises more than there is.
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";

#[test]
fn stable_answers_safe_requests_that_canary_fails() {
    for (behaviour, failure) in [
        (Behaviour::Status(500), "status"),
        (Behaviour::Status(503), "status"),
        (Behaviour::RawThenClose(Vec::new()), "reset"),
        (Behaviour::RawThenClose(b"HTTP/1.1 2".to_vec()), "reset"),
        (Behaviour::Raw(b"garbage\r\n\r\n".to_vec()), "reset"),
        (Behaviour::Stall, "timeout"),
    ] {
        let edge = Edge::shielding(behaviour);
        let answer = edge.assert_rescued(&Request::get("/a?b=c").field("x-kept", "yes"), failure);
        assert!(answer.text().starts_with("GET /a?b=c HTTP/1.1\r\n"));
        assert!(answer.text().contains("x-kept: yes\r\n"));
        assert_eq!((edge.canary.requests(), edge.stable.requests()), (1, 1));
        let line = edge.logged();
        assert_eq!(line["status"], 200);
        assert_eq!(line["variant"], "canary");
        assert_eq!(
            (&line["rescued"], &line["backend"]),
            (&Value::Bool(true), &"v1".into())
        );
        assert_eq!(
            (&line["fault"], &line["failure"]),
            (&"backend".into(), &failure.into())
        );
    }
}

#[test]
fn each_safe_method_is_rescued() {
    let edge = Edge::shielding(Behaviour::Status(502));
    for method in ["GET", "OPTIONS", "TRACE"] {
        let answer = edge.assert_rescued(&Request::new(method, "/"), "status");
        assert!(answer.text().starts_with(method));
    }
    // No body comes with either answer, nor is any waited for.
    edge.canary.behave(Behaviour::RawThenSilence(
        b"HTTP/1.1 500 No\r\ncontent-length: 5\r\n\r\n".to_vec(),
    ));
    edge.assert_rescued(&Request::new("HEAD", "/"), "status");
    assert!(edge.stable.last_head().line.starts_with("HEAD / "));
}

#[test]
fn what_asks_for_something_to_be_done_is_left_to_canary() {
    let edge = Edge::shielding(Behaviour::Status(500));
    let unsafe_ones =
        ["POST", "PUT", "PATCH", "DELETE", "PURGE"].map(|method| Request::new(method, "/"));
    let with_body = Request::get("/").body("hello");
    let grpc = Request::new("POST", "/a.B/C").field("content-type", "application/grpc");
    for request in unsafe_ones.iter().chain([&with_body, &grpc]) {
        let answer = edge.proxy.ask(request);
        assert_eq!((answer.status, answer.text()), (500, "canary"));
    }
    edge.assert_counted("status", 7, 0);
    edge.canary.behave(Behaviour::RawThenClose(Vec::new()));
    for request in unsafe_ones.iter().chain([&with_body]) {
        edge.proxy.ask(request).problem(502);
    }
    assert_eq!(edge.stable.requests(), 0);
    assert_eq!(edge.canary.requests(), 13);
}

#[test]
fn a_switch_of_protocols_is_left_to_canary() {
    let edge = Edge::shielding(Behaviour::Status(500));
    let request = Request::get("/")
        .field("connection", "upgrade")
        .field("upgrade", "websocket");
    assert_eq!(edge.proxy.ask(&request).status, 500);
    edge.assert_counted("status", 1, 0);
    assert_eq!(edge.stable.requests(), 0);
}

#[test]
fn what_has_begun_is_not_begun_again() {
    let edge = Edge::shielding(Behaviour::RawThenClose(HALF.to_vec()));
    let answer = edge.proxy.get("/");
    assert!(!answer.is_whole && answer.body == b"hello");
    edge.assert_counted("cut_body", 1, 0);
    assert_eq!(edge.stable.requests(), 0);
}

#[test]
fn what_is_no_failure_is_canarys_answer() {
    let edge = Edge::shielding(Behaviour::Status(404));
    assert_eq!(edge.proxy.get("/").status, 404);
    edge.canary.behave(Behaviour::Status(429));
    assert_eq!(edge.proxy.get("/").status, 429);
    edge.canary.behave(Behaviour::Name);
    assert_eq!(edge.proxy.get("/").text(), "canary");
    assert_eq!(edge.stable.requests(), 0);
}

#[test]
fn without_the_word_nothing_but_a_refused_connection_is_made_good() {
    for flag in ["shield: false", "enabled: true"] {
        let edge = Edge::start(flag, Behaviour::Status(500));
        assert_eq!(edge.proxy.get("/").text(), "canary");
        edge.assert_counted("status", 1, 0);
        assert_eq!(edge.stable.requests(), 0);
    }
}

#[test]
fn stable_is_not_shielded() {
    let edge = Edge::start("shield: true, enabled: false", Behaviour::Name);
    edge.stable.behave(Behaviour::Status(500));
    assert_eq!(edge.proxy.get("/").text(), "stable");
    let labels = [("variant", "stable"), ("failure", "status")];
    edge.proxy
        .wait_for_count("serin_backend_failures_total", &labels, 1);
    assert_eq!(edge.canary.requests(), 0);
}

#[test]
fn where_stable_gives_no_answer_canarys_is_passed_back() {
    let mut edge = Edge::shielding(Behaviour::Status(500));
    edge.stable.die();
    let answer = edge.proxy.get("/");
    assert_eq!((answer.status, answer.text()), (500, "canary"));
    edge.assert_counted("status", 1, 0);
    let line = edge.logged();
    assert_eq!(line["rescued"], false);
    assert_eq!(line["upstream"], edge.canary.address().to_string());
}

#[test]
fn stable_has_its_own_time_after_canary_has_had_its() {
    let edge = Edge::shielding(Behaviour::Stall);
    // Longer than canary may take, and than is left of that.
    edge.stable
        .behave(Behaviour::Slow(std::time::Duration::from_millis(700)));
    assert_eq!(edge.proxy.get("/").text(), "stable");
    edge.assert_counted("timeout", 1, 1);
}

#[test]
fn a_connection_of_canary_is_kept_over_a_short_failure_and_closed_over_a_long_one() {
    let edge = Edge::shielding(Behaviour::Status(500));
    for _ in 0..5 {
        edge.assert_rescued(&Request::get("/"), "status");
    }
    assert_eq!(edge.canary.connections(), 1);
    let long = b"HTTP/1.1 500 No\r\ncontent-length: 1000000\r\n\r\nhello";
    edge.canary.behave(Behaviour::RawThenSilence(long.to_vec()));
    edge.assert_rescued(&Request::get("/"), "status");
    wait_until("it is closed", SOON, || edge.canary.closed() == 1);
    // And one that is short by its word and never ends.
    let endless = b"HTTP/1.1 500 No\r\ncontent-length: 10\r\n\r\nhello";
    edge.canary
        .behave(Behaviour::RawThenSilence(endless.to_vec()));
    edge.assert_rescued(&Request::get("/"), "status");
    wait_until("it is closed", SOON, || edge.canary.closed() == 2);
}

#[test]
fn a_canary_that_speaks_http_2_is_shielded_too() {
    let stable = TestBackend::with("stable", Behaviour::Echo);
    let canary = Upstream::start(Conduct::http2());
    let proxy = TestProxy::start(&format!(
        "backends:\n  v1: \"{}\"\n  v2: {{ endpoints: [\"{}\"], protocol: h2, timeouts: {{ response: {RESPONSE} }} }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: 100%, shield: true }} }}\n\
         routes: [{{ flag: orders }}]\n",
        stable.url(),
        canary.url()
    ));
    let answer = proxy.get("/hold");
    assert!(answer.text().starts_with("GET /hold "), "{}", answer.text());
    proxy.wait_for_count("serin_rescued_requests_total", &[], 1);
    assert_eq!(canary.asked().len(), 1);
}
