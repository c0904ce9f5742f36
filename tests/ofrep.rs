//! Flags for applications, by the OpenFeature Remote Evaluation Protocol: the same decisions as the proxy's.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use support::proxy::{SERIN, backends};
use support::{Answer, EventStream, Request, TestBackend, TestProxy};

const FLAGS: &str = "identity: [{ header: x-user-id }]\n\
    trusted_proxies: [127.0.0.1]\n\
    groups:\n  beta: { header: { x-beta: \"1\" } }\n  office: { ip: [192.0.2.0/24] }\n  \
    third: { percentage: 33% }\n\
    flags:\n  shop: { stable: v1, canary: v2, groups: { beta: 40%, third: 70% }, default: 10% }\n  \
    office: { stable: v1, canary: v2, groups: { office: 100% } }\n  \
    dark: { enabled: false, stable: v1, canary: v2, default: 100% }\n  \
    drawn: { stable: v1, canary: v2, stickiness: request, default: 50% }\n  \
    unleash: { stable: v1, canary: v2, hash: unleash, salt: Feature.flexibleRollout.10, default: 10% }\n  \
    growthbook: { stable: v1, canary: v2, hash: growthbook, salt: seed, groups: { third: 50% }, default: 10% }\n  \
    needy: { stable: v1, canary: v2, requires: [shop, { flag: mode, variant: on }], default: 80% }\n  \
    mode: { variants: { on: true, off: false }, off: off, hash: unleash, default: 60%, groups: { beta: 90% } }\n  \
    growthbook_v1: { stable: v1, canary: v2, hash: growthbook_v1, groups: { beta: 70% }, default: 30% }\n\
    routes: [{ flag: shop }, { path: /office, flag: office }, { path: /unleash, flag: unleash },\n  \
    { path: /growthbook, flag: growthbook }, { path: /needy, flag: needy }, { path: /growthbook_v1, flag: growthbook_v1 }]\n";

/// A flag and the path that it routes.
const ROUTED: [(&str, &str); 5] = [
    ("shop", "/"),
    ("unleash", "/unleash"),
    ("growthbook", "/growthbook"),
    ("needy", "/needy"),
    ("growthbook_v1", "/growthbook_v1"),
];

struct Edge {
    proxy: TestProxy,
    _backends: [TestBackend; 2],
}

fn start(admin: &str) -> Edge {
    let started = ["stable", "canary"].map(TestBackend::start);
    let config = backends(&[("v1", &started[0]), ("v2", &started[1])]) + FLAGS;
    Edge {
        proxy: TestProxy::with_admin(admin, &config, &[]),
        _backends: started,
    }
}

impl Edge {
    fn ask(&self, below: &str, body: &str, fields: &[(&str, &str)]) -> Answer {
        let path = format!("/ofrep/v1/evaluate/flags{below}");
        let mut request = Request::new("POST", &path).host(&self.proxy.admin().to_string());
        for (name, value) in fields {
            request = request.field(name, value);
        }
        let request = request.field("content-type", "application/json");
        request.body(body).send_to(self.proxy.admin())
    }

    fn one(&self, flag: &str, context: &Value) -> Value {
        let body = json!({ "context": context }).to_string();
        let answer = self.ask(&format!("/{flag}"), &body, &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

#[test]
fn the_answer_is_the_decision_of_the_proxy() {
    let edge = start("");
    let mut random = SmallRng::seed_from_u64(7);
    let mut seen = [[0; 2]; ROUTED.len()];
    for turn in 0..600 {
        let (flag, path) = ROUTED[turn % ROUTED.len()];
        let caller = format!("caller-{}", random.random_range(0..100_000));
        let is_beta: bool = random.random();
        let mut request = Request::get(path).field("x-user-id", &caller);
        let mut context = json!({ "targetingKey": caller, "plan": { "nested": true } });
        if is_beta {
            request = request.field("x-beta", "1");
            context["x-beta"] = json!(1);
        }
        let served = edge.proxy.ask(&request).text().to_owned();
        let told = edge.one(flag, &context);
        assert_eq!(told["value"], served, "{flag}: {context}");
        assert_eq!(
            (&told["variant"], &told["key"]),
            (&told["value"], &json!(flag))
        );
        let is_kept_out = told["metadata"]["rule"] == "prerequisite";
        let reason = if is_kept_out { "DEFAULT" } else { "SPLIT" };
        assert_eq!(told["reason"], reason);
        assert!(!is_kept_out || flag == "needy" && served == "stable");
        let met = ["shop", "mode"].map(|flag| edge.one(flag, &context)["variant"].clone());
        assert!(flag != "needy" || is_kept_out == (met != ["canary", "on"]));
        seen[turn % ROUTED.len()][usize::from(served == "canary")] += 1;
    }
    assert!(seen.as_flattened().iter().all(|seen| *seen > 5), "{seen:?}");
    // What is set, and who is assigned, decides here as there.
    let admin = |method, path: &str, body| edge.proxy.command(method, path, body).status;
    assert_eq!(admin("PUT", "/api/v1/groups/office/callers/ann", ""), 200);
    let context = json!({ "targetingKey": "ann" });
    assert_eq!(edge.one("office", &context)["value"], "canary");
    assert_eq!(
        edge.one("office", &json!({ "ip": "192.0.2.7" }))["value"],
        "canary"
    );
    assert_eq!(
        edge.one("office", &json!({ "ip": "192.0.3.7" }))["value"],
        "stable"
    );
    assert_eq!(
        admin("PATCH", "/api/v1/flags/office", r#"{"enabled": false}"#),
        200
    );
    let told = edge.one("office", &context);
    assert_eq!(
        (&told["value"], &told["reason"]),
        (&json!("stable"), &json!("DISABLED"))
    );
}

#[test]
fn what_is_explained_is_what_is_done() {
    let edge = start("");
    let config = edge.proxy.config_path();
    let mut rules = BTreeSet::new();
    for turn in 0..30 {
        let (flag, path) = ROUTED[turn % ROUTED.len()];
        let caller = format!("caller-{turn}");
        let request = Request::get(path).field("x-user-id", &caller);
        let served = edge.proxy.ask(&request).text().to_owned();
        let mut serin = Command::new(SERIN);
        let serin = serin.args(["explain", "--json", "--config"]).arg(&config);
        let output = serin
            .args(["-H", &format!("x-user-id: {caller}"), path])
            .output();
        let told: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        assert_eq!(told["flag"]["variant"], served, "{flag} {caller}: {told}");
        rules.insert(told["flag"]["reason"].to_string());
    }
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    assert_eq!(rules, [r#""default""#, r#""group""#, r#""prerequisite""#]);
}

#[test]
fn callers_of_other_systems_keep_their_variants() {
    let edge = start("");
    // Unleash's specification has these two on and off at 10 %, for their places are 10 and 32.
    for (caller, variant) in [("174", "canary"), ("499", "stable")] {
        let request = Request::get("/unleash").field("x-user-id", caller);
        assert_eq!(edge.proxy.ask(&request).text(), variant);
        let context = json!({ "targetingKey": caller });
        assert_eq!(edge.one("unleash", &context)["value"], variant);
    }
    // And GrowthBook has `a` at 5.05 % and `b` at 26.96 % of the seed `seed`; the flag gives canary to 10 %.
    let weight = r#"{"default": "5.05%", "groups": {"third": null}}"#;
    for (change, variant) in [("", "canary"), (weight, "stable")] {
        if !change.is_empty() {
            let path = "/api/v1/flags/growthbook";
            assert_eq!(edge.proxy.command("PATCH", path, change).status, 200);
        }
        let request = Request::get("/growthbook").field("x-user-id", "a");
        assert_eq!(edge.proxy.ask(&request).text(), variant);
    }
    let request = Request::get("/growthbook").field("x-user-id", "b");
    assert_eq!(edge.proxy.ask(&request).text(), "stable");
    let shown = edge.proxy.command("GET", "/api/v1/flags/growthbook", "");
    assert_eq!(shown.json()["hash"], "growthbook");
}

#[test]
fn what_cannot_be_evaluated_is_told_in_the_words_of_the_protocol() {
    let edge = start("");
    for (flag, body, status, code) in [
        ("shop", "{", 400, "PARSE_ERROR"),
        ("shop", "[]", 400, "PARSE_ERROR"),
        ("shop", r#"{"context": []}"#, 400, "INVALID_CONTEXT"),
        (
            "shop",
            r#"{"context": {"targetingKey": 7}}"#,
            400,
            "INVALID_CONTEXT",
        ),
        (
            "shop",
            r#"{"context": {"targetingKey": "a", "ip": "here"}}"#,
            400,
            "INVALID_CONTEXT",
        ),
        ("shop", "{}", 400, "TARGETING_KEY_MISSING"),
        ("shop", "", 400, "TARGETING_KEY_MISSING"),
        (
            "shp",
            r#"{"context": {"targetingKey": "a"}}"#,
            404,
            "FLAG_NOT_FOUND",
        ),
    ] {
        let answer = edge.ask(&format!("/{flag}"), body, &[]);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert_eq!(answer.field("content-type"), Some("application/json"));
        let told = answer.json();
        assert_eq!(
            (&told["errorCode"], &told["key"]),
            (&json!(code), &json!(flag))
        );
        assert!(told["errorDetails"].is_string());
    }
    let told = edge.ask("/needy", "{}", &[]).json();
    assert_eq!(told["errorCode"], "TARGETING_KEY_MISSING");
    // Where chance plays no part, nobody need be named; nor where it does for everybody.
    for flag in ["office", "dark", "drawn"] {
        assert_eq!(edge.ask(&format!("/{flag}"), "{}", &[]).status, 200);
    }
}

#[test]
fn all_come_at_once_and_only_if_they_have_changed() {
    let edge = start("");
    let body = r#"{"context": {"targetingKey": "ann"}}"#;
    let answer = edge.ask("", body, &[]);
    assert_eq!(answer.status, 200);
    let told = answer.json();
    let flags: Vec<_> = told["flags"].as_array().unwrap().iter().collect();
    let keys: Vec<_> = flags
        .iter()
        .map(|flag| flag["key"].as_str().unwrap())
        .collect();
    let others = ["unleash", "growthbook", "needy", "mode", "growthbook_v1"];
    assert_eq!(keys[..4], ["shop", "office", "dark", "drawn"]);
    assert_eq!(keys[4..], others);
    assert_eq!(
        *flags[0],
        edge.one("shop", &json!({ "targetingKey": "ann" }))
    );
    // One that cannot be evaluated does not keep the others.
    let told = edge.ask("", "{}", &[]).json();
    assert_eq!(told["flags"][0]["errorCode"], "TARGETING_KEY_MISSING");
    assert_eq!(told["flags"][1]["value"], "stable");

    let off = r#"{"enabled": false}"#;
    assert_eq!(
        edge.proxy
            .command("PATCH", "/api/v1/flags/drawn", off)
            .status,
        200
    );
    let tag = edge.ask("", body, &[]).field("etag").unwrap().to_owned();
    let again = edge.ask("", body, &[("if-none-match", &tag)]);
    assert_eq!((again.status, again.text()), (304, ""));
    assert_eq!(
        edge.proxy
            .command("PATCH", "/api/v1/flags/shop", off)
            .status,
        200
    );
    let changed = edge.ask("", body, &[("if-none-match", &tag)]);
    assert_eq!(changed.status, 200);
    assert_ne!(changed.field("etag"), Some(tag.as_str()));
    edge.ask("", "{", &[]).json()["errorCode"].as_str().unwrap();
}

#[test]
fn applications_are_told_when_to_ask_again() {
    let mut edge = start("");
    let body = r#"{"context": {"targetingKey": "ann"}}"#;
    let told = edge.ask("", body, &[]).json();
    let stream = &told["eventStreams"][0];
    assert_eq!(stream["type"], "sse");
    assert_eq!(stream["inactivityDelaySec"], 120);
    let path = stream["endpoint"]["requestUri"]
        .as_str()
        .unwrap()
        .to_owned();
    let admin = edge.proxy.admin();
    let mut events = EventStream::open(admin, &path, "");
    let first = events.next().unwrap();
    assert_eq!(first.name, "message");
    assert_eq!(first.data["type"], "refetchEvaluation");
    assert!(first.data["lastModified"].is_u64());
    let id = first.id.unwrap();
    assert_eq!(first.data["etag"], format!("\"{id}\""));
    let mut ids = vec![id];
    // Weights, and who is in which group: both decide.
    for (method, path, said) in [
        ("PATCH", "/api/v1/flags/shop", r#"{"default": "20%"}"#),
        ("PUT", "/api/v1/groups/beta/callers/ann", ""),
        ("DELETE", "/api/v1/groups/beta/callers/ann", ""),
    ] {
        let status = edge.proxy.command(method, path, said).status;
        assert!((200..300).contains(&status), "{path}: {status}");
        let event = events.find("message", |data| data["type"] == "refetchEvaluation");
        let id = event.id.unwrap();
        assert!(!ids.contains(&id), "{path}");
        ids.push(id);
    }
    // Who comes back and has missed nothing is told of the next change only.
    let seen = format!("last-event-id: {}\r\n", ids[3]);
    let mut back = EventStream::open(admin, &path, &seen);
    let off = r#"{"enabled": false}"#;
    assert_eq!(
        edge.proxy
            .command("PATCH", "/api/v1/flags/shop", off)
            .status,
        200
    );
    let (one, other) = (events.next().unwrap().id, back.next().unwrap().id);
    assert_eq!(one, other);
    assert!(!ids.contains(&one.unwrap()));
    edge.proxy.terminate();
    assert_eq!((events.next(), back.next()), (None, None));
    assert!(edge.proxy.wait().success());
}

#[test]
fn whoever_may_look_may_evaluate() {
    let token = "a-token-of-more-than-thirty-two-characters";
    let edge = start(&format!(
        "tokens: [{{ name: app, role: viewer, token: {token} }}]"
    ));
    let body = r#"{"context": {"targetingKey": "ann"}}"#;
    assert_eq!(edge.ask("/shop", body, &[]).status, 401);
    let answer = edge.ask("/shop", body, &[("x-api-key", token)]);
    assert_eq!(answer.status, 200);
    for fields in [
        &[("x-api-key", "another-one")][..],
        &[("x-api-key", token), ("x-api-key", token)],
        &[
            ("authorization", "Bearer another-one"),
            ("x-api-key", token),
        ],
    ] {
        assert_eq!(edge.ask("/shop", body, fields).status, 401, "{fields:?}");
    }
    // It is for evaluating, and opens nothing else.
    let status = Request::get("/api/v1/status").host(&edge.proxy.admin().to_string());
    let status = status.field("x-api-key", token).send_to(edge.proxy.admin());
    let explain = Request::new("POST", "/api/v1/explain")
        .host(&edge.proxy.admin().to_string())
        .body("{}");
    let explain = explain
        .field("x-api-key", token)
        .send_to(edge.proxy.admin());
    assert_eq!(explain.status, 401);
    assert_eq!(status.status, 401);
    let bearer = format!("Bearer {token}");
    assert_eq!(
        edge.ask("/shop", body, &[("authorization", &bearer)])
            .status,
        200
    );
}
