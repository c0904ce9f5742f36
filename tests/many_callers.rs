//! A million callers in lists and ten thousand apps: how long they take to load, to look up, and how much memory
//! they take. Not run unless asked for; the figures are in `benches/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "it measures, and tells a person"
)]

use std::env::VarError;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use serin::app;
use serin::config::{self, Config};
use serin::domain::timestamp::Timestamp;
use serin::runtime::apps::{AppRegistry, Holder};
use serin::runtime::clock;
use serin::runtime::key_hash::KeyHash;

const CALLERS: usize = 1_000_000;
const APPS: usize = 10_000;
const LOOKS: usize = 200_000;

fn config(callers: &str, apps: &str) -> Config {
    let text = "listeners: [{ address: 127.0.0.1:0 }]\nbackends: { a: http://a }\n\
        identity: [{ api_key: { header: x-api-key } }]\napps: { file: apps.yaml }\n\
        groups: { many: { callers_file: callers.txt } }\nroutes: [{ path: /, backend: a }]\n";
    let read = |path: &Path| match path.to_str() {
        Some("apps.yaml") => Ok(apps.to_owned()),
        _ => Ok(callers.to_owned()),
    };
    config::parse(text, &read, &|_| Err(VarError::NotPresent)).unwrap()
}

fn key(number: usize) -> String {
    format!("srn_{number:049}")
}

fn apps(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let [one, two] =
            [2 * number, 2 * number + 1].map(|key_of| KeyHash::of(&key(key_of)).digest());
        writeln!(
            text,
            "app-{number}:\n  owner: owner-{number}\n  status: approved\n  tier: gold\n  \
             attributes: {{ region: eu }}\n  keys: [{{ sha256: {one} }}, {{ sha256: {two} }}]\n  \
             rate_limit: {{ requests_per_second: 50 }}",
        )
        .unwrap();
    }
    text
}

fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        * 1024.0
}

/// What it took to do something, and what it left in memory.
fn measured<T>(what: &str, act: impl FnOnce() -> T) -> (T, Duration) {
    let (before, begun) = (resident_bytes(), clock::monotonic());
    let made = act();
    let took = begun.elapsed();
    let megabytes = (resident_bytes() - before) / 1e6;
    eprintln!("{what}: {took:.2?}, {megabytes:.1} MB more in memory");
    (made, took)
}

/// Nanoseconds of a look-up, the best of five rounds.
fn per_look(registry: &AppRegistry, keys: &[String]) -> f64 {
    let round = |_| {
        let begun = clock::monotonic();
        for key in keys.iter().cycle().take(LOOKS) {
            black_box(registry.holder(key.as_bytes(), Timestamp::default()));
        }
        begun.elapsed().as_nanos() as f64 / LOOKS as f64
    };
    (0..5).map(round).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "it measures, for a minute"]
fn a_million_callers_and_ten_thousand_apps() {
    let mut callers = String::new();
    for number in 0..CALLERS {
        writeln!(callers, "caller-{number:09}").unwrap();
    }
    let (_list, took) = measured("a million callers, read", || config(&callers, ""));
    assert!(took < Duration::from_secs(20), "{took:?}");
    let text = apps(APPS);
    let (config, took) = measured("ten thousand apps, read", || config("", &text));
    assert!(took < Duration::from_secs(20), "{took:?}");
    let ((_, registry), took) = measured("ten thousand apps, in place", || {
        app::initial_routing(config)
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(registry.len(), APPS);

    let (_, few) = app::initial_routing(self::config("", &apps(10)));
    let known: Vec<_> = (0..2 * APPS).step_by(7).map(key).collect();
    let unknown: Vec<_> = (0..2 * APPS)
        .step_by(7)
        .map(|n| key(n + 10 * APPS))
        .collect();
    assert!(matches!(
        registry.holder(known[9].as_bytes(), Timestamp::default()),
        Holder::App(_)
    ));
    assert!(matches!(
        registry.holder(unknown[9].as_bytes(), Timestamp::default()),
        Holder::Nobody
    ));
    let of_few: Vec<_> = (0..20).map(key).collect();
    let (among_few, among_many) = (per_look(&few, &of_few), per_look(&registry, &known));
    let nobodys = per_look(&registry, &unknown);
    eprintln!("a look-up: {among_few:.0} ns among ten apps, {among_many:.0} ns among ten thousand");
    eprintln!("a key that nobody has: {nobodys:.0} ns");
    // Memory further away costs something; a scan of all would cost a thousand times as much.
    assert!(among_many < 10.0 * among_few, "{among_many} ns");
    assert!(nobodys < 1.5 * among_many, "{nobodys} ns");
}
