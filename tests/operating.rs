//! Operating a running proxy: the verbs, what is told of it, and the exit codes that scripts go by.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};
use support::proxy::{SERIN, backends};
use support::{Behaviour, Connection, Request, SOON, TestBackend, TestProxy, wait_for};

const FLAGS: &str = "flags:\n\
    \x20 orders: { stable: v1, canary: v2, rollout: { revision: a, stages: [5%, 50%, 100%] } }\n\
    \x20 search: { stable: v1, canary: v2, \
                  rollout: { revision: b, start: manual, stages: [10%] } }\n\
    routes: [{ flag: orders }, { path: /search, flag: search }]\n";

/// A proxy with two rollouts: one under way, one that waits to be started.
struct Edge {
    proxy: TestProxy,
    _backend: TestBackend,
}

impl Edge {
    fn start() -> Self {
        Self::with_admin("", &[])
    }

    fn with_admin(admin: &str, files: &[(&str, &str)]) -> Self {
        let backend = TestBackend::start("a");
        let config = backends(&[("v1", &backend), ("v2", &backend)]) + FLAGS;
        Self {
            proxy: TestProxy::with_admin(admin, &config, files),
            _backend: backend,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.proxy.admin())
    }

    /// Runs the program against this proxy, as user `ann`.
    fn run(&self, arguments: &[&str]) -> Told {
        told(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = serin(arguments);
        command.env("SERIN_ADMIN", self.url());
        command
    }

    /// Gives a command that has to work.
    #[track_caller]
    fn done(&self, line: &str) -> String {
        let arguments: Vec<_> = line.split(' ').collect();
        let told = self.run(&arguments);
        assert_eq!((told.code, &*told.stderr), (0, ""), "{line}");
        told.stdout
    }

    fn api(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = self.proxy.command(method, &format!("/api/v1{path}"), body);
        (answer.status, answer.json())
    }
}

/// What a command came to.
#[derive(Debug)]
struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Told {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn serin(arguments: &[&str]) -> Command {
    let mut command = Command::new(SERIN);
    command.args(arguments).env("USER", "ann");
    for name in ["SERIN_ADMIN", "SERIN_TOKEN", "SERIN_TOKEN_FILE"] {
        command.env_remove(name);
    }
    command
}

fn told(command: &mut Command) -> Told {
    command.output().unwrap().into()
}

/// Starts a command that goes on for a while.
fn spawn(mut command: Command) -> Child {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// What a command prints, as it comes.
fn lines_of(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

#[test]
fn one_look_tells_where_everything_is() {
    let edge = Edge::start();
    let lines = edge.done("status");
    assert!(!lines.contains('\u{1b}'), "no colours for programs");
    let lines: Vec<_> = lines.lines().collect();
    let first = format!(
        "serin {} at {}, up for",
        env!("CARGO_PKG_VERSION"),
        edge.url()
    );
    assert!(lines[0].starts_with(&first), "{lines:#?}");
    assert_eq!(
        lines[2],
        "FLAG    REVISION  PHASE        STAGE  CANARY  WHY"
    );
    let orders = "orders  a         progressing  1/3    5%      ";
    assert!(lines[3].starts_with(orders), "{lines:#?}");
    let waits = " of 5 min, 0 of 1000 requests; waiting for data: about 1000 more requests \
                 (no telling how long)";
    assert!(lines[3].ends_with(waits), "{}", lines[3]);
    let search = "search  b         waiting      1/1    0%      to be started by an operator";
    assert_eq!(lines[4], search);
    let endpoints = "endpoints: 2, whose health nobody checks (`health`, `outlier`)";
    assert_eq!(lines[5..], ["", endpoints]);

    let overview = edge.run(&["status", "--json"]).json();
    assert_eq!(overview["version"], env!("CARGO_PKG_VERSION"));
    assert!(overview["uptime_seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(overview["freeze"], Value::Null);
    assert_eq!(overview["store"]["problem"], Value::Null);
    assert_eq!(overview["reload"]["is_current"], true);
    assert_eq!(overview["rollouts"][1]["flag"], "search");

    let table = edge.done("rollout list");
    assert_eq!(table.lines().count(), 3);
    let list = edge.run(&["rollout", "list", "--json"]).json();
    assert_eq!(list["rollouts"].as_array().unwrap().len(), 2);

    let about = edge.done("rollout status orders");
    for line in [
        "flag      orders",
        "revision  a, from v1 to v2",
        "phase     progressing",
        "canary    5%",
        "judge     would hold",
        "  >1  5%    everyone  for at least 5 min and 1000 requests",
        "   3  100%  everyone  for at least 5 min and 1000 requests",
        "  canary  0         0 (0.00 %)  0.0         -       -",
    ] {
        assert!(about.lines().any(|other| other == line), "{line}\n{about}");
    }
    let json = edge.run(&["rollout", "status", "orders", "--json"]).json();
    assert_eq!(
        (&json["flag"], &json["stage"]),
        (&json!("orders"), &json!(1))
    );
}

/// Commands with reasons, and how what they print begins.
const JOURNEY: [(&str, &str); 8] = [
    (
        "start search -m go",
        "search: progressing, stage 1 of 1, canary 10%: ",
    ),
    (
        "promote orders -m faster",
        "orders: progressing, stage 2 of 3, canary 50%: ",
    ),
    (
        "pause orders -m lunch",
        "orders: paused, stage 2 of 3, canary 50%: lunch\n",
    ),
    (
        "resume orders -m back",
        "orders: progressing, stage 2 of 3, canary 50%: ",
    ),
    (
        "promote orders --full -m all",
        "orders: watching, stage 3 of 3, canary 100% less 1% for comparison: ",
    ),
    (
        "rollback orders -m broken",
        "orders: rolled_back, stage 3 of 3, canary 0%: broken\n",
    ),
    (
        "retry orders -m fixed",
        "orders: progressing, stage 1 of 3, canary 5%: ",
    ),
    (
        "abort orders -m never",
        "orders: aborted, stage 1 of 3, canary 0%: never\n",
    ),
];

#[test]
fn each_verb_does_what_it_says_and_the_journal_knows_who_and_why() {
    let edge = Edge::start();
    for (line, told) in JOURNEY {
        let said = edge.done(&format!("rollout {line}"));
        assert!(said.starts_with(told), "{line}: {said}");
    }
    let lines = edge.run(&["journal", "orders", "--json"]);
    let events: Vec<Value> = lines
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let by_ann: Vec<_> = events
        .iter()
        .filter(|event| event["who"] == "ann (unverified)")
        .map(|event| event["why"].as_str().unwrap())
        .collect();
    assert_eq!(
        by_ann,
        ["faster", "lunch", "back", "all", "broken", "fixed", "never"]
    );
    let sequences = events
        .iter()
        .map(|event| event["sequence"].as_u64().unwrap());
    assert!(sequences.is_sorted());
    assert!(events.iter().all(|event| event["flag"] == "orders"));

    let last = edge.done("journal -n 1");
    assert!(
        last.ends_with("orders  ann (unverified): aborted in stage 1: never\n"),
        "{last}"
    );
    assert_eq!(
        edge.done("journal --since 1h -n 100"),
        edge.done("journal -n 100")
    );
    assert_eq!(edge.done("journal nothing"), "");
}

/// A phase, how it is reached, and what is refused in it with which words.
type Refusals = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const REFUSED: [Refusals; 6] = [
    (
        "waiting",
        &[],
        &[
            ("pause", "has not begun"),
            ("resume", "has not begun"),
            ("promote", "has not begun"),
            ("retry", "nothing to try again"),
        ],
    ),
    (
        "progressing",
        &["start"],
        &[
            ("start", "has begun already"),
            ("resume", "not paused"),
            ("retry", "nothing to try again"),
        ],
    ),
    (
        "paused",
        &["start", "pause"],
        &[
            ("start", "has begun already"),
            ("pause", "paused already"),
            ("retry", "nothing to try again"),
        ],
    ),
    (
        "succeeded",
        &["start", "promote", "promote"],
        &[
            ("start", "has succeeded"),
            ("pause", "has succeeded"),
            ("promote", "has succeeded"),
        ],
    ),
    (
        "rolled_back",
        &["start", "rollback"],
        &[
            ("start", "`retry`"),
            ("pause", "`retry`"),
            ("resume", "`retry`"),
            ("promote", "`retry`"),
        ],
    ),
    (
        "aborted",
        &["abort"],
        &[
            ("start", "`retry`"),
            ("promote", "`retry`"),
            ("pause", "`retry`"),
        ],
    ),
];

#[test]
fn a_plan_is_told_as_a_table_and_as_json_and_its_numbers_are_explained() {
    let edge = Edge::start();
    for _ in 0..20 {
        assert_eq!(edge.proxy.get("/").status, 200);
    }
    let plan = || edge.run(&["rollout", "plan", "orders", "--json"]).json();
    wait_for("requests to be counted", SOON, || {
        plan()["requests_per_second"]
            .as_f64()
            .filter(|rate| *rate > 0.0)
    });
    let json = plan();
    let stages = json["stages"].as_array().unwrap();
    assert_eq!((stages.len(), &json["stage"]), (3, &json!(1)));
    for stage in stages {
        // What is never over shows nothing.
        if stage["seconds"].is_null() {
            assert!(stage["failures_found"].is_null() && stage["slowdown_found"].is_null());
        }
        assert!(stage["waits_for"].is_string(), "{stage}");
    }
    let table = edge.done("rollout plan orders");
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("orders: "), "{table}");
    for column in ["CANARY", "TAKES ABOUT", "WAITS FOR", "SEES FAILURES FROM"] {
        assert!(lines[1].contains(column), "{table}");
    }
    assert!(lines[2].trim_start().starts_with(">1"), "{table}");
    assert_eq!(lines.len(), 6, "{table}");
    let unknown = edge.run(&["rollout", "plan", "nothing"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(
        unknown.stderr.contains("`nothing` has no rollout"),
        "{unknown:?}"
    );
    let help = edge.done("rollout plan --help");
    assert!(
        help.contains("callers with habits") && help.contains("chance"),
        "{help}"
    );
}

#[test]
fn a_verb_that_makes_no_sense_is_refused_in_words_and_changes_nothing() {
    for (phase, way, refused) in REFUSED {
        let edge = Edge::start();
        for verb in way {
            edge.done(&format!("rollout {verb} search"));
        }
        let before = edge.proxy.rollout("search");
        assert_eq!(before["phase"], phase);
        for (verb, words) in refused {
            let path = format!("/rollouts/search/{verb}");
            let (status, problem) = edge.api("POST", &path, "");
            assert_eq!(status, 409, "{verb} while {phase}: {problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{verb} while {phase}: {detail}");
            let told = edge.run(&["rollout", verb, "search"]);
            assert_eq!((told.code, &*told.stdout), (1, ""), "{told:?}");
            assert_eq!(told.stderr, format!("serin: {detail}\n"));
        }
        let after = edge.proxy.rollout("search");
        assert_eq!(after["phase"], before["phase"]);
        assert_eq!(after["journal"], before["journal"]);
    }
}

#[test]
fn a_wait_ends_when_the_rollout_is_where_it_is_wanted() {
    let edge = Edge::start();
    let wait = spawn(edge.command(&["rollout", "wait", "orders", "--json"]));
    let watching = spawn(edge.command(&["rollout", "wait", "orders", "--for", "watching"]));
    edge.done("rollout promote orders --full");
    let watched: Told = watching.wait_with_output().unwrap().into();
    assert_eq!(watched.code, 0, "{watched:?}");
    assert!(watched.stdout.contains("orders: watching, stage 3 of 3"));
    edge.done("rollout promote orders");
    let waited: Told = wait.wait_with_output().unwrap().into();
    assert_eq!((waited.code, &*waited.stderr), (0, ""), "{waited:?}");
    let last: Value = serde_json::from_str(waited.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["phase"], "succeeded");
}

#[test]
fn a_wait_in_vain_says_by_its_code_why() {
    let edge = Edge::start();
    let wait = |arguments: &[&str]| {
        let told = edge.run(&[&["rollout", "wait"], arguments].concat());
        (told.code, told.stderr)
    };
    let late = (4, "serin: not succeeded in time\n".to_owned());
    assert_eq!(wait(&["orders", "--timeout", "100ms"]), late);
    edge.done("rollout pause orders");
    assert_eq!(wait(&["orders"]).0, 5);
    let through = ["orders", "--through-pauses", "--timeout", "100ms"];
    assert_eq!(wait(&through), late);
    edge.done("rollout rollback orders");
    assert_eq!(wait(&["orders"]).0, 1);
    assert_eq!(wait(&["orders", "--for", "rolled_back"]).0, 0);
    assert_eq!(wait(&["nothing"]).0, 2);
}

#[test]
fn a_wait_that_loses_its_proxy_gives_it_time_to_come_back() {
    let edge = Edge::start();
    let arguments = ["rollout", "wait", "orders", "--timeout", "2s"];
    let mut wait = spawn(edge.command(&arguments));
    let first = lines_of(&mut wait).next().unwrap().unwrap();
    assert!(first.contains("orders: progressing"), "{first}");
    drop(edge);
    let told: Told = wait.wait_with_output().unwrap().into();
    assert_eq!(told.code, 4, "{told:?}");
}

#[test]
fn frozen_promotions_are_told_to_everyone_who_looks_until_the_freeze_is_lifted() {
    let edge = Edge::start();
    let frozen = "promotions are frozen by ann (unverified) since ";
    let told = edge.done("freeze -m audit");
    assert!(told.starts_with(frozen), "{told}");
    assert!(told.ends_with(": audit; rollbacks are not\n"), "{told}");
    let status = edge.done("status");
    assert!(
        status.lines().nth(1).unwrap().starts_with(frozen),
        "{status}"
    );
    let refused = edge.run(&["rollout", "promote", "orders"]);
    assert_eq!(refused.code, 1);
    let expected = "serin: promotions are frozen by ann (unverified): audit\n";
    assert_eq!(refused.stderr, expected);
    edge.done("rollout rollback orders");
    let freeze = edge.run(&["freeze", "--json", "-m", "more"]).json();
    assert_eq!(freeze["freeze"]["who"], "ann (unverified)");
    assert_eq!(edge.done("freeze --lift"), "promotions go on\n");
    assert!(!edge.done("status").contains("frozen"));
    let (status, answer) = edge.api("DELETE", "/freeze", "");
    let nobody = json!({ "freeze": null, "is_written": true });
    assert_eq!((status, answer), (200, nobody));
    edge.done("rollout retry orders");
    edge.done("rollout promote orders");
}

#[test]
fn a_reload_takes_the_file_or_says_all_that_is_wrong_with_it() {
    let edge = Edge::start();
    let path = edge.proxy.config_path();
    let sound = std::fs::read_to_string(&path).unwrap();
    assert!(
        edge.done("reload")
            .starts_with("the configuration is taken\n")
    );
    std::fs::write(
        &path,
        sound.replace("stages: [10%]", "stages: [10, 20%], x: 1"),
    )
    .unwrap();
    let refused = edge.run(&["reload"]);
    assert_eq!((refused.code, &*refused.stdout), (2, ""));
    let lines: Vec<_> = refused.stderr.lines().collect();
    let first = "serin: the configuration is refused, and the one before it goes on";
    assert_eq!(lines[0], first);
    let place = format!("{}:", path.display());
    assert!(lines.len() == 3 && lines[1..].iter().all(|line| line.starts_with(&place)));
    let status = edge.done("status");
    let about = "the configuration in the file is not the one that runs; it was refused ";
    assert!(
        status.contains(about) && status.contains(lines[1]),
        "{status}"
    );
    let (status, problem) = edge.api("POST", "/reload", "");
    assert_eq!((status, &problem["problems"][0]), (422, &json!(lines[1])));
    std::fs::write(&path, &sound).unwrap();
    let taken = edge.run(&["reload", "--json"]).json();
    assert_eq!(
        (&taken["is_current"], &taken["by"]),
        (&json!(true), &json!("ann (unverified)"))
    );
    assert!(!edge.done("status").contains(about));
}

const CI: &str = "3f6a0c5b8d1e49f7a2c4";
const WALL: &str = "77b1e02c9da84f63b5d0";
const NEXT: &str = "0d9c4f1e62ab47d58c3b";

#[test]
fn tokens_come_from_a_file_or_the_environment_and_can_be_replaced_while_it_runs() {
    let admin = format!(
        "tokens: [{{ name: ci, role: operator, token_file: ci.token }}, \
         {{ name: wall, role: viewer, token: \"{WALL}\" }}]"
    );
    let edge = Edge::with_admin(&admin, &[("ci.token", CI), ("none.token", "\n")]);
    let folder = edge.proxy.config_path();
    let file = |name: &str| folder.with_file_name(name).to_str().unwrap().to_owned();
    let with_token =
        |token: &str, arguments: &[&str]| told(edge.command(arguments).env("SERIN_TOKEN", token));
    let missing = edge.run(&["status"]);
    assert_eq!(missing.code, 2);
    let hint = "serin: a token is needed: `Authorization: Bearer …`; \
                give one by `--token-file FILE`, SERIN_TOKEN_FILE or SERIN_TOKEN\n";
    assert_eq!(missing.stderr, hint);
    let wrong = with_token("3f6a0c5b8d1e49f7a2c5", &["status"]);
    assert_eq!(wrong.code, 2);
    assert!(!wrong.stderr.contains("3f6a"), "{wrong:?}");
    assert_eq!(with_token(WALL, &["status"]).code, 0);
    let refused = with_token(WALL, &["rollout", "rollback", "orders"]);
    assert_eq!(refused.code, 1);
    let expected = "serin: token `wall` has role `viewer`, and this needs `operator`\n";
    assert_eq!(refused.stderr, expected);

    let ci = file("ci.token");
    let paused = edge.run(&["rollout", "pause", "orders", "--token-file", &ci, "--json"]);
    assert_eq!(paused.json()["journal"][0]["who"], "ci");
    // The file that is named goes before the environment.
    let resume = ["rollout", "resume", "orders", "--token-file", &ci];
    assert_eq!(with_token(WALL, &resume).code, 0);
    for name in ["none.token", "no.token"] {
        let told = edge.run(&["status", "--token-file", &file(name)]);
        assert_eq!(told.code, 2, "{told:?}");
        assert!(told.stderr.contains(name));
    }

    std::fs::write(&ci, NEXT).unwrap();
    assert_eq!(with_token(CI, &["reload"]).code, 0);
    assert_eq!(with_token(CI, &["status"]).code, 2);
    assert_eq!(with_token(NEXT, &["status"]).code, 0);
}

#[test]
fn nobody_somebody_else_and_somebody_slow_are_told_apart() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let status = |arguments: &[&str]| told(&mut serin(&[&["status"], arguments].concat()));
    let slow = status(&["--admin", &address, "--timeout", "100ms"]);
    assert_eq!(slow.code, 4, "{slow:?}");
    assert_eq!(
        slow.stderr,
        format!("serin: no answer from {address} within 100ms\n")
    );
    drop(silent);
    let nobody = status(&["--admin", &address]);
    assert_eq!((nobody.code, &*nobody.stdout), (3, ""));
    let expected = format!(
        "serin: cannot reach the admin API at {address}: Connection refused (os error 111); \
         is `serin serve` running there? `--admin URL` or SERIN_ADMIN name another address\n"
    );
    assert_eq!(nobody.stderr, expected);
    let backend = TestBackend::start("a");
    let other = status(&["--admin", &backend.url()]);
    assert_eq!(other.code, 3);
    assert!(
        other.stderr.contains("is not Serin's admin API"),
        "{other:?}"
    );
    // Somebody who is not let in has seen nothing, which is no word on the rollout.
    let body = r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"not you"}"#;
    let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/problem+json\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    backend.behave(Behaviour::Raw(answer.into_bytes()));
    let wait = ["rollout", "wait", "orders", "--admin", &backend.url()];
    let refused = told(&mut serin(&wait));
    assert_eq!((refused.code, &*refused.stderr), (2, "serin: not you\n"));
    for address in ["127.0.0.1:9901", "https://127.0.0.1:9901", "http://a/b"] {
        let told = status(&["--admin", address]);
        assert_eq!(told.code, 2, "{told:?}");
        assert!(told.stderr.contains(address));
    }
}

#[test]
fn the_journal_is_read_page_by_page_and_followed() {
    let edge = Edge::start();
    for _ in 0..3 {
        edge.done("rollout pause orders");
        edge.done("rollout resume orders");
    }
    let (_, all) = edge.api("GET", "/journal", "");
    let all = all["lines"].as_array().unwrap().clone();
    assert_eq!(all.len(), 8);
    let (mut read, mut before) = (Vec::new(), String::new());
    loop {
        let (status, page) = edge.api("GET", &format!("/journal?limit=3{before}"), "");
        assert_eq!(status, 200, "{page}");
        read.extend(page["lines"].as_array().unwrap().clone());
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(read, all);
    let (_, recent) = edge.api("GET", "/journal?flag=search&since=1h", "");
    assert_eq!(recent["lines"].as_array().unwrap().len(), 1);
    let (_, future) = edge.api("GET", "/journal?since=9999-01-01T00:00:00Z", "");
    assert_eq!(future, json!({ "lines": [], "next": null }));

    let mut follow = spawn(edge.command(&["journal", "-n", "1", "--follow", "--json"]));
    let mut lines = lines_of(&mut follow);
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next(), all[0]);
    edge.done("rollout pause orders -m lunch");
    edge.done("rollout resume orders -m back");
    assert_eq!(next()["why"], "lunch");
    assert_eq!(next()["why"], "back");
    let _ = follow.kill();
    let _ = follow.wait();
}

/// Requests that make no sense, and what is said of each.
const UNFIT: [(&str, &str, &str, u16, &str); 24] = [
    ("GET", "/journal?limit=0", "", 400, "from 1 to 1000"),
    ("GET", "/journal?limit=1001", "", 400, "from 1 to 1000"),
    (
        "GET",
        "/journal?limt=1",
        "",
        400,
        "expected one of `flag`, `group`, `app`, `limit`",
    ),
    ("GET", "/journal?limit=1&limit=2", "", 400, "written twice"),
    ("GET", "/journal?before=x", "", 400, "a whole number"),
    (
        "GET",
        "/journal?since=soon",
        "",
        400,
        "2026-01-31T08:00:00Z",
    ),
    ("GET", "/journal?flag=a%20b", "", 400, "is not a name"),
    (
        "GET",
        "/rollouts/orders/history?from=x",
        "",
        400,
        "2026-01-31T08:00:00Z",
    ),
    (
        "GET",
        "/rollouts/nothing/history",
        "",
        404,
        "`nothing` has no rollout",
    ),
    (
        "GET",
        "/rollouts/nothing",
        "",
        404,
        "`nothing` has no rollout",
    ),
    (
        "POST",
        "/rollouts/nothing/pause",
        "",
        404,
        "`nothing` has no rollout",
    ),
    (
        "POST",
        "/rollouts/orders/stop",
        "",
        404,
        "start, pause, resume, promote",
    ),
    (
        "POST",
        "/rollouts/orders/pause",
        r#"{"full": true}"#,
        400,
        "`promote` only",
    ),
    (
        "POST",
        "/rollouts/orders/pause",
        r#"{"why": "x"}"#,
        400,
        "reason",
    ),
    ("POST", "/freeze", r#"{"reason": "a\nb"}"#, 400, "one line"),
    ("POST", "/freeze", "[]", 400, "reason"),
    ("POST", "/freeze", r#"{"reason": 5}"#, 400, "`reason`: "),
    (
        "PATCH",
        "/flags/orders",
        r#"{"enabled": "yes"}"#,
        400,
        "`enabled`: ",
    ),
    (
        "PATCH",
        "/flags/orders",
        r#"{"default": "5"}"#,
        400,
        "`default`: `5`",
    ),
    (
        "PATCH",
        "/flags/orders",
        r#"{"groups": {"beta": 5}}"#,
        400,
        "`groups.beta`: ",
    ),
    (
        "PATCH",
        "/flags/orders",
        "{",
        400,
        "the body is no JSON object",
    ),
    ("GET", "/freeze", "", 405, "no such method"),
    ("PUT", "/status", "", 405, "no such method"),
    ("GET", "/reload", "", 405, "no such method"),
];

#[test]
fn the_api_says_what_would_be_right() {
    let edge = Edge::start();
    for (method, path, body, status, words) in UNFIT {
        let path = format!("/api/v1{path}");
        let problem = edge.proxy.command(method, &path, body).problem(status);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{method} {path}: {detail}");
    }
    assert_eq!(edge.proxy.rollout("orders")["phase"], "progressing");
    let (status, history) = edge.api("GET", "/rollouts/orders/history?from=1h&to=0s", "");
    assert_eq!((status, &history["flag"]), (200, &json!("orders")));
    assert!(history["points"].is_array());
}

#[test]
fn what_was_seen_can_be_read_later() {
    let edge = Edge::start();
    for _ in 0..20 {
        assert_eq!(edge.proxy.get("/").status, 200);
    }
    let requests = |point: &Value| {
        let arm = |name: &str| point["arms"][name]["requests"].as_u64().unwrap();
        arm("stable") + arm("canary")
    };
    let points = wait_for("all requests are in the history", SOON, || {
        let (status, history) = edge.api("GET", "/rollouts/orders/history?from=1h", "");
        assert_eq!(status, 200, "{history}");
        let points = history["points"].as_array().unwrap().clone();
        (points.iter().map(requests).sum::<u64>() == 20).then_some(points)
    });
    let last = points.last().unwrap();
    assert_eq!(
        (&last["phase"], &last["stage"]),
        (&json!("progressing"), &json!(1))
    );
    let (_, past) = edge.api("GET", "/rollouts/orders/history?to=1h", "");
    assert_eq!(past["points"], json!([]));
}

#[test]
fn a_client_that_says_nothing_more_keeps_nobody_else_waiting() {
    let edge = Edge::start();
    let mut slow = Connection::open(edge.proxy.admin());
    let host = edge.proxy.admin().to_string();
    let request = Request::new("POST", "/api/v1/freeze").host(&host);
    let request = request.field("content-length", "10");
    slow.send(request.head().as_bytes());
    edge.done("status");
    slow.answer().problem(408);
    assert!(slow.is_closed());
}

#[test]
fn its_memory_is_in_small_pages_that_nobody_waits_for() {
    let edge = Edge::start();
    let status = format!("/proc/{}/status", edge.proxy.process());
    let status = std::fs::read_to_string(status).unwrap();
    let huge = status.lines().find(|line| line.starts_with("THP_enabled"));
    assert_eq!(huge, Some("THP_enabled:\t0"));
}
