//! Flags asked for by a real client of OpenFeature: its SDK and its provider for OFREP.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::proxy::backends;
use support::{TestBackend, TestProxy};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openfeature/ask.cjs");

/// Where `tests/run` installs the client's libraries.
const LIBRARIES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/openfeature/node_modules");

const TOKEN: &str = "a-token-of-more-than-thirty-two-characters";

const FLAGS: &str = "groups: { beta: { header: { x-plan: beta } } }\n\
    flags:\n  dark-mode: { variants: { on: true, off: false }, off: off, groups: { beta: 100% } }\n  \
    colour: { variants: { plain: grey, sale: red }, off: plain, default: 100% }\n  \
    limit: { variants: { low: 10, high: 2.5 }, off: low, default: 50% }\n  \
    layout: { variants: { a: { columns: 1 }, b: { columns: 2 } }, off: a, groups: { beta: 100% } }\n  \
    dead: { variants: { on: true, off: false }, off: off, default: 100%, enabled: false }\n  \
    needy: { variants: { on: true, off: false }, off: off, default: 100%, requires: [dark-mode] }\n  \
    shop: { stable: v1, canary: v2, default: 100% }\n\
    routes: [{ flag: shop }]\n";

/// What the client says to each of the questions.
fn ask(proxy: &TestProxy, token: &str, questions: &Value) -> Value {
    assert!(
        Path::new(LIBRARIES).is_dir(),
        "the client is not installed: tests/run does it, or `npm ci` in a copy of tests/openfeature at {LIBRARIES}/.."
    );
    let url = format!("http://{}", proxy.admin());
    let mut client = Command::new("node");
    let client = client.env("NODE_PATH", LIBRARIES).arg(SCRIPT);
    let output = client.args([&url, token, &questions.to_string()]).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn start() -> (TestProxy, [TestBackend; 2]) {
    let started = ["stable", "canary"].map(TestBackend::start);
    let config = backends(&[("v1", &started[0]), ("v2", &started[1])]) + FLAGS;
    let admin = format!("tokens: [{{ name: app, role: viewer, token: {TOKEN} }}]");
    let proxy = TestProxy::with_admin(&admin, &config, &[]);
    (proxy, started)
}

/// Questions, and the value, variant, reason and error that they are answered with.
fn questions() -> [(Value, Value); 12] {
    let ann = json!({ "targetingKey": "ann" });
    let beta = json!({ "targetingKey": "ann", "x-plan": "beta", "since": { "year": 2020 } });
    [
        (
            json!(["boolean", "dark-mode", false, beta]),
            json!([true, "on", "TARGETING_MATCH", null]),
        ),
        (
            json!(["boolean", "dark-mode", true, ann]),
            json!([false, "off", "DEFAULT", null]),
        ),
        (
            json!(["string", "colour", "none", ann]),
            json!(["red", "sale", "DEFAULT", null]),
        ),
        (
            json!(["object", "layout", {}, beta]),
            json!([{ "columns": 2 }, "b", "TARGETING_MATCH", null]),
        ),
        (
            json!(["boolean", "dead", true, ann]),
            json!([false, "off", "DISABLED", null]),
        ),
        (
            json!(["boolean", "needy", true, ann]),
            json!([false, "off", "DEFAULT", null]),
        ),
        (
            json!(["boolean", "needy", false, beta]),
            json!([true, "on", "DEFAULT", null]),
        ),
        (
            json!(["string", "shop", "none", ann]),
            json!(["canary", "canary", "DEFAULT", null]),
        ),
        // What goes wrong leaves the application with its own value.
        (
            json!(["boolean", "dark", true, ann]),
            json!([true, null, "ERROR", "FLAG_NOT_FOUND"]),
        ),
        (
            json!(["number", "limit", 7, {}]),
            json!([7, null, "ERROR", "TARGETING_KEY_MISSING"]),
        ),
        (
            json!(["boolean", "colour", true, ann]),
            json!([true, null, "ERROR", "TYPE_MISMATCH"]),
        ),
        (
            json!(["number", "limit", 7, { "targetingKey": "a", "ip": "x" }]),
            json!([7, null, "ERROR", "INVALID_CONTEXT"]),
        ),
    ]
}

#[test]
fn a_client_gets_values_reasons_and_errors() {
    let (proxy, _backends) = start();
    let asked = questions();
    let questions: Value = asked.iter().map(|(question, _)| question.clone()).collect();
    let told = ask(&proxy, TOKEN, &questions);
    for ((question, expected), told) in asked.iter().zip(told.as_array().unwrap()) {
        let heard = ["value", "variant", "reason", "errorCode"].map(|key| told[key].clone());
        assert_eq!(json!(heard), *expected, "{question}: {told}");
    }
}

#[test]
fn a_client_is_drawn_and_may_be_refused() {
    let (proxy, _backends) = start();
    let anybody: Value = (0..40)
        .map(|number| json!(["number", "limit", 0, { "targetingKey": format!("c{number}") }]))
        .collect();
    let told = ask(&proxy, TOKEN, &anybody);
    let told = told.as_array().unwrap();
    assert!(told.iter().all(|told| told["reason"] == "SPLIT"));
    assert!(told.iter().all(|told| told["metadata"]["weight"] == "50%"));
    for value in [json!(10), json!(2.5)] {
        let count = told.iter().filter(|told| told["value"] == value).count();
        assert!((8..=32).contains(&count), "{value}: {count}");
    }
    let refused = ask(&proxy, "another", &json!([["boolean", "dead", true, {}]]));
    assert_eq!(
        (&refused[0]["value"], &refused[0]["reason"]),
        (&json!(true), &json!("ERROR"))
    );
}
