//! The state cannot be written, or cannot be read: requests are served all the while, nobody gets
//! more of the canary, a rollback holds, and it is said loudly.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::Duration;

use support::disk::SmallDisk;
use support::position::{Act, Position, config, servers_of, telling_callers};
use support::proxy::{SERIN, backends, replace_file};
use support::{Answer, Load, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

/// How soon it is found that there is room again: it is looked for every ten seconds.
const ROOM_MAX: Duration = Duration::from_secs(25);

/// The bytes of the state file that say how it is laid out.
const HEADER: usize = 4_096;

/// In how many places the file is cut off.
const CUTS: usize = 100;

/// A folder with a configuration, whose state is below it, and two backends.
struct Place {
    folder: TempDir,
    servers: [TestBackend; 2],
}

impl Place {
    fn new() -> Self {
        let servers = [TestBackend::start("v1"), TestBackend::start("v2")];
        let folder = TempDir::new().unwrap();
        let place = Self { folder, servers };
        place.put(Position::START);
        place
    }

    /// Writes a configuration with `orders` at a position.
    fn put(&self, position: Position) {
        self.write(&config(&self.backends(), &[("orders", position)]));
    }

    fn write(&self, text: &str) {
        replace_file(&self.folder.path().join("serin.yaml"), text);
    }

    fn backends(&self) -> String {
        backends(&[("v1", &self.servers[0]), ("v2", &self.servers[1])])
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn start(&self) -> TestProxy {
        TestProxy::in_folder(self.folder.path(), Command::new(SERIN))
    }
}

fn order(proxy: &TestProxy, verb: &str) -> Answer {
    let path = format!("/api/v1/rollouts/orders/{verb}");
    proxy.command("POST", &path, r#"{ "reason": "test" }"#)
}

fn is_writable(proxy: &TestProxy) -> bool {
    proxy.metrics().count("serin_state_writable", &[]) == 1
}

/// The share of callers that get the canary, in basis points.
fn weight(proxy: &TestProxy) -> u64 {
    proxy.metrics().default_weight("orders")
}

/// Fills the disk, and switches the flag off and on until that is noticed: neither gives canary
/// more callers than it had.
fn fill_until_noticed(disk: &SmallDisk, proxy: &TestProxy, write: &dyn Fn(bool)) {
    disk.fill();
    let mut is_on = true;
    wait_until("that the disk is full", SOON, || {
        is_on = !is_on;
        write(is_on);
        proxy.reload();
        wait_until("the switch", SOON, || {
            proxy.rollout("orders")["enabled"] == is_on
        });
        is_on && !is_writable(proxy)
    });
    let line = proxy.wait_for_log("the disk is full", SOON);
    assert!(line.contains("ERROR"), "{line}");
}

#[track_caller]
fn assert_at(proxy: &TestProxy, position: Position) {
    let status = proxy.rollout("orders");
    assert!(position.is_told_by(&status), "{position:?}: {status:#}");
    let callers = telling_callers("orders");
    let expected = callers
        .iter()
        .map(|caller| position.server_of("orders", caller));
    assert_eq!(
        servers_of(proxy, "/", &callers),
        expected.collect::<Vec<_>>()
    );
}

/// Everyone has stable, and whoever looks is told why.
fn assert_serves_without_state(proxy: &TestProxy) {
    proxy.wait_until_ready();
    let servers = servers_of(proxy, "/", &telling_callers("orders"));
    assert!(servers.iter().all(|server| server == "v1"), "{servers:?}");
    let status = proxy.rollout("orders");
    assert_eq!(status["phase"], "waiting", "{status:#}");
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("state cannot be written"), "{reason}");
    assert_eq!(weight(proxy), 0);
    assert!(!is_writable(proxy));
    let line = proxy.wait_for_log("serving with every rollout at weight 0", SOON);
    assert!(line.contains("ERROR"), "{line}");
    order(proxy, "promote").problem(409);
}

#[test]
fn on_a_full_disk_nothing_is_promoted_and_a_rollback_outlives_the_process() {
    let place = Place::new();
    let disk = SmallDisk::mount(place.state());
    let mut proxy = place.start();
    let load = Load::start(proxy.address());
    assert_eq!(order(&proxy, "promote").status, 200);
    let held = Position::START.after(Act::Promote).unwrap();
    fill_until_noticed(&disk, &proxy, &|is_on| {
        place.put(Position { is_on, ..held })
    });
    let refused = order(&proxy, "promote").problem(503);
    let why = refused["detail"].as_str().unwrap();
    assert!(why.contains("the disk is full"), "{why}");
    assert_at(&proxy, held);
    let good = load.good();
    wait_until("requests are served", SOON, || load.good() > good + 100);
    assert_eq!(order(&proxy, "rollback").status, 200);
    let back = held.after(Act::Rollback).unwrap();
    assert_at(&proxy, back);
    assert_eq!(proxy.rollout("orders")["is_written"], true);
    assert_eq!((load.bad(), load.complaint()), (0, None));
    drop(load);
    proxy.kill();

    let proxy = place.start();
    assert_at(&proxy, back);
    disk.clear();
    wait_until("there is room", ROOM_MAX, || is_writable(&proxy));
    let next = back.after(Act::Revise).unwrap();
    place.put(next);
    proxy.reload();
    wait_until("the next revision", SOON, || weight(&proxy) > 0);
    assert_at(&proxy, next);
}

#[test]
fn a_rollout_that_a_full_disk_holds_goes_on_by_itself_once_there_is_room() {
    let place = Place::new();
    let disk = SmallDisk::mount(place.state());
    let write = |is_on: bool| {
        place.write(&format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
             state: {{ path: state }}\ntrusted_proxies: [127.0.0.0/8]\n\
             identity: [{{ header: x-user-id }}]\n{}flags:\n  orders:\n    enabled: {is_on}\n    \
             stable: v1\n    canary: v2\n    rollout: {{ revision: a, stages: [30%, 60%], \
             hold: 3s, min_requests: 50, watch: 1h }}\nroutes: [{{ flag: orders }}]\n",
            place.backends()
        ));
    };
    write(true);
    let proxy = place.start();
    fill_until_noticed(&disk, &proxy, &write);
    let load = Load::start(proxy.address());
    // It would go on now, and cannot.
    let line = proxy.wait_for_log("holding", 3 * SOON);
    assert!(
        line.contains("ERROR") && line.contains("the disk is full"),
        "{line}"
    );
    assert_eq!((weight(&proxy), is_writable(&proxy)), (3_000, false));
    assert_eq!(proxy.rollout("orders")["stage"], 1);
    disk.clear();
    wait_until("the next stage", ROOM_MAX, || {
        proxy.rollout("orders")["stage"] == 2
    });
    assert!(is_writable(&proxy));
    assert_eq!(
        (load.bad(), load.complaint(), load.moved_back()),
        (0, None, 0)
    );
}

#[test]
fn on_a_disk_that_is_read_only_everyone_has_stable_until_it_can_be_written() {
    let place = Place::new();
    let disk = SmallDisk::mount(place.state());
    let mut proxy = place.start();
    assert_eq!(order(&proxy, "promote").status, 200);
    proxy.kill();
    disk.remount("ro");
    let mut proxy = place.start();
    assert_serves_without_state(&proxy);
    // Done, and said to be undone by a restart.
    let done = order(&proxy, "rollback");
    assert_eq!(
        (done.status, &done.json()["is_written"]),
        (202, &false.into())
    );
    let status = proxy.rollout("orders");
    assert_eq!(
        (&status["phase"], &status["is_written"]),
        (&"rolled_back".into(), &false.into())
    );
    let frozen = proxy.command("POST", "/api/v1/freeze", "");
    assert_eq!(
        (frozen.status, &frozen.json()["is_written"]),
        (202, &false.into())
    );
    let mut freeze = Command::new(SERIN);
    freeze
        .args(["freeze", "--admin"])
        .arg(format!("http://{}", proxy.admin()));
    let output = freeze.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && told.contains("a restart before undoes it"),
        "{told}"
    );
    proxy.kill();
    disk.remount("rw");
    assert_at(&place.start(), Position::START.after(Act::Promote).unwrap());
}

#[test]
fn a_state_that_was_cut_off_anywhere_is_told_and_left_as_it_is_or_has_lost_nothing() {
    let place = Place::new();
    let mut proxy = place.start();
    assert_eq!(order(&proxy, "promote").status, 200);
    let promoted = Position::START.after(Act::Promote).unwrap();
    proxy.kill();
    let whole = fs::read(place.state().join("state.redb")).unwrap();
    let (next, harmless) = (AtomicUsize::new(0), AtomicUsize::new(0));
    scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let own = TempDir::new().unwrap();
                let state = own.path().join("state");
                fs::create_dir(&state).unwrap();
                fs::copy(
                    place.folder.path().join("serin.yaml"),
                    own.path().join("serin.yaml"),
                )
                .unwrap();
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= CUTS {
                        return;
                    }
                    let cut = &whole[..whole.len() * number / CUTS];
                    let file = state.join("state.redb");
                    fs::write(&file, cut).unwrap();
                    let mut proxy = TestProxy::in_folder(own.path(), Command::new(SERIN));
                    proxy.wait_until_ready();
                    if is_writable(&proxy) {
                        // What is gone was room that nothing was written to.
                        assert_at(&proxy, promoted);
                        harmless.fetch_add(1, Ordering::SeqCst);
                        proxy.kill();
                        continue;
                    }
                    assert_serves_without_state(&proxy);
                    let line = proxy.wait_for_log("serving with every", SOON);
                    assert!(line.contains(file.to_str().unwrap()), "{line}");
                    proxy.kill();
                    // Where the cut-off length is one that a file can have, the library has
                    // noted it in its header; what the file says is not touched.
                    let left = fs::read(&file).unwrap();
                    let is_same =
                        left.len() == cut.len() && left.get(HEADER..) == cut.get(HEADER..);
                    assert!(is_same, "cut at {}", cut.len());
                }
            });
        }
    });
    let harmless = harmless.into_inner();
    assert!(harmless < CUTS / 4, "{harmless} of {CUTS} cuts went unseen");
    // Whole again, it goes on.
    assert_at(&place.start(), promoted);
}

#[test]
fn a_second_process_is_sent_away_and_the_first_goes_on() {
    let place = Place::new();
    let proxy = place.start();
    let mut second = Command::new(SERIN);
    second.args(["serve", "--config"]).arg(proxy.config_path());
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(place.state().to_str().unwrap()), "{told}");
    assert!(told.contains(&proxy.process().to_string()), "{told}");
    assert_eq!(order(&proxy, "promote").status, 200);
    assert_at(&proxy, Position::START.after(Act::Promote).unwrap());
}
