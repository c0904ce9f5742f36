//! Looking on at a running proxy from a terminal: requests as they end, and all rollouts at one look.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::proxy::{SERIN, backends};
use support::{Behaviour, Request, SOON, TestBackend, TestProxy, wait_until};

struct Edge {
    proxy: TestProxy,
    backends: [TestBackend; 2],
}

impl Edge {
    fn start(more: &str) -> Self {
        let servers = [TestBackend::start("v1"), TestBackend::start("v2")];
        let backends = backends(&[("v1", &servers[0]), ("v2", &servers[1])]);
        let proxy = TestProxy::start(&format!(
            "trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
             groups: {{ beta: {{ callers: [ann] }} }}\n{backends}flags:\n\
             \x20 orders: {{ stable: v1, canary: v2, groups: {{ beta: 100% }}, shield: false }}\n\
             \x20 search: {{ stable: v1, canary: v2, rollout: {{ revision: \"2\", stages: [50%, 100%] }} }}\n\
             routes:\n  - {{ name: found, path: /search, flag: search }}\n  - {{ flag: orders }}\n{more}"
        ));
        Self {
            proxy,
            backends: servers,
        }
    }

    fn ask(&self, path: &str, caller: &str) {
        let request = Request::get(path).field("x-user-id", caller);
        request.send_to(self.proxy.address());
    }

    fn admin(&self) -> String {
        format!("http://{}", self.proxy.admin())
    }

    fn serin(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(SERIN);
        command.args(arguments).args(["--admin", &self.admin()]);
        command.stdin(Stdio::null());
        command
    }

    /// What `serin tail` shows while callers in both arms ask, until it has shown enough.
    fn tail(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = self.serin(&["tail"]);
        let command = command.args(arguments).stdout(Stdio::piped());
        let mut tail = command.spawn().unwrap();
        wait_until("enough is shown", 3 * SOON, || {
            self.ask("/orders/7?secret=hunter2", "ann");
            self.ask("/", "bob");
            self.ask("/search", "bob");
            tail.try_wait().unwrap().is_some()
        });
        let output = tail.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn requests_are_shown_as_they_end_and_only_those_wanted() {
    let edge = Edge::start("");
    edge.backends[1].behave(Behaviour::Status(503));
    let lines = edge.tail(&[
        "--variant",
        "canary",
        "--status",
        "5xx",
        "-n",
        "3",
        "--json",
    ]);
    assert_eq!(lines.len(), 3);
    let shown: Vec<Value> = lines.iter().map(|line| line.parse().unwrap()).collect();
    for request in &shown {
        assert_eq!(request["variant"], "canary");
        assert_eq!(
            (&request["status"], &request["fault"]),
            (&json!(503), &json!("backend"))
        );
        assert_eq!(
            (&request["flag"], &request["group"]),
            (&json!("orders"), &json!("beta"))
        );
        assert_eq!(request["path"], "/orders/7", "no query is shown");
    }
    for (arguments, expected) in [
        (["--variant", "stable"], ("variant", json!("stable"))),
        (["--flag", "search"], ("flag", json!("search"))),
        (["--group", "default"], ("group", json!("default"))),
        (["--route", "found"], ("route", json!("found"))),
        (["--backend", "v2"], ("backend", json!("v2"))),
        (["--path", "/orders/"], ("path", json!("/orders/7"))),
        (["--fault", "backend"], ("fault", json!("backend"))),
        (["--status", "200,201"], ("status", json!(200))),
        (["--slower-than", "0s"], ("method", json!("GET"))),
    ] {
        let lines = edge.tail(&[&arguments[..], &["-n", "2", "--json"]].concat());
        for line in lines {
            let request: Value = line.parse().unwrap();
            assert_eq!(request[expected.0], expected.1, "{arguments:?}");
        }
    }
}

#[test]
fn a_person_reads_one_line_of_each() {
    let edge = Edge::start("");
    edge.backends[1].behave(Behaviour::Status(503));
    let lines = edge.tail(&["--fault", "backend", "-n", "1"]);
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    let address = edge.backends[1].address();
    assert!(line.contains(" 503 GET "), "{line}");
    assert!(line.contains("/orders/7 "), "{line}");
    let way = format!(" orders=canary (beta) v2 {address} backend's fault: status id=");
    assert!(line.contains(&way), "{line}");
}

#[test]
fn what_nobody_can_be_is_refused() {
    let edge = Edge::start("");
    for (arguments, problem) in [
        (
            ["--variant", "canari"],
            "`canari` is not one of `stable`, `canary`",
        ),
        (
            ["--flag", "order"],
            "`order` is not one of `orders`, `search`",
        ),
        (
            ["--group", "gamma"],
            "`gamma` is not one of `beta`, `default`",
        ),
        (
            ["--status", "6xx"],
            "`6xx` is no status such as `404`, `5xx` or `500-503`",
        ),
        (
            ["--slower-than", "soon"],
            "`soon` is not a span of time such as `500ms`",
        ),
    ] {
        let output = edge.serin(&["tail"]).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(problem), "{said}");
    }
}

#[test]
fn the_access_log_has_its_own_lines_while_somebody_looks_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let edge = Edge::start(&format!(
        "access_log: {{ path: \"{}\", query: true }}\n",
        log.display()
    ));
    let shown = edge.tail(&["--path", "/orders", "-n", "1", "--json"]);
    let shown: Value = shown[0].parse().unwrap();
    // What the log is to tell is shown as well.
    assert_eq!(shown["path"], "/orders/7?secret=hunter2");
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    let id = shown["request_id"].as_str().unwrap().to_owned();
    wait_until("it is logged", SOON, || logged().contains(&id));
    assert_eq!(logged().matches(&id).count(), 1);
}

#[test]
fn all_rollouts_are_seen_at_one_look() {
    let edge = Edge::start("");
    let once = edge.serin(&["top"]).env("COLUMNS", "200").output().unwrap();
    let page = text(&once);
    assert!(once.status.success(), "{once:?}");
    for part in [
        &edge.admin(),
        "v1: - requests/s, 1 of 1 endpoints usable",
        "search",
        "stage 1 of 2",
    ] {
        assert!(page.contains(part), "no {part}: {page}");
    }
    assert!(!page.contains('\u{1b}'), "{page}");
    let looks = edge.serin(&["top", "--json", "-n", "2", "--every", "100ms"]);
    let looks = { looks }.output().unwrap();
    let looks = text(&looks);
    let looks: Vec<Value> = looks.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(looks.len(), 2);
    assert_eq!(looks[1]["rollouts"][0]["flag"], "search");
}

#[test]
fn a_terminal_is_drawn_over_and_over_and_has_no_colours_where_none_are_wanted() {
    let edge = Edge::start("");
    let command = format!("{SERIN} top -n 3 --every 100ms --admin {}", edge.admin());
    let drawn = |no_color: &str| {
        let mut script = Command::new("script");
        script
            .args(["-qec", &command, "/dev/null"])
            .stdin(Stdio::null());
        let script = script.env("TERM", "xterm").env("NO_COLOR", no_color);
        text(&script.output().unwrap())
    };
    let coloured = drawn("");
    assert_eq!(coloured.matches("\u{1b}[?2026h").count(), 3, "{coloured}");
    assert!(coloured.contains("\u{1b}[1m"), "{coloured}");
    assert!(coloured.contains("\u{1b}[?25h"), "the cursor comes back");
    let plain = drawn("1");
    assert_eq!(plain.matches("\u{1b}[?2026h").count(), 3, "{plain}");
    let is_of_colour = |part: &str| {
        part.split('m').next().is_some_and(|number| {
            !number.is_empty()
                && number
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b';')
        })
    };
    assert!(!plain.split("\u{1b}[").skip(1).any(is_of_colour), "{plain}");
}

#[test]
fn nobody_there_is_said_at_once() {
    for verb in ["top", "tail"] {
        let output = Command::new(SERIN)
            .args([verb, "--admin", "http://127.0.0.1:9"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
    }
}
