//! The clock on the wall is set forward and back by a day while a rollout is under way: what
//! waits, waits as long as before, and the order of what happened is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use serin::runtime::clock;
use support::proxy::{SERIN, backends, replace_file};
use support::{Load, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

/// How long each stage lasts.
const HOLD: Duration = Duration::from_secs(4);

/// How much longer it may last on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(10);

const DAY_MS: i64 = 86_400_000;

/// By how much a time on the wall may be off what is expected, for all that lies between.
const TOLERANCE_MS: i64 = 60_000;

/// The program with a clock on the wall that a file sets. Other clocks are as they are.
fn program(clock: &Path) -> Command {
    let mut asked = Command::new("faketime");
    asked.args(["-f", "+0d", "sh", "-c", "printf %s \"$LD_PRELOAD\""]);
    let output = asked.output();
    let output = output.expect("faketime is there: Debian's package `faketime` has it");
    let mut program = Command::new(SERIN);
    program
        .env("LD_PRELOAD", String::from_utf8(output.stdout).unwrap())
        .env("FAKETIME_TIMESTAMP_FILE", clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    program
}

/// What the journal tells of operators and judge, oldest first: what, and when by the wall.
fn journal(proxy: &TestProxy) -> Vec<(String, i64)> {
    let status = proxy.rollout("orders");
    let line = |line: &Value| {
        let what = line["what"].as_str().unwrap().to_owned();
        (what, line["at_unix_ms"].as_i64().unwrap())
    };
    status["journal"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(line)
        .collect()
}

/// Three stages, each with the hold.
fn config(backends: &str) -> String {
    let hold = HOLD.as_secs();
    format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\ntrusted_proxies: [127.0.0.0/8]\n\
         identity: [{{ header: x-user-id }}]\n{backends}flags: {{ orders: {{ stable: v1, \
         canary: v2, rollout: {{ revision: a, stages: [30%, 40%, 50%], hold: {hold}s, \
         min_requests: 50, watch: 1h, deadline: 1h }} }} }}\nroutes: [{{ flag: orders }}]\n"
    )
}

#[test]
fn a_clock_that_is_set_by_a_day_hurries_nothing_and_holds_nothing_up() {
    let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
    let folder = TempDir::new().unwrap();
    let backends = backends(&[("v1", &stable), ("v2", &canary)]);
    std::fs::write(folder.path().join("serin.yaml"), config(&backends)).unwrap();
    let set = |offset: &str| replace_file(&folder.path().join("clock"), offset);
    set("+0d");
    let mut begun = clock::monotonic();
    let mut proxy = TestProxy::in_folder(folder.path(), program(&folder.path().join("clock")));
    let load = Load::start(proxy.address());
    for (stage, offset) in [(1, "+1d"), (2, "-1d")] {
        wait_until("the stage is under way", LATE_MAX, || {
            proxy.rollout("orders")["seconds_in_stage"].as_f64() > Some(1.0)
        });
        set(offset);
        wait_until("the next stage", HOLD + LATE_MAX, || {
            let status = proxy.rollout("orders");
            assert_eq!(status["phase"], "progressing", "{status:#}");
            status["stage"] == stage + 1
        });
        let took = begun.elapsed();
        // The stage begins before this is seen, so the next one is measured a little short.
        assert!(
            took > HOLD - Duration::from_millis(500),
            "stage {stage} took {took:?}"
        );
        begun = clock::monotonic();
    }
    assert_eq!(
        (load.bad(), load.complaint(), load.moved_back()),
        (0, None, 0)
    );
    drop(load);

    let told = journal(&proxy);
    let whats: Vec<_> = told.iter().map(|(what, _)| what.as_str()).collect();
    let expected = [
        "started with stage 1 of 3",
        "stage 2 of 3 begins",
        "stage 3 of 3 begins",
    ];
    assert_eq!(whats, expected);
    for (pair, expected_ms) in told.windows(2).zip([DAY_MS, -2 * DAY_MS]) {
        let passed_ms = pair[1].1 - pair[0].1;
        let is_set = (passed_ms - expected_ms).abs() < TOLERANCE_MS;
        assert!(
            is_set,
            "the program sees the clock that is set: {passed_ms} ms"
        );
    }
    proxy.kill();

    // By the real clock again, a day after what was written last.
    let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
    let status = proxy.rollout("orders");
    assert_eq!(
        (&status["phase"], &status["stage"]),
        (&"progressing".into(), &3.into())
    );
    assert_eq!(journal(&proxy)[..3], told);
}
