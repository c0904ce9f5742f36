//! Somebody sets the clock of the machine a day forward or back in the middle of a rollout: what
//! waits for time to pass waits as long as before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serin::runtime::clock;
use support::proxy::{SERIN, backends, write_config};
use support::{Behaviour, Load, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

/// How much later than planned a stage may pass on a machine that does other things as well.
const LATE_MAX: Duration = Duration::from_secs(10);

const HOLD: Duration = Duration::from_secs(5);

/// The program with a clock on the wall that a file sets; all other clocks are as they are.
struct Clock(PathBuf);

impl Clock {
    fn in_folder(folder: &Path) -> Self {
        let clock = Self(folder.join("clock"));
        clock.set("+0");
        clock
    }

    /// Sets it by an offset, such as `+1d` or `-1d`.
    fn set(&self, offset: &str) {
        // At once: half a file would be no time.
        let other = self.0.with_extension("new");
        std::fs::write(&other, offset).unwrap();
        std::fs::rename(other, &self.0).unwrap();
    }

    fn program(&self) -> Command {
        // What `faketime` would load; it is not run itself, so that a kill meets the program.
        let mut library = Command::new("sh");
        library.args(["-c", "faketime -f +0 sh -c 'echo $LD_PRELOAD'"]);
        let output = library.output().unwrap();
        let library = String::from_utf8(output.stdout).unwrap();
        let library = library.trim();
        assert!(
            library.contains("faketime"),
            "faketime is missing: Debian's package `faketime` has it"
        );
        let mut program = Command::new(SERIN);
        program
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.0)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_NO_CACHE", "1");
        program
    }
}

struct Release {
    proxy: TestProxy,
    clock: Clock,
    canary: TestBackend,
    _stable: TestBackend,
}

impl Release {
    fn start() -> Self {
        let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
        let folder = TempDir::new().unwrap();
        let named = backends(&[("v1", &stable), ("v2", &canary)]);
        let config = format!(
            "{named}trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
             flags: {{ orders: {{ stable: v1, canary: v2, rollout: {{ revision: a, stages: \
             [25%, 50%, 100%], hold: {}s, min_requests: 50, deadline: 1h }} }} }}\n\
             routes: [{{ flag: orders }}]\n",
            HOLD.as_secs()
        );
        write_config(folder.path(), "", &config);
        let clock = Clock::in_folder(folder.path());
        let proxy = TestProxy::start_in(&Arc::new(folder), clock.program()).expect("it starts");
        Self {
            proxy,
            clock,
            canary,
            _stable: stable,
        }
    }

    /// The last line of its journal was written at this second since 1970, by its own clock.
    fn last_written_s(&self) -> u64 {
        let answer = self.proxy.command("GET", "/api/v1/journal?limit=1", "");
        let page: Value = answer.json();
        page["lines"][0]["at_unix_ms"].as_u64().expect("a time") / 1000
    }

    fn stage(&self) -> u64 {
        self.proxy.rollout("orders")["stage"].as_u64().unwrap()
    }
}

fn set_clock_in_a_rollout(offset: &str, shift_s: i64) {
    let release = Release::start();
    let load = Load::start(release.proxy.address());
    let begun = clock::monotonic();
    let before_s = release.last_written_s();
    release.clock.set(offset);
    wait_until("the second stage begins", HOLD + LATE_MAX, || {
        release.stage() == 2
    });
    let took = begun.elapsed();
    assert!(took > HOLD - Duration::from_secs(1), "{took:?}");
    // It did see the other clock.
    let moved_s = release.last_written_s().cast_signed() - before_s.cast_signed();
    assert!((moved_s - shift_s).abs() < 60, "{moved_s} s");
    // The guard watches on, and what was decided is found again.
    release.canary.behave(Behaviour::Status(500));
    let begun = clock::monotonic();
    release.proxy.wait_for_phase("orders", "rolled_back", SOON);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    drop(load);
    let Release { mut proxy, .. } = release;
    proxy.kill();
    let again = TestProxy::start_in(proxy.folder(), Command::new(SERIN)).expect("it starts");
    assert_eq!(again.rollout("orders")["phase"], "rolled_back");
    assert_eq!(again.get("/").text(), "stable");
}

#[test]
fn a_clock_set_a_day_forward_hurries_nothing() {
    set_clock_in_a_rollout("+1d", 86_400);
}

#[test]
fn a_clock_set_a_day_back_holds_nothing_up() {
    set_clock_in_a_rollout("-1d", -86_400);
}
