//! Endpoints that are asked how they are, and what becomes of those that are not well.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;

use http::Version;
use serde_json::{Value, json};
use support::upstream::{Conduct, Upstream, server_config};
use support::{Authority, Behaviour, SOON, TestBackend, TestProxy, wait_for, wait_until};
use tempfile::TempDir;

/// Quick, so that tests are; a few checks in a row may be late on a machine that has others to do.
const HEALTH: &str =
    "health: { path: \"/healthz?full\", interval: 100ms, unhealthy_after: 5, healthy_after: 2 }";

/// Time for a handshake on such a machine.
const PATIENT: &str = "health: { path: \"/healthz?full\", interval: 500ms, unhealthy_after: 3 }";

const HEALTHY: &str = "serin_upstream_healthy";

/// A proxy to a stable backend of two endpoints that are checked.
fn proxy_to(backends: &[TestBackend; 2]) -> TestProxy {
    let [a, b] = backends.each_ref().map(TestBackend::url);
    TestProxy::start(&format!(
        "workers: 2\n\
         backends: {{ v1: {{ endpoints: [\"{a}\", \"{b}\"], {HEALTH} }}, v2: \"http://[::1]\" }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n"
    ))
}

fn two() -> [TestBackend; 2] {
    ["a", "b"].map(TestBackend::start)
}

/// Goes wrong when it is asked how it is, and at nothing else.
fn unwell() -> Behaviour {
    Behaviour::StatusWhere(vec![("/healthz?full", 503)])
}

#[track_caller]
fn wait_for_healthy(proxy: &TestProxy, count: u64) {
    wait_until("endpoints are healthy", SOON, || {
        proxy.metrics().count(HEALTHY, &[]) == count
    });
}

#[test]
fn who_is_not_well_gets_no_requests_until_it_is() {
    let backends = two();
    let proxy = proxy_to(&backends);
    wait_for_healthy(&proxy, 2);
    backends[0].behave(unwell());
    wait_for_healthy(&proxy, 1);
    let log = proxy.wait_for_log("endpoint is unhealthy", SOON);
    assert!(
        log.contains("status 503") && log.contains("backend=v1"),
        "{log}"
    );
    let labels = [
        ("backend", "v1"),
        ("endpoint", &*backends[0].address().to_string()),
    ];
    assert_eq!(proxy.metrics().count(HEALTHY, &labels), 0);
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), "b");
    }
    backends[0].behave(Behaviour::Name);
    proxy.wait_for_log("endpoint is healthy again", SOON);
    wait_until("it is asked again", SOON, || proxy.get("/").text() == "a");
    let head = backends[0]
        .heads()
        .into_iter()
        .find(|head| head.line.contains("healthz"));
    let head = head.unwrap();
    assert_eq!(head.line, "GET /healthz?full HTTP/1.1");
    assert_eq!(
        head.field("host"),
        Some(&*backends[0].address().to_string())
    );
}

#[test]
fn who_hangs_or_is_not_there_is_not_well() {
    let mut backends = two();
    let proxy = proxy_to(&backends);
    backends[0].behave(Behaviour::RawThenSilence(Vec::new()));
    backends[1].die();
    wait_for_healthy(&proxy, 0);
    proxy.wait_for_log("no answer in time", SOON);
    proxy.wait_for_log("the backend accepts no connection", SOON);
}

#[test]
fn where_nobody_is_well_it_is_503_and_a_failure() {
    let backends = two();
    let proxy = proxy_to(&backends);
    backends.iter().for_each(|backend| backend.behave(unwell()));
    wait_for_healthy(&proxy, 0);
    proxy.wait_for_log("endpoint is unhealthy", SOON);
    wait_until("no endpoint is left", SOON, || proxy.get("/").status == 503);
    let before = proxy.metrics().count("serin_backend_failures_total", &[]);
    let answer = proxy.get("/");
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert!(
        answer.text().contains("no healthy endpoint"),
        "{}",
        answer.text()
    );
    let failed = [("failure", "connect"), ("variant", "stable")];
    proxy.wait_for_count("serin_backend_failures_total", &failed, before + 1);
}

#[test]
fn where_nobody_is_well_nothing_is_sent_again() {
    let (backend, folder) = (TestBackend::with("a", unwell()), TempDir::new().unwrap());
    let path = folder.path().join("access.log");
    let proxy = TestProxy::start(&format!(
        "access_log: \"{}\"\nbackends: {{ v1: {{ endpoints: [\"{}\"], {HEALTH}, retries: {{ attempts: 3 }} }} }}\n\
         routes: [{{ backend: v1 }}]\n",
        path.display(),
        backend.url()
    ));
    proxy.wait_for_log("endpoint is unhealthy", SOON);
    proxy.get("/").problem(503);
    let line = wait_for("a line", SOON, || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        text.ends_with('\n').then_some(text)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["status"], &line["retries"]),
        (&json!(503), &json!(0))
    );
}

#[test]
fn stable_answers_for_a_canary_that_is_not_well() {
    let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
    canary.behave(unwell());
    let proxy = TestProxy::start(&format!(
        "backends: {{ v1: \"{}\", v2: {{ endpoints: [\"{}\"], {HEALTH} }} }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: 100% }} }}\n\
         routes: [{{ flag: orders }}]\n",
        stable.url(),
        canary.url()
    ));
    proxy.wait_for_log("endpoint is unhealthy", SOON);
    assert_eq!(proxy.get("/").text(), "stable");
    let failed = [("failure", "connect"), ("variant", "canary")];
    proxy.wait_for_count("serin_backend_failures_total", &failed, 1);
    assert_eq!(
        proxy.metrics().count("serin_rescued_requests_total", &[]),
        1
    );
    assert!(
        canary
            .heads()
            .iter()
            .all(|head| head.line.contains("healthz"))
    );
}

#[test]
fn checks_begin_and_end_with_reloads() {
    let backends = two();
    let proxy = proxy_to(&backends);
    backends[0].behave(unwell());
    wait_for_healthy(&proxy, 1);
    let config = fs::read_to_string(proxy.config_path()).unwrap();
    proxy.write_config(&config.replace(HEALTH, ""));
    proxy.reload();
    let series = |proxy: &TestProxy| proxy.metrics().text.contains("serin_upstream_healthy{");
    wait_until("nobody asks", SOON, || !series(&proxy));
    wait_until("it is asked again", SOON, || proxy.get("/").text() == "a");
    proxy.write_config(&config);
    proxy.reload();
    wait_until("it is asked how it is", SOON, || series(&proxy));
    wait_for_healthy(&proxy, 1);
}

#[test]
fn checks_go_on_until_the_last_request_is_answered() {
    let stalled = TestBackend::with("stalled", Behaviour::Stall);
    let [well, unwell] = [
        TestBackend::start("well"),
        TestBackend::with("unwell", unwell()),
    ];
    let mut proxy = TestProxy::start(&format!(
        "backends: {{ v1: {{ endpoints: [\"{}\", \"{}\"], {HEALTH} }}, v2: \"{}\" }}\n\
         routes: [{{ path: /stalled, backend: v2 }}, {{ backend: v1 }}]\n",
        well.url(),
        unwell.url(),
        stalled.url()
    ));
    proxy.wait_for_log("endpoint is unhealthy", SOON);
    let mut client = proxy.connect();
    client.send(b"GET /stalled HTTP/1.1\r\nhost: a\r\n\r\n");
    wait_until("it is asked", SOON, || stalled.requests() == 1);
    proxy.terminate();
    wait_until("it is stopping", SOON, || {
        proxy.command("GET", "/readyz", "").status == 503
    });
    let before = well.requests();
    wait_until("it is checked again", SOON, || {
        well.requests() >= before + 3
    });
    let metrics = proxy.metrics();
    assert_eq!(metrics.count(HEALTHY, &[]), 1);
    assert_eq!(metrics.text.matches("serin_upstream_healthy{").count(), 2);
    stalled.behave(Behaviour::Name);
    assert_eq!(client.answer().text(), "stalled");
    assert!(proxy.wait().success());
}

#[test]
fn nobody_is_asked_without_being_told_to() {
    let backend = TestBackend::start("a");
    let proxy = TestProxy::start(&format!(
        "backends: {{ v1: \"{}\" }}\nroutes: [{{ backend: v1 }}]\n",
        backend.url()
    ));
    assert_eq!(proxy.get("/").text(), "a");
    assert!(!proxy.metrics().text.contains("serin_upstream_healthy{"));
    assert_eq!(backend.requests(), 1);
}

#[test]
fn a_check_speaks_what_requests_speak() {
    let authority = Authority::new();
    let issued = authority.issue("upstream", &["localhost"]);
    for (offered, version) in [("h2", Version::HTTP_2), ("http/1.1", Version::HTTP_11)] {
        let upstream = Upstream::start(Conduct::tls(server_config(&issued, None, &[offered])));
        let config = format!(
            "backends: {{ v1: {{ endpoints: [\"{}\"], tls: {{ ca: ca.pem }}, {PATIENT} }} }}\n\
             routes: [{{ backend: v1 }}]\n",
            upstream.url_by_name()
        );
        let proxy = TestProxy::with_files(&config, &[("ca.pem", &authority.pem)]);
        wait_until("it is asked", SOON, || upstream.asked().len() >= 2);
        let asked = &upstream.asked()[0];
        assert_eq!(asked.version, version);
        assert!(asked.target.ends_with("/healthz?full"), "{}", asked.target);
        assert_eq!(proxy.metrics().count(HEALTHY, &[]), 1);
        assert!(!proxy.log().contains("unhealthy"));
    }
    let plain = Upstream::start(Conduct::http2());
    let proxy = TestProxy::start(&format!(
        "backends: {{ v1: {{ endpoints: [\"{}\"], protocol: h2, {PATIENT} }} }}\n\
         routes: [{{ backend: v1 }}]\n",
        plain.url()
    ));
    wait_until("it is asked", SOON, || plain.asked().len() >= 2);
    assert_eq!(plain.asked()[0].version, Version::HTTP_2);
    assert_eq!(proxy.metrics().count(HEALTHY, &[]), 1);
    // One whom nobody vouches for is not well, though it would answer.
    let upstream = Upstream::start(Conduct::tls(server_config(&issued, None, &["h2"])));
    let config = format!(
        "backends: {{ v1: {{ endpoints: [\"{}\"], tls: {{ ca: ca.pem }}, {PATIENT} }} }}\n\
         routes: [{{ backend: v1 }}]\n",
        upstream.url_by_name()
    );
    let proxy = TestProxy::with_files(&config, &[("ca.pem", &Authority::new().pem)]);
    let log = proxy.wait_for_log("endpoint is unhealthy", SOON);
    assert!(log.contains("over TLS"), "{log}");
}
