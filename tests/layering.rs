//! Keeps the layers of the crate: who may import whom, and which outside crate belongs where.
//!
//! In a single crate the compiler does not check this, so this test reads every path written
//! under `src/`. A module imports from rows below its own only, never from its own row, never
//! from above. Test modules are held to the same rules.

#[path = "support/paths.rs"]
mod paths;
#[path = "support/source.rs"]
mod source;

use paths::PathsOf;
use source::{SourceFile, source_files};

/// The rows of the house, from the ground up.
const LAYERS: [&[&str]; 6] = [
    &["domain"],
    &["config", "runtime", "telemetry", "simulator", "learning"],
    &["proxy", "control"],
    &["admin", "adapters", "lab"],
    &["app"],
    &["cli"],
];

/// The program: a few lines over the one module named here.
const MAIN: (&str, &str) = ("main", "cli");

/// What would let `domain` block, wait, log or answer differently to equal questions.
const FORBIDDEN_IN_DOMAIN: [&str; 19] = [
    "tokio",
    "hyper",
    "hyper_util",
    "axum",
    "tracing",
    "parking_lot",
    "rand::rng",
    "rand::random*",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::net::Tcp*",
    "std::net::Udp*",
    "std::os::unix::net",
    "sync::Mutex",
    "sync::RwLock",
    "Instant::now",
    "SystemTime::now",
];

/// Outside crates that only some modules may use; any other crate is free above `domain`.
const KEPT_TO: [(&str, &[&str]); 14] = [
    ("h2", &["proxy"]),
    ("hyper", &["proxy", "admin", "adapters", "lab"]),
    ("hyper_util", &["proxy", "admin", "adapters", "lab"]),
    ("rustls", &["proxy", "admin", "adapters", "lab"]),
    ("proxy_header", &["proxy"]),
    ("axum", &["admin"]),
    ("serde_yaml", &["config"]),
    ("prometheus", &["telemetry"]),
    ("notify", &["adapters"]),
    ("redb", &["adapters"]),
    ("tonic", &["adapters"]),
    ("smartcore", &["learning"]),
    ("clap", &["cli"]),
    ("anyhow", &["app", "cli", "main"]),
];

#[test]
fn every_module_imports_from_the_layers_below_it_only() {
    assert_clean(layer_problems);
}

#[test]
fn the_domain_stays_pure() {
    assert_clean(purity_problems);
}

#[test]
fn outside_crates_stay_where_they_belong() {
    assert_clean(crate_problems);
}

fn assert_clean(check: impl Fn(&SourceFile) -> Vec<String>) {
    let files = source_files().unwrap_or_default();
    assert!(!files.is_empty(), "no source was read");
    let problems: Vec<String> = files.iter().flat_map(check).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn layer_problems(file: &SourceFile) -> Vec<String> {
    let module = top_module(&file.name);
    let written = PathsOf::new(file);
    if module == MAIN.0 {
        return written.complaints(|path| {
            let target = path.after("serin")?;
            (target != MAIN.1).then(|| format!("main must not use {target}, only {}", MAIN.1))
        });
    }
    if module == "lib" {
        return written
            .declared
            .iter()
            .filter(|declared| row_of(declared).is_none())
            .map(|declared| format!("{}: {declared} is in no row of LAYERS", file.name))
            .collect();
    }
    let Some(own_row) = row_of(module) else {
        return vec![format!("{}: {module} is in no row of LAYERS", file.name)];
    };
    written.complaints(|path| {
        let target = path.after("crate").filter(|target| *target != module)?;
        match row_of(target) {
            None => Some(format!(
                "{module} must not import {target}, which is in no row"
            )),
            Some(row) if row >= own_row => Some(format!("{module} must not import {target}")),
            Some(_) => None,
        }
    })
}

fn purity_problems(file: &SourceFile) -> Vec<String> {
    if top_module(&file.name) != "domain" {
        return Vec::new();
    }
    PathsOf::new(file).complaints(|path| {
        FORBIDDEN_IN_DOMAIN
            .iter()
            .find(|pattern| path.contains(pattern))
            .map(|pattern| format!("domain must not use {pattern}"))
    })
}

fn crate_problems(file: &SourceFile) -> Vec<String> {
    let module = top_module(&file.name);
    let written = PathsOf::new(file);
    written.complaints(|path| {
        let (name, homes) = KEPT_TO.iter().find(|(name, _)| path.segments[0] == *name)?;
        // A module of that name beside or below this file hides the crate.
        if homes.contains(&module) || written.declared.iter().any(|declared| declared == name) {
            return None;
        }
        Some(format!(
            "{module} must not use {name}, kept to {}",
            homes.join(", ")
        ))
    })
}

/// `control/mod.rs` belongs to `control`, `lib.rs` to `lib`.
fn top_module(name: &str) -> &str {
    let first = name.split('/').next().unwrap_or(name);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn row_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn layers_of(name: &str, text: &str) -> Vec<String> {
    layer_problems(&file(name, text))
}

#[test]
fn an_import_between_neighbours_or_from_above_is_found() {
    assert_eq!(
        layers_of("control/mod.rs", "//! Control.\nuse crate::proxy::Pool;\n"),
        ["control/mod.rs:2: control must not import proxy"],
    );
    let found = |name: &str, text: &str| layers_of(name, text).len();
    assert_eq!(
        found("domain/flag.rs", "fn f() { crate::config::parse() }"),
        1
    );
    assert_eq!(found("runtime/mod.rs", "use crate::telemetry::logs;"), 1);
    assert_eq!(
        found(
            "proxy/mod.rs",
            "use crate::{domain::Flag, admin, control::{a, b}};"
        ),
        3
    );
    assert_eq!(found("proxy/mod.rs", "use crate::{self as root, *};"), 1);
    assert_eq!(found("proxy/mod.rs", "use super::control;"), 1);
    assert_eq!(
        found("proxy/tls.rs", "use super::super::{control, domain};"),
        1
    );
    assert_eq!(
        found(
            "proxy/tls.rs",
            "mod tests { use super::super::super::app; }"
        ),
        1
    );
    assert_eq!(
        found(
            "proxy/mod.rs",
            "macro_rules! m { () => { $crate::app::run() } }"
        ),
        1
    );
    assert_eq!(found("proxy/mod.rs", "use crate::elsewhere::Thing;"), 1);
    assert_eq!(
        found("proxy/mod.rs", "fn f() { for x in crate::app::all() {} }"),
        1
    );
}

#[test]
fn an_import_from_below_or_within_is_not() {
    let allowed = "
        // use crate::proxy; in a comment, /* and so on
        /* use crate::proxy; /* nested */ use crate::proxy; */
        pub(crate) use crate::domain::{self as ground, weight::Weight};
        pub(in crate::control) fn f<'a>(name: &'a str) -> crate::runtime::Clock {
            let quoted = (\"crate::proxy \\\" crate::admin\", r#\"crate::\"proxy\"#, '\"', b'\\'');
            crate::control::controller::run(self::commands::send(super::control::x));
        }
        mod tests { use super::super::domain; mod deeper { use super::super::*; } }
        use super::telemetry;
    ";
    assert_eq!(layers_of("control/mod.rs", allowed), [""; 0]);
}

#[test]
fn a_module_without_a_row_is_found() {
    assert_eq!(
        layers_of("util/mod.rs", ""),
        ["util/mod.rs: util is in no row of LAYERS"],
    );
    assert_eq!(
        layers_of("lib.rs", "pub mod domain;\nmod util;"),
        ["lib.rs: util is in no row of LAYERS"],
    );
}

#[test]
fn the_program_uses_the_command_line_only() {
    assert_eq!(
        layers_of("main.rs", "fn main() { serin::cli::run() }"),
        [""; 0]
    );
    assert_eq!(
        layers_of("main.rs", "use serin::{app::App, cli};"),
        ["main.rs:1: main must not use app, only cli"],
    );
}

#[test]
fn impurity_in_the_domain_is_found() {
    let found = |text: &str| purity_problems(&file("domain/flag.rs", text)).len();
    assert_eq!(found("use std::{fs, sync::{Arc, Mutex, RwLock}};"), 3);
    assert_eq!(found("use std::net::{IpAddr, TcpStream};"), 1);
    assert_eq!(
        found("fn f() { std::time::Instant::now(); SystemTime::now() }"),
        2
    );
    assert_eq!(
        found("fn f() { rand::rng(); tracing::info!(\"hello\") }"),
        2
    );
    assert_eq!(found("use ::tokio::spawn;"), 1);
    assert_eq!(found("#[tokio::test]\nasync fn f() {}"), 1);
}

#[test]
fn time_and_addresses_as_values_are_no_impurity() {
    let text = "use std::{net::IpAddr, sync::Arc, time::{Duration, Instant}};\n\
                use rand::Rng;\n/// Not `SystemTime::now()`.\nfn f(now: Instant) { now.fs() }";
    assert_eq!(purity_problems(&file("domain/flag.rs", text)), [""; 0]);
    assert_eq!(
        purity_problems(&file("adapters/file.rs", "use std::fs;")),
        [""; 0]
    );
}

#[test]
fn an_outside_crate_in_the_wrong_module_is_found() {
    let found = |name: &str, text: &str| crate_problems(&file(name, text));
    assert_eq!(
        found("control/mod.rs", "use hyper::body::Body;"),
        ["control/mod.rs:1: control must not use hyper, kept to proxy, admin, adapters, lab"],
    );
    assert_eq!(
        found("proxy/mod.rs", "use hyper::body::Body; use axum::Router;").len(),
        1
    );
    assert_eq!(
        found("config/mod.rs", "fn f() -> anyhow::Result<()> {}").len(),
        1
    );
    assert_eq!(
        found("main.rs", "fn main() -> anyhow::Result<()> {}"),
        [""; 0]
    );
    assert_eq!(
        found(
            "adapters/evidence/mod.rs",
            "mod prometheus; use prometheus::KIND;"
        ),
        [""; 0]
    );
    assert_eq!(
        found("app/mod.rs", "fn f(hyper: u8) { hyper.clap }"),
        [""; 0]
    );
    assert_eq!(
        found("config/mod.rs", "use {clap, hyper}; pub(in crate::x) y: u8").len(),
        2
    );
}
