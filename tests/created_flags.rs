//! Flags created and deleted at run time: read as the file's are, seen by the very next evaluation,
//! durable, and safe where several operators are at it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::cell::Cell;
use std::thread::scope;

use serde_json::{Value, json};
use support::disk::SmallDisk;
use support::{Answer, Edge, Request, SOON, wait_for};

const REST: &str = "groups: { beta: { callers: [bea] }, vip: { callers: [vic] } }\n\
    flags:\n  shop: { stable: v1, canary: v2, default: 0% }\n\
    routes: [{ flag: shop }]\n";

const NEW: &str =
    r#"{"stable": "v1", "canary": "v2", "groups": {"beta": "100%"}, "default": "0%"}"#;

fn put(edge: &Edge, flag: &str, definition: &str) -> Answer {
    edge.admin("PUT", &format!("/api/v1/flags/{flag}"), definition)
}

fn put_if(edge: &Edge, flag: &str, condition: (&str, &str), definition: &str) -> Answer {
    let path = format!("/api/v1/flags/{flag}");
    edge.admin_with(("PUT", &path), condition, definition)
}

fn delete(edge: &Edge, flag: &str) -> Answer {
    edge.admin("DELETE", &format!("/api/v1/flags/{flag}"), "")
}

fn flag(edge: &Edge, flag: &str) -> Value {
    let answer = edge.admin("GET", &format!("/api/v1/flags/{flag}"), "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn version(edge: &Edge, name: &str) -> String {
    format!("\"{}\"", flag(edge, name)["version"].as_str().unwrap())
}

/// What an application gets of a flag for a caller; none where there is no such flag.
fn evaluated(edge: &Edge, flag: &str, caller: &str) -> Option<String> {
    let path = format!("/ofrep/v1/evaluate/flags/{flag}");
    let body = json!({ "context": { "targetingKey": caller } });
    let answer = edge.admin("POST", &path, &body.to_string());
    if answer.status == 404 {
        assert_eq!(answer.json()["errorCode"], "FLAG_NOT_FOUND");
        return None;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    Some(answer.json()["variant"].as_str().unwrap().to_owned())
}

#[track_caller]
fn assert_evaluated(edge: &Edge, flag: &str, caller: &str, variant: Option<&str>) {
    assert_eq!(
        evaluated(edge, flag, caller).as_deref(),
        variant,
        "{caller}"
    );
}

fn detail(answer: &Answer, status: u16) -> String {
    answer.problem(status)["detail"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_flag_lives_from_its_creation_to_its_end_and_each_step_decides_the_next_evaluation() {
    let mut edge = Edge::start(REST);
    assert_evaluated(&edge, "new", "bea", None);
    let off = NEW.replace("{\"stable\"", "{\"enabled\": false, \"stable\"");
    let path = "/api/v1/flags/new?reason=a%20try";
    let created = edge.admin_with(("PUT", path), ("x-serin-user", "op"), &off);
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.field("location"), Some("/api/v1/flags/new"));
    let told = created.json();
    assert_eq!(created.field("etag"), Some(&*version(&edge, "new")));
    assert_eq!(
        (&told["source"], &told["enabled"]),
        (&json!("api"), &json!(false))
    );
    assert_eq!(flag(&edge, "shop")["source"], "file");
    assert_evaluated(&edge, "new", "bea", Some("stable"));

    let change = |said: &str| {
        let changed = edge.admin("PATCH", "/api/v1/flags/new", said);
        assert_eq!(changed.status, 200, "{}", changed.text());
    };
    change(r#"{"enabled": true}"#);
    assert_evaluated(&edge, "new", "bea", Some("canary"));
    assert_evaluated(&edge, "new", "ann", Some("stable"));
    change(r#"{"groups": {"vip": "100%"}}"#);
    assert_evaluated(&edge, "new", "vic", Some("canary"));
    let assigned = edge.admin("PUT", "/api/v1/groups/vip/callers/ann", "");
    assert_eq!(assigned.status, 200);
    assert_evaluated(&edge, "new", "ann", Some("canary"));

    edge.restart();
    for (caller, variant) in [
        ("bea", "canary"),
        ("vic", "canary"),
        ("ann", "canary"),
        ("x", "stable"),
    ] {
        assert_evaluated(&edge, "new", caller, Some(variant));
    }
    let overridden = &flag(&edge, "new")["overridden"];
    assert_eq!(*overridden, json!(["enabled", "groups.vip"]));
    assert_eq!(delete(&edge, "new").status, 204);
    assert_evaluated(&edge, "new", "bea", None);
    edge.restart();
    assert_evaluated(&edge, "new", "bea", None);
    delete(&edge, "new").problem(404);

    // Of what was set of it nothing is left for another of its name.
    assert_eq!(put(&edge, "new", &off).status, 201);
    assert_eq!(flag(&edge, "new")["overridden"], json!([]));
    let lines = edge.journal("flag=new");
    let told =
        |line: &Value| ["who", "what", "why"].map(|part| line[part].as_str().unwrap().to_owned());
    let first = told(lines.last().unwrap());
    assert_eq!(
        first,
        ["op (unverified)", &format!("created: {off}"), "a try"]
    );
    let whats: Vec<_> = lines.iter().map(|line| told(line)[1].clone()).collect();
    assert!(whats.contains(&format!("deleted: {off}")), "{whats:#?}");
}

#[test]
fn of_two_who_create_a_flag_one_does() {
    let edge = Edge::start(REST);
    let absent = ("if-none-match", "*");
    let admin = edge.proxy.admin();
    let create = |n: usize| {
        let body = NEW.replace("\"default\": \"0%\"", &format!("\"default\": \"{n}%\""));
        let request = Request::new("PUT", "/api/v1/flags/new").host(&admin.to_string());
        // One half says that there must be none, the other says nothing.
        let request = match n % 2 {
            0 => request.field(absent.0, absent.1),
            _ => request,
        };
        request.body(body).send_to(admin).status
    };
    let mut statuses: Vec<_> = scope(|threads| {
        let creators: Vec<_> = (0..8).map(|n| threads.spawn(move || create(n))).collect();
        creators
            .into_iter()
            .map(|creator| creator.join().unwrap())
            .collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(
        statuses[1..]
            .iter()
            .all(|status| [409, 412].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(edge.journal("flag=new").len(), 1);

    // Who has not heard that it was done may ask again, and is told that it is there.
    let changes = edge.journal("").len();
    let stored = edge.journal("flag=new")[0]["what"]
        .as_str()
        .unwrap()
        .to_owned();
    let stored = stored.strip_prefix("created: ").unwrap();
    assert_eq!(put(&edge, "new", stored).status, 200);
    assert_eq!(edge.journal("").len(), changes);
}

#[test]
fn who_has_seen_an_older_one_changes_and_deletes_nothing() {
    let edge = Edge::start(REST);
    assert_eq!(put_if(&edge, "new", ("if-match", "*"), NEW).status, 412);
    assert_eq!(
        put_if(&edge, "new", ("if-none-match", "\"a\""), NEW).status,
        400
    );
    assert_eq!(
        put_if(&edge, "new", ("if-none-match", "*"), NEW).status,
        201
    );
    assert_eq!(
        put_if(&edge, "new", ("if-none-match", "*"), NEW).status,
        412
    );
    let seen = version(&edge, "new");
    let other = NEW.replace("\"0%\"", "\"100%\"");
    // What is wrong with it comes first.
    for fields in [
        None,
        Some(("if-none-match", "*")),
        Some(("if-match", "\"0\"")),
    ] {
        let wrong = r#"{"stable": "v1"}"#;
        let answer = match fields {
            None => put(&edge, "new", wrong),
            Some(field) => put_if(&edge, "new", field, wrong),
        };
        let problems = answer.problem(422)["problems"].clone();
        assert!(
            problems[0]
                .as_str()
                .unwrap()
                .contains("`canary` is missing"),
            "{problems}"
        );
    }
    let told = detail(&put(&edge, "new", &other), 409);
    assert!(told.contains("If-Match"), "{told}");
    let replaced = put_if(&edge, "new", ("if-match", &seen), &other);
    assert_eq!(replaced.status, 200, "{}", replaced.text());
    assert_evaluated(&edge, "new", "ann", Some("canary"));
    let what = edge.journal("flag=new")[0]["what"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(what, format!("defined anew: {NEW} -> {other}"));

    assert_eq!(put_if(&edge, "new", ("if-match", &seen), NEW).status, 412);
    let gone = |version: &str| {
        let delete = ("DELETE", "/api/v1/flags/new");
        edge.admin_with(delete, ("if-match", version), "").status
    };
    assert_eq!(gone(&seen), 412);
    assert_evaluated(&edge, "new", "ann", Some("canary"));
    assert_eq!(gone(&version(&edge, "new")), 204);
    assert_evaluated(&edge, "new", "ann", None);
}

#[test]
fn a_definition_that_makes_no_sense_is_refused_with_all_that_is_wrong() {
    let edge = Edge::start(REST);
    let refused = put(
        &edge,
        "new",
        "{\"stable\": \"v3\",\n \"canray\": \"v2\", \"groups\": {\"bta\": \"5%\"}}",
    );
    let problems = refused.problem(422)["problems"].clone();
    assert_eq!(
        problems,
        json!([
            "1:12: stable: no backend is named `v3`; did you mean `v1`?",
            "2:2: canray: unknown key `canray`; did you mean `canary`?",
            "2:29: groups.bta: no group is named `bta`; did you mean `beta`?",
        ])
    );
    for (name, body, status, word) in [
        ("new", "", 400, "a definition such as"),
        ("new", "[]", 400, "a definition such as"),
        ("new", "stable: v1", 400, "a definition such as"),
        ("a b", NEW, 400, "not a name"),
        ("shop", NEW, 409, "`flags.shop` at line"),
    ] {
        let told = detail(&put(&edge, &name.replace(' ', "%20"), body), status);
        assert!(told.contains(word), "{name} {body}: {told}");
    }
    let long = NEW.replace("0%", &" ".repeat(17 * 1024));
    put(&edge, "new", &long).problem(413);
    edge.admin("PUT", "/api/v1/flags/new?why=a", NEW)
        .problem(400);
    let told = detail(&delete(&edge, "shop"), 409);
    assert!(told.contains("at line 9"), "{told}");
    assert!(detail(&delete(&edge, "new"), 404).contains("shop"));
    let flags = edge.admin("GET", "/api/v1/flags", "").json();
    assert_eq!(flags["flags"].as_array().unwrap().len(), 1);
    // Nobody reads the environment by it.
    let told = put(
        &edge,
        "new",
        &NEW.replace("{\"st", "{\"salt\": \"${HOME}\", \"st"),
    );
    assert!(
        told.problem(422)["problems"][0]
            .as_str()
            .unwrap()
            .contains("in the file only")
    );
    let told = put(
        &edge,
        "new",
        r#"{"stable": "v1", "canary": "v2", "rollout": {"revision": "2", "stages": ["5%"],
            "hooks": [{"on": "rollback", "webhook": "http://127.0.0.1:9/told"}]}}"#,
    );
    let problems = told.problem(422)["problems"].clone();
    let hooks = "2:22: rollout.hooks: hooks that are told work for flags of the file only; \
                 keep `before_stage`, and have `notify` of the file tell the rest";
    assert_eq!(problems, json!([hooks]));
}

#[test]
fn a_reload_keeps_created_flags_and_takes_nothing_away_that_they_need() {
    let mut edge = Edge::start(REST);
    assert_eq!(put(&edge, "new", NEW).status, 201);
    // Groups and flags move about in the file.
    let moved = REST.replace("groups: {", "groups: { first: { callers: [] },");
    let moved = moved.replace("  shop:", "  cart: { stable: v2, canary: v1 }\n  shop:");
    edge.bring(&moved);
    assert_evaluated(&edge, "new", "bea", Some("canary"));
    assert_evaluated(&edge, "new", "ann", Some("stable"));
    let told = edge.bring_in_vain(&REST.replace("beta: { callers: [bea] }, ", ""));
    assert!(
        told.contains("`new`, which was created") && told.contains("`beta`"),
        "{told}"
    );
    assert!(told.contains("serin flag delete new"), "{told}");
    assert_evaluated(&edge, "new", "bea", Some("canary"));

    // At a start there is nothing to keep, so it goes without, says so, and waits.
    edge.restart_with(&REST.replace("beta: { callers: [bea] }, ", ""));
    edge.proxy.wait_for_log("created flag does not fit", SOON);
    assert_eq!(edge.served("ann"), "v1");
    assert_evaluated(&edge, "new", "bea", None);
    let left = edge.admin("GET", "/api/v1/status", "").json()["flags_left_aside"].clone();
    assert_eq!(left[0]["flag"], "new");
    assert!(left[0]["why"].as_str().unwrap().contains("beta"), "{left}");
    edge.bring(REST);
    assert_evaluated(&edge, "new", "bea", Some("canary"));
    let status = edge.admin("GET", "/api/v1/status", "").json();
    assert_eq!(status.get("flags_left_aside"), None);
    // A kill switch that was set of it is set when it comes back.
    let off = edge.admin("PATCH", "/api/v1/flags/new", r#"{"enabled": false}"#);
    assert_eq!(off.status, 200, "{}", off.text());
    edge.restart_with(&REST.replace("beta: { callers: [bea] }, ", ""));
    edge.bring(REST);
    assert_eq!(flag(&edge, "new")["enabled"], false);
    assert_evaluated(&edge, "new", "bea", Some("stable"));
    // Left out, it can be defined anew without a version, which nobody has seen, and deleted.
    edge.restart_with(&REST.replace("beta: { callers: [bea] }, ", ""));
    let anew = put(&edge, "new", &NEW.replace("beta", "vip"));
    assert_eq!(anew.status, 200, "{}", anew.text());
    assert_evaluated(&edge, "new", "vic", Some("stable"));
    edge.restart_with("routes: [{ backend: v1 }]\n");
    assert_eq!(delete(&edge, "new").status, 204);
    edge.bring(REST);
    assert_evaluated(&edge, "new", "bea", None);
}

#[test]
fn the_files_flag_of_the_same_name_wins_and_it_is_told() {
    let mut edge = Edge::start(REST);
    assert_eq!(put(&edge, "new", NEW).status, 201);
    let declared = REST.replace(
        "  shop:",
        "  new: { stable: v1, canary: v2, default: 100% }\n  shop:",
    );
    edge.bring(&declared);
    assert_evaluated(&edge, "new", "ann", Some("canary"));
    assert_eq!(flag(&edge, "new")["source"], "file");
    let line = edge.journal("flag=new")[0].clone();
    assert_eq!(line["who"], "configuration");
    assert_eq!(line["what"], format!("created definition dropped: {NEW}"));
    edge.proxy.wait_for_log("created definition dropped", SOON);
    delete(&edge, "new").problem(409);
    // Not even after the file has given it up again.
    edge.restart_with(REST);
    assert_evaluated(&edge, "new", "ann", None);
}

const ROUTED: &str = "groups: { beta: { callers: [bea] } }\n\
    routes: [{ path: /, flag: new, backend: v1 }, { path: /old, backend: v1 }]\n";

#[test]
fn a_route_may_name_a_flag_to_come_and_goes_by_it_from_the_next_request_on() {
    let mut edge = Edge::start(ROUTED);
    assert_eq!(edge.served("bea"), "v1");
    assert_eq!(put(&edge, "new", NEW).status, 201);
    assert_eq!(
        (edge.served("bea"), edge.served("ann")),
        ("v2".into(), "v1".into())
    );
    edge.restart();
    assert_eq!(
        (edge.served("bea"), edge.served("ann")),
        ("v2".into(), "v1".into())
    );
    assert_evaluated(&edge, "new", "bea", Some("canary"));
    let told = detail(&delete(&edge, "new"), 409);
    assert!(told.contains("route `/` names it"), "{told}");
    let off = edge.admin("PATCH", "/api/v1/flags/new", r#"{"enabled": false}"#);
    assert_eq!((off.status, edge.served("bea")), (200, "v1".into()));

    let other = ROUTED.replace("flag: new,", "flag: later,");
    edge.bring(&other);
    assert_eq!(delete(&edge, "new").status, 204);
    assert_eq!(put(&edge, "later", NEW).status, 201);
    assert_eq!(edge.served("bea"), "v2");
    // Without its state, the file alone is enough.
    edge.forget();
    edge.restart();
    assert_eq!(edge.served("bea"), "v1");
    // Beside a flag of the file, the backend would never be used.
    let declared = "flags: { later: { stable: v1, canary: v2 } }\n";
    let told = edge.bring_in_vain(&format!("{declared}{other}"));
    assert!(told.contains("`backend` beside `flag`"), "{told}");
}

#[test]
fn a_created_flag_may_have_a_rollout() {
    let mut edge = Edge::start(ROUTED);
    let rolled = r#"{"stable": "v1", "canary": "v2", "rollout": {"revision": "1", "stages": [{"weight": "100%", "hold": "1h"}]}}"#;
    assert_eq!(put(&edge, "new", rolled).status, 201);
    edge.proxy.wait_for_phase("new", "progressing", SOON);
    assert_eq!(edge.served("ann"), "v2");
    edge.restart();
    assert_eq!(edge.served("ann"), "v2");
    assert_eq!(edge.proxy.rollout("new")["phase"], "progressing");
    let swapped = rolled
        .replace("v2", "v3")
        .replace("v1", "v2")
        .replace("v3", "v1");
    let told = detail(&put_if(&edge, "new", ("if-match", "*"), &swapped), 409);
    assert!(told.contains("under the same revision"), "{told}");
    let plain = detail(&put_if(&edge, "new", ("if-match", "*"), NEW), 409);
    assert!(plain.contains("progressing"), "{plain}");
    let back = edge.admin("POST", "/api/v1/rollouts/new/rollback", "");
    assert_eq!((back.status, edge.served("ann")), (200, "v1".into()));
    edge.bring(&ROUTED.replace("flag: new, ", ""));
    assert_eq!(delete(&edge, "new").status, 204);
    edge.admin("GET", "/api/v1/rollouts/new", "").problem(404);
    // A flag of this name that comes later does not begin where this one was left.
    for _ in 0..2 {
        let told = detail(&put(&edge, "new", rolled), 409);
        assert!(told.contains("revision `1` already (aborted)"), "{told}");
        edge.restart();
    }
    assert_eq!(put(&edge, "new", NEW).status, 201);
    let told = detail(&put_if(&edge, "new", ("if-match", "*"), rolled), 409);
    assert!(told.contains("revision `1` already"), "{told}");
    let other = rolled.replace("\"1\"", "\"2\"");
    let told = put_if(&edge, "new", ("if-match", "*"), &other);
    assert_eq!(told.status, 200, "{}", told.text());
    edge.proxy.wait_for_phase("new", "progressing", SOON);
}

#[test]
fn nobody_has_the_canary_of_a_release_whose_flag_was_deleted() {
    let mut edge = Edge::start(ROUTED);
    let rolled =
        r#"{"stable": "v1", "canary": "v2", "rollout": {"revision": "1", "stages": ["100%"]}}"#;
    assert_eq!(put(&edge, "new", rolled).status, 201);
    edge.proxy.wait_for_phase("new", "progressing", SOON);
    for _ in 0..2 {
        let path = "/api/v1/rollouts/new/promote";
        let promoted = edge.admin("POST", path, r#"{"full": true}"#);
        assert_eq!(promoted.status, 200, "{}", promoted.text());
    }
    assert_eq!(edge.proxy.rollout("new")["phase"], "succeeded");
    edge.bring(&ROUTED.replace("flag: new, ", ""));
    assert_eq!(delete(&edge, "new").status, 204);
    edge.bring(ROUTED);
    edge.restart();
    // Everyone is on v1 again, so that is what another release may begin from.
    let next = rolled.replace("\"1\"", "\"2\"").replace("100%", "1%");
    let told = put(&edge, "new", &next);
    assert_eq!(told.status, 201, "{}", told.text());
    edge.proxy.wait_for_phase("new", "progressing", SOON);
    assert_eq!(edge.proxy.rollout("new")["weights"]["default_percent"], 1.0);
}

#[test]
fn what_is_shown_of_a_secret_is_not_taken_for_it() {
    let edge = Edge::start(REST);
    let gated = |secret: &str| {
        NEW.replace(
            r#", "groups": {"beta": "100%"}, "default": "0%"}"#,
            &format!(
                r#", "rollout": {{"revision": "1", "stages": ["5%"], "gates": [{{"webhook":
                {{"url": "http://127.0.0.1:1/", "headers": {{"authorization": "{secret}"}}}}}}]}}}}"#
            ),
        )
    };
    let made = put(&edge, "new", &gated("open"));
    assert_eq!(made.status, 201, "{}", made.text());
    let shown = flag(&edge, "new")["definition"].clone();
    let refused = put_if(&edge, "new", ("if-match", "*"), &shown.to_string());
    let told = refused.problem(422).to_string();
    assert!(
        told.contains("headers.authorization: `***` is shown"),
        "{told}"
    );
}

#[test]
fn a_rollout_under_way_goes_on_beside_a_creation() {
    let edge = Edge::start(
        "flags:\n  shop: { stable: v1, canary: v2, rollout: { revision: \"1\", \
         stages: [{ weight: 50%, hold: 1h }] } }\nroutes: [{ flag: shop }]\n",
    );
    let before = edge.proxy.wait_for_phase("shop", "progressing", SOON);
    let definition = r#"{"stable": "v1", "canary": "v2"}"#;
    assert_eq!(put(&edge, "new", definition).status, 201);
    assert_eq!(delete(&edge, "new").status, 204);
    let after = edge.proxy.rollout("shop");
    for part in ["phase", "stage", "weights", "epoch", "attempt"] {
        assert_eq!(before[part], after[part], "{part}");
    }
    assert_eq!(
        edge.journal("flag=shop").len(),
        before["journal"].as_array().unwrap().len()
    );
}

#[test]
fn on_a_full_disk_no_flag_is_created_or_deleted() {
    let disk = Cell::new(None);
    let mut edge = Edge::prepare(REST, |state| disk.set(Some(SmallDisk::mount(state))));
    let disk = disk.take().unwrap();
    assert_eq!(put(&edge, "new", NEW).status, 201);
    disk.fill();
    let mut n = 0;
    let (refused, told) = wait_for("that it is full", SOON, || {
        n += 1;
        let name = format!("flag-{n}");
        let answer = put(&edge, &name, NEW);
        (answer.status != 201).then(|| (name, detail(&answer, 503)))
    });
    assert!(told.contains("could not be written down"), "{told}");
    delete(&edge, "new").problem(503);
    let assert_held = |edge: &Edge| {
        assert_evaluated(edge, &refused, "bea", None);
        assert_evaluated(edge, "new", "bea", Some("canary"));
    };
    assert_held(&edge);
    disk.clear();
    edge.restart();
    assert_held(&edge);
    assert_eq!(put(&edge, &refused, NEW).status, 201);
    assert_eq!(delete(&edge, "new").status, 204);
}

#[test]
fn the_command_line_does_the_same() {
    let edge = Edge::start(REST);
    let created = edge.run(&["flag", "create", "new", NEW, "-m", "a try?"]);
    assert!(created.contains("created at run time"), "{created}");
    assert!(edge.run(&["journal", "new"]).contains("a try?"));
    let again = edge.cli(&["flag", "create", "new", NEW]);
    assert_eq!(again.status.code(), Some(1));
    edge.run(&[
        "flag",
        "create",
        "other",
        "--stable",
        "v1",
        "--canary",
        "v2",
        "--group",
        "vip=100%",
        "--default",
        "5%",
        "--disabled",
    ]);
    let shown = flag(&edge, "other");
    assert_eq!(
        (&shown["enabled"], &shown["weights"]["default_percent"]),
        (&json!(false), &json!(5.0))
    );
    edge.run(&["flag", "enable", "other"]);
    assert_evaluated(&edge, "other", "vic", Some("canary"));
    let wrong = edge.cli(&[
        "flag",
        "create",
        "odd",
        r#"{"stable": "v1", "canary": "v3"}"#,
    ]);
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(told.contains("canary: no backend is named `v3`"), "{told}");

    // Who cannot be asked has to say that it is meant.
    let unsaid = edge.cli(&["flag", "delete", "other"]);
    assert_eq!(unsaid.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unsaid.stderr).contains("--yes"));
    assert_evaluated(&edge, "other", "vic", Some("canary"));
    let stale = edge.cli(&["flag", "delete", "other", "--yes", "--if-version", "0"]);
    assert_eq!(stale.status.code(), Some(1));
    edge.run(&["flag", "delete", "other", "--yes"]);
    assert_evaluated(&edge, "other", "vic", None);
}

#[test]
fn the_command_line_takes_shares_and_shows_what_is_required() {
    let edge = Edge::start(REST);
    // Of several variants each has its share.
    let theme = r#"{"variants": {"plain": "grey", "sale": "red", "news": "blue"}, "off": "plain"}"#;
    edge.run(&[
        "flag",
        "create",
        "theme",
        theme,
        "--default",
        "sale=20%,news=5%",
        "--group",
        "vip=news=100%",
    ]);
    let weights = &flag(&edge, "theme")["weights"];
    assert_eq!(
        weights["default_split"],
        json!({ "sale": 20.0, "news": 5.0 })
    );
    assert_evaluated(&edge, "theme", "vic", Some("news"));

    // What is needed of others, which may have been created too.
    let needy = r#"{"stable": "v1", "canary": "v2", "requires": ["shop", {"flag": "theme", "variant": "sale"}]}"#;
    let shown = edge.run(&["flag", "create", "needy", needy]);
    assert!(
        shown.contains("\nrequires: shop (any but off), theme (sale)\n"),
        "{shown}"
    );
    assert_eq!(
        flag(&edge, "needy")["requires"],
        json!([{ "flag": "shop" }, { "flag": "theme", "variant": "sale" }])
    );
    let misspelt = r#"{"stable": "v1", "canary": "v2", "requires": ["them"]}"#;
    let wrong = edge.cli(&["flag", "create", "odd", misspelt]);
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        told.contains("no flag is named `them`; did you mean `theme`?"),
        "{told}"
    );
}
