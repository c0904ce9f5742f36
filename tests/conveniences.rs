//! What makes the command line pleasant: completions, manual pages, JSON, and being asked.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::proxy::SERIN;
use support::{Behaviour, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

fn output(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("SERIN_CONFIG");
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What bash offers behind a beginning of a command line.
fn completed(script: &Path, words: &[&str]) -> String {
    let line = format!(
        "source {}; COMP_WORDS=({}); COMP_CWORD={}; _serin serin \"${{COMP_WORDS[-1]}}\" \
         \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.join(" "),
        words.len() - 1
    );
    let output = output("bash", &["--norc", "-c", &line]);
    assert!(output.status.success(), "{output:?}");
    text(&output)
}

#[test]
fn a_shell_completes_commands_and_their_options() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("serin.bash");
    let printed = output(SERIN, &["completions", "bash"]);
    fs::write(&script, printed.stdout).unwrap();
    assert_eq!(completed(&script, &["serin", "rollo"]).trim(), "rollout");
    let verbs = completed(&script, &["serin", "rollout", "p"]);
    assert_eq!(
        verbs.split_whitespace().collect::<Vec<_>>(),
        ["pause", "promote", "plan"]
    );
    let options = completed(&script, &["serin", "rollout", "abort", "--y"]);
    assert_eq!(options.trim(), "--yes");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = text(&output(SERIN, &["completions", shell]));
        assert!(script.contains("rollout"), "{shell}");
    }
    let unknown = output(SERIN, &["completions", "ksh93"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn each_command_has_a_manual_page() {
    let page = text(&output(SERIN, &["man"]));
    assert!(
        page.contains(".TH serin 1") && page.contains("Exit codes"),
        "{page}"
    );
    let folder = TempDir::new().unwrap();
    let written = output(SERIN, &["man", folder.path().to_str().unwrap()]);
    assert!(written.status.success(), "{written:?}");
    for (name, holds) in [
        ("serin.1", "serin\\-rollout(1)"),
        ("serin-rollout-promote.1", "\\-\\-full"),
        ("serin-flag-weight.1", "25%"),
    ] {
        let page = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page.contains(holds), "{name}: {page}");
    }
    let file = folder.path().join("serin.1");
    let refused = output(SERIN, &["man", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot write to"));
}

#[test]
fn a_check_tells_programs_what_it_found() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("edge.yaml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = output(SERIN, &["check", "--json", "-c", path.to_str().unwrap()]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), found)
    };
    let (code, found) = check(
        "listeners: [{ address: \"127.0.0.1:8080\" }]\n\
         backends: { v1: { endpoints: [http://127.0.0.1:1], outlier: { max_ejected: 50% } } }\n\
         routes: [{ backend: v1 }]\n",
    );
    assert_eq!(code, Some(0));
    assert_eq!(
        (&found["ok"], &found["backends"]),
        (&json!(true), &json!(1))
    );
    let note = "`outlier` of backend `v1` ejects nobody: 50% of 1 endpoint is less than one";
    assert_eq!(found["notes"], json!([note]));
    let (code, found) = check("listeners: []\nbackend: {}\n");
    assert_eq!((code, &found["ok"]), (Some(2), &json!(false)));
    let problems = found["problems"].as_array().unwrap();
    let unknown = problems.iter().find(|problem| problem["path"] == "backend");
    let unknown = unknown.unwrap();
    assert_eq!(
        (&unknown["line"], &unknown["column"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(unknown["hint"], "did you mean `backends`?");
}

/// A terminal of one's own, on which a command is asked and answered.
fn at_a_terminal(command: &str, answer: &str) -> Output {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = script.spawn().unwrap();
    let mut input = running.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, answer.as_bytes()).unwrap();
    running.wait_with_output().unwrap()
}

#[test]
fn a_person_is_asked_before_a_rollout_is_given_up() {
    let servers = [TestBackend::start("v1"), TestBackend::start("v2")];
    let backends = support::proxy::backends(&[("v1", &servers[0]), ("v2", &servers[1])]);
    let proxy = TestProxy::start(&format!(
        "{backends}flags:\n  orders: {{ stable: v1, canary: v2, rollout: {{ revision: \"2\", \
         stages: [50%, 100%], mode: act }} }}\nroutes: [{{ flag: orders }}]\n"
    ));
    let admin = format!("http://{}", proxy.admin());
    let phase = || proxy.rollout("orders")["phase"].clone();
    let before = phase();
    let command = format!("{SERIN} rollout abort orders --admin {admin}");
    let refused = at_a_terminal(&command, "n\n");
    let said = text(&refused);
    assert!(said.contains("give the rollout of orders up"), "{said}");
    assert!(
        said.contains("not confirmed, so nothing was done"),
        "{said}"
    );
    assert_eq!((refused.status.code(), phase()), (Some(1), before));
    let confirmed = at_a_terminal(&command, "y\n");
    assert_eq!(
        (confirmed.status.code(), phase()),
        (Some(0), json!("aborted"))
    );
    let retry = ["rollout", "retry", "orders", "--admin", &admin];
    assert!(output(SERIN, &retry).status.success());
    let unasked = at_a_terminal(&format!("{command} --yes"), "");
    assert!(!text(&unasked).contains("Go on?"), "{unasked:?}");
    assert_eq!(phase(), "aborted");
    // Whom nobody can ask is not hindered.
    assert!(output(SERIN, &retry).status.success());
    let abort = ["rollout", "abort", "orders", "--admin", &admin];
    assert!(output(SERIN, &abort).status.success());
    assert_eq!(phase(), "aborted");
}

#[test]
fn the_status_names_endpoints_that_get_no_requests() {
    let servers = [TestBackend::start("a"), TestBackend::start("b")];
    let [a, b] = servers.each_ref().map(TestBackend::url);
    let proxy = TestProxy::start(&format!(
        "backends: {{ v1: {{ endpoints: [\"{a}\", \"{b}\"], \
         health: {{ path: /healthz, interval: 100ms }} }} }}\nroutes: [{{ backend: v1 }}]\n"
    ));
    let admin = format!("http://{}", proxy.admin());
    let status = || text(&output(SERIN, &["status", "--admin", &admin]));
    wait_until("both are well", SOON, || {
        status().contains("endpoints: all 2 usable")
    });
    assert_eq!(proxy.get("/").status, 200);
    servers[0].behave(Behaviour::StatusWhere(vec![("/healthz", 503)]));
    let address = servers[0].address();
    let unwell = format!("v1: endpoint {address} is unhealthy; 1 of 2 are usable");
    wait_until("one is unwell", SOON, || status().contains(&unwell));
    let answer = proxy.command("GET", "/api/v1/backends", "").json();
    let endpoints = &answer["backends"][0]["endpoints"];
    assert_eq!(endpoints[0]["endpoint"], address.to_string());
    assert_eq!(endpoints[0]["is_healthy"], false);
    assert_eq!(endpoints[1]["is_healthy"], true);
    let asked: u64 = [0, 1]
        .map(|place| endpoints[place]["requests"].as_u64().unwrap())
        .iter()
        .sum();
    assert_eq!(asked, 1);
}
