//! A million callers in lists, ten thousand apps, and a configuration of a thousand routes: how long they take to load,
//! to look up and to be replaced, and how much memory they take. Not run unless asked for; the figures are in
//! `benches/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "it measures, and tells a person"
)]

mod support;

use std::env::VarError;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use serin::app;
use serin::config::{self, Config};
use serin::domain::timestamp::Timestamp;
use serin::runtime::apps::{AppRegistry, Holder};
use serin::runtime::clock;
use serin::runtime::key_hash::KeyHash;
use support::proxy::{SERIN, backends};
use support::{Connection, Request, SOON, TestBackend, TestProxy};
use tempfile::TempDir;

const CALLERS: usize = 1_000_000;
const APPS: usize = 10_000;
const LOOKS: usize = 200_000;

/// How often the large configuration is replaced.
const RELOADS: usize = 5;
/// Connections that ask on and on.
const ASKERS: usize = 3;
/// Requests once a version is in place.
const AFTERWARDS: usize = 1_000;
/// Requests of a round, by which two configurations are compared.
const ROUND: usize = 10_000;
const ROUNDS: usize = 7;

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

/// How much there is in a configuration.
#[derive(Clone, Copy)]
struct Size {
    routes: usize,
    flags: usize,
    callers: usize,
}

/// A proxy with a configuration on disk, of which the last route and the last listed caller change.
struct Edge {
    proxy: TestProxy,
    size: Size,
    head: String,
    folder: TempDir,
}

impl Edge {
    fn start(size: Size, servers: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let head = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
             state: {{ path: state }}\nworkers: 1\n{servers}identity: [{{ header: x-user-id }}]\n\
             trusted_proxies: [127.0.0.0/8]\ngroups:\n  many: {{ callers_file: callers.txt }}\n  \
             staff: {{ header: {{ x-employee: \"true\" }} }}\n  office: {{ ip: [198.51.100.0/24] }}\n  \
             sample: {{ percentage: 5% }}\n  few: {{ callers: [ann, bob] }}\nflags:\n"
        );
        write(folder.path(), size, &head, 0);
        let begun = clock::monotonic();
        let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
        proxy.wait_until_ready();
        eprintln!(
            "{} routes, {} flags, {} callers: ready after {:.2?}, {:.1} MB in memory",
            size.routes,
            size.flags,
            size.callers,
            begun.elapsed(),
            megabytes(proxy.resident_bytes()),
        );
        Self {
            proxy,
            size,
            head,
            folder,
        }
    }

    /// Asks for all routes in turn, half the time as a listed caller, until it is to stop; returns how long each
    /// answer took.
    fn ask(&self, first: usize, is_over: impl Fn(usize) -> bool) -> Vec<Duration> {
        let mut connection = Connection::open(self.proxy.address());
        let mut took = Vec::new();
        while !is_over(took.len()) {
            let number = first + 7_919 * took.len();
            let (route, caller) = (number % self.size.routes, number % (2 * self.size.callers));
            let request = Request::get("/orders/17").host(&host(route));
            let request = request.field("x-user-id", &caller_key(caller));
            let begun = clock::monotonic();
            let answer = connection.ask(&request);
            took.push(begun.elapsed());
            assert!(answer.status == 200 && answer.is_whole, "{answer:?}");
        }
        took
    }

    /// CPU time of a request in microseconds, over one round.
    fn cost(&self) -> f64 {
        let before = cpu_time(self.proxy.process());
        self.ask(0, |asked| asked == ROUND);
        (cpu_time(self.proxy.process()) - before).as_nanos() as f64 / 1e3 / ROUND as f64
    }

    /// Who serves the route and the caller that are new in a version of the configuration.
    fn serves_new(&self, version: usize) -> (String, String) {
        let body = |request: Request| self.proxy.ask(&request).text().to_owned();
        let of_route = Request::get("/").host(&format!("version-{version}.example.com"));
        let of_caller = Request::get("/").host(&host(0));
        let of_caller = of_caller.field("x-user-id", &format!("new-{version}"));
        (body(of_route), body(of_caller))
    }

    /// Does something while requests are under way, and a little longer; says how long it took and what became of the
    /// requests.
    fn measured<T>(&self, what: &str, act: impl FnOnce() -> T) -> T {
        let (is_over, begun) = (AtomicBool::new(false), clock::monotonic());
        let is_enough = |_| is_over.load(Ordering::SeqCst) || begun.elapsed() > 2 * SOON;
        let ask = |asker: usize| self.ask(asker, is_enough);
        let (done, took, answers) = scope(|scope| {
            let askers = (1..ASKERS).map(|asker| scope.spawn(move || ask(asker)));
            let askers: Vec<_> = askers.collect();
            let done = act();
            let took = begun.elapsed();
            let mut answers = self.ask(0, |asked| asked == AFTERWARDS);
            is_over.store(true, Ordering::SeqCst);
            answers.extend(askers.into_iter().flat_map(|asker| asker.join().unwrap()));
            (done, took, answers)
        });
        eprintln!("{what}: {took:.2?}; {}", spread(answers));
        done
    }

    /// Brings the next version while requests are under way.
    fn replace(&self, version: usize) {
        write(self.folder.path(), self.size, &self.head, version);
        self.proxy.forget_memory_peak();
        let reload = || self.proxy.command("POST", "/api/v1/reload", "");
        let answer = self.measured(&format!("version {version} brought"), reload);
        assert_eq!(answer.status, 200, "{}", answer.text());
        eprintln!(
            "    {:.1} MB in memory, {:.1} MB at the most",
            megabytes(self.proxy.resident_bytes()),
            megabytes(self.proxy.memory_peak()),
        );
        assert_eq!(self.serves_new(version), ("v2".into(), "v2".into()));
        assert_eq!(self.serves_new(version - 1).1, "v1");
    }
}

/// Writes a version of a configuration.
fn write(folder: &Path, size: Size, head: &str, version: usize) {
    let mut text = head.to_owned();
    for number in 0..size.flags {
        writeln!(
            text,
            "  flag-{number}: {{ stable: v1, canary: v2, groups: {{ many: 100%, staff: 100%, office: 100%, \
             sample: 0%, few: 100% }} }}"
        )
        .unwrap();
    }
    text += "routes:\n";
    for number in 0..size.routes {
        let (host, flag) = (host(number), number % size.flags);
        writeln!(text, "  - {{ host: {host}, flag: flag-{flag} }}").unwrap();
    }
    writeln!(
        text,
        "  - {{ host: version-{version}.example.com, backend: v2 }}"
    )
    .unwrap();
    let mut callers = String::new();
    for number in 0..size.callers {
        writeln!(callers, "{}", caller_key(number)).unwrap();
    }
    writeln!(callers, "new-{version}").unwrap();
    fs::write(folder.join("callers.txt"), callers).unwrap();
    fs::write(folder.join("serin.yaml"), text).unwrap();
}

fn host(number: usize) -> String {
    format!("shop-{number}.example.com")
}

fn caller_key(number: usize) -> String {
    format!("caller-{number:09}")
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// CPU time of all threads of a process so far.
fn cpu_time(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_threads = threads.map(|thread| {
        let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
        let nanoseconds = text.split_whitespace().next().map(str::parse::<u64>);
        nanoseconds.and_then(Result::ok).unwrap_or_default()
    });
    Duration::from_nanos(of_threads.sum())
}

/// How many requests there were, and how long they took.
fn spread(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 1_000];
    format!(
        "{} requests, median {:.2?}, p99 {:.2?}, slowest {:.2?}",
        took.len(),
        at(500),
        at(990),
        at(1_000)
    )
}

#[test]
#[ignore = "it measures, for a minute"]
fn a_large_configuration_is_replaced_while_requests_are_under_way() {
    let servers = [TestBackend::start("v1"), TestBackend::start("v2")];
    let servers = backends(&[("v1", &servers[0]), ("v2", &servers[1])]);
    let small = Edge::start(
        Size {
            routes: 10,
            flags: 2,
            callers: 100,
        },
        &servers,
    );
    let large = Edge::start(
        Size {
            routes: 1_000,
            flags: 200,
            callers: CALLERS,
        },
        &servers,
    );
    // In turn, so that what else the machine does counts for both.
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        costs[0].push(small.cost());
        costs[1].push(large.cost());
    }
    for (name, costs) in ["small", "large"].into_iter().zip(&mut costs) {
        costs.sort_unstable_by(f64::total_cmp);
        let (least, median, most) = (costs[0], costs[ROUNDS / 2], costs[ROUNDS - 1]);
        eprintln!("{name}: {median:.1} us of CPU for a request ({least:.1} to {most:.1})");
    }
    for version in 1..=RELOADS {
        large.measured("without a reload", || {
            large.ask(version, |asked| asked == ROUND);
        });
        large.replace(version);
    }
    let taken = large.proxy.log().matches("configuration taken").count();
    eprintln!("{taken} times taken, {RELOADS} times asked for");
}
