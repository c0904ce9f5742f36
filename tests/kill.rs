//! The real program is killed two hundred times, at each of its writes and at random moments, and
//! started again: nothing that was acknowledged is lost, and nobody meets a weight that was not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::thread::{scope, sleep};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use serin::domain::bucket::Bucket;
use serin::runtime::clock;
use support::proxy::{SERIN, backends, write_config};
use support::{Load, Request, TestBackend, TestProxy};
use tempfile::TempDir;

/// How soon after its start it must be there, on a machine that does other things as well.
const READY_MAX: Duration = Duration::from_secs(1);

/// What operators do, over and over, and where the rollout is after it: phase, stage, percent.
const VERBS: [(&str, &str, u64, f64); 8] = [
    ("promote", "progressing", 2, 50.0),
    ("pause", "paused", 2, 50.0),
    ("resume", "progressing", 2, 50.0),
    ("rollback", "rolled_back", 2, 0.0),
    ("retry", "progressing", 1, 10.0),
    ("promote", "progressing", 2, 50.0),
    ("abort", "aborted", 2, 0.0),
    ("retry", "progressing", 1, 10.0),
];

/// Where it is before the first of them.
const BEGUN: (&str, u64, f64) = ("progressing", 1, 10.0);

/// One state folder and what is known of it from outside.
struct Story {
    folder: Arc<TempDir>,
    /// How many verbs were acknowledged.
    done: usize,
    /// One more may have been done than was acknowledged.
    in_flight: bool,
    /// How often the kernel killed it at a call.
    killed: usize,
    _backends: [TestBackend; 2],
}

impl Story {
    fn new() -> Self {
        let pair = [TestBackend::start("stable"), TestBackend::start("canary")];
        let folder = TempDir::new().unwrap();
        let named = backends(&[("v1", &pair[0]), ("v2", &pair[1])]);
        let config = format!(
            "{named}trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
             flags: {{ orders: {{ stable: v1, canary: v2, rollout: {{ revision: a, \
             stages: [10%, 50%, 100%], hold: 1h }} }} }}\nroutes: [{{ flag: orders }}]\n"
        );
        write_config(folder.path(), "", &config);
        Self {
            folder: Arc::new(folder),
            done: 0,
            in_flight: false,
            killed: 0,
            _backends: pair,
        }
    }

    /// Where the rollout is after so many verbs.
    fn place(done: usize) -> (&'static str, u64, f64) {
        match done.checked_sub(1) {
            None => BEGUN,
            Some(last) => {
                let (_, phase, stage, percent) = VERBS[last % VERBS.len()];
                (phase, stage, percent)
            }
        }
    }

    /// Starts it as it is, and checks that it is where it must be.
    fn start_and_check(&mut self) -> TestProxy {
        let begun = clock::monotonic();
        let proxy = TestProxy::start_in(&self.folder, Command::new(SERIN)).expect("it starts");
        assert_eq!(proxy.command("GET", "/readyz", "").status, 200);
        assert_eq!(proxy.get("/").status, 200);
        let took = begun.elapsed();
        assert!(took < READY_MAX, "ready after {took:?}");
        let status = proxy.rollout("orders");
        let stage = status["stage"].as_u64().unwrap();
        let found = (status["phase"].as_str().unwrap(), stage);
        let is_at = |done: usize| {
            let (phase, stage, _) = Self::place(done);
            found == (phase, stage)
        };
        if self.in_flight && is_at(self.done + 1) && !is_at(self.done) {
            self.done += 1;
        }
        let expected = Self::place(self.done);
        assert!(
            is_at(self.done),
            "{found:?} after {} verbs, not {expected:?}",
            self.done
        );
        let weights = &status["weights"]["default_percent"];
        assert_eq!(*weights, expected.2, "{status:#}");
        self.check_callers(&proxy, expected.2);
        self.check_journal(&proxy);
        self.in_flight = false;
        proxy
    }

    /// Real requests of callers known by their buckets meet the arm that the weight says.
    fn check_callers(&self, proxy: &TestProxy, percent: f64) {
        for caller in 0..12 {
            let key = format!("u-{caller}");
            let place = f64::from(Bucket::of("orders", &key).place());
            let arm = if place < percent * 100.0 {
                "canary"
            } else {
                "stable"
            };
            let answer = proxy.ask(&Request::get("/").field("x-user-id", &key));
            assert_eq!(answer.text(), arm, "{key} at {percent} %");
        }
    }

    /// What was acknowledged stands in the journal, each of it once.
    fn check_journal(&self, proxy: &TestProxy) {
        let answer = proxy.command("GET", "/api/v1/journal?flag=orders&limit=200", "");
        let page: Value = answer.json();
        let lines = page["lines"].as_array().unwrap();
        let whys: Vec<_> = lines
            .iter()
            .filter_map(|line| line["why"].as_str())
            .collect();
        for step in self.done.saturating_sub(20)..self.done {
            let why = format!("step-{step}");
            let count = whys.iter().filter(|other| **other == why).count();
            assert_eq!(count, 1, "{why} in {whys:#?}");
        }
    }

    /// Gives commands until the process is gone; at most so many.
    fn command_until_gone(&mut self, proxy: &TestProxy, most: usize) {
        for _ in 0..most {
            let verb = VERBS[self.done % VERBS.len()].0;
            let path = format!("/api/v1/rollouts/orders/{verb}");
            let body = format!("{{ \"reason\": \"step-{}\" }}", self.done);
            self.in_flight = true;
            let host = proxy.admin().to_string();
            let request = Request::new("POST", &path).host(&host).body(&*body);
            match request.try_send_to(proxy.admin()) {
                Ok(answer) if answer.is_whole && answer.status == 200 => self.done += 1,
                Ok(answer) if answer.is_whole => panic!("{verb}: {}", answer.text()),
                Ok(_) | Err(_) => return,
            }
            self.in_flight = false;
        }
    }

    /// Has the kernel kill it before its n-th call of a kind, from whichever thread.
    fn kill_at(&mut self, call: &str, n: usize) {
        let mut strace = Command::new("strace");
        // The traced program is our child, and strace a grandchild, so that a kill meets it.
        strace.args(["-D", "-f", "-qq", "-o", "/dev/null"]);
        strace.arg(format!("--trace={call}"));
        strace.arg(format!("--inject={call}:signal=SIGKILL:when={n}"));
        strace.arg(SERIN);
        let Some(mut proxy) = TestProxy::start_in(&self.folder, strace) else {
            self.killed += 1;
            return;
        };
        self.command_until_gone(&proxy, 12);
        self.killed += usize::from(self.in_flight);
        proxy.kill();
    }
}

#[test]
fn a_process_killed_at_each_of_its_writes_goes_on_where_it_was() {
    let has_strace = Command::new("strace").arg("-V").output().is_ok();
    assert!(
        has_strace,
        "strace is missing: Debian's package `strace` has it"
    );
    scope(|threads| {
        // The creation of the file: each kill in a folder of its own.
        threads.spawn(|| {
            for (call, last) in [("pwrite64", 24), ("fdatasync,fsync", 8), ("rename", 1)] {
                for n in 1..=last {
                    let mut story = Story::new();
                    story.kill_at(call, n);
                    assert_eq!(story.killed, 1, "{call} {n}");
                    story.start_and_check().kill();
                }
            }
        });
        // What is written from then on: one folder that lives through all kills.
        threads.spawn(|| {
            let mut story = Story::new();
            for (call, last) in [("pwrite64", 54), ("fdatasync,fsync", 16)] {
                for n in 1..=last {
                    story.start_and_check().kill();
                    story.kill_at(call, n);
                }
            }
            story.start_and_check();
            assert!(story.done > 50, "only {} verbs were done", story.done);
            assert_eq!(story.killed, 70);
        });
    });
}

#[test]
fn a_process_killed_at_random_under_load_goes_on_where_it_was() {
    let seed = 20_261_125;
    eprintln!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut story = Story::new();
    for _ in 0..100 {
        let mut proxy = story.start_and_check();
        let load = Load::start(proxy.address());
        let delay = Duration::from_micros(random.random_range(0..60_000));
        let id = proxy.id();
        scope(|threads| {
            threads.spawn(move || {
                // The moment is what is tested.
                sleep(delay);
                let kill = format!("kill -9 {id}");
                let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
                assert!(status.success());
            });
            story.command_until_gone(&proxy, usize::MAX);
        });
        proxy.kill();
        drop(load);
    }
    story.start_and_check();
    assert!(story.done > 100, "only {} verbs were done", story.done);
}
