//! The access log of the real program: what a line tells, and that nothing waits for it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::Duration;

use serde_json::{Value, json};
use serin::runtime::clock;
use support::disk::SmallDisk;
use support::proxy::{SERIN, backends, replace_file};
use support::{Behaviour, Connection, Load, Request, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

const WRITTEN: &str = "serin_access_log_written_total";
const DROPPED: &str = "serin_access_log_dropped_total";

/// How soon something is told that is told every ten seconds at the most.
const WARNING_MAX: Duration = Duration::from_secs(20);

/// A proxy before two backends, and the folder its log is in.
struct Edge {
    proxy: TestProxy,
    stable: TestBackend,
    canary: TestBackend,
    folder: TempDir,
}

impl Edge {
    /// Starts with a log such as `{ path: log }`.
    fn start(access_log: &str) -> Self {
        Self::in_folder(TempDir::new().unwrap(), access_log, Command::new(SERIN))
    }

    fn in_folder(folder: TempDir, access_log: &str, program: Command) -> Self {
        let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
        let text = config([&stable, &canary], access_log);
        fs::write(folder.path().join("serin.yaml"), text).unwrap();
        Self {
            proxy: TestProxy::in_folder(folder.path(), program),
            stable,
            canary,
            folder,
        }
    }

    /// Has the log changed.
    fn reload(&self, access_log: &str) {
        let text = config([&self.stable, &self.canary], access_log);
        self.proxy.write_config(&text);
        self.proxy.reload();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for so many lines in a file, and fails as soon as there are more.
    #[track_caller]
    fn lines(&self, name: &str, count: usize) -> Vec<Value> {
        let path = self.path(name);
        wait_until(&format!("{count} lines in {name}"), SOON, || {
            let lines = lines_of(&path).len();
            assert!(lines <= count, "{lines} lines in {name}, not {count}");
            lines == count
        });
        lines_of(&path)
    }

    /// The one line in `log`.
    #[track_caller]
    fn line(&self) -> Value {
        self.lines("log", 1).remove(0)
    }
}

/// `/orders` is split by a flag, of which group `beta` has canary; `/plain` is stable's.
fn config([stable, canary]: [&TestBackend; 2], access_log: &str) -> String {
    let log = match access_log {
        "" => String::new(),
        log => format!("access_log: {log}\n"),
    };
    format!(
        "workers: 1\nlisteners: [{{ address: \"127.0.0.1:0\" }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n{log}\
         trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
         groups: {{ beta: {{ callers: [ann] }} }}\n{}\
         flags: {{ orders: {{ stable: v1, canary: v2, groups: {{ beta: 100% }} }} }}\n\
         routes: [{{ path: /orders, flag: orders }}, {{ name: plain, path: /plain, backend: v1 }}]\n",
        backends(&[("v1", stable), ("v2", canary)])
    )
}

/// All whole lines of a file; every one must be an object.
fn lines_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(object).collect()
}

#[track_caller]
fn object(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(value.is_object(), "{line}");
    value
}

#[track_caller]
fn assert_fields(line: &Value, expected: Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&line[key], value, "{key} in {line:#}");
    }
}

#[test]
fn a_line_tells_what_is_known_of_a_request_and_nothing_of_its_caller() {
    let edge = Edge::start("{ path: log }");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::new("POST", "/orders/7?token=s3cret")
        .field("x-user-id", "ann")
        .field("x-forwarded-for", "203.0.113.9, 10.0.0.1")
        .field("x-request-id", "from-the-edge-7")
        .field("traceparent", trace)
        .field("user-agent", "nosy/1.0")
        .body("hello");
    let before = clock::wall();
    assert_eq!(edge.proxy.ask(&request).text(), "canary");
    let line = edge.line();
    assert_fields(
        &line,
        json!({
            "request_id": "from-the-edge-7", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "client": "203.0.113.9", "method": "POST", "scheme": "http", "host": "shop.test",
            "path": "/orders/7", "protocol": "HTTP/1.1", "status": 200,
            "bytes_in": 5, "bytes_out": 6, "route": "/orders", "flag": "orders", "group": "beta",
            "variant": "canary", "reason": "group", "backend": "v2",
            "upstream": edge.canary.address().to_string(), "rescued": false, "retries": 0,
            "fault": null, "failure": null,
        }),
    );
    let [head, all] = ["head_ms", "duration_ms"].map(|key| line[key].as_f64().unwrap());
    assert!(0.0 < head && head <= all && all < 10_000.0, "{line:#}");
    let time = humantime::parse_rfc3339(line["time"].as_str().unwrap()).unwrap();
    let time = time.duration_since(std::time::UNIX_EPOCH).unwrap();
    let milliseconds = Duration::from_millis(1);
    assert!(before - milliseconds <= time && time <= clock::wall());
    assert_eq!(line.as_object().unwrap().len(), 25);
    let text = fs::read_to_string(edge.path("log")).unwrap();
    for hidden in ["ann", "s3cret", "nosy"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    assert_eq!(fs::metadata(edge.path("log")).unwrap().mode() & 0o027, 0);
    edge.proxy.wait_for_count(WRITTEN, &[], 1);
}

#[test]
fn what_serin_answers_itself_has_a_line() {
    let mut edge = Edge::start("{ path: log, query: true }");
    let problem = edge.proxy.get("/none?a=1");
    problem.problem(404);
    edge.proxy.ask(&Request::new("HEAD", "/none"));
    edge.proxy
        .ask(&Request::get("/orders").host("a b"))
        .problem(400);
    edge.stable.die();
    edge.proxy.get("/plain").problem(502);
    let lines = edge.lines("log", 4);
    assert_fields(
        &lines[0],
        json!({
            "path": "/none?a=1", "status": 404, "bytes_out": problem.body.len(), "route": null,
            "request_id": null, "client": "127.0.0.1", "backend": null, "upstream": null,
            "head_ms": null, "fault": "client", "failure": null,
        }),
    );
    assert_fields(&lines[1], json!({ "method": "HEAD", "bytes_out": 0 }));
    assert_fields(
        &lines[2],
        json!({ "host": "a b", "status": 400, "fault": "client" }),
    );
    assert_fields(
        &lines[3],
        json!({
            "status": 502, "route": "plain", "flag": null, "variant": null, "backend": "v1",
            "upstream": edge.stable.address().to_string(), "fault": "backend",
            "failure": "connect", "head_ms": null,
        }),
    );
    assert!(lines[3]["request_id"].is_string());
}

#[test]
fn a_password_in_a_target_or_host_is_not_told() {
    let edge = Edge::start("{ path: log, query: true }");
    for (line, host) in [
        ("GET http://user:secret@h/plain", "h"),
        ("GET http://user:secret@h:81/plain", "h"),
        ("GET /plain", "user:secret@h"),
        ("GET /plain", "user:secret@secret@h"),
        ("CONNECT user:secret@h:443", "h"),
    ] {
        let mut connection = edge.proxy.connect();
        connection.send(format!("{line} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
        assert!(matches!(connection.answer().status, 400 | 501), "{line}");
    }
    let mut hosts = Vec::new();
    for line in edge.lines("log", 5) {
        assert!(!line.to_string().contains("secret"), "{line:#}");
        hosts.push(line["host"].as_str().unwrap().to_owned());
    }
    hosts.sort_unstable();
    assert_eq!(hosts, ["h", "h", "h", "h:443", "h:81"]);
}

#[test]
fn a_canary_that_stable_stood_in_for_is_told_as_what_failed() {
    let mut edge = Edge::start("{ path: log }");
    edge.canary.die();
    let request = Request::get("/orders").field("x-user-id", "ann");
    assert_eq!(edge.proxy.ask(&request).text(), "stable");
    assert_fields(
        &edge.line(),
        json!({
            "status": 200, "variant": "canary", "rescued": true, "backend": "v1",
            "upstream": edge.stable.address().to_string(), "fault": "backend",
            "failure": "connect",
        }),
    );
}

#[test]
fn who_left_and_what_broke_off_is_told() {
    let edge = Edge::start("{ path: log }");
    edge.stable.behave(Behaviour::Stall);
    let mut connection = edge.proxy.connect();
    connection.send(Request::get("/orders/left").head().as_bytes());
    wait_until("it is asked", SOON, || edge.stable.requests() == 1);
    drop(connection);
    let left = edge.line();
    assert_fields(
        &left,
        json!({
            "status": 499, "path": "/orders/left", "group": "default", "reason": "default",
            "variant": "stable", "upstream": edge.stable.address().to_string(),
            "fault": "client", "failure": "aborted", "head_ms": null,
        }),
    );
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_vec();
    edge.stable.behave(Behaviour::RawThenClose(half));
    assert!(!edge.proxy.get("/orders").is_whole);
    assert_fields(
        &edge.lines("log", 2)[1],
        json!({ "status": 200, "bytes_out": 5, "fault": "backend", "failure": "cut_body" }),
    );
    edge.stable.behave(Behaviour::Status(503));
    edge.proxy.get("/orders");
    assert_fields(
        &edge.lines("log", 3)[2],
        json!({ "status": 503, "fault": "backend", "failure": "status" }),
    );
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_vec();
    edge.stable.behave(Behaviour::RawThenRead(half));
    let mut connection = edge.proxy.connect();
    connection.send(Request::get("/orders").head().as_bytes());
    assert_eq!(connection.answer_head().status, 200);
    drop(connection);
    assert_fields(
        &edge.lines("log", 4)[3],
        json!({ "status": 200, "fault": "client", "failure": "aborted" }),
    );
}

#[test]
fn bytes_of_any_kind_in_a_target_leave_a_line_a_line() {
    let edge = Edge::start("{ path: log, query: true }");
    let long = "x".repeat(5_000);
    let targets = [
        "/a\"b\\c?d=\"\\",
        "/{\"status\":200}",
        &format!("/{long}"),
        "*",
    ];
    for target in targets {
        edge.proxy.ask(&Request::new("OPTIONS", target));
    }
    edge.proxy.ask(&Request::get("/last"));
    wait_until("the last", SOON, || {
        let lines = lines_of(&edge.path("log"));
        lines.last().is_some_and(|line| line["path"] == "/last")
    });
    let lines = edge.lines("log", targets.len() + 1);
    let cut = format!("/{}…", &long[1..2_048]);
    assert!(lines.iter().any(|line| line["path"] == *cut));
}

#[test]
fn a_share_of_requests_is_logged() {
    let edge = Edge::start("{ path: log, sample: 0% }");
    let mut connection = edge.proxy.connect();
    let mut ask = |count: usize| {
        for _ in 0..count {
            assert_eq!(connection.ask(&Request::get("/orders")).status, 200);
        }
    };
    ask(50);
    edge.reload("{ path: log, sample: 50% }");
    // A worker looks once a second.
    wait_until("some are logged", SOON, || {
        ask(1);
        !lines_of(&edge.path("log")).is_empty()
    });
    let path = edge.path("log");
    let before = lines_of(&path).len();
    ask(400);
    assert_eq!(edge.proxy.stop().code(), Some(0));
    // Farther off than once in a million million times.
    let share = lines_of(&path).len() - before;
    assert!((130..=270).contains(&share), "{share} of 400");
}

/// How many threads of a process write a log.
fn writers(proxy: &TestProxy) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", proxy.process())).unwrap();
    let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
    let is_writer = |name: &String| name.trim() == "access-log";
    names.filter_map(Result::ok).filter(is_writer).count()
}

#[test]
fn a_reload_brings_a_log_moves_it_and_takes_it_away_and_no_line_is_lost() {
    let edge = Edge::start("");
    assert_eq!(writers(&edge.proxy), 0);
    let mut asked = 0;
    let mut ask = || {
        asked += 1;
        edge.proxy.get(&format!("/orders/{asked}"));
        asked
    };
    ask();
    for name in ["one", "two"] {
        edge.reload(&format!("{{ path: {name} }}"));
        wait_until(&format!("{name} is written"), SOON, || {
            ask();
            !lines_of(&edge.path(name)).is_empty()
        });
    }
    edge.reload("{ path: none/three }");
    let told = edge
        .proxy
        .wait_for_log("access_log.path: cannot be written", SOON);
    assert!(told.contains("configuration refused"), "{told}");
    let last = ask();
    let path = |line: &Value| line["path"].as_str().unwrap().to_owned();
    let logged = || {
        let files = ["one", "two"].map(|name| lines_of(&edge.path(name)));
        files.concat().iter().map(path).collect::<Vec<_>>()
    };
    wait_until("the last is logged", SOON, || {
        logged().last() == Some(&format!("/orders/{last}"))
    });
    wait_until("the first file is let go", SOON, || {
        writers(&edge.proxy) == 1
    });
    edge.reload("");
    wait_until("so is the second", SOON, || writers(&edge.proxy) == 0);
    ask();
    let paths = logged();
    let first = last + 1 - paths.len();
    let expected: Vec<_> = (first..=last)
        .map(|place| format!("/orders/{place}"))
        .collect();
    assert!(first > 1);
    assert_eq!(paths, expected, "each once, and none before or after");
    edge.proxy.wait_for_count(WRITTEN, &[], paths.len() as u64);
    assert_eq!(edge.proxy.metrics().count(DROPPED, &[]), 0);
}

#[test]
fn standard_output_takes_lines() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let mut program = Command::new("sh");
    let script = "out=$1; shift; exec \"$@\" >\"$out\"";
    program.args(["-c", script, "sh"]).arg(&out).arg(SERIN);
    let edge = Edge::in_folder(folder, "stdout", program);
    edge.proxy.get("/orders");
    assert_fields(&edge.lines("out", 1)[0], json!({ "status": 200 }));
}

#[test]
fn a_log_that_cannot_be_written_is_refused_at_the_start() {
    let folder = TempDir::new().unwrap();
    let backends = [TestBackend::start("stable"), TestBackend::start("canary")];
    fs::create_dir(folder.path().join("taken")).unwrap();
    for path in ["none/log", "taken"] {
        let log = format!("{{ path: {path} }}");
        let text = config([&backends[0], &backends[1]], &log);
        fs::write(folder.path().join("serin.yaml"), text).unwrap();
        let started = TestProxy::try_in_folder(folder.path(), Command::new(SERIN));
        let ended = started.err().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let told = "serin.yaml:5:21: access_log.path: cannot be written: ";
        assert!(ended.log.contains(told), "{ended:?}");
        assert!(ended.log.contains("; name a file"), "{ended:?}");
    }
}

#[test]
fn a_file_that_is_moved_away_is_followed_by_another_and_no_line_is_lost() {
    let edge = Edge::start("{ path: log }");
    let load = Load::start(edge.proxy.address());
    let mut names = Vec::new();
    for place in 0..5 {
        let good = load.good();
        wait_until("requests", SOON, || load.good() > good + 100);
        let name = format!("log.{place}");
        fs::rename(edge.path("log"), edge.path(&name)).unwrap();
        names.push(name);
        wait_until("another file", SOON, || edge.path("log").exists());
    }
    let asked = {
        let counts = (load.bad(), load.complaint());
        assert_eq!(counts, (0, None));
        drop(load);
        edge.proxy.metrics().count("serin_requests_total", &[])
    };
    names.push("log".to_owned());
    let path = |name: &String| edge.path(name);
    let paths: Vec<_> = names.iter().map(path).collect();
    assert_eq!(edge.proxy.stop().code(), Some(0));
    let lines: usize = paths.iter().map(|path| lines_of(path).len()).sum();
    assert_eq!(lines as u64, asked);
}

#[test]
fn what_was_asked_until_the_end_is_written_before_the_process_goes() {
    let edge = Edge::start("{ path: log }");
    let mut connection = edge.proxy.connect();
    for _ in 0..300 {
        assert_eq!(connection.ask(&Request::get("/orders")).status, 200);
    }
    drop(connection);
    assert_eq!(edge.proxy.stop().code(), Some(0));
    assert_eq!(lines_of(&edge.folder.path().join("log")).len(), 300);
}

/// Asks for something that Serin answers itself, on four connections, for as long as `goes_on`;
/// gives how many answers came and the longest that one took.
fn hammer(address: SocketAddr, goes_on: impl FnOnce(&AtomicU64)) -> (u64, Duration) {
    let (is_over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let ask = || {
        let mut connection = Connection::open(address);
        let mut longest = Duration::ZERO;
        while !is_over.load(Ordering::SeqCst) {
            let begun = clock::monotonic();
            assert_eq!(connection.ask(&Request::get("/none")).status, 404);
            longest = longest.max(begun.elapsed());
            answers.fetch_add(1, Ordering::SeqCst);
        }
        longest
    };
    let longest = scope(|threads| {
        let callers: Vec<_> = (0..4).map(|_| threads.spawn(ask)).collect();
        goes_on(&answers);
        is_over.store(true, Ordering::SeqCst);
        let longest = callers.into_iter().map(|caller| caller.join().unwrap());
        longest.max().unwrap_or_default()
    });
    (answers.into_inner(), longest)
}

#[test]
fn nobody_waits_for_a_pipe_that_nobody_reads() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("log");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let edge = Edge::in_folder(folder, "{ path: log }", Command::new(SERIN));
    let dropped = || edge.proxy.metrics().count(DROPPED, &[]);
    let mut held = 0;
    let (_, longest) = hammer(edge.proxy.address(), |answers| {
        wait_until("lines are dropped", 6 * SOON, || dropped() > 0);
        held = edge.proxy.resident_bytes();
        let seen = answers.load(Ordering::SeqCst);
        wait_until("requests are answered", 6 * SOON, || {
            answers.load(Ordering::SeqCst) > seen + 10_000
        });
    });
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let more = edge.proxy.resident_bytes().saturating_sub(held);
    assert!(more < 16 << 20, "{more} bytes more");
    let told = edge.proxy.wait_for_log("lines are lost", WARNING_MAX);
    assert!(told.contains("WARN"), "{told}");

    // Somebody comes and reads: whole lines, and after those that waited new ones.
    let (lines, read) = (AtomicU64::new(0), AtomicBool::new(false));
    let written = scope(|threads| {
        threads.spawn(|| {
            for line in BufReader::new(File::open(&pipe).unwrap()).lines() {
                let line = object(&line.unwrap());
                lines.fetch_add(1, Ordering::SeqCst);
                read.fetch_or(line["path"] == "/orders/after", Ordering::SeqCst);
            }
        });
        wait_until("new lines are read", SOON, || {
            edge.proxy.get("/orders/after");
            read.load(Ordering::SeqCst)
        });
        let written = edge.proxy.metrics().count(WRITTEN, &[]);
        // The reader comes to the end once the proxy has gone.
        assert_eq!(edge.proxy.stop().code(), Some(0));
        written
    });
    assert!(
        lines.into_inner() >= written,
        "{written} lines were written"
    );
}

#[test]
fn a_pipe_that_nobody_reads_does_not_keep_the_process() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("log");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let edge = Edge::in_folder(folder, "{ path: log }", Command::new(SERIN));
    hammer(edge.proxy.address(), |answers| {
        // More than the pipe holds.
        wait_until("it is full", 6 * SOON, || {
            answers.load(Ordering::SeqCst) > 2_000
        });
    });
    let begun = clock::monotonic();
    assert_eq!(edge.proxy.stop().code(), Some(0));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn on_a_full_disk_lines_are_lost_and_it_goes_on_once_there_is_room() {
    let folder = TempDir::new().unwrap();
    let disk = SmallDisk::mount(folder.path().join("small"));
    let edge = Edge::in_folder(folder, "{ path: small/log }", Command::new(SERIN));
    let dropped = || edge.proxy.metrics().count(DROPPED, &[]);
    edge.proxy.get("/orders");
    edge.lines("small/log", 1);
    disk.fill();
    wait_until("lines are lost", SOON, || {
        assert_eq!(edge.proxy.get("/orders").status, 200);
        dropped() > 0
    });
    edge.proxy
        .wait_for_log("access log cannot be written", SOON);
    disk.clear();
    let before = edge.proxy.metrics().count(WRITTEN, &[]);
    wait_until("lines are written", SOON, || {
        edge.proxy.get("/orders");
        edge.proxy.metrics().count(WRITTEN, &[]) > before
    });
    // All of them are whole, the one too that the disk has cut.
    let asked = edge.proxy.metrics().count("serin_requests_total", &[]);
    wait_until("all are accounted for", SOON, || {
        edge.proxy.metrics().count(WRITTEN, &[]) + dropped() == asked
    });
    let lines = lines_of(&edge.path("small/log")).len() as u64;
    assert_eq!(lines, edge.proxy.metrics().count(WRITTEN, &[]));
    drop(edge);
    drop(disk);
}

#[test]
fn a_change_of_what_is_shown_keeps_the_file_that_is_open() {
    let edge = Edge::start("{ path: log }");
    edge.proxy.get("/orders?a=1");
    let before = fs::metadata(edge.path("log")).unwrap().ino();
    replace_file(
        &edge.proxy.config_path(),
        &config([&edge.stable, &edge.canary], "{ path: log, query: true }"),
    );
    wait_until("the query is shown", SOON, || {
        edge.proxy.get("/orders?a=1");
        let lines = lines_of(&edge.path("log"));
        lines
            .last()
            .is_some_and(|line| line["path"] == "/orders?a=1")
    });
    assert_eq!(lines_of(&edge.path("log"))[0]["path"], "/orders");
    assert_eq!(fs::metadata(edge.path("log")).unwrap().ino(), before);
}
