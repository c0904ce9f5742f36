//! Single callers put into groups at run time: decided by at once, written down before it is
//! answered, and called by no name where many look.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use serde_json::{Value, json};
use serin::runtime::key_hash::KeyHash;
use support::disk::SmallDisk;
use support::{Answer, Edge, Request, SOON, wait_for, wait_until};

const GROUPS: &str = "groups: { beta: { callers: [] }, vip: { callers: [] } }\n\
    flags:\n  shop: { stable: v1, canary: v2, groups: { beta: 100% }, default: 0% }\n\
    routes: [{ flag: shop }]\n";

fn put(edge: &Edge, path: &str, said: &Value) -> Answer {
    let path = format!("/api/v1/groups/{path}");
    edge.admin("PUT", &path, &said.to_string())
}

fn take_out(edge: &Edge, path: &str) -> Answer {
    let path = format!("/api/v1/groups/{path}");
    edge.admin("DELETE", &path, r#"{"reason": "enough"}"#)
}

/// All callers of a group, read page by page.
fn callers(edge: &Edge, group: &str, limit: usize) -> Vec<Value> {
    let (mut callers, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/groups/{group}/callers?limit={limit}{after}");
        let answer = edge.admin("GET", &path, "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        let some = page["callers"].as_array().unwrap();
        assert!(some.len() <= limit);
        callers.extend(some.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return callers,
        }
    }
}

fn keys(callers: &[Value]) -> Vec<&str> {
    callers.iter().map(|c| c["key"].as_str().unwrap()).collect()
}

#[test]
fn an_assignment_outlives_the_process_and_so_does_its_end() {
    let mut edge = Edge::start(GROUPS);
    let none = json!({});
    for caller in ["beta/callers/ann", "beta/callers/bob", "vip/callers/ann"] {
        assert_eq!(put(&edge, caller, &none).status, 200);
    }
    assert_eq!(take_out(&edge, "beta/callers/bob").status, 204);
    assert_eq!(
        (edge.served("ann"), edge.served("bob")),
        ("v2".into(), "v1".into())
    );
    edge.restart();
    assert_eq!(
        (edge.served("ann"), edge.served("bob")),
        ("v2".into(), "v1".into())
    );
    assert_eq!(keys(&callers(&edge, "beta", 9)), ["ann"]);
    assert_eq!(keys(&callers(&edge, "vip", 9)), ["ann"]);
    assert_eq!(take_out(&edge, "beta/callers/ann").status, 204);
    edge.restart();
    assert_eq!(edge.served("ann"), "v1");
    take_out(&edge, "beta/callers/ann").problem(404);
}

#[test]
fn a_term_goes_on_while_no_process_runs() {
    let mut edge = Edge::start(GROUPS);
    let hour = put(&edge, "beta/callers/long", &json!({ "expires_in": "1h" }));
    assert_eq!(hour.json()["expires_in_seconds"], 3600.0);
    for (expires_in, words) in [
        ("0s", "ends at once"),
        ("", "such as `30m`"),
        ("soon", "such as `30m`"),
    ] {
        let said = json!({ "expires_in": expires_in });
        let problem = put(&edge, "beta/callers/never", &said).problem(400);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("`expires_in`: ") && detail.contains(words),
            "{detail}"
        );
    }
    let short = json!({ "expires_in": "1500ms" });
    assert_eq!(put(&edge, "beta/callers/short", &short).status, 200);
    assert_eq!(edge.served("short"), "v2");
    edge.restart();
    assert_eq!(edge.served("long"), "v2");
    let left = callers(&edge, "beta", 9);
    let left = left.iter().find(|caller| caller["key"] == "long").unwrap();
    let left = left["expires_in_seconds"].as_f64().unwrap();
    assert!((3500.0..3600.0).contains(&left), "{left}");
    wait_until("it ends", SOON, || edge.served("short") == "v1");
    assert_eq!(keys(&callers(&edge, "beta", 9)), ["long"]);
    // What has ended does not come back.
    edge.restart();
    assert_eq!(
        (edge.served("short"), edge.served("long")),
        ("v1".into(), "v2".into())
    );
}

#[test]
fn the_journal_says_who_and_why_and_names_no_caller() {
    let edge = Edge::start(GROUPS);
    let key = "ann@example.com";
    let said = json!({ "expires_in": "2h", "reason": "she asked" });
    let host = edge.proxy.admin().to_string();
    let request = Request::new("PUT", &format!("/api/v1/groups/beta/callers/{key}")).host(&host);
    let request = request.field("x-serin-user", "op").body(said.to_string());
    let answer = request.send_to(edge.proxy.admin()).json();
    assert_eq!(answer["key"], key);
    let name = answer["pseudonym"].as_str().unwrap().to_owned();
    let said = json!({ "key": key }).to_string();
    let found = edge.admin("POST", "/api/v1/callers/find", &said).json();
    assert_eq!(found["pseudonym"], name.as_str(), "as exports have it");
    assert_eq!(take_out(&edge, &format!("beta/callers/{key}")).status, 204);

    let lines = edge.journal("group=beta");
    let told = |n: usize| ["who", "what", "why", "group"].map(|part| lines[n][part].clone());
    let out = format!("caller {name} taken out of it");
    assert_eq!(
        told(0),
        ["operator", &out, "enough", "beta"].map(|text| json!(text))
    );
    let put_in = format!("caller {name} put into it for 2h");
    let by = "op (unverified)";
    assert_eq!(
        told(1),
        [by, &put_in, "she asked", "beta"].map(|text| json!(text))
    );
    assert!(edge.journal("group=vip").is_empty() && edge.journal("flag=shop").is_empty());
    assert_eq!(edge.journal("").len(), 2);
    edge.admin("GET", "/api/v1/journal?group=beta&flag=shop", "")
        .problem(400);
    edge.proxy.wait_for_log(&name, SOON);
    let seen = format!("{lines:?}{}", edge.proxy.log());
    assert!(!seen.contains(key), "{seen}");
    // Nor by anything that somebody could make of all keys there are without the secret.
    let digest = KeyHash::of(key).digest();
    let digest = digest.fingerprint();
    let start = digest.trim_start_matches("sha256:");
    assert!(
        !seen.contains(&start[..8]) && !name.contains(&start[..8]),
        "{seen}"
    );
    let other = Edge::start(GROUPS);
    let elsewhere = put(&other, &format!("beta/callers/{key}"), &json!({})).json();
    assert_ne!(
        elsewhere["pseudonym"],
        name.as_str(),
        "another Serin has another secret"
    );

    // What changes nothing is no line.
    for lines in [3, 3] {
        assert_eq!(put(&edge, "beta/callers/bob", &json!({})).status, 200);
        assert_eq!(edge.journal("group=beta").len(), lines);
    }
}

#[test]
fn a_group_that_is_gone_from_the_configuration_keeps_its_callers_until_it_is_back() {
    let mut edge = Edge::start(GROUPS);
    assert_eq!(put(&edge, "vip/callers/ann", &json!({})).status, 200);
    edge.bring(&GROUPS.replace(", vip: { callers: [] }", ""));
    edge.restart();
    let groups = edge.admin("GET", "/api/v1/groups", "").json();
    let beta = json!({
        "group": "beta", "is_configured": true, "assigned": 0, "flags": { "shop": 100.0 }
    });
    let vip = json!({ "group": "vip", "is_configured": false, "assigned": 1, "flags": {} });
    assert_eq!(groups["groups"], json!([beta, vip]));
    put(&edge, "vip/callers/bob", &json!({})).problem(404);
    edge.bring(&GROUPS.replace("beta: 100%", "vip: 100%"));
    assert_eq!(edge.served("ann"), "v2");
    edge.bring(&GROUPS.replace(", vip: { callers: [] }", ""));
    assert_eq!(take_out(&edge, "vip/callers/ann").status, 204);
    edge.admin("GET", "/api/v1/groups/vip/callers", "")
        .problem(404);
    edge.admin("GET", "/api/v1/groups/vip", "").problem(404);
}

#[test]
fn pages_hold_each_caller_once() {
    let edge = Edge::start(GROUPS);
    let wanted: Vec<_> = (0..7).map(|n| format!("caller-{n}")).collect();
    for key in wanted.iter().rev() {
        assert_eq!(
            put(&edge, &format!("beta/callers/{key}"), &json!({})).status,
            200
        );
    }
    for limit in [1, 3, 7, 8] {
        assert_eq!(keys(&callers(&edge, "beta", limit)), wanted, "{limit}");
    }
    for query in ["limit=0", "limit=1001", "from=a"] {
        let path = format!("/api/v1/groups/beta/callers?{query}");
        edge.admin("GET", &path, "").problem(400);
    }
}

#[test]
fn whatever_was_answered_is_there_after_a_kill() {
    let mut edge = Edge::start(GROUPS);
    let (admin, is_over) = (edge.proxy.admin(), AtomicBool::new(false));
    let assign = |worker: usize| {
        let mut answered = Vec::new();
        for n in 0.. {
            let key = format!("caller-{worker}-{n}");
            let path = format!("/api/v1/groups/beta/callers/{key}");
            let request = Request::new("PUT", &path).host(&admin.to_string());
            match request.try_send_to(admin) {
                Ok(answer) if answer.status == 200 => answered.push(key),
                _ if is_over.load(Ordering::SeqCst) => break,
                // A disk that is late is no failure of this test.
                _ => sleep(Duration::from_millis(10)),
            }
        }
        answered
    };
    let answered: Vec<_> = scope(|threads| {
        let workers: Vec<_> = (0..3)
            .map(|worker| threads.spawn(move || assign(worker)))
            .collect();
        wait_until("some are there", SOON, || {
            edge.proxy.metrics().count("serin_assigned_callers", &[]) >= 50
        });
        is_over.store(true, Ordering::SeqCst);
        edge.proxy.kill();
        let done = workers.into_iter().map(|worker| worker.join().unwrap());
        done.flatten().collect()
    });
    assert!(answered.len() >= 40, "{}", answered.len());
    edge.restart();
    let there = callers(&edge, "beta", 1000);
    let there = keys(&there);
    let lost: Vec<_> = answered
        .iter()
        .filter(|key| !there.contains(&key.as_str()))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    // At most the one of each worker whose answer was cut off.
    assert!(
        there.len() <= answered.len() + 3,
        "{} of {}",
        answered.len(),
        there.len()
    );
}

#[test]
fn on_a_full_disk_nobody_is_put_in_or_taken_out_and_nothing_is_half_done() {
    let disk = Cell::new(None);
    let mut edge = Edge::prepare(GROUPS, |state| disk.set(Some(SmallDisk::mount(state))));
    let disk = disk.take().unwrap();
    assert_eq!(put(&edge, "beta/callers/ann", &json!({})).status, 200);
    disk.fill();
    let mut assigned = vec!["ann".to_owned()];
    let mut n = 0;
    let refused = wait_for("that it is full", SOON, || {
        n += 1;
        let key = format!("caller-{n:05}");
        let answer = put(&edge, &format!("beta/callers/{key}"), &json!({}));
        if answer.status != 503 {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assigned.push(key);
            return None;
        }
        Some((key, answer.problem(503)))
    });
    let (key, problem) = refused;
    let why = problem["detail"].as_str().unwrap();
    assert!(why.contains("could not be written down"), "{why}");
    assert_eq!(edge.served(&key), "v1");
    take_out(&edge, "beta/callers/ann").problem(503);
    assert_eq!(edge.served("ann"), "v2");
    let told = |what: &str| edge.proxy.log().matches(what).count();
    wait_until("what was done is told", SOON, || {
        told("put into it") >= assigned.len()
    });
    assert_eq!(told("put into it"), assigned.len(), "{}", edge.proxy.log());
    assert_eq!(told("taken out of it"), 0, "it was not done");
    assert_eq!(keys(&callers(&edge, "beta", 1000)), assigned);
    disk.clear();
    edge.restart();
    assert_eq!(keys(&callers(&edge, "beta", 1000)), assigned);
    assert_eq!(
        (edge.served(&key), edge.served("ann")),
        ("v1".into(), "v2".into())
    );
    assert_eq!(
        put(&edge, &format!("beta/callers/{key}"), &json!({})).status,
        200
    );
}

#[test]
fn the_command_line_does_the_same() {
    let edge = Edge::start(GROUPS);
    let listed = edge.run(&["group", "list"]);
    assert!(
        listed.contains("beta") && listed.contains("shop 100%"),
        "{listed}"
    );
    let odd = "spiffe://example.com/a b?c#d";
    let told = edge.run(&["group", "assign", "beta", odd, "--for", "1h", "-m", "a try"]);
    assert!(told.contains("is in beta for"), "{told}");
    edge.run(&["group", "assign", "beta", "ann"]);
    assert_eq!(
        (edge.served(odd), edge.served("ann")),
        ("v2".into(), "v2".into())
    );
    let shown = edge.run(&["group", "show", "beta"]);
    assert!(
        shown.contains(odd) && shown.contains("ann  for good"),
        "{shown}"
    );
    assert!(edge.run(&["journal", "--group", "beta"]).contains("a try"));
    edge.run(&["group", "unassign", "beta", odd]);
    let shown: Value =
        serde_json::from_str(&edge.run(&["group", "show", "beta", "--json"])).unwrap();
    assert_eq!(
        (&shown["assigned"], &shown["callers"][0]["key"]),
        (&json!(1), &json!("ann"))
    );
    let again = edge.cli(&["group", "unassign", "beta", odd]);
    assert_eq!(again.status.code(), Some(2));
    let unknown = edge.cli(&["group", "assign", "bta", "ann"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("beta, vip"));
}
