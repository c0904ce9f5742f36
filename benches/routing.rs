//! What it costs a worker to find a request's route, to decide its variant, and to change heads on their way through.
//!
//! The goal: a configuration of 1,000 routes, 200 flags and a million listed callers costs a request no more than a
//! twentieth of itself over a small one.

#![allow(missing_docs, reason = "the macros of criterion make public items")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::env::VarError;
use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use serin::app;
use serin::config;
use serin::domain::bucket::{Bucket, murmur3_x86_32};
use serin::domain::caller::{Caller, RequestFacts};
use serin::domain::decision::Decision;
use serin::domain::hashing::HashScheme;
use serin::domain::ids::RouteIndex;
use serin::domain::route::RouteTarget;
use serin::domain::routing::RoutingSnapshot;
use serin::domain::weight::Weight;
use serin::proxy::HeadRules;

/// Requests that are used in turn, so that no branch is always the same: a prime number.
const REQUESTS: usize = 1_021;

const TRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
const UNTRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// How much there is of everything.
#[derive(Clone, Copy)]
struct Size {
    routes: usize,
    flags: usize,
    callers: usize,
}

const SMALL: Size = Size {
    routes: 10,
    flags: 2,
    callers: 100,
};

const LARGE: Size = Size {
    routes: 1_000,
    flags: 200,
    callers: 1_000_000,
};

/// How routes are told from each other.
#[derive(Clone, Copy)]
enum Apart {
    Host,
    /// Each route is for all hosts below its own.
    Domain,
    Path,
}

fn host(number: usize) -> String {
    format!("shop-{number}.example.com")
}

fn caller(number: usize) -> String {
    format!("caller-{number:09}")
}

/// A configuration whose flags each name five groups and weigh a rollout's share of everybody else.
fn routing(size: Size, apart: Apart) -> RoutingSnapshot {
    let mut text =
        "listeners: [{ address: 127.0.0.1:0 }]\nbackends: { a: http://a, b: http://b }\n\
        identity: [{ header: x-user-id }]\ntrusted_proxies: [192.0.2.0/24]\ngroups:\n  \
        many: { callers_file: callers.txt }\n  staff: { header: { x-employee: \"true\" } }\n  \
        office: { ip: [198.51.100.0/24, \"2001:db8::/32\"] }\n  sample: { percentage: 5% }\n  \
        few: { callers: [ann, bob] }\nflags:\n"
            .to_owned();
    for number in 0..size.flags {
        writeln!(
            text,
            "  flag-{number}: {{ stable: a, canary: b, default: 25%, groups: {{ many: 50%, staff: 100%, \
             office: 100%, sample: 80%, few: 100% }} }}"
        )
        .unwrap();
    }
    text += "routes:\n";
    for number in 0..size.routes {
        let flag = number % size.flags;
        let place = match apart {
            Apart::Host => format!("host: {}", host(number)),
            Apart::Domain => format!("host: \"*.{}\"", host(number)),
            Apart::Path => format!("path: /shops/{number}"),
        };
        writeln!(text, "  - {{ {place}, flag: flag-{flag} }}").unwrap();
    }
    let mut callers = String::new();
    for number in 0..size.callers {
        callers += &caller(number);
        callers.push('\n');
    }
    let read = |_: &Path| Ok(callers.clone());
    let config = config::parse(&text, &read, &|_| Err(VarError::NotPresent)).unwrap();
    app::initial_routing(config).0
}

/// A request, as far as it is decided by.
struct Asked {
    host: String,
    path: String,
    caller: String,
}

/// Requests over all routes, half of them by listed callers.
fn requests(size: Size, apart: Apart) -> Vec<Asked> {
    let request = |number: usize| {
        // Odd multiples of a large prime, so that neighbours are far from each other.
        let route = number * 7_919 % size.routes;
        let listed = number * 7_919 % size.callers;
        let number = if number.is_multiple_of(2) {
            listed
        } else {
            size.callers + listed
        };
        Asked {
            host: match apart {
                Apart::Host => host(route),
                Apart::Domain => format!("eu.{}", host(route)),
                Apart::Path => host(0),
            },
            path: format!("/shops/{route}/orders/17"),
            caller: caller(number),
        }
    };
    (0..REQUESTS).map(request).collect()
}

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    pairs.iter().map(field).collect()
}

/// What a browser says.
fn of_browser() -> HeaderMap {
    fields(&[
        ("host", "shop-1.example.com"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        ),
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("referer", "http://shop-1.example.com/orders"),
        ("cookie", "session=8a2c6f0e; theme=dark"),
        ("x-user-id", "caller-000000017"),
    ])
}

fn found(routing: &RoutingSnapshot, asked: &Asked, fields: &HeaderMap) -> RouteIndex {
    let found = routing
        .routes
        .find(&asked.host, &Method::GET, &asked.path, fields);
    found.unwrap()
}

fn decided(
    routing: &RoutingSnapshot,
    route: RouteIndex,
    asked: &Asked,
    fields: &HeaderMap,
) -> Decision {
    let RouteTarget::Flag { flag, .. } = routing.routes.get(route).target else {
        unreachable!("each route goes by a flag");
    };
    let facts = RequestFacts {
        method: &Method::GET,
        host: &asked.host,
        path: &asked.path,
        query: None,
        headers: fields,
        client_ip: UNTRUSTED,
        caller: Caller::Known(&asked.caller),
        pseudonym: None,
        app: None,
        is_barred: false,
        certificate: None,
        bucketed_by: None,
        claims: None,
        assigned: &[],
        draw: 0,
    };
    routing.decide(flag, &facts)
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    let fields = of_browser();
    for (name, size, apart) in [
        ("small", SMALL, Apart::Host),
        ("large_by_host", LARGE, Apart::Host),
        ("small_by_domain", SMALL, Apart::Domain),
        ("large_by_domain", LARGE, Apart::Domain),
        ("small_by_path", SMALL, Apart::Path),
        ("large_by_path", LARGE, Apart::Path),
    ] {
        let routing = routing(size, apart);
        let requests = requests(size, apart);
        let mut turns = requests.iter().cycle();
        group.bench_function(format!("{name}/route"), |bencher| {
            bencher.iter(|| found(&routing, black_box(turns.next().unwrap()), &fields));
        });
        let mut turns = requests.iter().cycle();
        group.bench_function(format!("{name}/route and variant"), |bencher| {
            bencher.iter(|| {
                let asked = black_box(turns.next().unwrap());
                decided(&routing, found(&routing, asked, &fields), asked, &fields)
            });
        });
    }
    group.finish();
}

fn bucket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bucket");
    let (salt, uuid) = ("orders", "7d444840-9dc0-11d1-b245-5ffdce74fad2");
    group.bench_function("hash of a caller", |bencher| {
        bencher.iter(|| murmur3_x86_32(black_box(salt.as_bytes()), black_box(uuid.as_bytes())));
    });
    group.bench_function("place of a hash", |bencher| {
        bencher.iter(|| Bucket::of_hash(black_box(0x9dc0_11d1)).is_within(black_box(Weight::FULL)));
    });
    for scheme in [
        HashScheme::Murmur3,
        HashScheme::Unleash,
        HashScheme::Growthbook,
        HashScheme::GrowthbookV1,
    ] {
        group.bench_function(scheme.as_str(), |bencher| {
            bencher.iter(|| Bucket::of_hash(scheme.hash(black_box(salt), black_box(uuid))));
        });
    }
    group.finish();
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Measures what is done to copies of a head, without the copying.
fn on_copies(group: &mut Group<'_>, name: &str, fields: &HeaderMap, rule: impl Fn(&mut HeaderMap)) {
    group.bench_function(name, |bencher| {
        bencher.iter_batched_ref(|| fields.clone(), &rule, BatchSize::SmallInput);
    });
}

/// What a browser says, and more.
fn of_browser_with(more: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut all = of_browser();
    all.extend(fields(more));
    all
}

fn forged_fields(group: &mut Group<'_>) {
    let routing = routing(SMALL, Apart::Host);
    let forged = of_browser_with(&[
        ("serin-flags", "orders=canary"),
        ("x-forwarded-for", "198.51.100.7"),
        ("x_user_id", "admin"),
    ]);
    for (name, client, fields) in [
        ("forged fields, one", UNTRUSTED, of_browser()),
        ("forged fields, four", UNTRUSTED, forged.clone()),
        ("forged fields, of a trusted peer", TRUSTED, forged),
    ] {
        let rules = HeadRules::new(client);
        let request = || {
            let mut request = Request::new(());
            *request.headers_mut() = fields.clone();
            request
        };
        group.bench_function(name, |bencher| {
            let clean = |request: &mut Request<()>| rules.remove_forged(&routing, request);
            bencher.iter_batched_ref(request, clean, BatchSize::SmallInput);
        });
    }
}

fn hop_by_hop_fields(group: &mut Group<'_>) {
    let rules = HeadRules::new(UNTRUSTED);
    let hopping = of_browser_with(&[
        ("connection", "keep-alive, te, x-secret"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("x-secret", "1"),
    ]);
    for (name, fields) in [
        ("hop by hop, none", of_browser()),
        ("hop by hop, four", hopping),
    ] {
        on_copies(group, name, &fields, |fields| {
            rules.remove_hop_by_hop(fields);
        });
    }
}

fn forwarding_fields(group: &mut Group<'_>) {
    let rules = HeadRules::new(UNTRUSTED);
    let host = of_browser()[header::HOST].clone();
    let passed_on = of_browser_with(&[
        ("x-forwarded-for", "198.51.100.7, 203.0.113.5"),
        ("forwarded", "for=198.51.100.7;proto=https"),
        ("via", "1.1 edge"),
    ]);
    for (name, fields) in [
        ("forwarding fields", of_browser()),
        ("forwarding fields, to a chain", passed_on),
    ] {
        on_copies(group, name, &fields, |fields| {
            rules.set_forwarding(fields, &host);
        });
    }
}

fn head_rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head rules");
    forged_fields(&mut group);
    hop_by_hop_fields(&mut group);
    forwarding_fields(&mut group);
    let rules = HeadRules::new(UNTRUSTED);
    on_copies(&mut group, "id and trace", &of_browser(), |fields| {
        rules.mark(fields);
    });
    let answer = fields(&[
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("date", "Mon, 30 Nov 2026 12:00:00 GMT"),
        ("server", "nginx"),
        ("etag", "\"68b0\""),
        ("connection", "keep-alive"),
    ]);
    on_copies(&mut group, "an answer", &answer, |fields| {
        rules.pass_back(fields);
    });
    group.finish();
}

criterion_group!(benches, decide, bucket, head_rules);
criterion_main!(benches);
