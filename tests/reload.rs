//! Another configuration is taken under load, as a whole or not at all, and costs no request.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::{Command, Stdio};

use serde_json::Value;
use support::proxy::{backends, write_config};
use support::{SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

/// How often each kind of file is brought.
const ROUNDS: u64 = 20;

fn reloads(proxy: &TestProxy, result: &str) -> u64 {
    let labels = [("result", result)];
    proxy.metrics().count("serin_config_reloads_total", &labels)
}

/// Puts another configuration in the place of one, at once, as editors and deployments do.
fn replace_config(proxy: &TestProxy, config: &str) {
    let aside = TempDir::new_in(proxy.folder().path()).unwrap();
    write_config(aside.path(), "", config);
    std::fs::rename(aside.path().join("serin.yaml"), proxy.config_path()).unwrap();
}

/// Asks for a reload and waits for what comes of it.
fn hang_up(proxy: &TestProxy, result: &str) {
    let before = reloads(proxy, result);
    proxy.hang_up();
    wait_until(result, SOON, || reloads(proxy, result) > before);
}

#[test]
fn good_and_broken_files_in_turn_cost_no_request() {
    let wrk = Command::new("wrk").arg("-v").output();
    wrk.expect("wrk is missing: Debian's package `wrk` has it");
    let (a, b) = (TestBackend::start("a"), TestBackend::start("b"));
    let named = backends(&[("v1", &a), ("v2", &b)]);
    let config = |route: &str| format!("{named}routes: [{{ backend: {route} }}]\n");
    let proxy = TestProxy::start(&config("v1"));
    let mut load = Command::new("wrk");
    load.args(["-t1", "-c16", "-d60s", "--latency"]);
    load.arg(format!("http://{}/", proxy.address()));
    let load = load.stdout(Stdio::piped()).spawn().unwrap();
    let broken = ["[{ backend: v3 }]", "[{ backed: v1 }]", "[{ backend: v1 }"];
    let (mut taken, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let (route, answer) = [("v2", "b"), ("v1", "a")][usize::from(round % 2 == 1)];
        replace_config(&proxy, &config(route));
        hang_up(&proxy, "taken");
        assert_eq!(proxy.get("/").text(), answer);

        let wrong = broken[usize::try_from(round).unwrap() % broken.len()];
        replace_config(&proxy, &format!("{named}routes: {wrong}\n"));
        hang_up(&proxy, "refused");
        assert_eq!(proxy.get("/").text(), answer, "the one before serves on");
        let current = proxy.metrics();
        assert_eq!(current.count("serin_config_last_reload_success", &[]), 0);
        (taken, refused) = (taken + 1, refused + 1);
    }
    assert!(reloads(&proxy, "taken") >= taken && reloads(&proxy, "refused") >= refused);
    // It prints what it has seen when it is interrupted.
    let interrupt = format!("kill -INT {}", load.id());
    let status = Command::new("sh").args(["-c", &interrupt]).status();
    assert!(status.unwrap().success());
    let output = load.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("Requests/sec"), "{told}");
    assert!(!told.contains("Socket errors"), "{told}");
    assert!(!told.contains("Non-2xx"), "{told}");
    let log = proxy.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("configuration refused: "));
    // What is left open on line 5 is missed on line 6.
    let places = ["serin.yaml:5:12: ", "serin.yaml:5:21: ", "serin.yaml:6:1: "];
    let has_place = |line: &str| places.iter().any(|place| line.contains(place));
    assert!(lines.clone().all(has_place), "{log}");
    assert!(lines.count() >= usize::try_from(ROUNDS).unwrap(), "{log}");
    let metrics = proxy.metrics();
    let all = metrics.count("serin_requests_total", &[]);
    assert!(all > 1_000, "{all}");
}

#[test]
fn a_file_that_changes_is_taken_and_runs_on_with_the_rollout() {
    let (a, b) = (TestBackend::start("a"), TestBackend::start("b"));
    let named = backends(&[("v1", &a), ("v2", &b)]);
    let config = |rest: &str| {
        format!(
            "{named}flags: {{ orders: {{ stable: v1, canary: v2, rollout: {{ revision: a, \
             stages: [10%, 50%, 100%], hold: 1h }} }} }}\nroutes: [{{ flag: orders }}{rest}]\n"
        )
    };
    let proxy = TestProxy::start(&config(""));
    let path = "/api/v1/rollouts/orders/promote";
    assert_eq!(
        proxy
            .command("POST", path, "{ \"reason\": \"test\" }")
            .status,
        200
    );
    let before = proxy.rollout("orders");
    // Nobody asks: the file is watched.
    write_config(
        proxy.folder().path(),
        "",
        &config(", { path: /plain, backend: v2 }"),
    );
    wait_until("it is taken", SOON, || reloads(&proxy, "taken") == 1);
    assert_eq!(proxy.get("/plain").text(), "b");
    let after = proxy.rollout("orders");
    for key in ["phase", "stage", "weights", "revision"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["stage"], 2);
}

#[test]
fn what_needs_a_restart_is_refused_at_its_place() {
    let backend = TestBackend::start("a");
    let config = backends(&[("v1", &backend)]) + "routes: [{ backend: v1 }]\n";
    let proxy = TestProxy::start(&config);
    let path = proxy.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    let other = text.replacen("127.0.0.1:0", "127.0.0.1:1", 1);
    std::fs::write(&path, other).unwrap();
    hang_up(&proxy, "refused");
    let line = proxy.wait_for_log("configuration refused: ", SOON);
    assert!(line.contains("serin.yaml:1:"), "{line}");
    assert!(line.contains("restart Serin for this"), "{line}");
    let answer = proxy.command("GET", "/api/v1/status", "");
    let overview: Value = answer.json();
    assert_eq!(overview["reload"]["is_current"], false, "{overview:#}");
    assert_eq!(proxy.get("/").text(), "a");
}

#[test]
fn a_rollout_follows_its_plan_and_its_revision_and_never_goes_up_by_a_reload() {
    let (a, b) = (TestBackend::start("a"), TestBackend::start("b"));
    let named = backends(&[("v1", &a), ("v2", &b), ("v3", &b)]);
    let config = |canary: &str, revision: &str, stages: &str, more: &str| {
        format!(
            "{named}flags:\n  orders:\n    stable: v1\n    canary: {canary}\n    {more}\n    \
             rollout: {{ revision: {revision}, stages: [{stages}], hold: 1h }}\n\
             routes: [{{ flag: orders }}]\n"
        )
    };
    let proxy = TestProxy::start(&config("v2", "a", "10%, 50%, 100%", ""));
    let order = |verb: &str| {
        let path = format!("/api/v1/rollouts/orders/{verb}");
        let answer = proxy.command("POST", &path, "{ \"reason\": \"test\" }");
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let place = || {
        let status = proxy.rollout("orders");
        let percent = status["weights"]["default_percent"].as_f64().unwrap();
        let phase = status["phase"].as_str().unwrap().to_owned();
        (phase, status["stage"].as_u64().unwrap(), percent)
    };
    let at = |phase: &str, stage: u64, percent: f64| (phase.to_owned(), stage, percent);
    let take = |config: &str| {
        replace_config(&proxy, config);
        hang_up(&proxy, "taken");
    };
    order("promote");
    assert_eq!(place(), at("progressing", 2, 50.0));

    // Stages are added above, then the one that it had is taken away: it goes on at the last that is
    // left of those it had reached.
    take(&config("v2", "a", "10%, 50%, 70%, 100%", ""));
    assert_eq!(place(), at("progressing", 2, 50.0));
    take(&config("v2", "a", "10%, 20%, 100%", ""));
    assert_eq!(place(), at("progressing", 1, 10.0));

    // Another canary is another revision.
    replace_config(&proxy, &config("v3", "a", "10%, 20%, 100%", ""));
    hang_up(&proxy, "refused");
    let line = proxy.wait_for_log("configuration refused: ", SOON);
    assert!(line.contains("flags.orders"), "{line}");
    assert_eq!(place(), at("progressing", 1, 10.0));

    // A flag that is off gives everyone stable.
    take(&config("v2", "a", "10%, 20%, 100%", "enabled: false"));
    for _ in 0..40 {
        assert_eq!(proxy.get("/").text(), "a");
    }
    take(&config("v2", "a", "10%, 20%, 100%", ""));
    assert!(place().2 <= 10.0, "{:?}", place());

    // What was taken back stays so under its revision, and another one begins at the beginning.
    order("rollback");
    take(&config("v2", "a", "10%, 50%, 100%", ""));
    assert_eq!((place().0.as_str(), place().2), ("rolled_back", 0.0));
    take(&config("v3", "b", "10%, 50%, 100%", ""));
    assert_eq!(place(), at("progressing", 1, 10.0));
    take(&config("v2", "a", "10%, 50%, 100%", ""));
    assert_eq!((place().0.as_str(), place().2), ("rolled_back", 0.0));
}
