//! The admin listener: health, metrics and errors, who is let in, and how the process stops.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::proxy::backends;
use support::{
    Behaviour, Connection, EventStream, Metrics, Request, SOON, TestBackend, TestProxy, wait_until,
};

fn proxy_to(backend: &TestBackend) -> TestProxy {
    TestProxy::on_fast_disk(
        "",
        &(backends(&[("v1", backend), ("v2", backend)])
            + "groups: { beta: { callers: [ann] } }\n\
               flags: { orders: { stable: v1, canary: v2, groups: { beta: 5% } },\n\
               \x20        search: { stable: v1, canary: v2, rollout: { revision: a, stages: [5%] } } }\n\
               routes: [{ flag: orders }, { path: /plain, backend: v1 }]\n"),
    )
}

#[test]
fn a_running_proxy_is_alive_and_ready() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    for path in ["/livez", "/readyz"] {
        let answer = proxy.command("GET", path, "");
        assert_eq!((answer.status, answer.text()), (200, "ok\n"), "{path}");
    }
    // Nothing of that is to be had where requests come in.
    let answer = proxy.get("/livez");
    assert_eq!(answer.text(), "a");
}

#[test]
fn metrics_after_traffic_of_every_kind_are_as_promtool_wants_them() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    for status in [200, 404, 429, 500, 503, 599] {
        backend.behave(Behaviour::Status(status));
        assert_eq!(proxy.get("/plain").status, status);
        assert_eq!(proxy.get("/").status, status);
    }
    proxy.ask(&Request::get("/").host(""));
    let answer = proxy.command("GET", "/metrics", "");
    let content_type = answer.field("content-type");
    assert_eq!(content_type, Some("text/plain; version=0.0.4"));
    lint(answer.text());
    for name in [
        "serin_build_info",
        "serin_requests_total",
        "serin_request_duration_seconds_bucket",
        "serin_backend_failures_total",
        "serin_rescued_requests_total",
        "serin_upstream_requests_total",
        "serin_upstream_connects_total",
        "serin_upstream_connect_failures_total",
        "serin_upstream_connections",
        "serin_flag_weight_ratio",
        "serin_rollout_phase",
        "serin_rollout_stage",
        "serin_assigned_callers",
        "serin_dropped_messages_total",
        "serin_admin_denied_requests_total",
        "process_start_time_seconds",
        "process_resident_memory_bytes",
    ] {
        let is_there = |line: &str| {
            line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "))
        };
        assert!(answer.text().lines().any(is_there), "{name}");
    }
}

#[test]
fn metrics_after_everything_was_used_are_as_promtool_wants_them() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    let mut events = EventStream::open(proxy.admin(), "/api/v1/events", "");
    events.find("ready", |_| true);
    for (method, path, said, status) in [
        (
            "PATCH",
            "/api/v1/flags/orders",
            r#"{ "default": "50%" }"#,
            200,
        ),
        ("PATCH", "/api/v1/flags/orders", "nonsense", 400),
        ("DELETE", "/api/v1/flags/orders/overrides", "", 200),
        ("PUT", "/api/v1/groups/beta/callers/bob", "", 200),
        (
            "POST",
            "/ofrep/v1/evaluate/flags",
            r#"{ "context": { "targetingKey": "bob" } }"#,
            200,
        ),
        ("POST", "/ofrep/v1/evaluate/flags/nothing", "{}", 404),
        ("POST", "/api/v1/explain", "{}", 200),
        ("POST", "/api/v1/rollouts/search/pause", "", 200),
        ("POST", "/api/v1/rollouts/search/pause", "", 409),
        ("POST", "/api/v1/rollouts/search/resume", "", 200),
        ("POST", "/api/v1/freeze", "", 200),
        ("DELETE", "/api/v1/freeze", "", 200),
        ("POST", "/api/v1/reload", "", 200),
        ("POST", "/api/v1/rollouts/search/rollback", "", 200),
    ] {
        let answer = proxy.command(method, path, said);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    for user in 0..20 {
        let request = Request::get("/").field("x-user-id", &format!("u-{user}"));
        assert_eq!(proxy.ask(&request).status, 200);
    }
    let written = std::fs::read_to_string(proxy.config_path()).unwrap();
    proxy.write_config(&(written + "nonsense: 1\n"));
    events.find("reload", |reload| reload["is_current"] == false);
    let answer = proxy.command("GET", "/metrics", "");
    for (name, labels) in [
        ("serin_config_reloads_total", "result=\"refused\""),
        ("serin_assigned_callers", ""),
        ("serin_rollout_phase", "phase=\"rolled_back\""),
    ] {
        let is_there = |line: &str| line.starts_with(name) && line.contains(labels);
        assert!(answer.text().lines().any(is_there), "{name}");
    }
    lint(answer.text());
}

/// Asks Prometheus's own tool.
fn lint(metrics: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: Debian's package `prometheus` has it");
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn requests_of_web_pages_are_kept_out() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    let own = format!("http://{}", proxy.admin());
    let ask = |method: &str, host: &str, origin: Option<&str>| {
        let path = match method {
            "GET" => "/api/v1/rollouts",
            _ => "/api/v1/rollouts/search/rollback",
        };
        let request = Request::new(method, path).host(host);
        let request = origin
            .iter()
            .fold(request, |r, origin| r.field("origin", origin));
        request.send_to(proxy.admin())
    };
    let address = proxy.admin().to_string();
    let localhost = format!("localhost:{}", proxy.admin().port());
    assert_eq!(ask("GET", &localhost, None).status, 200);
    // A name that somebody made point to this machine.
    for method in ["GET", "POST"] {
        let problem = ask(method, "evil.test:9901", None).problem(403);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("evil.test:9901"), "{detail}");
    }
    // A page of somebody else that sends a form.
    for origin in ["http://evil.test", "null", "http://127.0.0.1:1"] {
        ask("POST", &address, Some(origin)).problem(403);
    }
    assert_eq!(proxy.rollout("search")["phase"], "progressing");
    assert_eq!(ask("POST", &address, Some(&own)).status, 200);
    assert_eq!(proxy.rollout("search")["phase"], "rolled_back");
}

const CI: &str = "3f6a0c5b8d1e49f7a2c4";
const WALL: &str = "77b1e02c9da84f63b5d0";

fn proxy_with_tokens(backend: &TestBackend) -> TestProxy {
    let tokens = format!(
        "tokens: [{{ name: ci, role: operator, token_file: ci.token }}, \
         {{ name: wall, role: viewer, token: \"{WALL}\" }}]"
    );
    let config = backends(&[("v1", backend), ("v2", backend)])
        + "flags: { search: { stable: v1, canary: v2, \
                              rollout: { revision: a, stages: [5%, 50%] } } }\n\
           routes: [{ flag: search }]\n";
    TestProxy::with_admin(&tokens, &config, &[("ci.token", &format!("{CI}\n"))])
}

#[test]
fn with_tokens_nobody_is_let_in_without_one_and_viewers_change_nothing() {
    let backend = TestBackend::start("a");
    let proxy = proxy_with_tokens(&backend);
    let ask = |method: &str, path: &str, token: Option<&str>| {
        let request = Request::new(method, path).host("edge.test:9901");
        let value = token.map(|token| format!("Bearer {token}"));
        let request = value
            .iter()
            .fold(request, |r, value| r.field("authorization", value));
        request.send_to(proxy.admin())
    };
    let (list, promote) = ("/api/v1/rollouts", "/api/v1/rollouts/search/promote");
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask("GET", path, None).status, 200, "{path}");
    }
    for path in [list, "/metrics", "/", "/nothing"] {
        for token in [None, Some("3f6a0c5b8d1e49f7a2c"), Some("")] {
            let answer = ask("GET", path, token);
            answer.problem(401);
            let how = answer.field("www-authenticate");
            assert_eq!(how, Some("Bearer realm=\"serin\""), "{path}");
        }
    }
    for token in [CI, WALL] {
        assert_eq!(ask("GET", list, Some(token)).status, 200);
        assert_eq!(ask("GET", "/metrics", Some(token)).status, 200);
    }
    let problem = ask("POST", promote, Some(WALL)).problem(403);
    let detail = "token `wall` has role `viewer`, and this needs `operator`";
    assert_eq!(problem["detail"], detail);
    let rollout = ask("POST", promote, Some(CI)).json();
    assert_eq!(rollout["stage"], 2);
    assert_eq!(rollout["journal"][0]["who"], "ci");

    let metrics = Metrics::read(ask("GET", "/metrics", Some(WALL)).text());
    let denied = |reason| metrics.count("serin_admin_denied_requests_total", &[("reason", reason)]);
    assert_eq!(denied("no_token"), 4);
    assert_eq!(denied("wrong_token"), 8);
    assert_eq!(denied("role"), 1);
    let log = proxy.log();
    assert_eq!(log.matches("admin request refused").count(), 1, "{log}");
    for secret in [CI, WALL, "3f6a0c5b8d1e49f7a2c"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn without_tokens_the_journal_says_that_nobody_has_checked_who_it_was() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    let host = proxy.admin().to_string();
    let request = Request::new("POST", "/api/v1/rollouts/search/rollback").host(&host);
    let request = request.field("x-serin-user", "ann");
    let rollout = request.send_to(proxy.admin()).json();
    assert_eq!(rollout["journal"][0]["who"], "ann (unverified)");
}

#[test]
fn more_connections_than_there_are_places_for_wait_for_one() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    let mut held: Vec<_> = (0..256).map(|_| Connection::open(proxy.admin())).collect();
    let host = proxy.admin().to_string();
    let request = Request::get("/livez").host(&host);
    // All places are taken once the last of them is served.
    assert_eq!(held[255].ask(&request).status, 200);
    let mut late = Connection::open(proxy.admin());
    late.send(request.head().as_bytes());
    assert_eq!(held[0].ask(&request).status, 200);
    late.socket().set_nonblocking(true).unwrap();
    let unheard = late.socket().peek(&mut [0]).unwrap_err();
    assert_eq!(unheard.kind(), std::io::ErrorKind::WouldBlock);
    late.socket().set_nonblocking(false).unwrap();
    held.pop();
    assert_eq!(late.answer().status, 200);
}

#[test]
fn every_refusal_of_the_api_is_a_problem_with_details() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    for (method, path, body, status) in [
        ("GET", "/", "", 404),
        ("GET", "/api/v1/nothing", "", 404),
        ("GET", "/api/v1/rollouts/nothing", "", 404),
        ("GET", "/api/v1/groups/nothing/callers", "", 404),
        ("DELETE", "/api/v1/rollouts", "", 405),
        ("GET", "/api/v1/rollouts/search/promote", "", 405),
        ("POST", "/metrics", "", 405),
        ("POST", "/api/v1/rollouts/search/promote", "{", 400),
        ("POST", "/api/v1/rollouts/search/promote", "[]", 400),
        ("PUT", "/api/v1/groups/beta/callers/a", "{ \"a\": 1 }", 400),
        ("PUT", "/api/v1/groups/beta/callers/%ff", "", 400),
    ] {
        let problem = proxy.command(method, path, body).problem(status);
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty(), "{method} {path}");
    }
}

#[test]
fn an_endless_command_is_refused() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    let body = format!("{{ \"reason\": \"{}\" }}", "x".repeat(70_000));
    let answer = proxy.command("POST", "/api/v1/rollouts/search/promote", &body);
    answer.problem(413);
    assert_eq!(proxy.rollout("search")["stage"], 1);
}

#[test]
fn a_stop_lets_requests_under_way_end_and_says_meanwhile_that_it_is_not_ready() {
    let backend = TestBackend::with("a", Behaviour::Stall);
    let mut proxy = proxy_to(&backend);
    let mut idle = proxy.connect();
    let mut clients = [proxy.connect(), proxy.connect(), proxy.connect()];
    for client in &mut clients {
        client.send(Request::get("/plain").head().as_bytes());
    }
    wait_until("all requests are under way", SOON, || {
        backend.requests() == 3
    });
    proxy.terminate();
    wait_until("it is not ready", SOON, || {
        proxy.command("GET", "/readyz", "").status == 503
    });
    assert_eq!(proxy.command("GET", "/livez", "").status, 200);
    assert!(idle.is_closed());
    wait_until("nobody is let in", SOON, || {
        std::net::TcpStream::connect(proxy.address()).is_err()
    });
    backend.behave(Behaviour::Name);
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, "a"));
        assert!(client.is_closed());
    }
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(proxy.log().ends_with("stopped"), "{}", proxy.log());
}

#[test]
fn a_proxy_without_requests_stops_at_once() {
    let backend = TestBackend::start("a");
    let proxy = proxy_to(&backend);
    assert_eq!(proxy.get("/").status, 200);
    let begun = serin::runtime::clock::monotonic();
    assert_eq!(proxy.stop().code(), Some(0));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_second_signal_does_not_wait_for_requests_under_way() {
    let backend = TestBackend::with("a", Behaviour::Stall);
    let mut proxy = proxy_to(&backend);
    let mut client = proxy.connect();
    client.send(Request::get("/plain").head().as_bytes());
    wait_until("the request is under way", SOON, || backend.requests() == 1);
    proxy.terminate();
    proxy.wait_for_log("stopping", SOON);
    proxy.terminate();
    // It does what it is told.
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(client.is_closed());
}
