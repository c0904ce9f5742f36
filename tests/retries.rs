//! Retries: what is sent to a backend once more, what never is, and how often at the most.

mod support;

use std::time::Duration;

use support::upstream::{Conduct, Upstream};
use support::{Behaviour, Request, TestBackend, TestProxy};

const RETRIES: &str = "serin_upstream_retries_total";
const OVER_BUDGET: &str = "serin_upstream_retries_over_budget_total";

/// A backend of two endpoints, behind a flag that gives everyone stable.
struct Pair {
    proxy: TestProxy,
    bad: TestBackend,
    good: TestBackend,
}

impl Pair {
    /// The first endpoint behaves so, the second as it should.
    fn start(retries: &str, bad: Behaviour) -> Self {
        let bad = TestBackend::with("bad", bad);
        let good = TestBackend::with("good", Behaviour::Echo);
        let proxy = proxy(&[&bad.url(), &good.url()], retries);
        Self { proxy, bad, good }
    }

    /// How many requests came to each.
    fn asked(&self) -> (usize, usize) {
        (self.bad.requests(), self.good.requests())
    }

    #[track_caller]
    fn assert_retries(&self, count: u64) {
        assert_eq!(
            self.proxy.metrics().count(RETRIES, &[("backend", "v1")]),
            count
        );
    }
}

fn proxy(endpoints: &[&str], retries: &str) -> TestProxy {
    let endpoints: Vec<_> = endpoints.iter().map(|url| format!("\"{url}\"")).collect();
    TestProxy::start(&format!(
        "workers: 1\nbackends:\n  v1: {{ endpoints: [{}], retries: {retries}, timeouts: {{ response: 500ms }} }}\n  \
         v2: \"http://[::1]\"\nflags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n",
        endpoints.join(", ")
    ))
}

const ALL: &str = "{ on: [connect, reset, timeout, 503] }";

#[test]
fn what_fails_in_a_listed_way_is_sent_to_another_endpoint() {
    for (behaviour, failure) in [
        (Behaviour::Status(503), "status"),
        (Behaviour::RawThenClose(Vec::new()), "reset"),
        (Behaviour::RawThenClose(b"HTTP/1.1 20".to_vec()), "reset"),
        (Behaviour::Stall, "timeout"),
    ] {
        let pair = Pair::start(ALL, behaviour);
        let answer = pair
            .proxy
            .ask(&Request::get("/a?b=c").field("x-kept", "yes"));
        assert_eq!(answer.status, 200, "{failure}: {}", answer.text());
        assert!(answer.text().starts_with("GET /a?b=c HTTP/1.1\r\n"));
        assert!(answer.text().contains("x-kept: yes\r\n"));
        assert_eq!(pair.asked(), (1, 1), "{failure}");
        pair.assert_retries(1);
        // The first attempt is what counts.
        let labels = [("failure", failure), ("variant", "stable")];
        pair.proxy
            .wait_for_count("serin_backend_failures_total", &labels, 1);
        assert_eq!(pair.proxy.metrics().count("serin_outcomes_total", &[]), 1);
    }
}

#[test]
fn what_fails_in_another_way_is_not() {
    for (on, behaviour, status) in [
        ("[connect, reset, timeout]", Behaviour::Status(503), 503),
        ("[503]", Behaviour::Status(500), 500),
        (
            "[connect, timeout, 502]",
            Behaviour::RawThenClose(Vec::new()),
            502,
        ),
        ("[connect, reset, 504]", Behaviour::Stall, 504),
    ] {
        let pair = Pair::start(&format!("{{ on: {on} }}"), behaviour);
        assert_eq!(pair.proxy.get("/").status, status);
        assert_eq!(pair.asked(), (1, 0));
        pair.assert_retries(0);
    }
}

#[test]
fn a_post_is_never_replayed() {
    for behaviour in [
        Behaviour::Status(503),
        Behaviour::RawThenClose(Vec::new()),
        Behaviour::Stall,
    ] {
        let pair = Pair::start(ALL, behaviour);
        for (turn, request) in [
            Request::new("POST", "/"),
            Request::new("POST", "/").body("hello"),
            Request::new("PATCH", "/"),
            // These might be asked twice, but their bodies are gone.
            Request::new("PUT", "/").body("hello"),
            Request::get("/").body("hello"),
        ]
        .iter()
        .enumerate()
        {
            let answer = pair.proxy.ask(request);
            assert!(answer.status >= 500, "{}", answer.text());
            assert_eq!(pair.asked(), (turn + 1, turn));
            // The other has its turn, and answers.
            assert_eq!(pair.proxy.get("/").status, 200);
        }
        pair.assert_retries(0);
    }
}

#[test]
fn each_idempotent_method_is() {
    let pair = Pair::start(ALL, Behaviour::Status(503));
    for (turn, method) in ["GET", "OPTIONS", "TRACE", "PUT", "DELETE"]
        .iter()
        .enumerate()
    {
        // Each endpoint is the first to be asked once.
        for _ in 0..2 {
            let answer = pair.proxy.ask(&Request::new(method, "/"));
            assert!(answer.text().starts_with(method), "{}", answer.text());
        }
        assert_eq!(pair.asked(), (turn + 1, 2 * (turn + 1)));
    }
    assert_eq!(pair.proxy.ask(&Request::new("HEAD", "/")).status, 200);
}

#[test]
fn nothing_is_sent_again_once_an_answer_has_begun() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    let pair = Pair::start(ALL, Behaviour::RawThenClose(half.to_vec()));
    let answer = pair.proxy.get("/");
    assert!(!answer.is_whole && answer.body == b"hello");
    assert_eq!(pair.asked(), (1, 0));
}

#[test]
fn attempts_have_an_end_and_go_round() {
    let backends = [0, 1, 2].map(|_| TestBackend::with("v1", Behaviour::Status(503)));
    let urls = backends.each_ref().map(TestBackend::url);
    let urls = urls.each_ref().map(String::as_str);
    let asked = || backends.each_ref().map(TestBackend::requests);
    let twice = proxy(&urls, "{ attempts: 2, on: [503] }");
    assert_eq!(twice.get("/").status, 503);
    assert_eq!(asked(), [1, 1, 1]);
    let often = proxy(&urls, "{ attempts: 5, on: [503] }");
    assert_eq!(often.get("/").status, 503);
    assert_eq!(asked().iter().sum::<usize>(), 3 + 6);
    let alone = TestBackend::with("v1", Behaviour::Status(503));
    let one = proxy(&[&alone.url()], "{ on: [503] }");
    assert_eq!(one.get("/").status, 503);
    assert_eq!(alone.requests(), 2);
}

#[test]
fn a_failure_in_the_backends_own_words_is_passed_back_where_nobody_answers_better() {
    let mut pair = Pair::start(ALL, Behaviour::Status(503));
    pair.good.die();
    let answer = pair.proxy.get("/");
    assert_eq!((answer.status, answer.text()), (503, "bad"));
}

#[test]
fn a_round_in_which_nobody_takes_a_connection_is_made_once_more() {
    let dead = [TestBackend::dead(), TestBackend::dead()];
    let urls = dead.each_ref().map(TestBackend::url);
    let urls = urls.each_ref().map(String::as_str);
    for (retries, rounds) in [("{}", 2), ("{ on: [reset, 503] }", 1)] {
        let proxy = proxy(&urls, retries);
        // Nothing was sent, so that any request may go round.
        proxy
            .ask(&Request::new("POST", "/").body("hello"))
            .problem(502);
        let failures = "serin_upstream_connect_failures_total";
        assert_eq!(
            proxy.metrics().count(failures, &[("backend", "v1")]),
            2 * rounds
        );
        let labels = [("failure", "connect")];
        proxy.wait_for_count("serin_backend_failures_total", &labels, 1);
    }
}

#[test]
fn retries_are_a_share_of_the_requests() {
    let backend = TestBackend::with("v1", Behaviour::Status(503));
    let proxy = proxy(&[&backend.url()], "{ on: [503], budget: 20% }");
    let mut connection = proxy.connect();
    for _ in 0..100 {
        assert_eq!(connection.ask(&Request::get("/")).status, 503);
    }
    let metrics = proxy.metrics();
    let [retries, denied] = [RETRIES, OVER_BUDGET].map(|name| metrics.count(name, &[]));
    assert_eq!(retries + denied, 100);
    // As many as ten in any case; more only where this took more than ten seconds.
    assert!((20..=30).contains(&retries), "{retries}");
    assert_eq!(backend.requests() as u64, 100 + retries);
    // One is never cut short of its own.
    assert_eq!(proxy.metrics().count("serin_outcomes_total", &[]), 100);
}

#[test]
fn without_the_word_nothing_that_was_sent_is_sent_again() {
    let backend = TestBackend::with("v1", Behaviour::RawThenClose(Vec::new()));
    let other = TestBackend::start("other");
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends: {{ v1: {{ endpoints: [\"{}\", \"{}\"] }} }}\nroutes: [{{ backend: v1 }}]\n",
        backend.url(),
        other.url()
    ));
    proxy.get("/").problem(502);
    assert_eq!((backend.requests(), other.requests()), (1, 0));
}

#[test]
fn a_canary_is_asked_again_before_stable_is() {
    let stable = TestBackend::start("stable");
    let canary = TestBackend::with("canary", Behaviour::Status(503));
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends:\n  v1: \"{}\"\n  v2: {{ endpoints: [\"{}\"], retries: {{ on: [503] }} }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: 100%, shield: true }} }}\n\
         routes: [{{ flag: orders }}]\n",
        stable.url(),
        canary.url()
    ));
    assert_eq!(proxy.get("/").text(), "stable");
    assert_eq!((canary.requests(), stable.requests()), (2, 1));
    proxy.wait_for_count("serin_rescued_requests_total", &[], 1);
    let failures = [("failure", "status"), ("variant", "canary")];
    proxy.wait_for_count("serin_backend_failures_total", &failures, 1);
    // Without a request to spare for stable, the failure is canary's to the end.
    assert_eq!(proxy.ask(&Request::new("DELETE", "/")).status, 503);
    assert_eq!((canary.requests(), stable.requests()), (4, 1));
}

#[test]
fn a_stream_of_http_2_that_is_late_is_left_and_asked_for_again() {
    let held = Upstream::start(Conduct::http2());
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends:\n  v1: {{ endpoints: [\"{}\"], protocol: h2, retries: {{ on: [timeout] }}, \
         timeouts: {{ response: 1s }} }}\nroutes: [{{ backend: v1 }}]\n",
        held.url()
    ));
    let begun = serin::runtime::clock::monotonic();
    let mut connection = proxy.connect();
    connection.send(Request::get("/hold").head().as_bytes());
    support::wait_until("it is asked again", support::SOON, || {
        held.asked().len() == 2
    });
    assert!(begun.elapsed() >= Duration::from_secs(1));
    held.release();
    assert_eq!(connection.answer().text(), "held");
}
