//! Secrets of the configuration: wherever one looks, they are not there.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::process::Command;

use support::disk::fast_folder;
use support::proxy::{SERIN, backends};
use support::{Answer, EventStream, Request, SOON, TestBackend, TestProxy, wait_until};

/// A secret for each place that takes one.
const INLINE: &str = "inline-0123456789abcdef";
const IN_FILE: &str = "in-file-0123456789abcdef";
const FROM_ENVIRONMENT: &str = "environment-0123456789abcdef";
const IN_WEBHOOK: &str = "webhook-0123456789abcdef";
const IN_FIELD: &str = "field-0123456789abcdef";
const IN_QUERY: &str = "query-0123456789abcdef";
const IN_GATE: &str = "gate-0123456789abcdef";
const IN_GATE_FIELD: &str = "gatefield-0123456789abcdef";

const SECRETS: [&str; 8] = [
    IN_GATE,
    IN_GATE_FIELD,
    INLINE,
    IN_FILE,
    FROM_ENVIRONMENT,
    IN_WEBHOOK,
    IN_FIELD,
    IN_QUERY,
];

#[track_caller]
fn has_none(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} says nothing");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what}: {secret}: {text}");
    }
}

/// A configuration with a secret wherever there can be one; nobody listens where it points to.
fn config(v1: &TestBackend, v2: &TestBackend) -> String {
    format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\n\
         admin:\n  address: \"127.0.0.1:0\"\n  tokens:\n\
         \x20   - {{ name: ci, role: operator, token: \"{INLINE}\" }}\n\
         \x20   - {{ name: eye, role: viewer, token_file: eye.token }}\n\
         \x20   - {{ name: bot, role: viewer, token: \"${{BOT_TOKEN}}\" }}\n\
         state: {{ path: state }}\n\
         notify: [{{ webhook: \"http://127.0.0.1:1/{IN_WEBHOOK}\", name: hub, \
         headers: {{ authorization: \"Bearer {IN_FIELD}\" }} }}]\n{}\
         flags:\n  shop:\n    stable: v1\n    canary: v2\n    rollout:\n      revision: a\n      stages: [5%, 6%]\n      hold: 5s\n      min_requests: 1000000\n\
         \x20     gates: [{{ before: 6%, webhook: {{ url: \"http://127.0.0.1:1/{IN_GATE}\", every: 1s, attempts: 1, \
         headers: {{ authorization: \"Bearer {IN_GATE_FIELD}\" }} }} }}]\n\
         \x20     checks: {{ custom: [{{ name: score, every: 1s, timeout: 1s, max_age: 5s, http_json: \
         {{ url: \"http://127.0.0.1:1/?key={IN_QUERY}\", pointer: /score }}, min: 4.0 }}] }}\n\
         routes: [{{ flag: shop }}]\n",
        backends(&[("v1", v1), ("v2", v2)])
    )
}

/// Asks the admin API as whoever has a token.
fn ask(proxy: &TestProxy, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let request = Request::new(method, path).body(body);
    let request = request.field("authorization", &format!("Bearer {token}"));
    request.send_to(proxy.admin())
}

/// A flag with secrets that is created, defined anew and deleted.
fn define_flags(proxy: &TestProxy) {
    let definition = |weight: &str| {
        format!(
            r#"{{"stable": "v1", "canary": "v2", "rollout": {{"revision": "1", "stages": ["{weight}"],
            "gates": [{{"before": "{weight}", "webhook": {{"url": "http://127.0.0.1:1/{IN_GATE}",
            "headers": {{"authorization": "{IN_GATE_FIELD}"}}}}}}],
            "checks": {{"custom": [{{"name": "score", "min": 1.0, "http_json":
            {{"url": "http://127.0.0.1:1/?key={IN_QUERY}", "pointer": "/score"}}}}]}}}}}}"#
        )
    };
    let token = format!("authorization: Bearer {IN_FILE}\r\n");
    let mut events = EventStream::open(proxy.admin(), "/api/v1/events", &token);
    let path = "/api/v1/flags/made";
    let made = ask(proxy, "PUT", path, INLINE, &definition("5%"));
    assert_eq!(made.status, 201, "{}", made.text());
    has_none("a flag", made.text());
    let told = events.find("flag", |flag| flag["flag"] == "made");
    has_none("its event", &told.data.to_string());
    let version = made.field("etag").unwrap().to_owned();
    let anew = Request::new("PUT", path)
        .field("authorization", &format!("Bearer {INLINE}"))
        .field("if-match", &version)
        .body(definition("6%"))
        .send_to(proxy.admin());
    assert_eq!(anew.status, 200, "{}", anew.text());
    has_none(
        "the flags",
        ask(proxy, "GET", "/api/v1/flags", IN_FILE, "").text(),
    );
    let deleted = ask(proxy, "DELETE", path, INLINE, "");
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    let told = events.find("journal", |line| {
        let what = line["what"].as_str().unwrap_or_default();
        line["flag"] == "made" && what.starts_with("deleted")
    });
    has_none("a line", &told.data.to_string());
}

/// Watches another configuration be taken, and one be refused.
fn watch_reloads(proxy: &TestProxy, text: &str) {
    let token = format!("authorization: Bearer {IN_FILE}\r\n");
    let mut events = EventStream::open(proxy.admin(), "/api/v1/events", &token);
    assert_eq!(events.next().unwrap().name, "ready");
    // Another configuration, and one that is refused: what has changed is told.
    proxy.write_config(
        &text
            .replace(IN_WEBHOOK, "other")
            .replace("stages: [5%, 6%]", "stages: [5%, 6%, 7%]"),
    );
    let taken = events.find("reload", |reload| reload["is_current"] == true);
    has_none("a reload", &taken.data.to_string());
    proxy.write_config(
        &(text.to_owned() + &format!("{IN_FIELD}: 1\n")).replace(IN_FIELD, "nonsense"),
    );
    let refused = events.find("reload", |reload| reload["is_current"] == false);
    has_none("a refusal", &refused.data.to_string());
}

/// What commands say of the file.
fn ask_command_line(proxy: &TestProxy) {
    for arguments in [&["check", "--print"][..], &["check"], &["explain", "/"]] {
        let mut command = Command::new(SERIN);
        let command = command
            .args(arguments)
            .arg("--config")
            .arg(proxy.config_path());
        let output = command.env("BOT_TOKEN", FROM_ENVIRONMENT).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        has_none(arguments[0], &String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn no_secret_is_seen_anywhere() {
    let [v1, v2] = ["v1", "v2"].map(TestBackend::start);
    let folder = fast_folder();
    let text = config(&v1, &v2);
    fs::write(folder.path().join("serin.yaml"), &text).unwrap();
    fs::write(folder.path().join("eye.token"), IN_FILE).unwrap();
    let mut program = Command::new(SERIN);
    program.env("BOT_TOKEN", FROM_ENVIRONMENT);
    let proxy = TestProxy::in_folder(folder.path(), program);
    let ask =
        |method: &str, path: &str, token: &str, body: &str| ask(&proxy, method, path, token, body);
    // All of them are in use.
    for token in [INLINE, IN_FILE, FROM_ENVIRONMENT] {
        assert_eq!(ask("GET", "/api/v1/status", token, "").status, 200);
    }
    for verb in ["pause", "resume"] {
        let path = format!("/api/v1/rollouts/shop/{verb}");
        assert_eq!(ask("POST", &path, INLINE, "").status, 200);
    }
    wait_until("the webhook and the check were asked in vain", SOON, || {
        let status = ask("GET", "/api/v1/status", INLINE, "");
        status.text().contains("has no value") && proxy.log().contains("not delivered")
    });

    define_flags(&proxy);
    let shown = ask("GET", "/api/v1/config", IN_FILE, "").json();
    assert_eq!(shown["admin"]["tokens"][0]["token"], "***");
    assert_eq!(shown["admin"]["tokens"][1]["token_file"], "eye.token");
    assert_eq!(shown["admin"]["tokens"][2]["token"], "***");
    assert_eq!(shown["notify"][0]["webhook"], "***");
    assert_eq!(shown["flags"]["shop"]["stable"], "v1");
    for path in [
        "/api/v1/config",
        "/api/v1/status",
        "/api/v1/flags",
        "/api/v1/rollouts/shop",
        "/api/v1/journal",
        "/api/v1/openapi.json",
        "/metrics",
    ] {
        let answer = ask("GET", path, IN_FILE, "");
        assert_eq!(answer.status, 200, "{path}");
        has_none(path, answer.text());
    }
    watch_reloads(&proxy, &text);
    has_none("the log", &proxy.log());
    let told = ask("POST", "/api/v1/explain", IN_FILE, "{}");
    has_none("an explanation", told.text());

    proxy.write_config(&text);
    ask_command_line(&proxy);
}

#[test]
fn what_is_shown_is_what_runs() {
    let [v1, v2] = ["v1", "v2"].map(TestBackend::start);
    let config = |weight: &str| {
        backends(&[("v1", &v1), ("v2", &v2)])
            + &format!(
                "flags: {{ shop: {{ stable: v1, canary: v2, default: {weight} }} }}\nroutes: [{{ flag: shop }}]\n"
            )
    };
    let proxy = TestProxy::on_fast_disk("", &config("5%"));
    let head = fs::read_to_string(proxy.config_path()).unwrap();
    let head: String = head
        .lines()
        .take(3)
        .map(|line| format!("{line}\n"))
        .collect();
    let weight =
        || proxy.command("GET", "/api/v1/config", "").json()["flags"]["shop"]["default"].clone();
    assert_eq!(weight(), "5%");
    proxy.write_config(&(head.clone() + &config("7%")));
    wait_until("the new one is shown", SOON, || weight() == "7%");
    proxy.write_config(&(head + &config("nonsense")));
    proxy.wait_for_log("configuration refused", SOON);
    assert_eq!(weight(), "7%");
}
