//! Apps of third parties: registered, reviewed, routed by what they are, limited, and known by keys of which
//! nothing is kept but a hash.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::cell::Cell;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use serin::runtime::key_hash::KeyHash;
use support::disk::SmallDisk;
use support::proxy::replace_file;
use support::{
    Answer, Connection, Edge, Request, SOON, TestBackend, TestProxy, wait_for, wait_until,
};

const SHOP: &str = "identity: [{ api_key: { header: x-api-key } }]\n\
    apps: { require_approved: true }\n\
    groups: { gold: { app: { tier: gold } } }\n\
    flags:\n  shop: { stable: v1, canary: v2, groups: { gold: 100% }, default: 0% }\n\
    routes: [{ flag: shop }, { path: /open, flag: shop, public: true }]\n";

fn request(key: &str) -> Request {
    Request::get("/").field("x-api-key", key)
}

fn ask(edge: &Edge, key: &str) -> Answer {
    edge.proxy.ask(&request(key))
}

/// Who answers, or the status.
fn served(edge: &Edge, key: &str) -> String {
    let answer = ask(edge, key);
    match answer.status {
        200 => answer.text().to_owned(),
        status => status.to_string(),
    }
}

fn put(edge: &Edge, app: &str, said: &Value) -> Answer {
    edge.admin("PUT", &format!("/api/v1/apps/{app}"), &said.to_string())
}

/// Registers an app; gives its key.
fn register(edge: &Edge, app: &str, said: &Value) -> String {
    let answer = put(edge, app, said);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    answer.json()["key"].as_str().unwrap().to_owned()
}

fn order(edge: &Edge, app: &str, verb: &str, said: &Value) -> Answer {
    let path = format!("/api/v1/apps/{app}/{verb}");
    edge.admin("POST", &path, &said.to_string())
}

#[track_caller]
fn done(edge: &Edge, app: &str, verb: &str) {
    let answer = order(edge, app, verb, &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn show(edge: &Edge, app: &str) -> Value {
    let answer = edge.admin("GET", &format!("/api/v1/apps/{app}"), "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn refused(edge: &Edge, reason: &str) -> u64 {
    let metrics = edge.proxy.metrics();
    metrics.count("serin_admission_refusals_total", &[("reason", reason)])
}

#[test]
fn an_app_passes_once_it_is_approved_and_no_more_once_it_is_not() {
    let edge = Edge::start(SHOP);
    let none = edge.proxy.get("/");
    none.problem(401);
    assert_eq!(
        none.field("www-authenticate"),
        Some("ApiKey realm=\"serin\"")
    );
    ask(&edge, "srn_nobody").problem(401);

    let gold = register(
        &edge,
        "weather",
        &json!({ "attributes": { "tier": "gold" } }),
    );
    let plain = register(&edge, "maps", &json!({ "owner": "acme" }));
    let told = ask(&edge, &gold).problem(403)["detail"].clone();
    assert!(told.as_str().unwrap().contains("pending"), "{told}");
    // The same connection, which is kept: what an operator says holds for its next request.
    let mut kept = Connection::open(edge.proxy.address());
    assert_eq!(kept.ask(&request(&gold)).status, 403);
    for app in ["weather", "maps"] {
        done(&edge, app, "approve");
    }
    assert_eq!(kept.ask(&request(&gold)).text(), "v2");
    assert_eq!(served(&edge, &plain), "v1");
    done(&edge, "weather", "suspend");
    let told = kept.ask(&request(&gold)).problem(403)["detail"].clone();
    assert!(told.as_str().unwrap().contains("suspended"), "{told}");
    done(&edge, "weather", "approve");
    assert_eq!(kept.ask(&request(&gold)).text(), "v2");
    done(&edge, "weather", "revoke");
    kept.ask(&request(&gold)).problem(403);
    // That is for good.
    order(&edge, "weather", "approve", &json!({})).problem(409);
    assert_eq!(served(&edge, &plain), "v1");

    let reasons = ["no_key", "unknown_key", "pending", "suspended", "revoked"];
    let counts = reasons.map(|reason| refused(&edge, reason));
    assert_eq!(counts, [1, 1, 2, 1, 1]);
    // What was not let in is counted under no variant, and is no arm's request.
    let metrics = edge.proxy.metrics();
    let of = |variant, code| {
        let labels = [("variant", variant), ("code", code)];
        metrics.count("serin_requests_total", &labels)
    };
    assert_eq!((of("", "401"), of("", "403")), (2, 4));
    assert_eq!((of("stable", "200"), of("canary", "200")), (2, 2));
    let by_client = metrics.count("serin_outcomes_total", &[("fault", "client")]);
    assert_eq!(by_client, 0);
}

#[test]
fn an_app_that_may_not_pass_gets_no_canary_where_everybody_does() {
    let edge = Edge::start(SHOP);
    let key = register(
        &edge,
        "weather",
        &json!({ "attributes": { "tier": "gold" } }),
    );
    let open = Request::get("/open").field("x-api-key", &key);
    let evaluated = || {
        let said = json!({ "context": { "targetingKey": "weather" } }).to_string();
        let path = "/ofrep/v1/evaluate/flags/shop";
        edge.admin("POST", path, &said).json()["variant"].clone()
    };
    // It is of the tier, which nobody has looked at yet.
    assert_eq!(edge.proxy.ask(&open).text(), "v1");
    assert_eq!(evaluated(), "stable");
    done(&edge, "weather", "approve");
    assert_eq!(edge.proxy.ask(&open).text(), "v2");
    assert_eq!(evaluated(), "canary");
    assert_eq!(
        edge.proxy.get("/open").text(),
        "v1",
        "nobody need have a key"
    );
    done(&edge, "weather", "revoke");
    assert_eq!(edge.proxy.ask(&open).text(), "v1");
    assert_eq!(evaluated(), "stable");
}

#[test]
fn over_ofrep_a_user_is_not_taken_for_the_app_whose_id_is_its_key() {
    let evaluated = |edge: &Edge, context: Value| {
        let said = json!({ "context": context }).to_string();
        let answer = edge.admin("POST", "/ofrep/v1/evaluate/flags/shop", &said);
        answer.json()["variant"].clone()
    };
    let tier = json!({ "attributes": { "tier": "gold" } });
    let (user, app) = (
        json!({ "targetingKey": "weather" }),
        json!({ "serin-app": "weather" }),
    );
    let user_of_app = json!({ "targetingKey": "ann", "serin-app": "weather" });
    for (identity, of_key) in [
        ("[{ api_key: { header: x-api-key } }]", "canary"),
        (
            "[{ api_key: { header: x-api-key } }, { cookie: user }]",
            "stable",
        ),
    ] {
        let with_users = SHOP.replace("[{ api_key: { header: x-api-key } }]", identity);
        let edge = Edge::start(&with_users);
        register(&edge, "weather", &tier);
        assert_eq!(evaluated(&edge, app.clone()), "stable", "it is pending");
        done(&edge, "weather", "approve");
        assert_eq!(evaluated(&edge, user.clone()), of_key, "{identity}");
        assert_eq!(evaluated(&edge, app.clone()), "canary");
        assert_eq!(evaluated(&edge, user_of_app.clone()), "canary");
        assert_eq!(evaluated(&edge, json!({ "serin-app": "maps" })), "stable");
        done(&edge, "weather", "suspend");
        assert_eq!(evaluated(&edge, user_of_app.clone()), "stable");
    }
}

#[test]
fn without_review_whoever_is_barred_is_refused_all_the_same() {
    let lenient = SHOP.replace("require_approved: true", "require_approved: false");
    let edge = Edge::start(&lenient);
    let key = register(
        &edge,
        "weather",
        &json!({ "attributes": { "tier": "gold" } }),
    );
    assert_eq!(served(&edge, &key), "v2");
    assert_eq!(edge.proxy.get("/").text(), "v1");
    assert_eq!(served(&edge, "srn_nobody"), "v1");
    for verb in ["suspend", "revoke"] {
        done(&edge, "weather", verb);
        ask(&edge, &key).problem(403);
    }
}

#[test]
fn a_key_is_rotated_with_an_overlap_and_its_app_stays_the_same_caller() {
    // Half of all, so that another caller's key would be likely to be somewhere else.
    let half = SHOP
        .replace("default: 0%", "default: 50%")
        .replace("gold: 100%", "gold: 50%");
    let edge = Edge::start(&half);
    let keys: Vec<_> = (0..8)
        .map(|number| {
            let app = format!("app-{number}");
            let key = register(&edge, &app, &json!({}));
            done(&edge, &app, "approve");
            let said = json!({ "expire_old": "700ms", "key_name": "second" });
            let answer = order(&edge, &app, "rotate-key", &said);
            assert_eq!(answer.status, 200, "{}", answer.text());
            (key, answer.json()["key"].as_str().unwrap().to_owned())
        })
        .collect();
    let by_new: Vec<_> = keys.iter().map(|(_, new)| served(&edge, new)).collect();
    assert!(by_new.contains(&"v1".to_owned()) && by_new.contains(&"v2".to_owned()));
    wait_until("the old keys end", SOON, || {
        keys.iter().all(|(old, _)| served(&edge, old) == "401")
    });
    assert!(refused(&edge, "expired_key") >= 8);
    let still: Vec<_> = keys.iter().map(|(_, new)| served(&edge, new)).collect();
    assert_eq!(still, by_new);

    // While both hold they are one caller.
    for (number, (_, key)) in keys.iter().enumerate() {
        let answer = order(&edge, &format!("app-{number}"), "rotate-key", &json!({}));
        let newest = answer.json()["key"].as_str().unwrap().to_owned();
        assert_eq!(served(&edge, key), served(&edge, &newest));
    }
    let shown = show(&edge, "app-0");
    assert_eq!(shown["keys"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["keys"][0]["name"], "second");
    assert!(shown["keys"][0].get("expires_unix_ms").is_none());
}

#[test]
fn what_was_done_outlives_the_process() {
    let mut edge = Edge::start(SHOP);
    let [good, bad, gone] = ["good", "bad", "gone"].map(|app| {
        let key = register(&edge, app, &json!({ "attributes": { "tier": "gold" } }));
        done(&edge, app, "approve");
        key
    });
    let said = json!({ "expire_old": "0s" });
    let newest = order(&edge, "good", "rotate-key", &said).json();
    let newest = newest["key"].as_str().unwrap();
    done(&edge, "bad", "suspend");
    let deleted = edge.admin("DELETE", "/api/v1/apps/gone", "");
    assert_eq!(deleted.status, 204);
    let seen = |edge: &Edge| [&good, newest, &bad, &gone].map(|key| served(edge, key));
    let before = seen(&edge);
    assert_eq!(before, ["401", "v2", "403", "401"]);
    let (one, two) = (show(&edge, "good"), show(&edge, "bad"));
    edge.restart();
    assert_eq!(seen(&edge), before);
    assert_eq!((show(&edge, "good"), show(&edge, "bad")), (one, two));
    edge.admin("GET", "/api/v1/apps/gone", "").problem(404);
}

#[test]
fn a_full_disk_keeps_no_app_in() {
    let disk = Cell::new(None);
    let mut edge = Edge::prepare(SHOP, |state| disk.set(Some(SmallDisk::mount(state))));
    let disk = disk.take().unwrap();
    let key = register(&edge, "weather", &json!({}));
    done(&edge, "weather", "approve");
    assert_eq!(served(&edge, &key), "v1");
    disk.fill();
    let mut n = 0;
    wait_for("that it is full", SOON, || {
        n += 1;
        let answer = put(&edge, &format!("app-{n}"), &json!({}));
        (answer.status == 503).then_some(())
    });
    // Nobody is let in who was not, and whoever is to be kept out is: there is room left for that.
    let approved = order(&edge, "weather", "approve", &json!({}));
    assert_eq!(approved.status, 200, "it was already");
    let revoked = order(&edge, "weather", "revoke", &json!({}));
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(served(&edge, &key), "403");
    // The log tells what was done, and nothing that was not.
    edge.proxy.wait_for_log("approved -> revoked", SOON);
    let log = edge.proxy.log();
    let refused = format!("app=app-{n} ");
    assert!(
        log.contains("app=weather ") && !log.contains(&refused),
        "{log}"
    );
    disk.clear();
    edge.restart();
    assert_eq!(served(&edge, &key), "403");
}

#[test]
fn apps_are_listed_part_by_part() {
    let edge = Edge::start(SHOP);
    register(
        &edge,
        "weather",
        &json!({ "name": "Weather", "owner": "acme" }),
    );
    for app in ["b", "a"] {
        register(&edge, app, &json!({}));
    }
    done(&edge, "weather", "approve");
    let list = |query: &str| {
        let answer = edge
            .admin("GET", &format!("/api/v1/apps?{query}"), "")
            .json();
        let apps = answer["apps"].as_array().unwrap().clone();
        let ids: Vec<_> = apps
            .iter()
            .map(|app| app["app"].as_str().unwrap().to_owned())
            .collect();
        (
            ids.join(" "),
            answer["next"].clone(),
            answer["total"].clone(),
        )
    };
    assert_eq!(list(""), ("a b weather".to_owned(), Value::Null, json!(3)));
    assert_eq!(list("limit=2"), ("a b".to_owned(), json!("b"), json!(3)));
    assert_eq!(list("after=b").0, "weather");
    assert_eq!(list("status=pending").0, "a b");
    edge.admin("GET", "/api/v1/apps?status=new", "")
        .problem(400);
}

#[test]
fn an_app_is_defined_anew_by_who_knows_its_version() {
    let edge = Edge::start(SHOP);
    let key = register(&edge, "weather", &json!({ "owner": "acme" }));
    done(&edge, "weather", "approve");
    put(&edge, "weather", &json!({})).problem(409);
    let version = show(&edge, "weather")["version"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = ("PUT", "/api/v1/apps/weather");
    let said = json!({ "attributes": { "tier": "gold" } }).to_string();
    let tag = format!("\"{version}\"");
    assert_eq!(served(&edge, &key), "v1");
    let changed = edge.admin_with(path, ("if-match", &tag), &said);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert!(changed.json().get("key").is_none(), "it has one");
    assert_eq!(served(&edge, &key), "v2");
    edge.admin_with(path, ("if-match", &tag), &said)
        .problem(412);
    let known = edge.admin_with(
        ("GET", path.1),
        ("if-none-match", changed.field("etag").unwrap()),
        "",
    );
    assert_eq!(known.status, 304);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let edge = Edge::start(SHOP);
    register(&edge, "weather", &json!({}));
    for said in [
        json!({ "attributes": { "status": "approved" } }),
        json!({ "rate_limit": { "requests_per_second": 0 } }),
        json!({ "owner": "a\nb" }),
        json!({ "tier": "gold" }),
    ] {
        put(&edge, "other", &said).problem(400);
    }
    for (verb, said) in [
        ("approve", json!({ "expire_old": "1h" })),
        ("rotate-key", json!({ "expires_in": "soon" })),
    ] {
        order(&edge, "weather", verb, &said).problem(400);
    }
    order(&edge, "weather", "ban", &json!({})).problem(404);
    order(&edge, "nobody", "approve", &json!({})).problem(404);
}

#[test]
fn a_limit_is_kept_and_told() {
    let edge = Edge::start(SHOP);
    let limit = json!({ "rate_limit": { "requests_per_second": 1, "burst": 3 } });
    let limited = register(&edge, "limited", &limit);
    let free = register(&edge, "free", &json!({}));
    for app in ["limited", "free"] {
        done(&edge, app, "approve");
    }
    // Several connections, which several workers serve.
    let answers: Vec<_> = (0..12).map(|_| ask(&edge, &limited)).collect();
    let (passed, held): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!((3..12).contains(&passed.len()), "{}", passed.len());
    for answer in &held {
        answer.problem(429);
        assert_eq!(answer.field("retry-after"), Some("1"));
    }
    assert_eq!(refused(&edge, "rate_limited"), held.len() as u64);
    assert!((0..12).all(|_| served(&edge, &free) == "v1"));
    wait_until("it may ask again", SOON, || served(&edge, &limited) == "v1");
}

/// Starts with `apps.yaml` beside the configuration.
fn with_apps(apps: &str) -> Edge {
    let shop = SHOP.replace("apps: {", "apps: { file: apps.yaml,");
    Edge::prepare(&shop, |state| {
        fs::write(state.with_file_name("apps.yaml"), apps).unwrap();
    })
}

fn declared(app: &str, key: &str, more: &str) -> String {
    let digest = KeyHash::of(key).digest();
    format!("{app}: {{ keys: [{{ sha256: {digest} }}], {more} }}\n")
}

fn reloads(edge: &Edge, result: &str) -> u64 {
    let metrics = edge.proxy.metrics();
    metrics.count("serin_config_reloads_total", &[("result", result)])
}

/// Puts other apps in place; nobody tells the process.
fn bring_apps(edge: &Edge, apps: &str, result: &str) {
    let before = reloads(edge, result);
    replace_file(&edge.folder().join("apps.yaml"), apps);
    wait_until("it is seen", SOON, || reloads(edge, result) > before);
}

#[test]
fn a_file_of_apps_is_read_again_and_what_was_done_holds_until_its_own_word_changes() {
    let (approved, gold) = ("status: approved", "status: approved, tier: gold");
    let both = declared("one", "key-1", gold) + &declared("two", "key-2", approved);
    let mut edge = with_apps(&both);
    let seen = |edge: &Edge| ["key-1", "key-2", "key-3"].map(|key| served(edge, key));
    assert_eq!(seen(&edge), ["v2", "v1", "401"]);
    done(&edge, "one", "suspend");
    let added = order(&edge, "two", "rotate-key", &json!({ "expire_old": "0s" })).json();
    let added = added["key"].as_str().unwrap().to_owned();
    assert_eq!(seen(&edge), ["403", "401", "401"]);
    assert_eq!(served(&edge, &added), "v1");

    let more = both.clone() + &declared("three", "key-3", gold);
    bring_apps(&edge, &more, "taken");
    assert_eq!(seen(&edge), ["403", "401", "v2"]);
    edge.restart();
    assert_eq!(seen(&edge), ["403", "401", "v2"]);
    assert_eq!(served(&edge, &added), "v1");
    assert_eq!(show(&edge, "one")["is_overridden"], true);

    // A file's own word is another now, so it counts; the app that has gone passes no more.
    let changed = declared("one", "key-1", "status: pending") + &declared("two", "key-2", gold);
    bring_apps(&edge, &changed, "taken");
    assert_eq!(seen(&edge), ["403", "401", "401"]);
    let one = show(&edge, "one");
    assert_eq!(
        (&one["status"], &one["is_overridden"]),
        (&json!("pending"), &json!(false))
    );
    assert_eq!(served(&edge, &added), "v2", "a key that was added stays");
    let line = edge.journal("app=one")[0].clone();
    assert_eq!(
        (&line["who"], &line["what"]),
        (&json!("configuration"), &json!("suspended -> pending"))
    );
    edge.admin("DELETE", "/api/v1/apps/one", "").problem(409);
}

#[test]
fn what_was_taken_away_at_run_time_does_not_come_back_with_the_file() {
    let app = |key: &str, status: &str| declared("one", key, &format!("status: {status}"));
    let other = declared("two", "key-2", "status: approved");
    let both = |key: &str, status: &str| app(key, status) + &other;
    let mut edge = with_apps(&both("key-1", "approved"));
    let rotated = order(&edge, "two", "rotate-key", &json!({ "expire_old": "0s" }));
    let second = rotated.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(served(&edge, "key-2"), "401");
    done(&edge, "one", "revoke");
    for status in ["suspended", "approved", "revoked", "approved"] {
        bring_apps(&edge, &both("key-1", status), "taken");
        assert_eq!(served(&edge, "key-1"), "403", "{status}");
    }
    // The entries go, and come back.
    let without = declared("two", "key-3", "status: approved");
    bring_apps(&edge, &without, "taken");
    let seen = |edge: &Edge| ["key-1", "key-2", "key-3", &second].map(|key| served(edge, key));
    assert_eq!(seen(&edge), ["401", "401", "v1", "v1"]);
    put(&edge, "one", &json!({})).problem(409);
    edge.restart();
    bring_apps(&edge, &both("key-1", "approved"), "taken");
    assert_eq!(seen(&edge), ["403", "401", "401", "v1"]);
    order(&edge, "one", "approve", &json!({})).problem(409);
    // What only the file has taken away, it gives back.
    let suspended = app("key-1", "approved") + &declared("two", "key-3", "status: revoked");
    bring_apps(&edge, &suspended, "taken");
    assert_eq!(seen(&edge)[2..], ["403", "403"]);
    bring_apps(&edge, &(app("key-1", "approved") + &without), "taken");
    assert_eq!(seen(&edge), ["403", "401", "v1", "v1"]);
}

#[test]
fn one_key_for_two_apps_is_refused_wherever_they_are_declared() {
    let digest = KeyHash::of("key-1").digest();
    let listed = format!(
        "apps: {{ list: {{ zero: {{ keys: [{{ sha256: {digest} }}] }} }}, file: apps.yaml,"
    );
    let shop = SHOP.replace("apps: {", &listed);
    let edge = Edge::prepare(&shop, |state| {
        let other = declared("one", "key-2", "status: approved");
        fs::write(state.with_file_name("apps.yaml"), other).unwrap();
    });
    assert_eq!(served(&edge, "key-1"), "403", "it is pending");
    let both = declared("one", "key-1", "status: approved");
    bring_apps(&edge, &both, "refused");
    let status = edge.admin("GET", "/api/v1/status", "").json();
    let problems = status["reload"]["problems"].to_string();
    for place in [
        "apps.yaml:1:25: one.keys[0].sha256: this key is app `zero`'s already",
        "at `apps.list.zero.keys[0]`",
    ] {
        assert!(problems.contains(place), "{problems}");
    }
    assert_eq!(served(&edge, "key-1"), "403");
    assert_eq!(served(&edge, "key-2"), "v1");
}

#[test]
fn no_file_lets_a_key_in_again_that_was_revoked_under_another_name() {
    let mut edge = with_apps("");
    let [bad, good] = ["bad", "good"].map(|app| {
        let key = register(&edge, app, &json!({}));
        done(&edge, app, "approve");
        key
    });
    done(&edge, "bad", "revoke");
    let again = declared("again", &bad, "status: approved");
    let moved = declared("moved", &good, "status: approved");
    bring_apps(&edge, &(again + &moved), "taken");
    let seen = |edge: &Edge| [&bad, &good].map(|key| served(edge, key));
    assert_eq!(seen(&edge), ["403", "v1"]);
    assert!(
        edge.proxy
            .log()
            .contains("a key that another was given at run time")
    );
    edge.restart();
    assert_eq!(seen(&edge), ["403", "v1"]);
    done(&edge, "moved", "suspend");
    assert_eq!(seen(&edge), ["403", "403"]);
    // Once the revoked app is gone, the key is the other's alone.
    assert_eq!(edge.admin("DELETE", "/api/v1/apps/bad", "").status, 204);
    assert_eq!(seen(&edge), ["v1", "403"]);
}

#[test]
fn a_bad_file_of_apps_is_refused_with_its_place() {
    let good = declared("one", "key-1", "status: approved");
    let edge = with_apps(&good);
    for (bad, said) in [
        (
            "one:\n  status: aproved\n",
            "apps.yaml:2:11: one.status: unknown value `aproved`",
        ),
        (
            "one:\n  keys: [{ sha256: hunter2 }]\n",
            "apps.yaml:2:20: one.keys[0].sha256: is not a SHA-256",
        ),
        ("one: {\n", "apps.yaml:2:1: not valid YAML"),
        (
            &(good.clone() + &declared("two", "key-1", "")),
            "this key is app `one`'s already",
        ),
        (
            "one: { attributes: { id: x } }\n",
            "`id` is what every app has",
        ),
        (
            "one: { rate_limit: { burst: 3 } }\n",
            "`requests_per_second` is missing",
        ),
    ] {
        bring_apps(&edge, bad, "refused");
        let status = edge.admin("GET", "/api/v1/status", "").json();
        let problems = status["reload"]["problems"].to_string();
        assert!(problems.contains(said), "{problems}");
        assert!(problems.contains("serin.yaml:"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
        assert_eq!(served(&edge, "key-1"), "v1", "the one before goes on");
    }
}

/// Whether some file below a folder holds a text.
fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => holds(&path, text),
            false => {
                let bytes = fs::read(&path).unwrap();
                bytes
                    .windows(text.len())
                    .any(|part| part == text.as_bytes())
            }
        }
    })
}

#[test]
fn a_key_is_shown_once_and_kept_nowhere() {
    let with_query = SHOP.replace(
        "{ api_key: { header: x-api-key } }",
        "{ api_key: { header: x-api-key } }, { api_key: { query: api_key } }",
    );
    let rest = format!("access_log: {{ path: access.log, query: true }}\n{with_query}");
    let mut edge = Edge::start(&rest);
    let key = register(&edge, "weather", &json!({}));
    assert!(key.starts_with("srn_"), "{key}");
    done(&edge, "weather", "approve");
    assert_eq!(served(&edge, &key), "v1");
    let by_query = Request::get(&format!("/?a=1&api_key={key}&b=2"));
    assert_eq!(edge.proxy.ask(&by_query).text(), "v1");
    let log = edge.folder().join("access.log");
    wait_until("it is logged", SOON, || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("/?a=1&b=2"))
    });
    let explained = edge.run(&["explain", "--live", "/", "-H", &format!("x-api-key: {key}")]);
    assert!(explained.contains("weather, approved"), "{explained}");
    let mut seen = vec![explained];
    for path in [
        "/api/v1/apps",
        "/api/v1/apps/weather",
        "/api/v1/config",
        "/api/v1/journal",
        "/metrics",
    ] {
        seen.push(edge.admin("GET", path, "").text().to_owned());
    }
    edge.restart();
    assert_eq!(served(&edge, &key), "v1");
    seen.push(edge.proxy.log());
    let found: Vec<_> = seen.iter().filter(|text| text.contains(&key)).collect();
    assert!(found.is_empty(), "{found:?}");
    edge.proxy.kill();
    let bare = key.trim_start_matches("srn_");
    assert!(!holds(edge.folder(), bare));
    assert!(
        holds(edge.folder(), "weather"),
        "it is looked for where it would be"
    );
}

#[test]
fn the_backend_is_told_the_app_and_not_its_key_unless_it_is_to() {
    let upstream = TestBackend::start("v1");
    for (forward, shown) in [("", None), (", forward: true", Some("hunter2"))] {
        let digest = KeyHash::of("hunter2").digest();
        let proxy = TestProxy::start(&format!(
            "identity: [{{ api_key: {{ header: x-api-key{forward} }} }}]\n\
             apps: {{ list: {{ weather: {{ keys: [{{ sha256: {digest} }}] }} }} }}\n\
             backends: {{ a: \"{}\" }}\nroutes: [{{ backend: a }}]\n",
            upstream.url()
        ));
        let forged = request("hunter2").field("serin-app", "admin");
        assert_eq!(proxy.ask(&forged).status, 200);
        let seen = upstream.last_head();
        assert_eq!(seen.field("serin-app"), Some("weather"));
        assert_eq!(seen.field("x-api-key"), shown);
        assert_eq!(
            proxy
                .ask(&Request::get("/").field("serin-app", "admin"))
                .status,
            200
        );
        assert_eq!(upstream.last_head().field("serin-app"), None);
    }
}

#[test]
fn the_backend_is_told_of_no_app_that_may_not_pass() {
    let upstream = TestBackend::start("v1");
    let of_status = |status: &str| declared(status, status, &format!("status: {status}"));
    let ended = format!(
        "ended: {{ status: approved, keys: [{{ sha256: {}, expires: 2020-01-01T00:00:00Z }}] }}\n",
        KeyHash::of("ended").digest()
    );
    let apps = ["pending", "approved", "suspended", "revoked"].map(of_status);
    let apps = apps.concat() + &ended;
    let listed = apps.lines().map(|app| format!("    {app}\n"));
    let listed: String = listed.collect();
    for (require_approved, is_pending_told) in [(true, false), (false, true)] {
        let proxy = TestProxy::start(&format!(
            "identity: [{{ api_key: {{ header: x-api-key }} }}]\n\
             apps:\n  require_approved: {require_approved}\n  list:\n{listed}\
             backends: {{ a: \"{}\" }}\nroutes: [{{ backend: a, public: true }}]\n",
            upstream.url()
        ));
        let told = |key: &str| {
            assert_eq!(proxy.ask(&request(key)).status, 200, "it is public");
            let head = upstream.last_head();
            head.field("serin-app").map(str::to_owned)
        };
        assert_eq!(told("approved").as_deref(), Some("approved"));
        let pending = is_pending_told.then_some("pending");
        assert_eq!(told("pending").as_deref(), pending);
        for key in ["suspended", "revoked", "ended", "unknown"] {
            assert_eq!(told(key), None, "{key}");
        }
    }
}

#[test]
fn a_viewer_may_look_and_change_nothing() {
    let upstream = TestBackend::start("v1");
    let tokens = "tokens: [{ name: wall, role: viewer, token: a-viewers-own-token }, \
        { name: ops, role: operator, token: an-operators-token }]";
    let config = format!(
        "backends: {{ a: \"{}\" }}\nroutes: [{{ backend: a }}]\n",
        upstream.url()
    );
    let proxy = TestProxy::with_admin(tokens, &config, &[]);
    let host = proxy.admin().to_string();
    let send = |token: &str, method: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        let request = Request::new(method, path).host(&host);
        request
            .field("authorization", &bearer)
            .body("{}")
            .send_to(proxy.admin())
            .status
    };
    let app = "/api/v1/apps/weather";
    assert_eq!(send("an-operators-token", "PUT", app), 201);
    for (method, path) in [
        ("PUT", "/api/v1/apps/other".to_owned()),
        ("POST", format!("{app}/approve")),
        ("POST", format!("{app}/rotate-key")),
        ("DELETE", app.to_owned()),
    ] {
        assert_eq!(
            send("a-viewers-own-token", method, &path),
            403,
            "{method} {path}"
        );
    }
    assert_eq!(send("a-viewers-own-token", "GET", app), 200);
    assert_eq!(send("an-operators-token", "DELETE", app), 204);
}

#[test]
fn the_command_line_reviews_apps_and_gives_them_keys() {
    let edge = Edge::start(SHOP);
    let registered = [
        "app", "register", "weather", "--owner", "acme", "--tier", "gold",
    ];
    let key = edge.run(&registered).trim().to_owned();
    assert_eq!(served(&edge, &key), "403");
    let approved = edge.run(&["app", "approve", "weather"]);
    assert_eq!(approved, "weather is approved\n");
    assert_eq!(served(&edge, &key), "v2");
    let rotate = ["app", "rotate-key", "weather", "--key-name", "new"];
    let second = edge.run(&rotate).trim().to_owned();
    let seen = [&key, &second].map(|key| served(&edge, key));
    assert_eq!(seen, ["v2", "v2"]);
    let listed = edge.run(&["app", "list", "--status", "approved"]);
    assert!(
        listed.contains("weather  approved  gold  acme   2"),
        "{listed}"
    );
    let shown = edge.run(&["app", "show", "weather"]);
    assert!(
        shown.contains("`new`") && shown.contains("tier        gold"),
        "{shown}"
    );
    // Nobody can be asked here.
    let revoke = edge.cli(&["app", "revoke", "weather"]);
    assert_eq!(revoke.status.code(), Some(2));
    assert_eq!(served(&edge, &second), "v2");
    edge.run(&["app", "revoke", "weather", "--yes"]);
    assert_eq!(served(&edge, &second), "403");
    edge.run(&["app", "delete", "weather", "--yes"]);
    assert_eq!(served(&edge, &second), "401");
    assert!(edge.run(&["app", "list"]).contains("no such apps"));
}

#[test]
fn the_journal_says_who_did_what_and_why() {
    let edge = Edge::start(SHOP);
    let register = [
        "app", "register", "weather", "--owner", "acme", "-m", "asked",
    ];
    let key = edge.run(&register).trim().to_owned();
    edge.run(&["app", "approve", "weather", "-m", "looks fine"]);
    let rotate = ["app", "rotate-key", "weather", "--expire-old", "24h"];
    let second = edge.run(&rotate).trim().to_owned();
    for verb in ["suspend", "suspend"] {
        edge.run(&["app", verb, "weather"]);
    }
    edge.run(&["app", "revoke", "weather", "--yes", "-m", "leaked"]);
    edge.run(&["app", "delete", "weather", "--yes"]);

    let told = |line: &Value| {
        assert_eq!(line["who"], "ann (unverified)");
        let [what, why] = ["what", "why"].map(|part| line[part].as_str().unwrap());
        format!("{what}: {why}")
    };
    let told: Vec<_> = edge.journal("app=weather").iter().rev().map(told).collect();
    let name = |key: &str| KeyHash::of(key).digest().fingerprint();
    let registered = format!(
        "registered: {{\"owner\":\"acme\"}}, with key {}: asked",
        name(&key)
    );
    let rotated = format!("key {} added, those before it end in 1day: ", name(&second));
    assert_eq!(
        told,
        [
            &registered,
            "pending -> approved: looks fine",
            &rotated,
            "approved -> suspended: ",
            "suspended -> revoked: leaked",
            "deleted, when it was revoked: ",
        ]
    );
    let journal = edge.run(&["journal", "--app", "weather"]);
    assert!(
        journal.contains("app weather") && journal.contains("leaked"),
        "{journal}"
    );
}

#[test]
fn explaining_knows_apps_with_and_without_a_process() {
    let digest = KeyHash::of("hunter2").digest();
    let apps = format!(
        "list: {{ weather: {{ status: approved, owner: acme, tier: gold, keys: [{{ sha256: {digest} }}] }} }}, "
    );
    let shop = SHOP.replace("apps: { ", &format!("apps: {{ {apps}"));
    let edge = Edge::start(&shop);
    let config = edge.proxy.config_path();
    let config = config.to_str().unwrap();
    let with_key = ["explain", "-c", config, "/", "-H", "x-api-key: hunter2"];
    let told = edge.run(&with_key);
    for part in [
        "app      weather, approved, owner acme, tier gold",
        "caller   weather, in gold",
        "v2",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    let without = edge.cli(&["explain", "-c", config, "/"]);
    assert_eq!(without.status.code(), Some(1));
    let told = String::from_utf8(without.stdout).unwrap();
    assert!(told.contains("has none (answered with 401)"), "{told}");
    done(&edge, "weather", "suspend");
    let said = json!({ "path": "/", "headers": { "x-api-key": ["hunter2"] } }).to_string();
    let live = edge.admin("POST", "/api/v1/explain", &said).json();
    assert_eq!(live["refused"]["status"], 403, "{live}");
    let open = said.replace("\"/\"", "\"/open\"");
    let live = edge.admin("POST", "/api/v1/explain", &open).json();
    assert_eq!(
        (&live["app"]["status"], &live["flag"]["reason"]),
        (&json!("suspended"), &json!("barred"))
    );
}
