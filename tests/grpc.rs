//! gRPC with its own library on both sides: all four kinds of calls, each status, each way to end.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use support::proxy::SERIN;
use support::{Authority, SOON, TestProxy, wait_until};
use tempfile::TempDir;

/// Debian's own, which has the library; another one on the PATH may not.
const PYTHON: &str = "/usr/bin/python3";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc/echo.py");

/// A server that answers in gRPC over HTTP/2 in the clear.
struct Server {
    process: Child,
    port: u16,
    /// It goes when this is closed.
    _input: ChildStdin,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(PYTHON)
            .args([SCRIPT, "serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let input = process.stdin.take().unwrap();
        Self {
            process,
            port: line.trim().parse().unwrap(),
            _input: input,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has the client make its calls; returns what it heard.
fn call(arguments: &[&str]) -> Value {
    let mut client = Command::new(PYTHON);
    let output = client.args([SCRIPT, "call"]).args(arguments).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is heard of calls that go well, and of those that do not on purpose.
fn expected() -> Value {
    json!({
        "unary": "hello", "first": "head", "last": "trailer", "large": true, "collect": "a,b,c",
        "count": ["0", "1", "2", "3", "4"], "converse": ["ONE", "TWO", "THREE"],
        "break": "DATA_LOSS", "unknown": "UNIMPLEMENTED",
    })
}

fn config(server: &Server) -> String {
    format!(
        "workers: 1\n\
         backends: {{ v1: {{ endpoints: [\"http://127.0.0.1:{}\"], protocol: h2 }}, v2: \"http://[::1]\" }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n",
        server.port
    )
}

#[test]
fn every_kind_of_call_goes_through() {
    let server = Server::start();
    let proxy = TestProxy::start(&config(&server));
    let said = call(&[&proxy.address().to_string()]);
    assert_eq!(said, expected());
    // DATA_LOSS and UNIMPLEMENTED are the backend's failures.
    let failed = |count| proxy.wait_for_count("serin_backend_failures_total", &[], count);
    failed(2);
}

#[test]
fn a_failure_is_one_by_its_status_and_whose_it_is() {
    let server = Server::start();
    let proxy = TestProxy::start(&config(&server));
    let address = proxy.address().to_string();
    let of_backends = [
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    ];
    let of_clients = [
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNAUTHENTICATED",
    ];
    let arguments: Vec<_> = [address.as_str()]
        .into_iter()
        .chain(of_backends)
        .chain(of_clients)
        .collect();
    let said = call(&arguments);
    for status in of_backends.into_iter().chain(of_clients) {
        assert_eq!(said[status], status);
    }
    // Two more are those of `every_kind_of_call_goes_through`.
    let count = of_backends.len() as u64 + 2;
    proxy.wait_for_count("serin_backend_failures_total", &[], count);
}

/// A call that is held open.
struct Held {
    client: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Held {
    fn begin(proxy: &TestProxy) -> Self {
        let mut client = Command::new(PYTHON)
            .args([SCRIPT, "hold", &proxy.address().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: client.stdin.take(),
            output: BufReader::new(client.stdout.take().unwrap()),
            client,
        }
    }

    /// Sends a word, and reads what comes.
    fn say(&mut self, word: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{word}").unwrap();
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

#[test]
fn a_long_call_outlives_a_reload_and_ends_by_itself_while_the_process_stops() {
    let server = Server::start();
    let mut proxy = TestProxy::start(&config(&server));
    let mut held = Held::begin(&proxy);
    assert_eq!(held.say("one"), "ONE");
    proxy.reload();
    proxy.wait_for_log("configuration", SOON);
    assert_eq!(held.say("two"), "TWO");
    proxy.terminate();
    wait_until("it says no", SOON, || {
        proxy.command("GET", "/readyz", "").status == 503
    });
    assert_eq!(held.say("three"), "THREE");
    held.input = None;
    assert_eq!(held.line(), "OK");
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn a_long_call_is_cut_at_the_deadline_and_not_shown_as_whole() {
    let server = Server::start();
    let deadline = "shutdown: { deadline: 1s }\n";
    let mut proxy = TestProxy::start(&(config(&server) + deadline));
    let mut held = Held::begin(&proxy);
    assert_eq!(held.say("one"), "ONE");
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(proxy.log().contains("cut at the drain deadline left=1"));
    let status = held.line();
    assert!(
        matches!(
            status.as_str(),
            "UNAVAILABLE" | "CANCELLED" | "INTERNAL" | "UNKNOWN"
        ),
        "{status}"
    );
}

#[test]
fn calls_go_through_over_tls() {
    let server = Server::start();
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    authority
        .issue("edge", &["localhost"])
        .write(folder.path(), "edge");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &authority.pem).unwrap();
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\", \
         tls: {{ certificates: [{{ cert: edge.pem, key: edge.key }}] }} }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n{}",
        config(&server)
    );
    fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
    let address = proxy.address().to_string();
    let said = call(&[&address, ca.to_str().unwrap(), "deadline"]);
    // Both sides know of it, and either may be the first to say so.
    let mut expected = expected();
    expected["deadline"] = json!("DEADLINE_EXCEEDED");
    assert_eq!(said, expected);
}
