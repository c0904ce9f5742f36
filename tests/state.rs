//! The disk is full, cannot be written, or gave back something else than what was written: requests
//! are served all the while, nothing is promoted, and what can be said is said.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::io::{ErrorKind, Write, stderr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use support::proxy::{SERIN, backends, write_config};
use support::{Answer, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

/// How soon room on the disk is found again: it is looked for every ten seconds.
const RESERVE_MAX: Duration = Duration::from_secs(25);

/// A folder with a configuration whose state lies in `state`, and the backends that it names.
struct Place {
    folder: Arc<TempDir>,
    _backends: [TestBackend; 2],
}

impl Place {
    fn new() -> Self {
        let pair = [TestBackend::start("stable"), TestBackend::start("canary")];
        let folder = TempDir::new().unwrap();
        let named = backends(&[("v1", &pair[0]), ("v2", &pair[1])]);
        let config = format!(
            "{named}flags: {{ orders: {{ stable: v1, canary: v2, rollout: {{ revision: a, \
             stages: [10%, 50%, 100%], hold: 1h }} }} }}\nroutes: [{{ flag: orders }}]\n"
        );
        write_config(folder.path(), "", &config);
        Self {
            folder: Arc::new(folder),
            _backends: pair,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn start(&self) -> TestProxy {
        TestProxy::start_in(&self.folder, Command::new(SERIN)).expect("it starts")
    }
}

fn command(proxy: &TestProxy, verb: &str) -> Answer {
    let path = format!("/api/v1/rollouts/orders/{verb}");
    proxy.command("POST", &path, "{ \"reason\": \"test\" }")
}

fn is_writable(proxy: &TestProxy) -> bool {
    proxy.metrics().count("serin_state_writable", &[]) == 1
}

/// Everyone gets the stable backend, and whoever asks is told that the state is not to be used.
fn assert_serves_without_state(proxy: &TestProxy) {
    assert_eq!(proxy.command("GET", "/readyz", "").status, 200);
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "stable");
    }
    let status = proxy.rollout("orders");
    assert_eq!(status["phase"], "waiting", "{status:#}");
    assert_eq!(status["weights"]["default_percent"], 0.0);
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("state"), "{reason}");
    assert!(!is_writable(proxy));
    assert_ne!(command(proxy, "promote").status, 200);
}

/// A disk of its own in the place of a folder; gone with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this machine lets nobody mount, which is told.
    fn mount(folder: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        if mount.arg(&folder).status().unwrap().success() {
            return Some(Self(folder));
        }
        // Not by a macro: the harness would keep it to itself.
        let told = "\nNOT TESTED HERE: a full disk and one that cannot be written, for want of \
                    the right to mount one; run this as root\n";
        stderr().write_all(told.as_bytes()).unwrap();
        None
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        loop {
            match filler.write(&[7; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives it back.
    fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever uses it yet may end after this.
        let status = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

#[test]
fn a_full_disk_holds_promotions_but_neither_requests_nor_a_rollback() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.state(), "size=16m") else {
        return;
    };
    let mut proxy = place.start();
    assert_eq!(command(&proxy, "promote").status, 200);
    disk.fill();
    wait_until("the metrics tell it", SOON, || {
        // Neither gives the canary more.
        assert_eq!(command(&proxy, "pause").status, 200);
        assert_eq!(command(&proxy, "resume").status, 200);
        !is_writable(&proxy)
    });
    proxy.wait_for_log("the disk is full", SOON);
    let before = proxy.rollout("orders");
    let refused = command(&proxy, "promote");
    assert_eq!(refused.status, 503, "{}", refused.text());
    let told = refused.text();
    assert!(told.contains("the disk is full"), "{told}");
    assert_eq!(proxy.rollout("orders")["weights"], before["weights"]);
    assert_eq!(proxy.get("/").status, 200);
    let answer = command(&proxy, "rollback");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.rollout("orders")["weights"]["default_percent"], 0.0);
    assert_eq!(proxy.get("/").text(), "stable");
    proxy.kill();

    let mut proxy = place.start();
    assert_eq!(proxy.rollout("orders")["phase"], "rolled_back");
    assert_eq!(proxy.get("/").text(), "stable");
    disk.clear();
    wait_until("it can be written again", RESERVE_MAX, || {
        is_writable(&proxy)
    });
    assert_eq!(command(&proxy, "retry").status, 200);
    proxy.kill();
    let proxy = place.start();
    assert_eq!(proxy.rollout("orders")["phase"], "progressing");
    drop(proxy);
}

#[test]
fn a_disk_that_cannot_be_written_is_told_and_stops_nobody() {
    let place = Place::new();
    let Some(_disk) = SmallDisk::mount(place.state(), "ro") else {
        return;
    };
    assert_serves_without_state(&place.start());
}

#[test]
fn a_state_that_was_cut_anywhere_is_told_at_every_start() {
    let place = Place::new();
    let mut proxy = place.start();
    for verb in ["promote", "pause", "resume"] {
        assert_eq!(command(&proxy, verb).status, 200);
    }
    proxy.kill();
    let file = largest_file(&place.state());
    let whole = fs::read(&file).unwrap();
    for part in 0..100 {
        let cut = &whole[..whole.len() * part / 100];
        fs::write(&file, cut).unwrap();
        // What the first start did to it must not make the second take it for a whole one.
        for _ in 0..2 {
            let mut proxy = place.start();
            assert_serves_without_state(&proxy);
            proxy.kill();
        }
    }
    fs::write(&file, &whole).unwrap();
    let proxy = place.start();
    let status = proxy.rollout("orders");
    assert_eq!(
        (&status["phase"], &status["stage"]),
        (&"progressing".into(), &2.into())
    );
}

/// The state itself; the reserve beside it holds nothing.
fn largest_file(folder: &std::path::Path) -> PathBuf {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let states = entries.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        !name.ends_with("reserve") && !name.ends_with("lock")
    });
    states
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

#[test]
fn a_state_belongs_to_one_process() {
    let place = Place::new();
    let proxy = place.start();
    let mut second = Command::new(SERIN);
    second.args(["serve", "--config"]).arg(proxy.config_path());
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    let folder = place.state();
    assert!(told.contains(folder.to_str().unwrap()), "{told}");
    assert_eq!(command(&proxy, "promote").status, 200);
}
