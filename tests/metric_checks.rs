//! Custom checks and `release_when` over real time: a real Prometheus that scrapes a real Serin, a
//! JSON backend, and sources that are dead, silent, or talk nonsense.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use serin::runtime::clock;
use support::proxy::backends;
use support::{Behaviour, Load, SOON, TestBackend, TestProxy, wait_for, wait_until};
use tempfile::TempDir;

/// How long anything may take that takes a few samples, a second apart.
const SAMPLES: Duration = Duration::from_secs(30);

/// How soon a canary that only fails has to be gone, whatever sources do.
const ROLLBACK_MAX: Duration = Duration::from_secs(4);

/// Stays in its first stage for want of requests. A fifth of the hold is the warm-up.
const LONG: &str = "stages: [50%, 100%], hold: 2s, min_requests: 1000000";

/// Passes within seconds, if it may.
const SHORT: &str = "stages: [50%, 100%], hold: 2s, min_requests: 50, watch: 60s, \
                     final_control: 20%";

struct Release {
    proxy: TestProxy,
    _stable: TestBackend,
    canary: TestBackend,
}

impl Release {
    /// Begins a release of a good canary: more at the top of the file, and more of the rollout.
    fn with(top: &str, rollout: &str) -> Self {
        let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
        let backends = backends(&[("v1", &stable), ("v2", &canary)]);
        let proxy = TestProxy::start(&format!(
            "{top}{backends}trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
             flags:\n  orders:\n    stable: v1\n    canary: v2\n\
             \x20   rollout: {{ revision: \"2.4.0\", {rollout} }}\n\
             routes: [{{ flag: orders }}]\n"
        ));
        Self {
            proxy,
            _stable: stable,
            canary,
        }
    }

    fn status(&self) -> Value {
        self.proxy.rollout("orders")
    }

    /// Waits until a check finds something that begins so and has this in its reason.
    #[track_caller]
    fn wait_for_finding(&self, check: &str, assessment: &str, reason: &str) -> Value {
        let mut last = Value::Null;
        let found = wait_for(
            &format!("{check} is {assessment}: {reason}"),
            SAMPLES,
            || {
                last = self.status();
                let found = finding(&last, check)?;
                let is_it =
                    found["assessment"] == assessment && found["reason"].as_str()?.contains(reason);
                is_it.then(|| found.clone())
            },
        );
        assert_eq!(found["check"], check);
        found
    }
}

fn finding<'s>(status: &'s Value, check: &str) -> Option<&'s Value> {
    let findings = status["findings"].as_array()?;
    findings.iter().find(|found| found["check"] == check)
}

/// A custom check that asks each second.
fn check(name: &str, more: &str) -> String {
    format!("{{ name: {name}, every: 1s, timeout: 1s, max_age: 5s, {more} }}")
}

fn rollout(plan: &str, custom: &[String]) -> String {
    format!("{plan}, checks: {{ custom: [{}] }}", custom.join(", "))
}

fn answer(body: &str) -> Behaviour {
    let length = body.len();
    Behaviour::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into())
}

/// A backend that answers with a score.
fn scoring(score: &str) -> TestBackend {
    TestBackend::with("score", answer(&format!("{{\"score\":{score}}}")))
}

/// The check of that score.
fn score_of(backend: &TestBackend) -> String {
    let url = backend.url();
    check(
        "score",
        &format!("http_json: {{ url: \"{url}/{{flag}}\", pointer: /score }}, min: 4.0"),
    )
}

/// A real Prometheus.
struct Prometheus {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// A port that nobody listens on.
    fn free_address() -> SocketAddr {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    }

    fn start(address: SocketAddr, targets: &[SocketAddr]) -> Self {
        let folder = TempDir::new().unwrap();
        let targets: Vec<_> = targets
            .iter()
            .map(|target| format!("\"{target}\""))
            .collect();
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: test\n  \
             static_configs: [{{ targets: [{}] }}]\n",
            targets.join(", ")
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is there: Debian's package `prometheus` has it");
        let prometheus = Self {
            address,
            child,
            _folder: folder,
        };
        wait_until("Prometheus listens", SAMPLES, || {
            TcpStream::connect(prometheus.address).is_ok()
        });
        prometheus
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an exporter tells of both versions' queues.
fn queues(stable: u32, canary: u32) -> Behaviour {
    answer(&format!(
        "# TYPE queue_length gauge\nqueue_length{{version=\"stable\"}} {stable}\n\
         queue_length{{version=\"canary\"}} {canary}\n"
    ))
}

/// A query and a limit for what it finds.
fn promql(name: &str, query: &str) -> String {
    check(name, &format!("promql: '{query}', max: 1000"))
}

/// What a real Prometheus is asked: of the exporter, of Serin itself, and what it has no answer to.
fn questions() -> [String; 8] {
    let queue =
        "promql: 'queue_length{version=\"{variant}\"}', max: 500, compare: { max_ratio: 2 }";
    let own = "sum(serin_requests_total{flag=\"{flag}\"}) * 0";
    let fresh = "queue_length{version=\"{variant}\"} \
                 and time() - timestamp(queue_length{version=\"{variant}\"}) < 90";
    let stopped = "queue_length and time() - timestamp(queue_length) < 0";
    [
        check("queue", queue),
        promql("own-requests", own),
        promql("fresh", fresh),
        promql("stopped", stopped),
        promql("no-promql", "sum("),
        promql("no-sample", "nobody_has_this"),
        promql("several", "up"),
        promql("no-number", "vector(0) / 0"),
    ]
}

#[test]
fn a_real_prometheus_holds_while_it_cannot_say_and_takes_a_bad_canary_back() {
    let exporter = TestBackend::with("exporter", queues(100, 110));
    let address = Prometheus::free_address();
    let top = format!("metrics: {{ prometheus: {{ url: \"http://{address}\" }} }}\n");
    let release = Release::with(&top, &rollout(LONG, &questions()));
    let _load = Load::start(release.proxy.address());
    // Nobody listens there yet.
    let refused = format!("`{address}` refuses the connection");
    release.wait_for_finding("queue", "needs_data", &refused);
    let _prometheus = Prometheus::start(address, &[exporter.address(), release.proxy.admin()]);
    for (check, reason) in [
        ("no-promql", "has no value: Prometheus answers bad_data: "),
        ("no-sample", "has no value: the query finds no sample"),
        ("stopped", "has no value: the query finds no sample"),
        ("several", "the query finds 2 samples where one is needed"),
        ("no-number", "has no value: the answer is NaN"),
    ] {
        release.wait_for_finding(check, "needs_data", reason);
    }
    release.wait_for_finding("own-requests", "pass", "is 0, tolerated is at most 1,000");
    release.wait_for_finding("fresh", "pass", "is 110, tolerated is at most 1,000");
    let good = release.wait_for_finding("queue", "pass", "1.1 times stable's 100");
    assert_eq!(
        (&good["canary"], &good["stable"]),
        (&110.0.into(), &100.0.into())
    );
    assert_eq!(release.status()["phase"], "progressing");

    exporter.behave(queues(100, 300));
    let status = release
        .proxy
        .wait_for_phase("orders", "rolled_back", SAMPLES);
    let reason = status["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "queue is 300, tolerated is at most 500, 3 times stable's 100, tolerated is at most 2; \
         3 of 3 bad samples in a row"
    );
    assert_eq!(status["weights"]["default_percent"], 0.0);
    let labels = [("flag", "orders"), ("check", "queue")];
    assert!((release.proxy.metrics().sum("serin_judge_evidence", &labels) - 1.0).abs() < 1e-9);
    release
        .proxy
        .wait_for_log("rolled back from stage 1: queue is 300", SOON);
}

#[test]
fn a_bad_score_takes_a_watched_canary_back_and_one_odd_one_does_not() {
    let score = scoring("4.5");
    // Not each second, so that there is time to look at one odd sample.
    let seldom = score_of(&score).replace("every: 1s", "every: 2s");
    let release = Release::with("", &rollout(SHORT, &[seldom]));
    let _load = Load::start(release.proxy.address());
    release.proxy.wait_for_phase("orders", "watching", SAMPLES);
    release.wait_for_finding("score", "pass", "score is 4.5, tolerated is at least 4");
    assert_eq!(score.last_head().line, "GET /orders HTTP/1.1");

    score.behave(answer("{\"score\":3.5}"));
    release.wait_for_finding("score", "undecided", "1 of 3 bad samples in a row");
    score.behave(answer("{\"score\":4.1}"));
    release.wait_for_finding("score", "pass", "score is 4.1");
    assert_eq!(release.status()["phase"], "watching");

    score.behave(answer("{\"score\":3.5}"));
    let status = release
        .proxy
        .wait_for_phase("orders", "rolled_back", SAMPLES);
    let reason = "score is 3.5, tolerated is at least 4; 3 of 3 bad samples in a row";
    assert_eq!(status["reason"], reason);
}

#[test]
fn a_source_that_is_dead_or_talks_nonsense_holds_and_says_so() {
    let score = scoring("4.5");
    let old = "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[1000000000,\"1\"]}}";
    let cache = TestBackend::with("cache", answer(old));
    let top = format!(
        "metrics: {{ prometheus: {{ url: \"{}\" }} }}\n",
        cache.url()
    );
    let stale = check("stale", "promql: up, min: 0");
    let release = Release::with(&top, &rollout(SHORT, &[score_of(&score), stale]));
    let _load = Load::start(release.proxy.address());
    let found = release.wait_for_finding("stale", "needs_data", " s old, more than 5 s");
    assert!(found["canary"].is_number(), "{found}");
    release.wait_for_finding("score", "pass", "score is 4.5");
    let of_score = |behaviour: Behaviour, reason: &str| {
        score.behave(behaviour);
        release.wait_for_finding("score", "needs_data", reason);
    };
    of_score(
        answer("{\"score\":\"high\"}"),
        "`/score` is a text, not a number",
    );
    of_score(
        answer("{\"scores\":[]}"),
        "the answer has nothing at `/score`",
    );
    of_score(answer("{\"score\":NaN}"), "the answer is not JSON");
    of_score(
        answer("<html>down for maintenance</html>"),
        "the answer is not JSON",
    );
    of_score(Behaviour::Status(503), "the answer is 503");
    of_score(
        Behaviour::RawThenClose(b"no HTTP".to_vec()),
        "broke off the exchange",
    );
    of_score(Behaviour::Bytes(10_000_000), "is larger than 262144 bytes");
    of_score(Behaviour::Stall, "no whole answer of");
    // All else passes, and has for several holds; these two do not let it.
    let status = release.status();
    assert_eq!(
        (&status["phase"], &status["stage"]),
        (&"progressing".into(), &1.into())
    );
    assert_eq!(status["action"], "hold");
    assert!(status["seconds_in_stage"].as_f64() > Some(4.0));
    assert_eq!(
        finding(&status, "error_rate").unwrap()["assessment"],
        "pass"
    );
}

#[test]
fn a_source_that_hangs_delays_no_rollback_no_reload_and_no_stop() {
    let score = scoring("4.5");
    let hanging = score_of(&score).replace("timeout: 1s", "timeout: 60s");
    let release = Release::with("", &rollout(LONG, &[hanging]));
    let _load = Load::start(release.proxy.address());
    score.behave(Behaviour::Stall);
    let asked = score.requests();
    wait_until("it hangs", SAMPLES, || score.requests() > asked);

    let begun = clock::monotonic();
    let text = std::fs::read_to_string(release.proxy.config_path()).unwrap();
    release
        .proxy
        .write_config(&text.replace("min: 4.0", "min: 3.0"));
    release.proxy.reload();
    release.proxy.wait_for_log("configuration taken", SOON);
    assert!(begun.elapsed() < ROLLBACK_MAX, "{:?}", begun.elapsed());
    wait_until("both arms are seen", SOON, || {
        let arms = &release.status()["arms"];
        ["stable", "canary"]
            .iter()
            .all(|arm| arms[arm]["requests"].as_u64() > Some(100))
    });

    let begun = clock::monotonic();
    release.canary.behave(Behaviour::Status(500));
    release.proxy.wait_for_phase("orders", "rolled_back", SOON);
    assert!(begun.elapsed() < ROLLBACK_MAX, "{:?}", begun.elapsed());

    let begun = clock::monotonic();
    let Release { proxy, .. } = release;
    assert!(proxy.stop().success());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_condition_holds_a_stage_until_it_is_met() {
    let plan = format!("{SHORT}, release_when: \"requests > 1000000 and feedback_mean > 4\"");
    let release = Release::with("", &plan);
    let _load = Load::start(release.proxy.address());
    let found = release.wait_for_finding("release_when", "unmet", "feedback_mean is unknown");
    let reason = found["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("release_when is not met: requests is "),
        "{reason}"
    );
    let status = wait_for("all but the condition lets it pass", SAMPLES, || {
        let status = release.status();
        let is_late = status["seconds_in_stage"].as_f64() > Some(7.0);
        let is_good = ["error_rate", "latency_p50", "latency_p99"]
            .iter()
            .all(|check| finding(&status, check).is_some_and(|one| one["assessment"] == "pass"));
        (is_late && is_good).then_some(status)
    });
    assert_eq!(
        (&status["stage"], &status["action"]),
        (&1.into(), &"hold".into())
    );

    let text = std::fs::read_to_string(release.proxy.config_path()).unwrap();
    let met = "requests > 10 and latency_mean_ms < 1000 and stable_requests > 10";
    let text = text.replace("requests > 1000000 and feedback_mean > 4", met);
    release.proxy.write_config(&text);
    release.proxy.reload();
    release.proxy.wait_for_log("configuration taken", SOON);
    // Other checks begin the evidence and the hold anew.
    let begun = release.status()["seconds_in_stage"].as_f64().unwrap();
    assert!(begun < 3.0, "{begun}");
    release.wait_for_finding("release_when", "pass", "release_when is met: requests is ");
    release.proxy.wait_for_phase("orders", "watching", SAMPLES);
}
