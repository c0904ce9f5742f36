//! What the proxy knows of callers: counted only where that is wanted, bounded, given away under pseudonyms,
//! and erased so that nothing is left.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use support::proxy::{TestProxy, backends, replace_file};
use support::{Answer, Behaviour, Edge, Request, SOON, TestBackend, wait_for, wait_until};

const REST: &str = "groups: { beta: { callers: [] }, vip: { callers: [] } }\n\
    flags:\n  shop: { stable: v1, canary: v2, groups: { beta: 100% }, default: 0% }\n\
    routes: [{ flag: shop }]\n";

const EXPORT: &str = "/api/v1/callers/export";

fn watched(features: &str) -> String {
    format!("caller_features: {features}\n{REST}")
}

/// The rows of an export, by what callers are called in it, and the name of that column.
fn rows(text: &str) -> (String, BTreeMap<String, BTreeMap<String, f64>>) {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let row = |fields: Vec<&str>| {
        let names = header[1..].iter().map(|name| (*name).to_owned());
        let numbers = fields[1..].iter().map(|number| number.parse().unwrap());
        (fields[0].to_owned(), names.zip(numbers).collect())
    };
    (header[0].to_owned(), lines.map(row).collect())
}

fn requests_of(text: &str) -> f64 {
    rows(text).1.values().map(|row| row["requests"]).sum()
}

/// What is exported, once so many requests are counted.
fn exported(edge: &Edge, requests: f64) -> String {
    wait_for("all is counted", SOON, || {
        let text = edge.run(&["callers", "export"]);
        (requests_of(&text) >= requests).then_some(text)
    })
}

fn find(edge: &Edge, key: &str) -> Value {
    let said = json!({ "key": key }).to_string();
    let answer = edge.admin("POST", "/api/v1/callers/find", &said);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn what_callers_do_is_exported_under_pseudonyms_that_stay_the_same() {
    let mut edge = Edge::start(&watched("{}"));
    for (caller, requests) in [("ann", 3), ("bob", 5)] {
        (0..requests).for_each(|_| drop(edge.served(caller)));
    }
    // Nobody that is known again.
    edge.proxy.get("/");
    let first = exported(&edge, 8.0);
    let (column, known) = rows(&first);
    assert_eq!((column.as_str(), known.len()), ("pseudonym", 2));
    assert!(!first.contains("ann") && !first.contains("bob"), "{first}");
    let [ann, bob] = ["ann", "bob"].map(|key| pseudonym_of(&edge, key));
    assert_eq!(
        (known[&ann]["requests"], known[&bob]["requests"]),
        (3.0, 5.0)
    );
    assert!(ann.len() == 32 && ann != bob);
    let row = &known[&bob];
    assert_eq!((row["error_share"], row["write_share"]), (0.0, 0.0));
    assert_eq!(
        (row["response_bytes_mean"], row["distinct_paths"]),
        (2.0, 1.0)
    );
    assert!(row["latency_mean_ms"] > 0.0 && row["latency_p99_ms"] > 0.0);

    let listed = edge.run(&["callers", "list", "-n", "1"]);
    assert!(
        listed.contains("2 callers are known, 0 gave way"),
        "{listed}"
    );
    assert!(listed.contains(&bob) && !listed.contains(&ann), "{listed}");
    let shown = edge.run(&["callers", "show", "bob"]);
    assert!(
        shown.contains(&bob) && shown.contains("5 requests"),
        "{shown}"
    );

    // What was counted goes with the process, and the pseudonym does not.
    edge.restart();
    assert_eq!(edge.run(&["callers", "export"]).lines().count(), 1);
    edge.served("ann");
    let (_, again) = rows(&exported(&edge, 1.0));
    assert_eq!(again.keys().collect::<Vec<_>>(), [&ann]);
}

#[test]
fn each_number_is_what_the_caller_did() {
    let backend = TestBackend::with(
        "shop",
        Behaviour::StatusWhere(vec![("/lost", 404), ("/sick", 503)]),
    );
    let config = backends(&[("v1", &backend)])
        + "identity: [{ header: x-user-id }]\ntrusted_proxies: [127.0.0.1]\n\
           caller_features: { half_life: 1d }\nroutes: [{ backend: v1 }]\n";
    let proxy = TestProxy::start(&config);
    let ask = |method: &str, path: &str, body: &str| {
        let request = Request::new(method, path).field("x-user-id", "a \"key\", odd");
        proxy.ask(&request.body(body)).status
    };
    for (method, path, body, status) in [
        ("GET", "/a", "", 200),
        ("POST", "/b", "12345678", 200),
        ("PUT", "/c?d=1", "1234", 200),
        ("GET", "/lost", "", 404),
        ("HEAD", "/sick", "", 503),
    ] {
        assert_eq!(ask(method, path, body), status);
    }
    let line = wait_for("all is counted", SOON, || {
        let answer = proxy.command("POST", EXPORT, "");
        let line = answer.text().lines().nth(1)?.to_owned();
        line.contains(",5,").then_some(line)
    });
    let numbers = line.strip_prefix("\"a \"\"key\"\", odd\",").unwrap();
    let numbers: Vec<f64> = numbers
        .split(',')
        .map(|number| number.parse().unwrap())
        .collect();
    let [
        requests,
        rate,
        errors,
        mean,
        p99,
        request_bytes,
        response_bytes,
        writes,
        paths,
    ] = numbers[..]
    else {
        panic!("{line}");
    };
    let told = [requests, errors, request_bytes, writes, paths].map(|number| number.to_string());
    assert_eq!(told, ["5", "0.4", "2.4", "0.4", "5"]);
    assert!(rate > 0.0 && rate <= 5.0, "{line}");
    assert!(mean > 0.0 && p99 > 0.0, "{line}");
    assert!(response_bytes > 0.0, "{line}");
}

#[test]
fn callers_beyond_the_bound_are_evicted_and_counted() {
    let edge = Edge::start(&watched("{ callers: 8 }"));
    for _ in 0..3 {
        edge.served("regular");
    }
    for number in 0..40 {
        edge.served(&format!("passer-by-{number}"));
    }
    edge.proxy
        .wait_for_count("serin_evicted_callers_total", &[], 33);
    assert_eq!(edge.proxy.metrics().count("serin_tracked_callers", &[]), 8);
    let (_, known) = rows(&edge.run(&["callers", "export"]));
    assert_eq!(known.len(), 8);
    let regular = find(&edge, "regular");
    assert_eq!(
        regular["features"]["requests"], 3.0,
        "who comes again stays"
    );
}

#[test]
fn nothing_is_counted_where_nobody_wants_it_and_what_was_is_gone_with_the_wish() {
    let edge = Edge::start(REST);
    edge.served("ann");
    let refused = edge.admin("GET", EXPORT, "").problem(409);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("caller_features")
    );
    assert!(
        !edge
            .admin("GET", "/metrics", "")
            .text()
            .contains("serin_tracked_callers")
    );
    let cli = edge.cli(&["callers", "export"]);
    assert_eq!(cli.status.code(), Some(1));

    edge.bring(&watched("{ callers: 50 }"));
    let asked = || {
        edge.served("ann");
        edge.admin("GET", EXPORT, "").text().lines().count() == 2
    };
    wait_until("workers count", SOON, asked);
    // Another configuration that wants the same leaves them as they are.
    edge.bring(&watched("{ callers: 50 } # as before"));
    assert_eq!(edge.admin("GET", EXPORT, "").text().lines().count(), 2);
    edge.bring(&watched("{ callers: 60 }"));
    assert_eq!(edge.admin("GET", EXPORT, "").text().lines().count(), 1);
    edge.bring(REST);
    edge.admin("GET", EXPORT, "").problem(409);
}

#[test]
fn a_caller_that_is_forgotten_leaves_nothing() {
    const KEY: &str = "erika.mustermann@example.com";
    let mut edge = Edge::start(&watched("{}"));
    let state = edge.proxy.config_path().with_file_name("state");
    let is_in_state = || {
        let files = fs::read_dir(&state).unwrap();
        let holds = |bytes: Vec<u8>| bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
        files
            .into_iter()
            .any(|file| holds(fs::read(file.unwrap().path()).unwrap()))
    };
    for group in ["beta", "vip"] {
        edge.run(&["group", "assign", group, KEY]);
        edge.run(&["group", "assign", group, "other"]);
    }
    edge.run(&["group", "unassign", "vip", KEY]);
    assert_eq!(
        (edge.served(KEY), edge.served("other")),
        ("v2".to_owned(), "v2".to_owned())
    );
    exported(&edge, 2.0);
    assert!(is_in_state(), "else this shows nothing");
    assert_eq!(find(&edge, KEY)["groups"], json!(["beta"]));

    // Nobody is asked here, so it has to be said.
    assert_eq!(edge.cli(&["callers", "forget", KEY]).status.code(), Some(2));
    let said = json!({ "key": KEY, "reason": format!("{KEY} asked for it") }).to_string();
    edge.admin("POST", "/api/v1/callers/forget", &said)
        .problem(400);
    assert_eq!(find(&edge, KEY)["groups"], json!(["beta"]));

    let pseudonym = pseudonym_of(&edge, KEY);
    let told = edge.run(&["callers", "forget", KEY, "--yes", "-m", "asked for it"]);
    assert!(
        told.contains("erased: assignment to beta, features"),
        "{told}"
    );
    assert!(told.contains(&pseudonym) && !told.contains(KEY), "{told}");
    let found = find(&edge, KEY);
    assert_eq!(
        (&found["features"], &found["groups"]),
        (&Value::Null, &json!([]))
    );
    assert!(!edge.admin("POST", EXPORT, "").text().contains(KEY));
    // Some seconds later, for more may be forgotten meanwhile.
    wait_until("the state file is written anew", 2 * SOON, || {
        !is_in_state()
    });
    assert!(!edge.proxy.log().contains(KEY));
    let journal = edge.journal("");
    assert!(!json!(journal).to_string().contains(KEY));
    let line = &journal
        .iter()
        .find(|line| line["callers"] == json!(pseudonym));
    assert_eq!(line.unwrap()["why"], "asked for it");
    assert!(edge.run(&["journal"]).contains("forgotten: 2 things"));

    edge.restart();
    assert!(!is_in_state());
    assert_eq!(
        (edge.served(KEY), edge.served("other")),
        ("v1".to_owned(), "v2".to_owned())
    );
    let told = edge.run(&["callers", "forget", "nobody", "--yes"]);
    assert!(told.contains("nothing was known of it"), "{told}");
}

const OPERATOR: &str = "0123456789abcdef0123456789abcdef";
const VIEWER: &str = "fedcba9876543210fedcba9876543210";

/// A Serin that an operator and a viewer may ask, and that has seen `ann`.
struct Watched {
    proxy: TestProxy,
    _backend: TestBackend,
}

impl Watched {
    fn start() -> Self {
        let backend = TestBackend::start("shop");
        let config = backends(&[("v1", &backend)])
            + "identity: [{ header: x-user-id }]\ntrusted_proxies: [127.0.0.1]\n\
               caller_features: {}\nroutes: [{ backend: v1 }]\n\
               groups: { beta: { callers: [] } }\n";
        let tokens = format!(
            "tokens: [{{ name: ci, role: operator, token: {OPERATOR} }}, {{ name: eye, role: viewer, token: {VIEWER} }}]"
        );
        let proxy = TestProxy::with_admin(&tokens, &config, &[]);
        proxy.ask(&Request::get("/").field("x-user-id", "ann"));
        Self {
            proxy,
            _backend: backend,
        }
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::new(method, path).host(&self.proxy.admin().to_string());
        let request = request.field("authorization", &format!("Bearer {token}"));
        request.body(body).send_to(self.proxy.admin())
    }
}

#[test]
fn keys_are_shown_to_operators_alone_and_the_journal_knows() {
    let watched = Watched::start();
    let ask =
        |token: &str, method: &str, path: &str, body: &str| watched.ask(token, method, path, body);
    let lines = || {
        let journal = ask(VIEWER, "GET", "/api/v1/journal", "").json();
        journal["lines"].as_array().unwrap().clone()
    };
    let pseudonymous = wait_for("it is counted", SOON, || {
        let text = ask(VIEWER, "GET", EXPORT, "").text().to_owned();
        (text.lines().count() == 2).then_some(text)
    });
    assert!(
        pseudonymous.starts_with("pseudonym,requests,"),
        "{pseudonymous}"
    );
    assert!(!pseudonymous.contains("ann"));
    let said = r#"{ "key": "ann" }"#;
    ask(VIEWER, "POST", EXPORT, "").problem(403);
    // Whoever may try keys finds out whose a pseudonym is.
    ask(VIEWER, "POST", "/api/v1/callers/find", said).problem(403);
    ask(VIEWER, "POST", "/api/v1/callers/forget", said).problem(403);
    watched.proxy.command("GET", EXPORT, "").problem(401);
    assert!(lines().is_empty(), "what was refused was not done");

    let plain = ask(OPERATOR, "POST", EXPORT, r#"{ "reason": "audit" }"#);
    assert!(
        plain.text().starts_with("key,requests,"),
        "{}",
        plain.text()
    );
    assert!(plain.text().contains("\nann,1,"), "{}", plain.text());
    let line = &lines()[0];
    assert_eq!(
        (&line["who"], &line["why"], &line["callers"]),
        (&json!("ci"), &json!("audit"), &json!("all"))
    );
    assert_eq!(line["what"], "keys of callers exported as they are");
    for body in ["{}", r#"{ "key": "" }"#, r#"{ "kee": "ann" }"#] {
        ask(OPERATOR, "POST", "/api/v1/callers/forget", body).problem(400);
    }
}

#[test]
fn who_was_put_into_a_group_is_listed_to_operators_alone() {
    let watched = Watched::start();
    let ask = |token: &str, method: &str, path: &str| watched.ask(token, method, path, "");
    let group = "/api/v1/groups/beta";
    let callers = format!("{group}/callers");
    let put = ask(OPERATOR, "PUT", &format!("{callers}/ann"));
    assert_eq!(put.status, 200, "{}", put.text());
    let listed = ask(OPERATOR, "GET", &callers).json();
    assert_eq!(listed["callers"][0]["key"], "ann");
    ask(VIEWER, "GET", &callers).problem(403);
    let shown = ask(VIEWER, "GET", group);
    assert_eq!(shown.json()["assigned"], 1);
    let told = |token: &str| {
        let mut serin = std::process::Command::new(support::proxy::SERIN);
        let url = format!("http://{}", watched.proxy.admin());
        let show = serin.args(["group", "show", "beta", "--admin", &url]);
        let output = show.env("SERIN_TOKEN", token).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        told(OPERATOR).contains("ann  for good"),
        "{}",
        told(OPERATOR)
    );
    let seen = told(VIEWER);
    let count = "callers put into it: 1, which operators may see";
    assert!(seen.contains(count) && !seen.contains("ann"), "{seen}");
}

/// Callers of each of two kinds.
const OF_A_KIND: usize = 15;

/// One who reads the same page now and then, and one who writes to many.
fn behave(edge: &Edge, caller: &str, is_busy: bool, times: usize) {
    for number in 0..times * if is_busy { 6 } else { 2 } {
        let request = if is_busy {
            let path = format!("/items/{number}");
            Request::new("POST", &path).body(vec![b'x'; 300])
        } else {
            Request::get("/")
        };
        edge.proxy.ask(&request.field("x-user-id", caller));
    }
}

fn name(kind: &str, number: usize) -> String {
    format!("{kind}-{number}")
}

/// Both kinds do as they do.
fn crowd(edge: &Edge) {
    for number in 0..OF_A_KIND {
        behave(edge, &name("quiet", number), false, 1);
        behave(edge, &name("busy", number), true, 1);
    }
}

/// How far two ways to divide the same callers agree: 1 where they are one, about 0 where chance made them so
/// (Hubert and Arabie, 1985, adjusted Rand index).
fn adjusted_rand_index(pairs: &[(String, String)]) -> f64 {
    let count = |of: &dyn Fn(&(String, String)) -> String| {
        let mut counts = BTreeMap::<String, f64>::new();
        pairs
            .iter()
            .for_each(|pair| *counts.entry(of(pair)).or_default() += 1.0);
        let pairs_of = |count: &f64| count * (count - 1.0) / 2.0;
        counts.values().map(pairs_of).sum::<f64>()
    };
    let both = count(&|(one, other)| format!("{one} {other}"));
    let (one, other) = (
        count(&|(one, _)| one.clone()),
        count(&|(_, other)| other.clone()),
    );
    let all = count(&|_| String::new());
    let expected = one * other / all;
    (both - expected) / ((one + other) / 2.0 - expected)
}

/// What was learned from callers that a proxy has seen.
struct Learned {
    edge: Edge,
    model: String,
    /// Callers by their keys.
    table: String,
    /// The same by pseudonyms.
    before: String,
}

impl Learned {
    /// Has both kinds of callers ask, and learns of them.
    fn from_traffic() -> Self {
        let edge = Edge::start(&watched("{ half_life: 1d }"));
        let folder = edge.proxy.config_path();
        let file = |name: &str| folder.with_file_name(name).to_str().unwrap().to_owned();
        let [model, table, before] = ["segments.json", "table.csv", "before.csv"].map(file);
        crowd(&edge);
        exported(&edge, u32::try_from(OF_A_KIND * 8).unwrap().into());
        let train = [
            "segment",
            "train",
            "--from-traffic",
            "--clusters",
            "2",
            "-o",
        ];
        let said = edge.run(&[&train[..], &[&model]].concat());
        assert!(said.contains("2 segments of 30 rows"), "{said}");
        edge.run(&["callers", "export", "-o", &before]);
        edge.run(&[
            "callers",
            "export",
            "--plain",
            "-m",
            "first stage",
            "-o",
            &table,
        ]);
        assert_eq!(edge.journal("")[0]["why"], "first stage");
        let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&table), 0o600, "keys are in it");
        let usual = file("usual");
        fs::write(&usual, "").unwrap();
        assert_eq!(mode(&before), mode(&usual));
        Self {
            edge,
            model,
            table,
            before,
        }
    }

    /// The name of the segment of the quiet, and those of all callers beside their kinds.
    fn assigned(&self) -> (String, Vec<(String, String)>) {
        let assigned = self
            .edge
            .run(&["segment", "assign", &self.model, &self.table]);
        let pairs = assigned.lines().skip(1).map(|line| {
            let kind = line.split('-').next().unwrap();
            (kind.to_owned(), line.rsplit(',').next().unwrap().to_owned())
        });
        let pairs: Vec<_> = pairs.collect();
        let (_, quiet) = pairs.iter().find(|(kind, _)| kind == "quiet").unwrap();
        (quiet.clone(), pairs)
    }

    /// The exit code and the words of a report of drift.
    fn drift(&self, table: &str, bound: &str) -> (Option<i32>, String) {
        let report = [
            "segment",
            "report",
            &self.model,
            "--drift",
            "--table",
            table,
        ];
        let told = self.edge.cli(&[&report[..], &["--bound", bound]].concat());
        (told.status.code(), String::from_utf8(told.stdout).unwrap())
    }
}

#[test]
fn two_kinds_of_callers_are_learned_from_traffic_and_the_quiet_get_a_release_first() {
    let learned = Learned::from_traffic();
    let edge = &learned.edge;
    let (quiet, pairs) = learned.assigned();
    assert_eq!(pairs.len(), 2 * OF_A_KIND);
    let index = adjusted_rand_index(&pairs);
    assert!(index > 0.95, "{index}: {pairs:?}");

    edge.bring(&format!(
        "groups: {{ quiet: {{ segment: {{ model: segments.json, name: {quiet}, features: {{ table: table.csv }} }} }} }}\n\
         flags:\n  shop:\n    stable: v1\n    canary: v2\n    rollout:\n      revision: a\n\
         \x20     stages: [{{ groups: [quiet], weight: 100% }}, 50%]\n\
         routes: [{{ flag: shop }}]\n"
    ));
    wait_until("the quiet get it", SOON, || edge.served("quiet-3") == "v2");
    for number in 0..OF_A_KIND {
        assert_eq!(edge.served(&name("quiet", number)), "v2");
        assert_eq!(edge.served(&name("busy", number)), "v1");
    }
    assert_eq!(edge.served("nobody-knows"), "v1");
}

/// The quiet get the canary, by a table of pseudonyms.
fn by_pseudonym(quiet: &str) -> String {
    format!(
        "caller_features: {{ half_life: 1d }}\n\
         groups: {{ quiet: {{ segment: {{ model: segments.json, name: {quiet}, features: {{ table: before.csv }} }} }} }}\n\
         flags: {{ shop: {{ stable: v1, canary: v2, groups: {{ quiet: 100% }}, default: 0% }} }}\n\
         routes: [{{ flag: shop }}]\n"
    )
}

/// The segment that is explained of a caller, and why.
fn explained(edge: &Edge, caller: &str) -> (Value, String) {
    let wish = json!({ "headers": { "x-user-id": [caller] } }).to_string();
    let told = edge.admin("POST", "/api/v1/explain", &wish).json();
    let story = &told["segments"][0];
    let why = story["why"].as_str().unwrap().to_owned();
    (story["segment"].clone(), why)
}

fn pseudonym_of(edge: &Edge, caller: &str) -> String {
    let found = find(edge, caller);
    found["pseudonym"].as_str().unwrap().to_owned()
}

#[test]
fn callers_are_found_in_an_exported_table_by_their_pseudonyms() {
    let mut learned = Learned::from_traffic();
    let (quiet, _) = learned.assigned();
    let table = fs::read_to_string(&learned.before).unwrap();
    assert!(table.starts_with("pseudonym,"), "{table}");
    fs::remove_file(&learned.table).unwrap();
    let edge = &mut learned.edge;
    edge.bring(&by_pseudonym(&quiet));
    let all_are_found = |edge: &Edge| {
        wait_until("the quiet get it", SOON, || edge.served("quiet-3") == "v2");
        for number in 0..OF_A_KIND {
            assert_eq!(edge.served(&name("quiet", number)), "v2");
            assert_eq!(edge.served(&name("busy", number)), "v1");
        }
    };
    all_are_found(edge);
    assert_eq!(edge.served("nobody-knows"), "v1");
    let pseudonym = pseudonym_of(edge, "quiet-3");
    assert!(table.contains(&pseudonym));
    assert_eq!(edge.served(&pseudonym), "v1", "a pseudonym is nobody's key");

    // The other doors say the same.
    let (segment, why) = explained(edge, "quiet-3");
    assert_eq!(segment, json!(quiet), "{why}");
    let (segment, why) = explained(edge, &pseudonym);
    assert_eq!(
        (segment, &*why),
        (Value::Null, "the feature table has no row of this caller")
    );
    for (caller, variant) in [("quiet-3", "canary"), ("busy-3", "stable")] {
        let asked = json!({ "context": { "targetingKey": caller } }).to_string();
        let answer = edge.admin("POST", "/ofrep/v1/evaluate/flags/shop", &asked);
        assert_eq!(answer.json()["variant"], variant, "{caller}");
        let answer = edge.admin("POST", "/ofrep/v1/evaluate/flags", &asked);
        assert_eq!(answer.json()["flags"][0]["variant"], variant, "{caller}");
    }
    // The secret is in the state, so a caller is called the same by the next process.
    edge.restart();
    all_are_found(edge);
}

#[test]
fn nobody_is_found_by_the_pseudonyms_of_another_serin() {
    let learned = Learned::from_traffic();
    let (quiet, _) = learned.assigned();
    let other = Edge::start(REST);
    let folder = other.proxy.config_path();
    for file in [&learned.model, &learned.before] {
        let name = Path::new(file).file_name().unwrap();
        fs::copy(file, folder.with_file_name(name)).unwrap();
    }
    other.bring(&by_pseudonym(&quiet));
    let why = "the feature table has pseudonyms, and this Serin has not given any";
    assert_eq!(explained(&other, "quiet-3"), (Value::Null, why.to_owned()));
    assert_eq!(other.served("quiet-3"), "v1");

    // It gives its own from now on.
    let [theirs, own] = [&learned.edge, &other].map(|edge| pseudonym_of(edge, "quiet-3"));
    assert_ne!(theirs, own);
    let why = "the feature table has no row of this caller";
    assert_eq!(explained(&other, "quiet-3"), (Value::Null, why.to_owned()));
    assert_eq!(other.served("quiet-3"), "v1");
    let table = fs::read_to_string(&learned.before).unwrap();
    let renamed = table.replace(&theirs, &own);
    assert_ne!(table, renamed);
    replace_file(&folder.with_file_name("before.csv"), &renamed);
    wait_until("its own are found", SOON, || {
        other.served("quiet-3") == "v2"
    });
    assert_eq!(other.served("quiet-4"), "v1");
}

#[test]
fn callers_who_change_their_ways_are_told_of_and_others_are_not() {
    let learned = Learned::from_traffic();
    // Rates fall while time goes on, and the silhouette with them.
    let (code, text) = learned.drift(&learned.before, "50%");
    assert_eq!(code, Some(0), "{text}");
    let said = "0 of 30 callers in another segment now (0.0%)";
    assert!(text.contains(said), "{text}");

    for number in 0..OF_A_KIND {
        behave(&learned.edge, &name("quiet", number), true, 4);
    }
    let text = wait_for("it is counted", SOON, || {
        let (code, text) = learned.drift(&learned.table, "20%");
        (code == Some(1)).then_some(text)
    });
    let said = "of callers are in another segment now, more than the 20.0%";
    assert!(text.contains(said), "{text}");
    let line = &learned.edge.journal("")[0];
    assert_eq!(line["what"], "keys of callers exported as they are");
}
