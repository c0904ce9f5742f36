//! The stream of events: what changes is told, a client that comes back misses nothing of the journal, and
//! nobody is held up by it.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::time::Duration;

use serde_json::json;
use serin::runtime::clock;
use support::proxy::backends;
use support::{EventStream, Request, TestBackend, TestProxy};

const PATH: &str = "/api/v1/events";

fn config(v1: &TestBackend, v2: &TestBackend, revision: &str) -> String {
    backends(&[("v1", v1), ("v2", v2)])
        + "groups: { beta: { header: { x-beta: \"1\" } } }\n\
           flags:\n\
           \x20 orders: { stable: v1, canary: v2, groups: { beta: 5% } }\n\
           \x20 search: { stable: v1, canary: v2, rollout: { stages: [5%, 50%], hold: 10m, revision: "
        + revision
        + " } }\n\
           routes: [{ path: /search, flag: search }, { flag: orders }]\n"
}

fn start() -> (TestProxy, [TestBackend; 2]) {
    let [v1, v2] = ["v1", "v2"].map(TestBackend::start);
    (
        TestProxy::on_fast_disk("", &config(&v1, &v2, "a")),
        [v1, v2],
    )
}

#[test]
fn what_changes_is_told_to_whoever_listens() {
    let (proxy, _backends) = start();
    let mut all = EventStream::open(proxy.admin(), PATH, "");
    assert!(all.head.starts_with("HTTP/1.0 200"), "{}", all.head);
    for field in ["content-type: text/event-stream", "cache-control: no-store"] {
        assert!(all.head.contains(field), "{}", all.head);
    }
    let unknown = proxy.command("GET", "/api/v1/events?flag=ordres", "");
    let told = unknown.problem(404)["detail"].to_string();
    assert!(
        told.contains("no flag `ordres`, there are: orders"),
        "{told}"
    );
    let mut of_orders = EventStream::open(proxy.admin(), "/api/v1/events?flag=orders", "");
    assert_eq!(all.next().unwrap().name, "ready");
    let ready = of_orders.next().unwrap();
    assert_eq!(ready.data, json!({ "version": env!("CARGO_PKG_VERSION") }));
    assert!(ready.id.is_some());

    let said = r#"{ "groups": { "beta": "40%" }, "reason": "more" }"#;
    let changed = proxy.command("PATCH", "/api/v1/flags/orders", said);
    let flag = all.find("flag", |flag| flag["flag"] == "orders");
    assert_eq!(flag.data, changed.json());
    let line = all.find("journal", |line| line["flag"] == "orders");
    assert_eq!(line.data["why"], "more");
    assert!(line.id.is_some());

    let answer = proxy.command("POST", "/api/v1/rollouts/search/promote", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let moved = all.find("rollout", |rollout| rollout["stage"] == 2);
    assert_eq!(moved.data["was"]["stage"], 1);
    assert_eq!(moved.data["weights"]["default_percent"], 50.0);
    proxy.command("POST", "/api/v1/rollouts/search/rollback", "");
    let back = all.find("rollout", |rollout| rollout["phase"] == "rolled_back");
    assert_eq!(back.data["was"]["phase"], "progressing");

    proxy.command("POST", "/api/v1/freeze", "");
    let frozen = all.find("freeze", |frozen| !frozen["freeze"].is_null());
    assert_eq!(frozen.data["freeze"]["who"], "operator");
    // It comes to everyone, and of other flags nothing has come before it.
    assert_eq!(of_orders.next().unwrap().name, "flag");
    assert_eq!(of_orders.next().unwrap().name, "journal");
    assert_eq!(of_orders.next().unwrap().name, "freeze");
}

#[test]
fn a_reload_and_what_it_brings_and_takes_is_told() {
    let (proxy, [v1, v2]) = start();
    let mut events = EventStream::open(proxy.admin(), PATH, "");
    events.find("ready", |_| true);
    let aborted = proxy.command("POST", "/api/v1/rollouts/search/abort", "");
    assert_eq!(aborted.status, 200, "{}", aborted.text());
    let written = std::fs::read_to_string(proxy.config_path()).unwrap();
    let head: String = written
        .lines()
        .take(3)
        .map(|line| format!("{line}\n"))
        .collect();
    let fewer = backends(&[("v1", &v1), ("v2", &v2)])
        + "flags:\n\x20 more: { stable: v1, canary: v2 }\nroutes: [{ flag: more }]\n";
    proxy.write_config(&(head.clone() + &fewer));
    for (name, flag) in [
        ("flag_removed", "orders"),
        ("flag_removed", "search"),
        ("flag", "more"),
        ("rollout_removed", "search"),
    ] {
        events.find(name, |data| data["flag"] == flag);
    }
    let taken = events.find("reload", |reload| reload["is_current"] == true);
    assert_eq!(taken.data["by"], "file");
    proxy.write_config(&(head + &fewer + "nonsense: 1\n"));
    let refused = events.find("reload", |reload| reload["is_current"] == false);
    assert!(
        refused.data["problems"][0]
            .as_str()
            .unwrap()
            .contains("nonsense")
    );
}

#[test]
fn who_comes_back_gets_the_lines_written_meanwhile_and_only_those() {
    let (proxy, _backends) = start();
    let change = |percent: u32| {
        let said = format!(r#"{{ "default": "{percent}%", "reason": "to {percent}" }}"#);
        let answer = proxy.command("PATCH", "/api/v1/flags/orders", &said);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let why = |stream: &mut EventStream| {
        let line = stream.find("journal", |line| line["flag"] == "orders");
        (line.data["why"].clone(), line.id.unwrap())
    };
    let mut first = EventStream::open(proxy.admin(), PATH, "");
    first.find("ready", |_| true);
    change(10);
    let (_, seen) = why(&mut first);
    drop(first);
    change(20);
    change(30);
    let back = format!("last-event-id: {seen}\r\n");
    let mut second = EventStream::open(proxy.admin(), PATH, &back);
    assert_eq!(second.next().unwrap().id.as_ref(), Some(&seen));
    assert_eq!(why(&mut second).0, "to 20");
    assert_eq!(why(&mut second).0, "to 30");
    change(40);
    assert_eq!(why(&mut second).0, "to 40");
    // What is not in the journal cannot be gone on from.
    for unknown in ["1-1", "999999-1", "yesterday"] {
        let back = format!("last-event-id: {unknown}\r\n");
        let mut stream = EventStream::open(proxy.admin(), PATH, &back);
        assert_eq!(stream.next().unwrap().name, "ready", "{unknown}");
        assert_eq!(stream.next().unwrap().name, "resync", "{unknown}");
    }
}

#[test]
fn streams_hold_up_neither_commands_nor_the_end_of_the_process() {
    let (proxy, _backends) = start();
    let mut streams = Vec::new();
    // More than there are places: those beyond are told so.
    let refused = loop {
        let stream = EventStream::open(proxy.admin(), PATH, "");
        if !stream.head.starts_with("HTTP/1.0 200") {
            break stream.head;
        }
        streams.push(stream);
        assert!(streams.len() < 200, "there is no bound");
    };
    assert!(refused.starts_with("HTTP/1.0 503"), "{refused}");
    assert!(refused.contains("application/problem+json"), "{refused}");
    // None of them is read; commands are carried out all the same.
    for percent in 1..=50 {
        let said = format!(r#"{{ "default": "{percent}%" }}"#);
        let answer = proxy.command("PATCH", "/api/v1/flags/orders", &said);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // A place that is left is free again.
    drop(streams.pop());
    support::wait_until("there is room again", support::SOON, || {
        let stream = EventStream::open(proxy.admin(), PATH, "");
        stream.head.starts_with("HTTP/1.0 200")
    });
    let begun = clock::monotonic();
    assert!(proxy.stop().success());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let mut stream = streams.remove(0);
    while stream.next().is_some() {}
}

#[test]
fn a_stream_asks_for_a_token_like_everything_else_and_takes_sensible_flags_only() {
    let [v1, v2] = ["v1", "v2"].map(TestBackend::start);
    let tokens = "tokens: [{ name: eye, role: viewer, token: \"0123456789abcdef0123456789\" }]";
    let proxy = TestProxy::on_fast_disk(tokens, &config(&v1, &v2, "a"));
    let stream = EventStream::open(proxy.admin(), PATH, "");
    assert!(stream.head.starts_with("HTTP/1.0 401"), "{}", stream.head);
    let token = "authorization: Bearer 0123456789abcdef0123456789\r\n";
    let mut stream = EventStream::open(proxy.admin(), PATH, token);
    assert_eq!(stream.next().unwrap().name, "ready");
    for query in ["?flag=No!", "?flags=orders"] {
        let request = Request::get(&format!("{PATH}{query}"));
        let request = request.field("authorization", "Bearer 0123456789abcdef0123456789");
        request.send_to(proxy.admin()).problem(400);
    }
}
