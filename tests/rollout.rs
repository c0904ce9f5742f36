//! Rollouts over real time: a good canary goes up, a bad one goes to zero at once, and operators
//! have the last word.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::time::Duration;

use serde_json::Value;
use serin::runtime::clock;
use support::load::CONNECTIONS;
use support::proxy::backends;
use support::{Behaviour, Load, Request, SOON, TestBackend, TestProxy, wait_until};

/// How soon nobody may get a canary any more that does only harm.
const ROLLBACK_MAX: Duration = Duration::from_secs(2);

/// How long a short plan may take.
const PLAN_MAX: Duration = Duration::from_secs(40);

const SHORT: &str =
    "stages: [25%, 100%], hold: 2s, min_requests: 50, watch: 2s, final_control: 20%";

/// Stays in its first stage for as long as a test takes, for want of requests. The hold is short
/// because a fifth of it is the warm-up, in which only the tripwire looks.
const LONG: &str = "stages: [50%, 100%], hold: 5s, min_requests: 1000000";

struct Release {
    proxy: TestProxy,
    stable: TestBackend,
    canary: TestBackend,
}

impl Release {
    /// Begins a release of a good canary by a plan.
    fn by(plan: &str) -> Self {
        Self::with(plan, "")
    }

    /// The same with more of the flag written.
    fn with(plan: &str, flag: &str) -> Self {
        let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
        let backends = backends(&[("v1", &stable), ("v2", &canary)]);
        let proxy = TestProxy::start(&format!(
            "{backends}trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
             groups: {{ internal: {{ callers: [ann] }}, beta: {{ callers: [ann, bob] }} }}\n\
             flags:\n  orders:\n    stable: v1\n    canary: v2\n    {flag}\n\
             \x20   rollout: {{ revision: \"2.4.0\", {plan} }}\n\
             \x20 search: {{ stable: v1, canary: v2 }}\n\
             routes: [{{ flag: orders }}, {{ path: /search, flag: search }}]\n"
        ));
        Self {
            proxy,
            stable,
            canary,
        }
    }

    /// Puts load on it, and waits until both arms have been seen for more than a second.
    fn under_load(&self) -> Load {
        let load = Load::start(self.proxy.address());
        wait_until("both arms are seen", SOON, || {
            let arms = &self.proxy.rollout("orders")["arms"];
            ["stable", "canary"]
                .iter()
                .all(|arm| arms[arm]["requests"].as_u64() > Some(100))
        });
        load
    }

    /// The share of a group that gets the canary, as the metrics say.
    fn weight(&self, group: &str) -> f64 {
        let labels = [("flag", "orders"), ("group", group)];
        self.proxy.metrics().sum("serin_flag_weight_ratio", &labels)
    }

    #[track_caller]
    fn assert_weight(&self, group: &str, expected: f64) {
        let weight = self.weight(group);
        assert!((weight - expected).abs() < 1e-9, "{group} has {weight}");
    }

    fn command(&self, verb: &str, body: &str) -> support::Answer {
        let path = format!("/api/v1/rollouts/orders/{verb}");
        self.proxy.command("POST", &path, body)
    }

    /// Waits until nobody gets the canary, and asserts that it took no longer than it may.
    fn assert_rolled_back_since(&self, begun: tokio::time::Instant) -> Value {
        wait_until("the weight is zero", SOON, || self.weight("default") == 0.0);
        let took = begun.elapsed();
        assert!(took < ROLLBACK_MAX, "{took:?}");
        let status = self.proxy.rollout("orders");
        assert_eq!(status["phase"], "rolled_back");
        assert_eq!(status["weights"]["default_percent"], 0.0);
        let metrics = self.proxy.metrics();
        let phase = [("flag", "orders"), ("phase", "rolled_back")];
        assert_eq!(metrics.count("serin_rollout_phase", &phase), 1);
        let line = self.proxy.wait_for_log("rolled back from stage 1: ", SOON);
        let reason = status["reason"].as_str().unwrap();
        assert!(line.contains("WARN") && line.contains(reason), "{line}");
        assert_eq!(status["journal"][0]["what"], "rolled back from stage 1");
        assert_eq!(status["journal"][0]["why"], reason);
        status
    }
}

#[test]
fn a_good_canary_is_promoted_to_everyone_and_moves_nobody_back() {
    let release = Release::by(SHORT);
    release.assert_weight("default", 0.25);
    let load = Load::start(release.proxy.address());
    let mut weights = Vec::new();
    wait_until("the rollout has succeeded", PLAN_MAX, || {
        let status = release.proxy.rollout("orders");
        let weight = status["weights"]["default_percent"].as_f64().unwrap();
        if weights.last() != Some(&weight) {
            weights.push(weight);
        }
        assert_ne!(status["phase"], "rolled_back", "{status:#}");
        status["phase"] == "succeeded"
    });
    assert_eq!(weights, [25.0, 100.0]);
    release.assert_weight("default", 1.0);
    assert_eq!(load.moved_back(), 0);
    assert_eq!((load.bad(), load.complaint()), (0, None));
    let status = release.proxy.rollout("orders");
    let journal = status["journal"].as_array().unwrap();
    let told: Vec<_> = journal
        .iter()
        .rev()
        .map(|line| {
            (
                line["who"].as_str().unwrap(),
                line["what"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("plan", "started with stage 1 of 2"),
        ("judge", "stage 2 of 2 begins"),
        ("judge", "the stages are over, watching for 2s"),
        ("plan", "succeeded"),
    ];
    assert_eq!(told, expected);
    for (_, what) in expected {
        release.proxy.wait_for_log(what, SOON);
    }
}

#[test]
fn a_canary_that_fails_every_request_is_rolled_back_within_two_seconds() {
    let release = Release::by(LONG);
    let load = release.under_load();
    assert_eq!(load.bad(), 0);
    release.canary.behave(Behaviour::Status(500));
    let status = release.assert_rolled_back_since(clock::monotonic());
    let why = status["reason"].as_str().unwrap();
    assert!(
        why.contains("canary fail") && why.contains("stable 0 %"),
        "{why}"
    );
    let findings = status["journal"][0]["findings"].as_array().unwrap();
    let breaches = |finding: &&Value| finding["assessment"] == "breach";
    assert!(
        findings.iter().any(|finding| breaches(&finding)),
        "{findings:#?}"
    );

    // From here on everyone is served by stable again.
    let (asked, good) = (release.canary.requests(), load.good());
    wait_until("stable serves", SOON, || load.good() > good + 200);
    assert!(
        release.canary.requests() <= asked + 4,
        "only what was under way"
    );
    wait_until("callers are back on stable", SOON, || load.moved_back() > 0);
}

#[test]
fn a_canary_that_is_killed_is_rolled_back_within_two_seconds_and_costs_hardly_a_caller() {
    let mut release = Release::by(LONG);
    let load = release.under_load();
    let begun = clock::monotonic();
    release.canary.die();
    let status = release.assert_rolled_back_since(begun);
    let why = status["reason"].as_str().unwrap();
    assert!(
        why.contains("canary is down") || why.contains("canary fails"),
        "{why}"
    );
    let good = load.good();
    wait_until("stable serves", SOON, || load.good() > good + 200);
    // What was sent already when it died may have been done, and is not asked of stable again:
    // at most one request on each connection. All others are answered by stable.
    assert!(load.bad() <= CONNECTIONS, "{:?}", load.complaint());
    let metrics = release.proxy.metrics();
    let rescued = metrics.count("serin_rescued_requests_total", &[]);
    let failed = |kind: &str| {
        let labels = [("variant", "canary"), ("failure", kind)];
        metrics.count("serin_backend_failures_total", &labels)
    };
    assert!(rescued > 0);
    assert_eq!(failed("connect"), rescued);
    assert_eq!(failed("reset"), load.bad());
}

#[test]
fn a_canary_that_never_was_there_costs_no_caller_anything() {
    let mut release = Release::by(LONG);
    release.canary.die();
    let begun = clock::monotonic();
    let load = Load::start(release.proxy.address());
    release.assert_rolled_back_since(begun);
    wait_until("stable serves", SOON, || load.good() > 200);
    assert_eq!((load.bad(), load.complaint()), (0, None));
}

#[test]
fn an_outage_behind_both_arms_rolls_nothing_back() {
    let release = Release::by(LONG);
    let load = release.under_load();
    release.stable.behave(Behaviour::Status(503));
    release.canary.behave(Behaviour::Status(503));
    // Several times what it takes to roll back one that fails alone.
    wait_until("hundreds fail in both arms", PLAN_MAX, || {
        let status = release.proxy.rollout("orders");
        assert_eq!(status["phase"], "progressing", "{status:#}");
        let failures = |arm: &str| status["arms"][arm]["failures"].as_u64();
        failures("canary") > Some(400) && failures("stable") > Some(400)
    });
    let status = release.proxy.rollout("orders");
    let findings = status["findings"].as_array().unwrap();
    let tripwire = findings.iter().find(|found| found["check"] == "tripwire");
    let tripwire = tripwire.expect("the tripwire says why it holds");
    assert_eq!(tripwire["assessment"], "undecided");
    let reason = tripwire["reason"].as_str().unwrap();
    assert!(
        reason.ends_with("so it may not be canary's doing"),
        "{reason}"
    );
    release.assert_weight("default", 0.5);
    drop(load);
}

#[test]
fn an_operator_promotes_stage_by_stage_until_nothing_is_left() {
    let release = Release::by("stages: [10%, 50%, 100%], hold: 1h, final_control: 5%");
    release.assert_weight("default", 0.1);
    let promoted = release.command("promote", r#"{ "reason": "looks good" }"#);
    assert_eq!(promoted.status, 200, "{}", promoted.text());
    // The answer says where the rollout is now, and requests are decided by it.
    let status = promoted.json();
    assert_eq!(
        (&status["stage"], &status["phase"]),
        (&2.into(), &"progressing".into())
    );
    assert_eq!(status["weights"]["default_percent"], 50.0);
    assert_eq!(status["journal"][0]["who"], "operator");
    assert_eq!(status["journal"][0]["why"], "looks good");
    release.assert_weight("default", 0.5);

    assert_eq!(release.command("promote", "").json()["stage"], 3);
    let watching = release.command("promote", "").json();
    assert_eq!(watching["phase"], "watching");
    release.assert_weight("default", 0.95);
    assert_eq!(release.command("promote", "").json()["phase"], "succeeded");
    release.assert_weight("default", 1.0);
    let refused = release.command("promote", "").problem(409);
    let reason = "the rollout has succeeded already, there is nothing left to promote; `rollback` takes canary back";
    assert_eq!(refused["detail"], reason);
    // Even after success an operator may go back.
    assert_eq!(
        release.command("rollback", "").json()["phase"],
        "rolled_back"
    );
    release.assert_weight("default", 0.0);
}

#[test]
fn an_operator_skips_all_stages_that_are_left() {
    let release = Release::by("stages: [10%, 50%, 100%], hold: 1h");
    let status = release.command("promote", r#"{ "full": true }"#).json();
    assert_eq!(status["phase"], "watching");
    assert_eq!(status["weights"]["default_percent"], 100.0);
    assert_eq!(status["weights"]["control_percent"], 1.0);
    release.assert_weight("default", 0.99);
}

#[test]
fn an_operator_rolls_back_and_the_journal_says_why() {
    let release = Release::by(LONG);
    let rolled_back = release.command("rollback", r#"{ "reason": "ticket 7" }"#);
    assert_eq!(rolled_back.status, 200);
    let status = rolled_back.json();
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&"rolled_back".into(), &"ticket 7".into())
    );
    let entry = &status["journal"][0];
    assert_eq!(
        (&entry["who"], &entry["why"]),
        (&"operator".into(), &"ticket 7".into())
    );
    assert!(entry["at_unix_ms"].as_u64() > Some(1_700_000_000_000));
    release
        .proxy
        .wait_for_log("rolled back from stage 1: ticket 7", SOON);
    let again = release.command("rollback", "").problem(409);
    assert_eq!(
        again["detail"],
        "the rollout is rolled back; `retry` begins it again"
    );
    let promote = release
        .command("promote", r#"{ "full": true }"#)
        .problem(409);
    let reason = "the rollout is rolled back; `retry` begins it again";
    assert_eq!(promote["detail"], reason);
    release.assert_weight("default", 0.0);
}

#[test]
fn commands_that_make_no_sense_are_refused_with_the_reason() {
    let release = Release::by(LONG);
    for flag in ["search", "nothing"] {
        for verb in ["promote", "rollback"] {
            let path = format!("/api/v1/rollouts/{flag}/{verb}");
            let problem = release.proxy.command("POST", &path, "").problem(404);
            assert_eq!(problem["detail"], format!("flag `{flag}` has no rollout"));
        }
        let path = format!("/api/v1/rollouts/{flag}");
        release.proxy.command("GET", &path, "").problem(404);
    }
    release
        .command("rollback", r#"{ "full": true }"#)
        .problem(400);
    release
        .command("promote", r#"{ "fully": true }"#)
        .problem(400);
    release.command("promote", "full").problem(400);
    release.command("halt", "").problem(404);
    let listed = release.proxy.command("GET", "/api/v1/rollouts", "").json();
    assert_eq!(listed["rollouts"].as_array().unwrap().len(), 1);
    assert_eq!(listed["rollouts"][0]["flag"], "orders");
    assert_eq!(listed["rollouts"][0]["phase"], "progressing");
    release.assert_weight("default", 0.5);
}

#[test]
fn stages_raise_the_weight_of_the_groups_they_name() {
    let release = Release::by(
        "stages: [{ groups: [internal], weight: 100% }, { groups: [beta], weight: 30% }, 50%], \
         hold: 1h",
    );
    for weights in [[1.0, 0.0, 0.0], [1.0, 0.3, 0.0], [1.0, 0.5, 0.5]] {
        for (group, weight) in ["internal", "beta", "default"].into_iter().zip(weights) {
            release.assert_weight(group, weight);
        }
        let ann = Request::get("/").field("x-user-id", "ann");
        assert_eq!(release.proxy.ask(&ann).text(), "canary");
        release.command("promote", "");
    }
    assert_eq!(release.command("rollback", "").status, 200);
    for group in ["internal", "beta", "default"] {
        release.assert_weight(group, 0.0);
    }
    let ann = Request::get("/").field("x-user-id", "ann");
    assert_eq!(release.proxy.ask(&ann).text(), "stable");
}

#[test]
fn after_a_rollback_the_canary_may_be_chosen_only_where_that_is_said() {
    for (said, chosen) in [("", "stable"), (", after_rollback: true", "canary")] {
        let force = format!("force: {{ header: x-variant, for: [internal]{said} }}");
        let release = Release::with(LONG, &force);
        let wish = |caller: &str| {
            let request = Request::get("/").field("x-user-id", caller);
            let answer = release.proxy.ask(&request.field("x-variant", "canary"));
            answer.text().to_owned()
        };
        assert_eq!(wish("ann"), "canary");
        assert_eq!(release.command("rollback", "").status, 200);
        assert_eq!(wish("ann"), chosen);
        assert_eq!(wish("bob"), "stable");
    }
}
