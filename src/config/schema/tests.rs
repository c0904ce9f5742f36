//! The schema agrees with the reader: on keys, on samples, on what is wrong.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::{HeaderName, Method};
use ipnet::IpNet;
use jsonschema::Validator;

use super::*;
use crate::config::report::Report;
use crate::config::text::{CookieName, EndpointUrl, Increase, NonEmpty, OwnHeader, Span};
use crate::config::tls::TlsName;
use crate::config::written::FromText;
use crate::config::{reader, tree};
use crate::domain::ids::{BackendName, FlagName, GroupName};
use crate::domain::route::HostPattern;
use crate::domain::weight::Weight;

const COMMITTED: &str = include_str!("../../../config/serin.schema.json");
const SMALLEST: &str = include_str!("../../../config/serin.yaml");
const REFERENCE: &str = include_str!("../../../config/reference.yaml");

fn value() -> Value {
    serde_json::from_str(&schema()).unwrap()
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&value()).unwrap()
}

fn document(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

#[test]
fn the_committed_schema_is_current() {
    assert_eq!(
        schema(),
        COMMITTED,
        "run `serin schema > config/serin.schema.json`"
    );
}

#[test]
fn it_is_a_schema_that_every_sample_refers_to_and_fits() {
    assert!(jsonschema::draft202012::meta::is_valid(&value()));
    let validator = validator();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let mut samples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // A part of the reference, which names it.
        let is_part = path.ends_with("apps.yaml");
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml");
        if is_yaml && !is_part {
            let text = std::fs::read_to_string(&path).unwrap();
            let first = text.lines().next();
            let line = "# yaml-language-server: $schema=serin.schema.json";
            assert_eq!(first, Some(line), "{}", path.display());
            let errors: Vec<_> = validator
                .iter_errors(&document(&text))
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
            samples += 1;
        }
    }
    assert!(samples >= 2, "there are samples");
}

#[test]
fn what_the_schema_refuses_the_reader_refuses_too() {
    let validator = validator();
    for (right, wrong) in [
        ("canary: orders-v2", "canry: orders-v2"),
        ("    canary: orders-v2             # the new version\n", ""),
        ("revision: \"2.4.0\"", "revision: 2.4"),
        ("revision: \"2.4.0\"", "revision: \" \""),
        ("revision: \"2.4.0\"", "revision:"),
        ("stages: [1%", "stages: [1"),
        ("stages: [1%", "stages: [-1%"),
        ("stages: [1%", "stages: [{ weigth: 1% }"),
        ("stages: [1%", "hold: 5\n      stages: [1%"),
        ("stages: [1%, 5%, 25%, 50%, 100%]", "stages: 1%"),
        ("address: 0.0.0.0:8080", "address: localhost:8080"),
        ("address: 0.0.0.0:8080", "address: 8080"),
        ("listeners:\n  - address: 0.0.0.0:8080", "listeners: []"),
        ("listeners:\n  - address: 0.0.0.0:8080\n", ""),
        ("orders-v1: http", "orders-v1: ftp"),
        (
            "http://10.0.0.1:8000",
            "{ endpoints: [https://a], protocol: h3 }",
        ),
        ("orders-v1: http", "-orders: http"),
        ("http://10.0.0.1:8000", "http://10.0.0.1:8000/orders"),
        ("http://10.0.0.1:8000", "{ endpoints: [] }"),
        ("http://10.0.0.1:8000", "{ timeouts: { connect: 1s } }"),
        ("routes:", "workers: 0\nroutes:"),
        ("routes:", "workers: 2000\nroutes:"),
        ("routes:", "workers: \"2\"\nroutes:"),
        ("routes:", "identity: [client]\nroutes:"),
        ("routes:", "identity: [cookie]\nroutes:"),
        (
            "routes:",
            "identity: [{ cookie: a, client_ip: {} }]\nroutes:",
        ),
        ("routes:", "identity: [client_ip: 1]\nroutes:"),
        ("routes:", "groups: { a: { ip: [10.0.0.0/8x] } }\nroutes:"),
        ("routes:", "groups: { a: }\nroutes:"),
        ("routes:", "trusted_proxies: 10.0.0.0/8\nroutes:"),
        ("canary: orders-v2", "canary: orders-v2\n    enabled: yes"),
        (
            "canary: orders-v2",
            "canary: orders-v2\n    stickiness: both",
        ),
        (
            "canary: orders-v2",
            "canary: orders-v2\n    force: { header: a }",
        ),
        ("canary: orders-v2", "canary: orders-v2\n    hash: md5"),
        ("path: /  ", "methods: [get]  "),
        ("path: /  ", "host: a b  "),
        ("path: /  ", "path: { regex: a }  "),
    ] {
        let text = SMALLEST.replacen(right, wrong, 1);
        assert_ne!(text, SMALLEST, "{right} is in the sample");
        assert!(!validator.is_valid(&document(&text)), "{wrong}");
        let read = crate::config::parse(&text, &|_| unreachable!(), &|_| unreachable!());
        assert!(read.is_err(), "{wrong}");
    }
}

#[test]
fn variables_may_stand_for_any_value() {
    let validator = validator();
    let right = "workers: ${N}\nlisteners: [{ address: \"0.0.0.0:${PORT}\" }]\n\
                 identity: [client_ip: {}, { client_ip: }]\n\
                 backends: { a: \"${URL}\" }\n\
                 flags: { f: { stable: a, canary: a, enabled: \"${ON}\", default: \"${X}%\", \
                 stickiness: \"${S}\" } }\nroutes: [{ methods: [\"${M}\"], backend: a }]\n";
    let errors: Vec<_> = validator
        .iter_errors(&document(right))
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// For each kind the keys of its maps and the words of its choices.
fn keys(schema: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for kind in kinds(schema) {
        let mut schema = schema.clone();
        let of_kind = kind_mut(&mut schema, &kind).unwrap();
        let choices = ["oneOf", "anyOf"]
            .iter()
            .filter_map(|key| of_kind.get(*key)?.as_array())
            .flatten();
        for part in choices.chain([&Value::Object(of_kind.clone())]) {
            let names = part["properties"]
                .as_object()
                .into_iter()
                .flat_map(Map::keys);
            found.extend(names.map(|name| (kind.clone(), name.clone())));
            let words = part["enum"].as_array().into_iter().flatten();
            let words = words.chain(part.get("const")).filter_map(Value::as_str);
            found.extend(words.map(|word| (kind.clone(), word.to_owned())));
        }
    }
    found
}

#[test]
fn the_schema_has_each_key_that_the_reader_takes_and_no_other() {
    let report = Report::default();
    let root = tree::read(REFERENCE, &report).unwrap();
    reader::read::<Document>(&root, &report).unwrap();
    let read: BTreeSet<_> = report
        .coverage
        .take()
        .into_keys()
        .map(|(kind, key)| (kind.to_owned(), key.to_owned()))
        .collect();
    assert_eq!(keys(&value()), read);
}

/// Maps whose keys are told by `config/reference.yaml` alone so far.
const UNDESCRIBED: [&str; 3] = ["RolloutDocument", "StageDocument", "ChecksDocument"];

#[test]
fn each_map_is_closed_and_each_key_described() {
    let mut schema = value();
    let mut maps = 0;
    for kind in kinds(&schema) {
        let mut of_kind = kind_mut(&mut schema, &kind).unwrap().clone();
        of_kind.remove("$defs");
        visit(&Value::Object(of_kind), &mut |part| {
            let Some(properties) = part.get("properties").and_then(Value::as_object) else {
                return;
            };
            maps += 1;
            assert_eq!(part["additionalProperties"], false, "{kind}");
            for (key, property) in properties {
                let of_choice = part.get("description").is_some() && properties.len() == 1;
                // A word as a key says no more than the word.
                let is_word = property.get("maxProperties").is_some();
                let is_described = property.get("description").is_some() || of_choice || is_word;
                assert!(
                    is_described || UNDESCRIBED.contains(&&*kind),
                    "{kind}: {key}"
                );
            }
        });
    }
    assert!(maps > 20);
}

/// Every map of a schema.
fn visit(part: &Value, see: &mut impl FnMut(&Value)) {
    match part {
        Value::Object(entries) => {
            see(part);
            entries.values().for_each(|part| visit(part, see));
        }
        Value::Array(items) => items.iter().for_each(|part| visit(part, see)),
        _ => {}
    }
}

#[test]
fn each_default_stands_at_a_key_that_takes_it() {
    let mut schema = value();
    for (kind, key, default) in default_values() {
        let property = kind_mut(&mut schema, kind).unwrap()["properties"][key].clone();
        assert_eq!(property["default"], default, "{kind} {key}");
        let mut alone = property;
        alone["$defs"] = value()["$defs"].clone();
        assert!(
            jsonschema::is_valid(&alone, &default),
            "{kind} {key} {default}"
        );
    }
}

fn shape_is_right<T: FromText>(more: &[&str], wrong: &[&str]) {
    let shape = text(T::SHAPE, T::IS_SECRET).to_value();
    let validator = jsonschema::draft202012::new(&shape).unwrap();
    for right in T::SHAPE.examples.iter().chain(more) {
        assert!(T::from_text(right).is_ok(), "{}: {right}", T::EXPECTED);
        assert!(
            validator.is_valid(&json!(right)),
            "{}: {right}",
            T::EXPECTED
        );
    }
    for wrong in wrong {
        assert!(T::from_text(wrong).is_err(), "{}: {wrong}", T::EXPECTED);
        assert!(
            !validator.is_valid(&json!(wrong)),
            "{}: {wrong}",
            T::EXPECTED
        );
    }
}

#[test]
fn shapes_fit_what_is_read_and_few_other_texts() {
    shape_is_right::<Weight>(
        &["0%", "12.50 %", "100.000%"],
        &["5", "%", ".5%", "-1%", "a%"],
    );
    shape_is_right::<Increase>(&["250%", "+0.5 %"], &["-5%", "25", "+%"]);
    shape_is_right::<Duration>(
        &["0s", "1 h 30 min", "2weeks", "1M", "10us"],
        &["", "5", "m"],
    );
    shape_is_right::<Span>(&["1ms"], &["5", "h"]);
    shape_is_right::<SocketAddr>(&["[fe80::1%1]:80"], &["localhost:80", "1.2.3.4", ":80"]);
    shape_is_right::<IpNet>(
        &["::ffff:10.0.0.0/104", "::1"],
        &["10.0.0.0/", "x.y", "10/8/8"],
    );
    shape_is_right::<HeaderName>(&["X-A_b"], &["a b", "a:", ""]);
    shape_is_right::<OwnHeader>(&["X-A_b"], &["a b", "a:", ""]);
    shape_is_right::<CookieName>(&["uid", "a.b!"], &["a b", "a=b", ""]);
    shape_is_right::<Method>(&["M-SEARCH", "X_Y"], &["get", "A B", ""]);
    shape_is_right::<HostPattern>(&["[::1]", "a_b"], &["*", "*a.b", "a:80", "a/b", ""]);
    shape_is_right::<EndpointUrl>(
        &["HTTP://a/", "http://[::1]", "https://a"],
        &["a:80", "ftp://a", "http://a/b"],
    );
    shape_is_right::<TlsName>(&["a.b", "10.0.0.1", "::1"], &["", "a b", "http://a"]);
    shape_is_right::<NonEmpty>(&["a", " a\nb "], &["", " \n "]);
    shape_is_right::<FlagName>(&["a", "9.A-b_c"], &["", "-a", "a b", "ä"]);
    shape_is_right::<GroupName>(&[], &[&"x".repeat(64)]);
    shape_is_right::<BackendName>(&[&"x".repeat(63)], &["a/b"]);
}
