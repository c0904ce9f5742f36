//! How requests are spread over the endpoints of a backend.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::thread::scope;
use std::time::Duration;

use support::{Behaviour, Request, SOON, TestBackend, TestProxy, wait_until};

/// Backends behind one name, with more keys for it.
struct Pool {
    proxy: TestProxy,
    backends: Vec<TestBackend>,
}

impl Pool {
    /// `names` stand before their weights.
    fn of(names: &[(&str, u32)], more: &str) -> Self {
        let backends: Vec<_> = names
            .iter()
            .map(|(name, _)| TestBackend::start(name))
            .collect();
        let endpoints = backends.iter().zip(names);
        let endpoints = endpoints.map(|(backend, (_, weight))| {
            format!("{{ url: \"{}\", weight: {weight} }}", backend.url())
        });
        let endpoints = endpoints.collect::<Vec<_>>().join(", ");
        let proxy = TestProxy::start(&format!(
            "workers: 1\nidentity: [{{ cookie: uid }}]\n\
             backends: {{ v1: {{ endpoints: [{endpoints}], {more} }}, v2: \"http://[::1]\" }}\n\
             flags: {{ orders: {{ stable: v1, canary: v2 }} }}\n\
             routes: [{{ path: /plain, backend: v1 }}, {{ flag: orders }}]\n"
        ));
        Self { proxy, backends }
    }

    /// Asks so often, one request after the other, and tells who has answered.
    fn ask(&self, count: usize) -> Vec<String> {
        let ask = |_| self.proxy.get("/").text().to_owned();
        (0..count).map(ask).collect()
    }

    /// Who answers a caller on a path.
    fn answers(&self, path: &str, caller: &str) -> String {
        let request = Request::get(path).field("cookie", &format!("uid={caller}"));
        self.proxy.ask(&request).text().to_owned()
    }
}

#[test]
fn each_has_its_turn_unless_told_otherwise() {
    let pool = Pool::of(&[("a", 1), ("b", 1)], "");
    assert_eq!(pool.ask(4), ["a", "b", "a", "b"]);
}

#[test]
fn weights_are_shares_of_the_turns() {
    let pool = Pool::of(&[("a", 3), ("b", 1)], "balance: round_robin");
    assert_eq!(pool.ask(8), ["a", "a", "b", "a", "a", "a", "b", "a"]);
}

#[test]
fn who_takes_no_connection_is_passed_over_once_by_each_request() {
    for policy in ["round_robin", "power_of_two", "least_request", "ring_hash"] {
        let mut pool = Pool::of(
            &[("a", 1), ("b", 2), ("c", 1)],
            &format!("balance: {policy}"),
        );
        pool.backends[1].die();
        let answers = pool.ask(20);
        assert!(
            answers.iter().all(|name| name != "b"),
            "{policy}: {answers:?}"
        );
        for name in ["a", "c"] {
            assert!(
                answers.iter().any(|answer| answer == name),
                "{policy}: {answers:?}"
            );
        }
        for place in [0, 2] {
            let backend = &mut pool.backends[place];
            backend.die();
            wait_until("its connections are closed", SOON, || {
                backend.closed() == backend.connections()
            });
        }
        assert_eq!(pool.proxy.get("/").status, 502, "{policy}");
    }
}

#[test]
fn the_one_with_less_to_do_is_asked() {
    for policy in ["power_of_two", "least_request"] {
        let pool = Pool::of(&[("busy", 1), ("free", 1)], &format!("balance: {policy}"));
        pool.backends[0].behave(Behaviour::Stall);
        scope(|scope| {
            // Some of these hang at the one that is busy from then on.
            let hanging = scope.spawn(|| {
                while pool.backends[0].requests() == 0 {
                    pool.proxy.get("/");
                }
            });
            wait_until("one hangs", SOON, || pool.backends[0].requests() == 1);
            assert!(pool.ask(10).iter().all(|name| name == "free"), "{policy}");
            pool.backends[0].behave(Behaviour::Name);
            hanging.join().unwrap();
        });
        let answers = pool.ask(30);
        assert!(
            answers.iter().any(|name| name == "busy"),
            "{policy}: it is over"
        );
    }
}

#[test]
fn a_caller_stays_with_its_endpoint_whatever_route_it_takes_and_others_do_elsewhere() {
    let mut pool = Pool::of(&[("a", 1), ("b", 1), ("c", 1)], "balance: ring_hash");
    let callers: Vec<_> = (0..30).map(|number| format!("u{number}")).collect();
    let of = |pool: &Pool, path: &str| -> Vec<_> {
        callers
            .iter()
            .map(|caller| pool.answers(path, caller))
            .collect()
    };
    let first = of(&pool, "/");
    for name in ["a", "b", "c"] {
        assert!(first.iter().any(|answer| answer == name), "{name}");
    }
    assert_eq!(of(&pool, "/"), first);
    assert_eq!(of(&pool, "/plain"), first);
    // Nobody in particular has no endpoint of its own.
    let answers = pool.ask(40);
    assert!(answers.iter().any(|name| *name != answers[0]));
    pool.backends[0].die();
    for (before, after) in first.iter().zip(of(&pool, "/")) {
        assert!(before == "a" || *before == after);
    }
}

#[test]
fn a_reload_changes_weights_and_keeps_connections() {
    let pool = Pool::of(&[("a", 1), ("b", 1)], "");
    pool.ask(2);
    let config = std::fs::read_to_string(pool.proxy.config_path()).unwrap();
    pool.proxy
        .write_config(&config.replacen("weight: 1", "weight: 3", 1));
    pool.proxy.reload();
    pool.proxy
        .wait_for_log("configuration taken", Duration::from_secs(10));
    let answers = pool.ask(8);
    assert_eq!(
        answers.iter().filter(|name| *name == "a").count(),
        6,
        "{answers:?}"
    );
    let metrics = pool.proxy.metrics();
    assert_eq!(metrics.count("serin_upstream_connects_total", &[]), 2);
}

/// One endpoint that hangs with one connection at the most, where one request may wait.
fn narrow(connect: &str) -> Pool {
    let limits = "limits: { connections: 1, pending: 1 }";
    let pool = Pool::of(
        &[("a", 1)],
        &format!("{limits}, timeouts: {{ connect: {connect} }}"),
    );
    pool.backends[0].behave(Behaviour::Stall);
    pool
}

#[test]
fn who_finds_no_connection_waits_and_one_too_many_is_told_to_come_back() {
    let pool = narrow("10s");
    scope(|scope| {
        let ask = || pool.proxy.get("/");
        let first = scope.spawn(ask);
        wait_until("it hangs", SOON, || pool.backends[0].requests() == 1);
        let second = scope.spawn(ask);
        pool.proxy
            .wait_for_count("serin_upstream_pending_requests", &[], 1);
        let third = pool.proxy.get("/");
        assert_eq!(third.status, 503);
        assert_eq!(third.field("retry-after"), Some("1"));
        assert!(
            third
                .text()
                .contains("all connections to the backend are in use")
        );
        pool.backends[0].behave(Behaviour::Name);
        assert_eq!(first.join().unwrap().status, 200);
        assert_eq!(second.join().unwrap().status, 200);
    });
    let failed = [("failure", "connect"), ("variant", "stable")];
    pool.proxy
        .wait_for_count("serin_backend_failures_total", &failed, 1);
    let metrics = pool.proxy.metrics();
    assert_eq!(metrics.count("serin_upstream_connects_total", &[]), 1);
    assert_eq!(metrics.count("serin_upstream_overflows_total", &[]), 1);
    assert_eq!(metrics.count("serin_upstream_pending_requests", &[]), 0);
    assert_eq!(pool.backends[0].connections(), 1);
}

#[test]
fn nobody_waits_longer_than_for_a_connection() {
    let pool = narrow("100ms");
    scope(|scope| {
        let first = scope.spawn(|| pool.proxy.get("/"));
        wait_until("it hangs", SOON, || pool.backends[0].requests() == 1);
        let second = pool.proxy.get("/");
        assert_eq!(second.status, 503);
        assert!(second.text().contains("became free in time"));
        pool.backends[0].behave(Behaviour::Name);
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(pool.proxy.get("/").status, 200);
}

#[test]
fn who_would_have_to_wait_is_served_elsewhere() {
    let pool = Pool::of(&[("a", 1), ("b", 1)], "limits: { connections: 1 }");
    pool.backends[0].behave(Behaviour::Stall);
    scope(|scope| {
        let first = scope.spawn(|| pool.proxy.get("/"));
        wait_until("it hangs", SOON, || pool.backends[0].requests() == 1);
        assert_eq!(pool.ask(5), ["b"; 5]);
        pool.backends[0].behave(Behaviour::Name);
        assert_eq!(first.join().unwrap().text(), "a");
    });
    assert_eq!(
        pool.proxy
            .metrics()
            .count("serin_upstream_overflows_total", &[]),
        0
    );
}

#[test]
fn a_canary_that_is_full_costs_its_callers_nothing_and_counts() {
    let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
    canary.behave(Behaviour::Stall);
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends:\n  v1: \"{}\"\n  \
         v2: {{ endpoints: [\"{}\"], limits: {{ connections: 1 }}, timeouts: {{ connect: 100ms }} }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: 100% }} }}\n\
         routes: [{{ flag: orders }}]\n",
        stable.url(),
        canary.url()
    ));
    scope(|scope| {
        let first = scope.spawn(|| proxy.get("/"));
        wait_until("it hangs", SOON, || canary.requests() == 1);
        assert_eq!(proxy.get("/").text(), "stable");
        canary.behave(Behaviour::Name);
        assert_eq!(first.join().unwrap().text(), "canary");
    });
    let failed = [("failure", "connect"), ("variant", "canary")];
    proxy.wait_for_count("serin_backend_failures_total", &failed, 1);
    assert_eq!(
        proxy.metrics().count("serin_backend_failures_total", &[]),
        1
    );
    assert_eq!(
        proxy.metrics().count("serin_rescued_requests_total", &[]),
        1
    );
}
