//! `POST /api/v1/explain` and `serin explain --live`: what is told is what the proxy does.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::proxy::{SERIN, backends};
use support::{Request, TestBackend, TestProxy};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn start(admin: &str) -> (TestProxy, [TestBackend; 3]) {
    let [v1, v2, legacy] = ["v1", "v2", "legacy"].map(TestBackend::start);
    let config = backends(&[("v1", &v1), ("v2", &v2), ("legacy", &legacy)])
        + "identity: [{ header: x-user-id }]\ntrusted_proxies: [127.0.0.1]\n\
           groups: { beta: { header: { x-beta: \"1\" } }, vip: { callers: [carl] } }\n\
           flags: { shop: { stable: v1, canary: v2, groups: { beta: 50%, vip: 100% }, default: 20% } }\n\
           routes:\n  - { host: shop.test, path: /old, backend: legacy }\n  - { host: shop.test, flag: shop }\n";
    (TestProxy::on_fast_disk(admin, &config), [v1, v2, legacy])
}

fn explain(proxy: &TestProxy, request: &Value) -> Value {
    let answer = proxy.command("POST", "/api/v1/explain", &request.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// What is told of a caller's request, and what becomes of it.
fn both(proxy: &TestProxy, path: &str, user: &str, beta: &str) -> (Value, String) {
    let told = explain(
        proxy,
        &json!({
            "path": path,
            "host": "shop.test",
            "headers": { "x-user-id": [user], "x-beta": [beta] },
        }),
    );
    let request = Request::get(path)
        .field("x-user-id", user)
        .field("x-beta", beta);
    (told, proxy.ask(&request).text().to_owned())
}

#[test]
fn what_is_told_is_what_happens() {
    let (proxy, _backends) = start("");
    // Set at run time, which no file knows.
    let answer = proxy.command("PUT", "/api/v1/groups/vip/callers/u-7", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = r#"{ "default": "30%" }"#;
    assert_eq!(
        proxy.command("PATCH", "/api/v1/flags/shop", said).status,
        200
    );
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..60 {
        let user = format!("u-{number}");
        let beta = if number % 3 == 0 { "1" } else { "0" };
        let path = if number % 10 == 9 { "/old" } else { "/" };
        let (told, came) = both(&proxy, path, &user, beta);
        assert_eq!(told["backend"], came, "{told:#}");
        assert_eq!(told["caller"], user);
        seen.insert(came);
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    let (told, _) = both(&proxy, "/", "u-7", "0");
    assert_eq!(told["groups"], json!(["vip"]));
    assert_eq!(told["flag"]["variant"], "canary");
    assert_eq!(told["flag"]["rule"], "group `vip` has 100%");
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("caller   u-7, in vip"), "{text}");
    let (told, _) = both(&proxy, "/", "u-8", "0");
    assert_eq!(told["flag"]["rule"], "everyone else has 30%");
    // Off, it is stable for everyone.
    let said = r#"{ "enabled": false }"#;
    assert_eq!(
        proxy.command("PATCH", "/api/v1/flags/shop", said).status,
        200
    );
    let (told, came) = both(&proxy, "/", "u-7", "0");
    assert_eq!(
        (told["backend"].as_str(), came.as_str()),
        (Some("v1"), "v1")
    );
}

#[test]
fn what_would_not_be_sent_on_is_told_and_nonsense_is_refused() {
    let (proxy, _backends) = start("");
    let told = explain(&proxy, &json!({ "host": "other.test" }));
    let answer = proxy.ask(&Request::get("/").host("other.test"));
    assert_eq!(told["refused"]["status"], answer.status);
    for said in [
        r#"{ "path": "orders" }"#,
        r#"{ "path": "http://a/" }"#,
        r#"{ "method": "G T" }"#,
        r#"{ "headers": { "a b": ["1"] } }"#,
        r#"{ "headers": { "a": ["1\n2"] } }"#,
        r#"{ "ip": "somewhere" }"#,
        r#"{ "hots": "shop.test" }"#,
    ] {
        proxy.command("POST", "/api/v1/explain", said).problem(400);
    }
}

#[test]
fn the_command_line_tells_the_same_and_a_viewer_may_ask() {
    let tokens = format!("tokens: [{{ name: eye, role: viewer, token: \"{TOKEN}\" }}]");
    let (proxy, _backends) = start(&tokens);
    let ask = |arguments: &[&str], token: &str| {
        let mut command = Command::new(SERIN);
        command
            .args(["explain", "--live", "-H", "x-user-id: carl"])
            .args(["--admin", &format!("http://{}", proxy.admin())])
            .args(arguments)
            .env("SERIN_TOKEN", token);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = ask(&["http://shop.test/x?y=1", "--json"], TOKEN);
    assert_eq!(code, Some(0), "{said}");
    let told: Value = said.parse().unwrap();
    assert_eq!(told["backend"], "v2");
    let (code, said) = ask(&["http://shop.test/x?y=1"], TOKEN);
    assert_eq!(code, Some(0));
    assert_eq!(said.trim_end(), told["text"].as_str().unwrap());
    let (code, said) = ask(&["http://other.test/"], TOKEN);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("not sent on: "), "{said}");
    assert_ne!(ask(&["/"], "ffffffffffffffffffffffffffffffff").0, Some(0));
}
