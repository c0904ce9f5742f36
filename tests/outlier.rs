//! Endpoints that fail requests: who is ejected, for how long, how many at once, and who never is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::ErrorKind;
use std::time::Duration;

use support::{Behaviour, SOON, TestBackend, TestProxy, wait_until};

const EJECTED: &str = "serin_upstream_ejected";
const EJECTIONS: &str = "serin_upstream_ejections_total";

/// Long enough that nobody comes back within a test.
const LONG: &str = "{ consecutive_failures: 3, eject_for: 1h }";

/// A proxy to a stable backend of some endpoints; `more` are its other keys.
fn proxy_to(endpoints: &[&TestBackend], workers: usize, more: &str) -> TestProxy {
    let urls: Vec<_> = endpoints
        .iter()
        .map(|backend| format!("\"{}\"", backend.url()))
        .collect();
    TestProxy::start(&format!(
        "workers: {workers}\n\
         backends: {{ v1: {{ endpoints: [{}], {more} }}, v2: \"http://[::1]\" }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n",
        urls.join(", ")
    ))
}

fn bad_and_good(bad: Behaviour) -> [TestBackend; 2] {
    [TestBackend::with("bad", bad), TestBackend::start("good")]
}

fn ejected(proxy: &TestProxy) -> u64 {
    proxy.metrics().count(EJECTED, &[])
}

/// Asks until so many endpoints are ejected.
#[track_caller]
fn ask_until_ejected(proxy: &TestProxy, count: u64) {
    wait_until("endpoints are ejected", SOON, || {
        proxy.get("/");
        ejected(proxy) == count
    });
}

/// How an endpoint may fail, and the word for it.
fn failures() -> [(Behaviour, &'static str); 8] {
    let raw = |text: &str| text.as_bytes().to_vec();
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let call = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 13\r\n\
                content-length: 0\r\n\r\n";
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                  transfer-encoding: chunked\r\n\r\n6\r\ndata:a\r\n";
    [
        (Behaviour::Status(500), "status"),
        (Behaviour::RawThenClose(Vec::new()), "reset"),
        (Behaviour::RawThenClose(raw("no HTTP")), "reset"),
        (Behaviour::RawThenClose(raw(cut)), "cut_body"),
        (Behaviour::RawThenClose(raw(events)), "cut_body"),
        (Behaviour::RawThenSilence(raw(cut)), "timeout"),
        (Behaviour::Raw(raw(call)), "status"),
        (Behaviour::Stall, "timeout"),
    ]
}

#[test]
fn who_fails_in_a_row_gets_no_requests_for_a_while() {
    let good = TestBackend::start("good");
    let all = failures().map(|(behaviour, last)| (TestBackend::with("bad", behaviour), last));
    let (mut backends, mut flags, mut routes) = (String::new(), String::new(), String::new());
    for (number, (bad, _)) in all.iter().enumerate() {
        let urls = format!("\"{}\", \"{}\"", bad.url(), good.url());
        backends += &format!(
            "v{number}: {{ endpoints: [{urls}], outlier: {LONG}, timeouts: {{ response: 1s, idle: 1s }} }}, "
        );
        flags += &format!("f{number}: {{ stable: v{number}, canary: none }}, ");
        routes += &format!("{{ path: /{number}, flag: f{number} }}, ");
    }
    let proxy = TestProxy::start(&format!(
        "workers: 2\nbackends: {{ {backends} none: \"http://[::1]\" }}\n\
         flags: {{ {flags} }}\nroutes: [{routes}]\n"
    ));
    assert_eq!(ejected(&proxy), 0);
    for (number, (bad, last)) in all.iter().enumerate() {
        let (path, backend) = (format!("/{number}"), format!("v{number}"));
        wait_until("it is ejected", SOON, || {
            proxy.get(&path);
            ejected(&proxy) == number as u64 + 1
        });
        let address = bad.address().to_string();
        let labels = [("backend", &*backend), ("endpoint", &*address)];
        assert_eq!(proxy.metrics().count(EJECTED, &labels), 1);
        assert_eq!(proxy.metrics().count(EJECTIONS, &labels), 1);
        let log = proxy.wait_for_log(&format!("backend={backend} endpoint={address}"), SOON);
        let last = format!("last=\"{last}\"");
        for part in ["endpoint is ejected", "failures=3", "eject_for=1h", &last] {
            assert!(log.contains(part), "{part}: {log}");
        }
        let asked = bad.requests();
        assert!(asked >= 3, "{last}: {asked}");
        for _ in 0..10 {
            assert_eq!(proxy.get(&path).text(), "good");
        }
        assert_eq!(bad.requests(), asked, "{last}");
        // What it has failed has counted, each request once.
        let flag = format!("f{number}");
        let failures = proxy
            .metrics()
            .count("serin_backend_failures_total", &[("flag", &flag)]);
        assert_eq!(failures, asked as u64, "{last}");
    }
}

#[test]
fn who_takes_no_connections_is_not_tried_any_more() {
    let (dead, good) = (TestBackend::dead(), TestBackend::start("good"));
    let more = format!("outlier: {LONG}");
    let proxy = proxy_to(&[&dead, &good], 2, &more);
    ask_until_ejected(&proxy, 1);
    let tries = || {
        let metrics = proxy.metrics();
        metrics.count("serin_upstream_connect_failures_total", &[])
    };
    let before = tries();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), "good");
    }
    assert_eq!(tries(), before);
    assert_eq!(
        proxy.metrics().count("serin_backend_failures_total", &[]),
        0
    );
}

#[test]
fn who_was_ejected_comes_back_and_goes_for_longer_if_it_fails_again() {
    let [bad, good] = bad_and_good(Behaviour::Status(500));
    let more = "outlier: { consecutive_failures: 2, eject_for: 300ms }";
    let proxy = proxy_to(&[&bad, &good], 2, more);
    let ask_until = |text: &str| {
        wait_until(text, SOON, || {
            proxy.get("/");
            proxy.log().contains(text)
        });
    };
    ask_until("eject_for=300ms");
    let log = proxy.wait_for_log("ejected endpoint is used again", SOON);
    assert!(log.contains(&bad.address().to_string()), "{log}");
    ask_until("eject_for=600ms");
    bad.behave(Behaviour::Name);
    wait_until("it is asked again", SOON, || proxy.get("/").text() == "bad");
    assert_eq!(ejected(&proxy), 0);
    assert_eq!(proxy.metrics().count(EJECTIONS, &[]), 2);
}

#[test]
fn as_many_as_may_be_are_ejected_and_no_more() {
    let names = ["a", "b", "c", "d", "e"];
    let all = names.map(|name| TestBackend::with(name, Behaviour::Status(500)));
    for (count, max_ejected, expected) in [(2, "50%", 1), (5, "50%", 2), (5, "100%", 5)] {
        let outlier = format!(
            "outlier: {{ consecutive_failures: 2, eject_for: 1h, max_ejected: {max_ejected} }}"
        );
        let endpoints: Vec<_> = all.iter().take(count).collect();
        let proxy = proxy_to(&endpoints, 2, &outlier);
        ask_until_ejected(&proxy, expected);
        if expected < count as u64 {
            wait_until("the others are suspect", SOON, || {
                proxy.get("/");
                let held = "endpoint is not ejected";
                proxy.log().matches(held).count() == count - usize::try_from(expected).unwrap()
            });
        }
        let asked = || endpoints.iter().map(|it| it.requests()).collect::<Vec<_>>();
        let before = asked();
        for _ in 0..20 {
            // Where all are ejected they are asked rather than nobody.
            assert_eq!(proxy.get("/").status, 500);
        }
        assert_eq!(ejected(&proxy), expected);
        let spared = before.iter().zip(asked()).filter(|(a, b)| **a == *b);
        let spared = if expected < count as u64 {
            spared.count()
        } else {
            0
        };
        assert_eq!(
            spared as u64,
            expected % count as u64,
            "{count}, {max_ejected}"
        );
    }
}

#[test]
fn the_only_endpoint_is_never_ejected() {
    let bad = TestBackend::with("bad", Behaviour::Status(500));
    let more = "outlier: { consecutive_failures: 1, max_ejected: 100% }";
    let proxy = proxy_to(&[&bad], 1, more);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status, 500);
    }
    proxy.wait_for_log("endpoint is not ejected", SOON);
    assert_eq!(bad.requests(), 20);
    assert_eq!(ejected(&proxy), 0);
}

#[test]
fn what_the_client_is_to_blame_for_counts_as_well() {
    let conduct = || Behaviour::StatusWhere(vec![("/bad", 500), ("/missing", 404), ("/many", 429)]);
    let all = ["a", "b"].map(|name| TestBackend::with(name, conduct()));
    let more = format!("outlier: {LONG}");
    let proxy = proxy_to(&[&all[0], &all[1]], 1, &more);
    // Each twice: once for each endpoint.
    let ask = |path: &str| (0..2).for_each(|_| drop(proxy.get(path)));
    for _ in 0..10 {
        for path in [
            "/bad", "/bad", "/missing", "/bad", "/bad", "/many", "/bad", "/bad", "/",
        ] {
            ask(path);
        }
    }
    assert_eq!(all.each_ref().map(TestBackend::requests), [90, 90]);
    assert!(!proxy.log().contains("ejected"), "{}", proxy.log());
    // A third failure in a row is no accident.
    wait_until("one is ejected", SOON, || {
        ask("/bad");
        ejected(&proxy) == 1
    });
}

#[test]
fn who_leaves_or_breaks_off_says_nothing_unless_kept_waiting() {
    let all = ["a", "b"].map(|name| TestBackend::with(name, Behaviour::Stall));
    let more = format!("outlier: {LONG}, timeouts: {{ response: 1s, idle: 1m }}");
    let proxy = proxy_to(&[&all[0], &all[1]], 1, &more);
    let asked = || all.iter().map(TestBackend::requests).sum::<usize>();
    for number in 1..=20 {
        let mut client = proxy.connect();
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
        wait_until("it is asked", SOON, || asked() == number);
    }
    proxy.wait_for_count("serin_outcomes_total", &[("fault", "client")], 20);
    assert!(!proxy.log().contains("ejected"), "{}", proxy.log());
    // Who gives up after a fifth of the time was kept waiting.
    wait_until("one is ejected", SOON, || {
        let mut client = proxy.connect();
        let patience = Some(Duration::from_millis(300));
        client.socket().set_read_timeout(patience).unwrap();
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let kind = client.read(&mut [0]).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut));
        drop(client);
        ejected(&proxy) == 1
    });
}

#[test]
fn a_stream_of_events_that_is_quiet_has_not_failed_and_one_that_breaks_has() {
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                  transfer-encoding: chunked\r\n\r\n6\r\ndata:a\r\n";
    let conduct = || Behaviour::RawThenSilence(events.into());
    let all = ["a", "b"].map(|name| TestBackend::with(name, conduct()));
    let more = "outlier: { consecutive_failures: 1, eject_for: 1h }, timeouts: { idle: 100ms }";
    let proxy = proxy_to(&[&all[0], &all[1]], 1, more);
    for _ in 0..6 {
        assert!(!proxy.get("/").is_whole);
    }
    assert_eq!(all.each_ref().map(TestBackend::requests), [3, 3]);
    assert!(!proxy.log().contains("ejected"), "{}", proxy.log());
    all[0].behave(Behaviour::RawThenClose(events.into()));
    ask_until_ejected(&proxy, 1);
}

#[test]
fn our_own_limits_are_nobody_elses_failure() {
    let all = ["a", "b"].map(|name| TestBackend::with(name, Behaviour::Stall));
    let more = "outlier: { consecutive_failures: 1, eject_for: 1h }, \
                limits: { connections: 1, pending: 1 }, timeouts: { connect: 500ms }";
    let proxy = proxy_to(&[&all[0], &all[1]], 1, more);
    let mut clients = [proxy.connect(), proxy.connect()];
    let get = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    clients.iter_mut().for_each(|client| client.send(get));
    wait_until("both are busy", SOON, || {
        all.iter().all(|backend| backend.requests() == 1)
    });
    for _ in 0..4 {
        assert_eq!(proxy.get("/").status, 503);
    }
    all.iter()
        .for_each(|backend| backend.behave(Behaviour::Name));
    for mut client in clients {
        assert_eq!(client.answer().status, 200);
    }
    assert!(!proxy.log().contains("ejected"), "{}", proxy.log());
    // One failure of their own would have been enough.
    all[0].behave(Behaviour::Status(500));
    ask_until_ejected(&proxy, 1);
}

#[test]
fn health_and_ejections_go_by_different_things() {
    let unwell = ("/healthz", 503);
    let failing = TestBackend::with("failing", Behaviour::StatusWhere(vec![("/ ", 500)]));
    let unwell = TestBackend::with("unwell", Behaviour::StatusWhere(vec![unwell]));
    let more = "health: { path: /healthz, interval: 100ms, unhealthy_after: 5 }, \
                outlier: { consecutive_failures: 2, eject_for: 1h, max_ejected: 100% }";
    let proxy = proxy_to(&[&failing, &unwell], 1, more);
    proxy.wait_for_log("endpoint is unhealthy", SOON);
    ask_until_ejected(&proxy, 1);
    let checks = || {
        let heads = failing.heads().into_iter();
        heads.filter(|head| head.line.contains("healthz")).count()
    };
    let before = checks();
    wait_until("checks go well", SOON, || checks() >= before + 3);
    let labels = [("endpoint", &*failing.address().to_string())];
    assert_eq!(proxy.metrics().count(EJECTED, &labels), 1);
    assert_eq!(proxy.metrics().count("serin_upstream_healthy", &labels), 1);
    // Of those that are healthy all are ejected: they are asked all the same, and the others are not.
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 500);
    }
    // As soon as one is healthy and not ejected it is asked instead.
    unwell.behave(Behaviour::Name);
    wait_until("it is asked", SOON, || proxy.get("/").text() == "unwell");
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), "unwell");
    }
    // And where none is healthy, nobody is asked.
    let neither = Behaviour::StatusWhere(vec![("/healthz", 503)]);
    failing.behave(neither.clone());
    unwell.behave(neither);
    wait_until("nobody is asked", SOON, || proxy.get("/").status == 503);
}

#[test]
fn a_retry_goes_to_who_is_not_ejected_and_the_first_attempt_counts() {
    let [bad, good] = bad_and_good(Behaviour::Status(503));
    let more = format!("outlier: {LONG}, retries: {{ on: [503], budget: 100% }}");
    let proxy = proxy_to(&[&bad, &good], 2, &more);
    wait_until("it is ejected", SOON, || {
        assert_eq!(proxy.get("/").text(), "good");
        ejected(&proxy) == 1
    });
    let asked = bad.requests();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), "good");
    }
    assert_eq!(bad.requests(), asked);
    let count = |name| proxy.metrics().count(name, &[]);
    assert_eq!(count("serin_backend_failures_total"), asked as u64);
    assert_eq!(count("serin_upstream_retries_total"), asked as u64);
    // One that fails as well is asked again rather than who is ejected.
    good.behave(Behaviour::Status(503));
    assert_eq!(proxy.get("/").text(), "good");
    assert_eq!(bad.requests(), asked);
}

#[test]
fn a_canary_with_an_ejected_endpoint_has_the_evidence_of_what_it_failed() {
    let [bad, good] = bad_and_good(Behaviour::Status(500));
    let stable = TestBackend::start("stable");
    let proxy = TestProxy::start(&format!(
        "backends: {{ v1: \"{}\", v2: {{ endpoints: [\"{}\", \"{}\"], outlier: {LONG} }} }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: 100%, shield: true }} }}\n\
         routes: [{{ flag: orders }}]\n",
        stable.url(),
        bad.url(),
        good.url()
    ));
    let mut all = 0;
    wait_until("it is ejected", SOON, || {
        all += 1;
        assert_eq!(proxy.get("/").status, 200);
        ejected(&proxy) == 1
    });
    for _ in 0..10 {
        assert_eq!(proxy.get("/").text(), "good");
    }
    let failed = bad.requests() as u64;
    let canary = [("variant", "canary")];
    let count = |name, labels| proxy.metrics().count(name, labels);
    assert_eq!(count("serin_backend_failures_total", &canary), failed);
    assert_eq!(count("serin_rescued_requests_total", &[]), failed);
    assert_eq!(count("serin_outcomes_total", &canary), all + 10);
    assert_eq!(count("serin_outcomes_total", &[("variant", "stable")]), 0);
}

#[test]
fn a_reload_keeps_ejections_and_one_without_the_key_ends_them() {
    let [bad, good] = bad_and_good(Behaviour::Status(500));
    let more = format!("outlier: {LONG}");
    let proxy = proxy_to(&[&bad, &good], 2, &more);
    ask_until_ejected(&proxy, 1);
    let config = std::fs::read_to_string(proxy.config_path()).unwrap();
    let other = TestBackend::start("other");
    let url = format!("\"{}\"]", other.url());
    let with_another = config.replace("\"], outlier", &format!("\", {url}, outlier"));
    assert_ne!(config, with_another);
    proxy.write_config(&with_another);
    proxy.reload();
    let labels = [("endpoint", &*other.address().to_string())];
    wait_until("another may be ejected", SOON, || {
        let metrics = proxy.metrics();
        proxy.get("/").text() == "other"
            && metrics.sum(EJECTED, &labels) == 0.0
            && metrics.text.contains(&format!(
                "{EJECTED}{{backend=\"v1\",endpoint=\"{}\"",
                other.address()
            ))
    });
    let asked = bad.requests();
    (0..10).for_each(|_| assert_ne!(proxy.get("/").text(), "bad"));
    assert_eq!((bad.requests(), ejected(&proxy)), (asked, 1));
    proxy.write_config(&with_another.replace(&format!(", {more}"), ""));
    proxy.reload();
    wait_until("it is asked again", SOON, || proxy.get("/").text() == "bad");
    assert!(!proxy.metrics().text.contains("serin_upstream_ejected{"));
}
