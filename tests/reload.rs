//! Another configuration is taken while requests come in and rollouts are under way: as a whole or
//! not at all, without a request lost, and never with more callers on canary than before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::proxy::{SERIN, backends, replace_file, signal};
use support::{SOON, TestBackend, TestProxy, wait_for, wait_until};
use tempfile::TempDir;

/// Good files, and as many broken ones.
const FILES: usize = 20;

/// Requests under each file, at least.
const BETWEEN_FILES: u64 = 200;

/// A proxy before two backends, whose configuration changes.
struct Edge {
    proxy: TestProxy,
    /// What every configuration begins with.
    head: String,
    /// How a change is announced to a process that does not look for it by itself.
    announce: fn(&TestProxy),
    _folder: TempDir,
    _servers: [TestBackend; 2],
}

impl Edge {
    fn start(rest: &str) -> Self {
        let servers = [TestBackend::start("v1"), TestBackend::start("v2")];
        let folder = TempDir::new().unwrap();
        let head = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
             state: {{ path: state }}\n{}",
            backends(&[("v1", &servers[0]), ("v2", &servers[1])])
        );
        let text = format!("{head}{rest}");
        std::fs::write(folder.path().join("serin.yaml"), text).unwrap();
        Self {
            proxy: TestProxy::in_folder(folder.path(), Command::new(SERIN)),
            head,
            announce: TestProxy::reload,
            _folder: folder,
            _servers: servers,
        }
    }

    /// Begins a rollout of `orders` by lines of the flag.
    fn rolling(flag: &str) -> Self {
        Self::start(&rollout(flag))
    }

    /// Changes the file to another rest, and tells the process.
    fn bring(&self, rest: &str) {
        self.proxy.write_config(&format!("{}{rest}", self.head));
        (self.announce)(&self.proxy);
    }

    /// Changes the flag, and waits until a rollout is as it should be.
    #[track_caller]
    fn take(&self, flag: &str, expected: &[(&str, &str)]) {
        self.bring(&rollout(flag));
        self.assert_soon(expected);
    }

    #[track_caller]
    fn assert_soon(&self, expected: &[(&str, &str)]) {
        let mut last = Value::Null;
        let is_so = || {
            last = self.proxy.rollout("orders");
            let fits =
                |(key, value): &(&str, &str)| last[*key].to_string().trim_matches('"') == *value;
            expected.iter().all(fits).then_some(())
        };
        wait_for(&format!("{expected:?}"), SOON, is_so);
    }

    /// Brings a configuration that is refused, at the place of `culprit` in it; gives the line of
    /// the log.
    #[track_caller]
    fn refuse(&self, rest: &str, culprit: &str) -> String {
        let before = self.proxy.rollout("orders");
        let text = format!("{}{rest}", self.head);
        let at = text.find(culprit).unwrap();
        let (line, column) = place(&text, at);
        self.bring(rest);
        let found = format!("serin.yaml:{line}:{column}: ");
        let told = self.proxy.wait_for_log(&found, SOON);
        assert!(
            told.contains("ERROR") && told.contains("configuration refused"),
            "{told}"
        );
        let after = self.proxy.rollout("orders");
        for key in [
            "phase", "stage", "weights", "revision", "stable", "canary", "enabled",
        ] {
            assert_eq!(after[key], before[key], "{key}");
        }
        told
    }

    fn order(&self, verb: &str) {
        let path = format!("/api/v1/rollouts/orders/{verb}");
        let answer = self.proxy.command("POST", &path, "");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The share of callers that get the canary, in basis points.
    fn weight(&self) -> u64 {
        self.proxy.metrics().default_weight("orders")
    }

    fn reloads(&self, result: &str) -> u64 {
        let labels = [("result", result)];
        self.proxy
            .metrics()
            .count("serin_config_reloads_total", &labels)
    }

    /// Waits until so many good answers more were given; gives how many there are then.
    fn serve_on(&self, before: u64) -> u64 {
        wait_for("requests are served", SOON, || {
            let ok = [("code", "200")];
            let served = self.proxy.metrics().count("serin_requests_total", &ok);
            (served >= before + BETWEEN_FILES).then_some(served)
        })
    }

    fn is_current(&self) -> bool {
        self.proxy
            .metrics()
            .count("serin_config_last_reload_success", &[])
            == 1
    }
}

/// Line and column of a byte of a text.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, at - start + 1)
}

/// A configuration with a flag of these lines.
fn rollout(flag: &str) -> String {
    let lines: String = flag
        .lines()
        .map(|line| format!("    {}\n", line.trim()))
        .collect();
    format!("flags:\n  orders:\n{lines}routes: [{{ flag: orders }}]\n")
}

/// A flag between two backends, with a rollout of a revision by stages.
fn flag(stable: &str, canary: &str, revision: &str, stages: &str) -> String {
    format!(
        "stable: {stable}\ncanary: {canary}\n\
         rollout: {{ revision: {revision}, stages: [{stages}], hold: 1h, watch: 1h }}"
    )
}

fn wrk(proxy: &TestProxy) -> Child {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c16", "-d120s"])
        .arg(format!("http://{}/", proxy.address()));
    let wrk = wrk.stdout(Stdio::piped()).spawn();
    wrk.expect("wrk is there: Debian's package `wrk` has it")
}

#[test]
fn under_load_good_files_are_taken_and_broken_ones_refused_without_a_request_lost() {
    let good = |number: usize| {
        let backend = ["v1", "v2"][number % 2];
        format!(
            "routes: [{{ path: {{ exact: / }}, backend: {backend} }}, \
             {{ path: /good-{number}, backend: v1 }}]\n"
        )
    };
    let broken = |number: usize| match number % 3 {
        0 => format!("routes: [{{ backend: v1 }}]\nbroken-{number}: 1\n"),
        1 => format!("routes: [{{ backend: broken-{number} }}]\n"),
        _ => format!("routes: [{{ backend: v1 }}] # broken-{number}\n  routs: [\n"),
    };
    let edge = Edge::start("routes: [{ backend: v1 }]\n");
    let load = wrk(&edge.proxy);
    let mut served = 0;
    for number in 0..FILES {
        edge.bring(&good(number));
        let path = format!("/good-{number}");
        let expected = ["v1", "v2"][number % 2];
        wait_until("it is taken", SOON, || {
            edge.reloads("taken") > number as u64
        });
        wait_until("it decides", SOON, || edge.proxy.get(&path).text() == "v1");
        assert_eq!(edge.proxy.get("/").text(), expected);
        assert!(edge.is_current());

        let refused = edge.reloads("refused");
        edge.bring(&broken(number));
        wait_until("it is refused", SOON, || edge.reloads("refused") > refused);
        assert!(!edge.is_current());
        assert_eq!(edge.proxy.get("/").text(), expected);
        assert_eq!(edge.proxy.get(&path).status, 200);
        served = edge.serve_on(served);
    }
    // It tells what it has seen when it is interrupted.
    assert!(signal(load.id(), "INT"), "wrk has ended by itself");
    let output = load.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("Requests/sec"), "{told}");
    assert!(
        !told.contains("Socket errors") && !told.contains("Non-2xx"),
        "{told}"
    );
    let log = edge.proxy.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("configuration refused"))
        .collect();
    assert!(lines.len() >= FILES, "{log}");
    for line in lines {
        assert!(line.contains("ERROR") && has_place(line), "{line}");
    }
    for number in (0..FILES).filter(|number| number % 3 < 2) {
        assert!(log.contains(&format!("broken-{number}")), "{number}");
    }
}

/// Whether a line names a place in the file: `serin.yaml:7:12: `.
fn has_place(line: &str) -> bool {
    let after = line.split_once("serin.yaml:").map(|(_, after)| after);
    let mut parts = after.unwrap_or_default().split(':');
    let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<usize>().is_ok());
    is_number(parts.next()) && is_number(parts.next())
}

#[test]
fn changed_stages_go_on_at_the_last_that_is_left_and_never_higher() {
    let edge = Edge::rolling(&flag("v1", "v2", "a", "10%, 40%, 70%"));
    edge.order("promote");
    assert_eq!(edge.weight(), 4_000);
    let here = ("phase", "progressing");
    let plan = |stages| flag("v1", "v2", "a", stages);
    edge.take(
        &plan("5%, 10%, 20%, 40%, 100%"),
        &[here, ("stage", "4"), ("stages", "5")],
    );
    assert_eq!(edge.weight(), 4_000);
    // The stage it was in is gone; of those that it had passed, 20 % is the last that is left.
    edge.take(
        &plan("10%, 20%, 50%, 100%"),
        &[here, ("stage", "2"), ("stages", "4")],
    );
    assert_eq!(edge.weight(), 2_000);
    edge.take(&plan("50%, 100%"), &[("phase", "waiting"), ("stages", "2")]);
    assert_eq!(edge.weight(), 0);
}

#[test]
fn a_new_revision_starts_at_the_first_stage_and_one_that_was_taken_back_stays_so() {
    let stages = "10%, 40%, 70%";
    let edge = Edge::rolling(&flag("v1", "v2", "a", stages));
    edge.order("promote");
    edge.order("rollback");
    let first = [("phase", "progressing"), ("stage", "1"), ("revision", "b")];
    edge.take(&flag("v1", "v2", "b", stages), &first);
    assert_eq!(edge.weight(), 1_000);
    edge.order("promote");
    let back = [("phase", "rolled_back"), ("revision", "a")];
    edge.take(&flag("v1", "v2", "a", stages), &back);
    assert_eq!(edge.weight(), 0);
    for _ in 0..50 {
        assert_eq!(edge.proxy.get("/").text(), "v1");
    }
    // Another plan makes no difference to what was taken back.
    edge.take(
        &flag("v1", "v2", "a", "1%, 2%"),
        &[("phase", "rolled_back"), ("stages", "2")],
    );
    assert_eq!(edge.weight(), 0);
}

#[test]
fn what_would_move_callers_unasked_is_refused_at_its_place() {
    let edge = Edge::rolling(&flag("v1", "v2", "a", "10%, 40%, 70%"));
    let other_canary = rollout(&flag("v2", "v1", "a", "10%, 40%, 70%"));
    let told = edge.refuse(&other_canary, "v1\n    rollout:");
    assert!(
        told.contains("another version needs another `rollout.revision`"),
        "{told}"
    );
    let told = edge.refuse(&rollout("stable: v1\ncanary: v2"), "stable: v1");
    assert!(told.contains("has a rollout that is progressing"), "{told}");
    assert!(told.contains("abort the rollout first"), "{told}");
    edge.bring("routes: [{ backend: v1 }]\n");
    let told = edge.proxy.wait_for_log("serin.yaml:1:1: ", SOON);
    assert!(told.contains("has a rollout that is progressing"), "{told}");
    assert_eq!(edge.weight(), 1_000);
    assert!(!edge.is_current());
}

#[test]
fn after_success_stable_has_to_name_who_has_everyone() {
    let edge = Edge::rolling(&flag("v1", "v2", "a", "10%, 100%"));
    for _ in 0..3 {
        edge.order("promote");
    }
    edge.assert_soon(&[("phase", "succeeded")]);
    let told = edge.refuse(
        &rollout(&flag("v1", "v2", "b", "10%, 100%")),
        "v1\n    canary:",
    );
    assert!(told.contains("write `stable: v2`"), "{told}");
    assert_eq!(edge.proxy.get("/").text(), "v2");
    let first = [("phase", "progressing"), ("stage", "1"), ("revision", "b")];
    edge.take(&flag("v2", "v1", "b", "10%, 100%"), &first);
    assert_eq!(edge.weight(), 1_000);
}

#[test]
fn a_flag_that_is_off_gives_everyone_stable_and_goes_on_when_it_is_on() {
    let plan = flag("v1", "v2", "a", "100%");
    let edge = Edge::rolling(&plan);
    let servers = || -> Vec<_> {
        let asked = (0..200).map(|_| edge.proxy.get("/").text().to_owned());
        asked.collect()
    };
    assert!(servers().iter().any(|server| server == "v2"));
    let off = format!("enabled: false\n{plan}");
    edge.take(
        &off,
        &[("phase", "paused"), ("enabled", "false"), ("stage", "1")],
    );
    assert!(servers().iter().all(|server| server == "v1"));
    edge.take(
        &plan,
        &[
            ("phase", "progressing"),
            ("enabled", "true"),
            ("stage", "1"),
        ],
    );
    assert!(servers().iter().any(|server| server == "v2"));
}

#[test]
fn what_is_bound_at_the_start_is_refused_with_the_way_to_change_it() {
    let edge = Edge::start("routes: [{ backend: v1 }]\n");
    let path = edge.proxy.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replacen("127.0.0.1:0", "127.0.0.1:1", 1);
    replace_file(Path::new(&path), &changed);
    edge.proxy.reload();
    let told = edge.proxy.wait_for_log("configuration refused", SOON);
    let (line, column) = place(&changed, changed.find("[{ address").unwrap());
    assert!(
        told.contains(&format!("serin.yaml:{line}:{column}: listeners")),
        "{told}"
    );
    assert!(told.contains("restart Serin for this"), "{told}");
    assert_eq!(edge.proxy.get("/").text(), "v1");
    assert!(!edge.is_current());
    replace_file(Path::new(&path), &(text + "shutdown: { deadline: 1s }\n"));
    edge.proxy.reload();
    edge.proxy
        .wait_for_log("`shutdown` cannot change while Serin runs", SOON);
}
