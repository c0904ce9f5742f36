//! Learned segments through the real program: trained on a table, loaded as groups, looked up by
//! requests, and read again when their files change.

#![cfg(feature = "segments")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use jsonwebtoken::Algorithm;
use serde_json::Value;
use serin::runtime::clock;
use support::proxy::{SERIN, backends, replace_file};
use support::tokens::{Signer, jwks};
use support::{Request, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

const IRIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/iris.csv");

/// Runs `serin segment` in a folder.
fn segment(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(SERIN);
    command.arg("segment").args(arguments).current_dir(folder);
    command.output().unwrap()
}

/// The same where it has to go well; gives what is printed.
#[track_caller]
fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = segment(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same where it has to be refused; gives what is said.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = segment(folder, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    said.trim_end().to_owned()
}

/// A table of quiet callers, `q-0` and so on, and busy ones, `b-0` and so on.
fn callers() -> String {
    let mut text = "key,rate,errors\n".to_owned();
    for place in 0..20_u32 {
        let (rate, errors) = (3 + place % 5, place % 3);
        text += &format!("q-{place},{rate},0.0{errors}\n");
        text += &format!("b-{place},{},0.1{errors}\n", 200 + 7 * rate);
    }
    text
}

/// A model of these callers, with segments `quiet` and `busy`.
fn model(folder: &Path) -> String {
    fs::write(folder.join("callers.csv"), callers()).unwrap();
    let renamed = ["--name", "low-rate=quiet", "--name", "high-rate=busy"];
    let train = ["train", "callers.csv", "--date", "2026-11-30", "-o", "-"];
    done(folder, &[&train[..], &renamed].concat())
}

#[test]
fn a_table_becomes_a_report_and_a_model_that_labels_tables() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let train = ["train", IRIS, "--ignore", "class", "--clusters", "3"];
    let said = done(
        folder,
        &[&train[..], &["--plot", "iris.svg", "-o", "a.json"]].concat(),
    );
    for part in [
        "3 segments of 150 rows, by 4 features: clusters, seed 1",
        "silhouette 0.4",
        "inertia 139.8",
        "petal_length_cm <= 2.45",
        "of rows that it has not seen",
        "written to a.json",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        fs::read_to_string(folder.join("iris.svg"))
            .unwrap()
            .starts_with("<svg ")
    );

    // Again, told as JSON: the same model, byte for byte; with another seed another one.
    let again = done(folder, &[&train[..], &["-o", "b.json", "--json"]].concat());
    let told: Value = again.parse().unwrap();
    assert_eq!(told["segments"][0]["rows"].as_u64().unwrap() / 10, 5);
    assert_eq!(told["rules"][0]["rule"], "petal_length_cm <= 2.45");
    assert_eq!(told["model"], "b.json");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("a.json"), read("b.json"));
    let other = done(folder, &[&train[..], &["-o", "-", "--seed", "2"]].concat());
    assert_ne!(other, read("a.json"));

    let labelled = done(folder, &["assign", "a.json", IRIS]);
    let lines: Vec<&str> = labelled.lines().collect();
    assert_eq!(lines.len(), 151);
    assert!(lines[0].ends_with(",class,segment"), "{}", lines[0]);
    let of_setosa = lines.iter().filter(|line| line.contains(",setosa,"));
    assert!(
        of_setosa
            .clone()
            .all(|line| line.ends_with(",low-petal_length_cm"))
    );
    assert_eq!(of_setosa.count(), 50);
}

#[test]
fn a_tree_learns_labels_by_which_it_labels() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let said = done(folder, &["train", IRIS, "--label", "class", "--json"]);
    let told: Value = said.parse().unwrap();
    let accuracy = told["accuracy"].as_f64().unwrap();
    assert!((accuracy - 0.944).abs() <= 0.03, "{accuracy}");
    let labelled = done(folder, &["assign", "segments.json", IRIS]);
    let agreed = labelled.lines().skip(1).filter(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        fields[4] == fields[5]
    });
    assert!(agreed.count() >= 148);
}

#[test]
fn what_cannot_be_trained_on_is_refused_with_column_or_row() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let write = |text: &str| fs::write(folder.join("t.csv"), text).unwrap();
    let train = |more: &[&str]| refused(folder, &[&["train", "t.csv"], more].concat());
    let own = train(&["-o", "t.csv"]);
    assert!(
        own.contains("t.csv: the model would take the place of the table"),
        "{own}"
    );

    write("");
    assert_eq!(
        train(&[]),
        "serin: t.csv: the file is empty; its first line names the columns"
    );
    write("rate,country\n1,DE\n2,FR\n");
    assert_eq!(
        train(&[]),
        "serin: t.csv: column `country`: `DE` in row 1 (line 2) is not a number; \
         leave the column out, or name it as key or label"
    );
    assert_eq!(
        train(&["--label", "plan"]),
        "serin: t.csv: there is no column `plan`; the columns are `rate`, `country`"
    );
    let few = train(&["--key", "country"]);
    assert_eq!(
        few,
        "serin: t.csv: 2 rows are too few: at least 10 are needed"
    );
    let rows: String = (0..12).map(|row| format!("{row},5\n")).collect();
    write(&format!("rate,zone\n{rows}"));
    let constant = train(&[]);
    assert!(
        constant.contains("column `zone` has the same value in every row"),
        "{constant}"
    );
    let many = train(&["--ignore", "zone", "--clusters", "13"]);
    assert!(
        many.contains("13 clusters are more than there are rows (12)"),
        "{many}"
    );
    assert!(!folder.join("segments.json").exists(), "nothing is written");

    fs::write(folder.join("m.json"), "{ \"version\": 9 }").unwrap();
    let later = refused(folder, &["assign", "m.json", "t.csv"]);
    assert!(later.contains("m.json: is a model of version 9"), "{later}");
    fs::write(folder.join("m.json"), model(folder)).unwrap();
    let missing = refused(folder, &["assign", "m.json", "t.csv"]);
    assert!(
        missing.contains("t.csv: there is no column `errors`"),
        "{missing}"
    );
}

/// A proxy with groups of both segments, of which `quiet` has the canary.
struct Edge {
    proxy: TestProxy,
    model: String,
    _servers: [TestBackend; 2],
}

impl Edge {
    fn start(features: &str, more: &str) -> Self {
        let servers = [TestBackend::start("v1"), TestBackend::start("v2")];
        let folder = TempDir::new().unwrap();
        let model = model(folder.path());
        let group = |name: &str, more: &str| {
            format!(
                "  {name}: {{ segment: {{ model: segments.json, name: {name}, features: {features}{more} }} }}\n"
            )
        };
        let config = backends(&[("v1", &servers[0]), ("v2", &servers[1])])
            + "identity: [{ header: x-user-id }]\ntrusted_proxies: [127.0.0.1]\ngroups:\n"
            + &group("quiet", more)
            + &group("busy", more)
            + "flags: { shop: { stable: v1, canary: v2, groups: { quiet: 100%, busy: 0% }, default: 0% } }\n\
               routes: [{ path: /, flag: shop }]\n";
        let files = [("segments.json", &*model), ("callers.csv", &*callers())];
        Self {
            proxy: TestProxy::with_files(&config, &files),
            model,
            _servers: servers,
        }
    }

    fn ask(&self, fields: &[(&str, &str)]) -> String {
        let request = Request::get("/");
        let add = |request: Request, (name, value): &(&str, &str)| request.field(name, value);
        let answer = self.proxy.ask(&fields.iter().fold(request, add));
        assert_eq!(answer.status, 200);
        answer.text().to_owned()
    }

    fn caller(&self, key: &str) -> String {
        self.ask(&[("x-user-id", key)])
    }

    /// What is explained of a request.
    fn explain(&self, fields: &[(&str, &str)]) -> Value {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(vec![*value])));
        let wish = serde_json::json!({ "headers": fields.collect::<serde_json::Map<_, _>>() });
        let answer = self
            .proxy
            .command("POST", "/api/v1/explain", &wish.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn replace(&self, name: &str, text: &str) {
        replace_file(&self.proxy.config_path().with_file_name(name), text);
    }
}

#[test]
fn callers_of_each_segment_get_what_their_group_gets() {
    let edge = Edge::start("{ table: callers.csv }", "");
    for place in [0, 7, 19] {
        assert_eq!(edge.caller(&format!("q-{place}")), "v2");
        assert_eq!(edge.caller(&format!("b-{place}")), "v1");
    }
    assert_eq!(
        edge.caller("somebody"),
        "v1",
        "who is not in the table is in no segment"
    );
    let group = |group: &str| {
        [("flag", "shop"), ("group", group)].map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    for (name, count) in [("quiet", 3), ("busy", 3), ("default", 1)] {
        let labels = group(name);
        let labels = labels.each_ref().map(|(a, b)| (&**a, &**b));
        edge.proxy
            .wait_for_count("serin_requests_total", &labels, count);
    }

    let told = edge.explain(&[("x-user-id", "q-7")]);
    assert_eq!(told["groups"], serde_json::json!(["quiet"]));
    assert_eq!(told["segments"][0]["segment"], "quiet");
    let why = told["segments"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("its centre is the nearest, 0."), "{why}");
    assert!(
        why.contains("that of `busy` is") && why.contains("such callers have rate <= "),
        "{why}"
    );
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("\nsegment  quiet: its centre"), "{text}");
    let told = edge.explain(&[("x-user-id", "somebody")]);
    assert_eq!(told["segments"][0]["segment"], Value::Null);
    let why = told["segments"][0]["why"].as_str().unwrap();
    assert_eq!(why, "the feature table has no row of this caller");
}

#[test]
fn the_unknown_are_in_the_segment_that_is_said_for_them() {
    let edge = Edge::start("{ table: callers.csv }", ", default: quiet");
    assert_eq!(edge.caller("somebody"), "v2");
    assert_eq!(edge.ask(&[]), "v2", "a caller without a key, too");
    assert_eq!(edge.caller("b-1"), "v1");
    let told = edge.explain(&[("x-user-id", "somebody")]);
    assert_eq!(told["segments"][0]["segment"], "quiet");
}

#[test]
fn whoever_is_infinitely_far_from_every_centre_is_unknown() {
    for (default, of_far, variant) in [
        ("", Value::Null, "v1"),
        (", default: quiet", "quiet".into(), "v2"),
    ] {
        let edge = Edge::start("{ table: callers.csv }", default);
        edge.replace("callers.csv", &(callers() + "far,1e200,0\nbig,1e6,0\n"));
        let story = |key| edge.explain(&[("x-user-id", key)])["segments"][0].clone();
        wait_until("the table is read again", SOON, || {
            let why = story("far")["why"].to_string();
            why.contains("too far from every segment")
        });
        assert_eq!(story("far")["segment"], of_far);
        assert_eq!(edge.caller("far"), variant);
        // Far, and yet nearer to one.
        assert_eq!(story("big")["segment"], "busy");
        assert_eq!(edge.caller("big"), "v1");
        let config = edge.proxy.config_path();
        let labelled = done(
            config.parent().unwrap(),
            &["assign", "segments.json", "callers.csv"],
        );
        assert!(
            labelled.ends_with("\nfar,1e200,0,\nbig,1e6,0,busy\n"),
            "{labelled}"
        );
    }
}

#[test]
fn a_table_is_read_again_and_what_is_broken_changes_nothing() {
    let edge = Edge::start("{ table: callers.csv }", "");
    assert_eq!((&*edge.caller("q-1"), &*edge.caller("new")), ("v2", "v1"));

    // A caller changes its ways, and another one comes.
    let changed = callers().replace("q-1,", "x-1,") + "q-1,230,0.11\nnew,4,0\n";
    edge.replace("callers.csv", &changed);
    wait_until("the table is read again", SOON, || {
        edge.caller("q-1") == "v1"
    });
    assert_eq!(edge.caller("new"), "v2");

    let refusals = [
        (
            "callers.csv",
            "key,rate,errors\nq-1,4,zero\n",
            "`zero` in row 1 (line 2) is not a number",
        ),
        (
            "callers.csv",
            "key,rate\nq-1,4\n",
            "there is no column `errors`",
        ),
        (
            "callers.csv",
            "rate,errors\n4,0\n",
            "there is no column of keys",
        ),
        ("segments.json", "{", "is not a model of segments: EOF"),
        (
            "segments.json",
            "{ \"version\": 7 }",
            "is a model of version 7",
        ),
    ];
    for (name, text, reason) in refusals {
        edge.replace(name, text);
        let told = edge.proxy.wait_for_log(reason, SOON);
        assert!(
            told.contains("configuration refused") && told.contains(name),
            "{told}"
        );
        assert_eq!((&*edge.caller("q-1"), &*edge.caller("new")), ("v1", "v2"));
        let sound = if name == "callers.csv" {
            &changed
        } else {
            &edge.model
        };
        edge.replace(name, sound);
    }
}

#[test]
fn a_model_is_read_again_and_has_to_have_the_segments_that_are_named() {
    let edge = Edge::start("{ table: callers.csv }", "");
    assert_eq!((&*edge.caller("q-1"), &*edge.caller("b-1")), ("v2", "v1"));

    // What is busy is called quiet from now on, and the other way round.
    let swapped = edge
        .model
        .replace("\"busy\"", "\"b\"")
        .replace("\"quiet\"", "\"busy\"");
    edge.replace("segments.json", &swapped.replace("\"b\"", "\"quiet\""));
    wait_until("the model is read again", SOON, || {
        edge.caller("b-1") == "v2"
    });
    assert_eq!(edge.caller("q-1"), "v1");
    let gone = edge.model.replace("\"quiet\"", "\"calm\"");
    edge.replace("segments.json", &gone);
    let told = edge
        .proxy
        .wait_for_log("the model has no segment `quiet`", SOON);
    assert!(
        told.contains("one of `calm`, `busy`") || told.contains("one of `busy`, `calm`"),
        "{told}"
    );
    assert_eq!(edge.caller("b-1"), "v2");
}

#[test]
fn features_may_come_in_headers_of_those_who_are_trusted() {
    let headers = "{ headers: { rate: x-rate, errors: x-errors } }";
    let edge = Edge::start(headers, "");
    assert_eq!(edge.ask(&[("x-rate", "4"), ("x-errors", "0.01")]), "v2");
    assert_eq!(edge.ask(&[("x-rate", "220"), ("x-errors", "0.1")]), "v1");
    assert_eq!(
        edge.ask(&[("x-rate", "4")]),
        "v1",
        "half of them is not enough"
    );
    assert_eq!(edge.ask(&[("x-rate", "4"), ("x-errors", "few")]), "v1");
    let told = edge.explain(&[("x-rate", "4")]);
    let why = told["segments"][0]["why"].as_str().unwrap();
    assert_eq!(why, "the request has no header `x-errors`");

    // From somebody who is not trusted they are removed.
    let config = fs::read_to_string(edge.proxy.config_path()).unwrap();
    edge.proxy
        .write_config(&config.replace("[127.0.0.1]", "[192.0.2.1]"));
    edge.proxy.reload();
    wait_until("headers are removed", SOON, || {
        edge.ask(&[("x-rate", "4"), ("x-errors", "0.01")]) == "v1"
    });
    let heads = edge._servers[0].last_head();
    assert_eq!(
        (heads.field("x-rate"), heads.field("x-errors")),
        (None, None)
    );
}

#[test]
fn features_may_come_in_claims_of_a_token_that_is_verified() {
    let (signer, stranger) = (
        Signer::new("1", Algorithm::ES256),
        Signer::new("1", Algorithm::ES256),
    );
    let edge = Edge::start("{ claims: { rate: usage.rate, errors: errors } }", "");
    let config = fs::read_to_string(edge.proxy.config_path()).unwrap();
    edge.replace("jwks.json", &jwks(&[&signer]));
    let source = "identity: [{ jwt: { jwks_file: jwks.json } }, ";
    edge.proxy
        .write_config(&config.replace("identity: [", source));
    edge.proxy.reload();
    let claims = |rate: Value, errors: Value| {
        let usage = serde_json::json!({ "rate": rate });
        let exp = clock::wall().as_secs() + 300;
        serde_json::json!({ "sub": "ann", "exp": exp, "usage": usage, "errors": errors })
    };
    let by = |signer: &Signer, rate: Value, errors: Value| {
        let token = signer.sign(&claims(rate, errors));
        edge.ask(&[("authorization", &format!("Bearer {token}"))])
    };
    wait_until("the source of tokens", SOON, || {
        by(&signer, 4.into(), "0.01".into()) == "v2"
    });
    assert_eq!(by(&signer, 220.into(), 0.1.into()), "v1");
    assert_eq!(by(&signer, 4.into(), Value::Null), "v1", "half of them");
    assert_eq!(by(&signer, "few".into(), 0.01.into()), "v1");
    assert_eq!(by(&stranger, 4.into(), 0.01.into()), "v1");
    let token = signer.sign(&claims(4.into(), "few".into()));
    let told = edge.explain(&[("authorization", &format!("Bearer {token}"))]);
    assert_eq!(
        told["segments"][0]["why"],
        "the claim `errors` is no number"
    );
    let told = edge.explain(&[]);
    let why = "the request brings no token that is believed";
    assert_eq!(told["segments"][0]["why"], why);
}
