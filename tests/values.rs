//! Flags that switch values: what applications get, and how it is set while running.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::proxy::{SERIN, backends};
use support::{Answer, Request, TestBackend, TestProxy};

const FLAGS: &str = "identity: [{ header: x-user-id }]\n\
    trusted_proxies: [127.0.0.1]\n\
    groups:\n  beta: { header: { x-beta: \"1\" } }\n\
    flags:\n  dark-mode: { variants: { on: true, off: false }, off: off, groups: { beta: 100% } }\n  \
    limit: { variants: { low: 10, high: 250 }, off: low, default: 50% }\n  \
    theme: { variants: { plain: grey, sale: red, news: blue }, off: plain, \
    groups: { beta: { sale: 20%, news: 80% } }, default: { sale: 30% } }\n  \
    layout: { variants: { a: { columns: 1 }, b: { columns: 2 } }, off: a, default: 100% }\n  \
    dead: { variants: { on: true, off: false }, off: off, default: 100%, enabled: false }\n  \
    shop: { stable: v1, canary: v2, values: { stable: 1, canary: 2 }, groups: { beta: 100% } }\n\
    routes: [{ flag: shop }, { path: /told, flag: shop, send: [theme, dark-mode] },\n  \
    { path: /plain, backend: v1, send: [dark-mode] }, { path: /silent, backend: v1 }]\n";

fn start() -> (TestProxy, [TestBackend; 2]) {
    let started = ["stable", "canary"].map(TestBackend::start);
    let config = backends(&[("v1", &started[0]), ("v2", &started[1])]) + FLAGS;
    (TestProxy::with_admin("", &config, &[]), started)
}

fn told(proxy: &TestProxy, flag: &str, context: &Value) -> Value {
    let path = format!("/ofrep/v1/evaluate/flags/{flag}");
    let body = json!({ "context": context }).to_string();
    let request = Request::new("POST", &path).host(&proxy.admin().to_string());
    let answer = request.body(body).send_to(proxy.admin());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn set(proxy: &TestProxy, flag: &str, change: &Value) -> Answer {
    let path = format!("/api/v1/flags/{flag}");
    proxy.command("PATCH", &path, &change.to_string())
}

#[test]
fn applications_get_values_of_their_own_types() {
    let (proxy, _backends) = start();
    let ann = json!({ "targetingKey": "ann" });
    let beta = json!({ "targetingKey": "ann", "x-beta": "1" });
    for (flag, context, value, variant, reason) in [
        ("dark-mode", &beta, json!(true), "on", "TARGETING_MATCH"),
        ("dark-mode", &ann, json!(false), "off", "DEFAULT"),
        ("layout", &ann, json!({ "columns": 2 }), "b", "DEFAULT"),
        ("dead", &ann, json!(false), "off", "DISABLED"),
        ("shop", &ann, json!(1), "stable", "DEFAULT"),
        ("shop", &beta, json!(2), "canary", "TARGETING_MATCH"),
    ] {
        let told = told(&proxy, flag, context);
        assert_eq!(
            (&told["value"], &told["variant"], &told["reason"]),
            (&value, &json!(variant), &json!(reason)),
            "{flag}"
        );
    }
    let names = |flag: &str, context: fn(usize) -> Value| {
        let variant = |number| told(&proxy, flag, &context(number))["variant"].to_string();
        let mut names: Vec<_> = (0..60).map(variant).collect();
        names.sort();
        names.dedup();
        names.join(" ")
    };
    let anybody = |number| json!({ "targetingKey": format!("c{number}") });
    let beta = |number| json!({ "targetingKey": format!("c{number}"), "x-beta": 1 });
    assert_eq!(names("limit", anybody), r#""high" "low""#);
    assert_eq!(names("theme", anybody), r#""plain" "sale""#);
    assert_eq!(names("theme", beta), r#""news" "sale""#);
    let told = told(&proxy, "theme", &beta(1));
    assert_eq!(told["reason"], "SPLIT");
    assert_eq!(told["metadata"]["weight"], "news=80%,sale=20%");
}

#[test]
fn what_is_set_decides_the_next_answer() {
    let (proxy, _backends) = start();
    let ann = json!({ "targetingKey": "ann" });
    let value = |flag: &str| told(&proxy, flag, &ann)["value"].clone();
    assert_eq!(value("dark-mode"), json!(false));
    assert_eq!(
        set(&proxy, "dark-mode", &json!({ "default": "100%" })).status,
        200
    );
    assert_eq!(value("dark-mode"), json!(true));
    // The same in other words changes nothing.
    let shown = set(&proxy, "dark-mode", &json!({ "default": { "on": "100%" } }));
    assert_eq!(shown.json()["overridden"], json!(["default"]));
    assert_eq!(
        set(&proxy, "dark-mode", &json!({ "enabled": false })).status,
        200
    );
    assert_eq!(value("dark-mode"), json!(false));

    let shares = json!({ "default": "sale=0%,news=100%", "groups": { "beta": null } });
    let shown = set(&proxy, "theme", &shares).json();
    assert_eq!(
        shown["weights"]["default_split"],
        json!({ "news": 100.0, "sale": 0.0 })
    );
    assert_eq!(shown["weights"]["groups"], json!([]));
    assert_eq!(shown["off"], "plain");
    assert_eq!(
        shown["variants"][1],
        json!({ "name": "sale", "value": "red" })
    );
    assert_eq!(shown.get("stable"), None);
    assert_eq!(value("theme"), json!("blue"));

    let lines = proxy.command("GET", "/api/v1/journal", "").json();
    let what = &lines["lines"][0]["what"];
    assert_eq!(
        *what,
        json!(
            "default news=0%,sale=30% -> news=100%,sale=0%, group beta news=80%,sale=20% -> none"
        )
    );
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let (proxy, _backends) = start();
    for (flag, change, problem) in [
        (
            "theme",
            json!({ "default": "5%" }),
            "say which variant gets it, such as `sale=5%`",
        ),
        (
            "theme",
            json!({ "default": "red=5%" }),
            "no variant `red`, there are: plain, sale, news",
        ),
        (
            "theme",
            json!({ "default": { "plain": "5%" } }),
            "`plain` has the rest",
        ),
        (
            "theme",
            json!({ "default": "sale=60%,news=41%" }),
            "more than 100%",
        ),
        (
            "dark-mode",
            json!({ "groups": { "beta": { "on": "x" } } }),
            "`x` is not a percentage",
        ),
        (
            "dark-mode",
            json!({ "default": 5 }),
            "expected a text such as",
        ),
    ] {
        let refused = set(&proxy, flag, &change);
        assert_eq!(refused.status, 400, "{change}");
        assert!(refused.text().contains(problem), "{}", refused.text());
    }
}

#[test]
fn the_command_line_sets_shares_too() {
    let (proxy, _backends) = start();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(SERIN);
        let command = command.env("SERIN_ADMIN", format!("http://{}", proxy.admin()));
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    };
    let done = run(&[
        "flag",
        "weight",
        "theme",
        "sale=10%,news=5%",
        "-m",
        "spring",
    ]);
    assert!(
        done.contains("theme is on: plain (\"grey\") or sale (\"red\") or news (\"blue\")"),
        "{done}"
    );
    assert!(
        done.contains("weights: news 5%, sale 10%; beta news 80%, sale 20%"),
        "{done}"
    );
    let listed = run(&["flag", "list"]);
    let row = listed
        .lines()
        .find(|line| line.starts_with("dark-mode"))
        .unwrap();
    assert!(
        row.contains("off") && row.contains("on") && row.contains("beta 100%"),
        "{row}"
    );
}

#[test]
fn backends_are_told_what_routes_send() {
    let (proxy, [stable, canary]) = start();
    for (path, is_beta, backend, said) in [
        ("/", true, &canary, Some("shop=canary")),
        (
            "/told",
            true,
            &canary,
            Some("shop=canary, theme=red, dark-mode=on"),
        ),
        (
            "/told",
            false,
            &stable,
            Some("shop=stable, theme=red, dark-mode=off"),
        ),
        ("/plain", true, &stable, Some("dark-mode=on")),
        ("/plain", false, &stable, Some("dark-mode=off")),
        ("/silent", true, &stable, None),
    ] {
        let context = if is_beta {
            json!({ "targetingKey": "ann", "x-beta": 1 })
        } else {
            json!({ "targetingKey": "ann" })
        };
        let theme = told(&proxy, "theme", &context)["variant"].clone();
        let request = Request::get(path).field("x-user-id", "ann");
        let request = request.field("serin-flags", "dark-mode=forged");
        let request = if is_beta {
            request.field("x-beta", "1")
        } else {
            request
        };
        assert_eq!(proxy.ask(&request).status, 200);
        let said = said
            .map(|said| said.replace("theme=red", &format!("theme={}", theme.as_str().unwrap())));
        let seen = backend.last_head();
        assert_eq!(seen.field("serin-flags"), said.as_deref(), "{path}");
    }
}

#[test]
fn a_group_tells_what_each_variant_has_of_it() {
    let (proxy, _backends) = start();
    let group = proxy.command("GET", "/api/v1/groups/beta", "").json();
    let flags = json!({ "dark-mode": 100.0, "theme": 100.0, "shop": 100.0 });
    assert_eq!(group["flags"], flags);
    let splits = json!({ "theme": { "sale": 20.0, "news": 80.0 } });
    assert_eq!(group["splits"], splits);
    let mut command = Command::new(SERIN);
    let command = command.env("SERIN_ADMIN", format!("http://{}", proxy.admin()));
    let output = command.args(["group", "list"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = "beta   0         dark-mode 100%, shop 100%, theme (news 80%, sale 20%)";
    assert!(said.contains(line), "{said}");
}
