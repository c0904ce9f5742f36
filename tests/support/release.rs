//! Releases to be judged: flags with two backends and a crowd each, and what the judge finds of them.

use std::time::Duration;

use serde_json::Value;

use super::{Behaviour, Crowd, Manner, Request, TestBackend, TestProxy};

/// How long harm may take to be found. Nineteen seconds are usual: what one tick adds is capped, so that it
/// takes eleven at least, and before there are cuts nothing is slow or odd.
pub(crate) const FOUND_MAX: Duration = Duration::from_secs(45);

/// Half of all callers get canary for as long as a test takes, for want of requests. The hold is short
/// because a fifth of it is the warm-up, in which nothing is counted.
pub(crate) const LONG: &str = "stages: [50%], hold: 5s, min_requests: 1000000";

/// A flag of its own with two backends.
pub(crate) struct Release {
    pub(crate) flag: &'static str,
    pub(crate) plan: &'static str,
    pub(crate) stable: TestBackend,
    pub(crate) canary: TestBackend,
}

impl Release {
    pub(crate) fn new(flag: &'static str) -> Self {
        Self::by(flag, LONG)
    }

    pub(crate) fn by(flag: &'static str, plan: &'static str) -> Self {
        Self {
            flag,
            plan,
            stable: TestBackend::start("stable"),
            canary: TestBackend::start("canary"),
        }
    }

    pub(crate) fn behave(&self, behaviour: &Behaviour) {
        self.stable.behave(behaviour.clone());
        self.canary.behave(behaviour.clone());
    }
}

/// A configuration in which each release is a flag, and has the path of its name.
pub(crate) fn config(releases: &[Release]) -> String {
    let mut text = "trusted_proxies: [127.0.0.0/8]\nidentity: [{ header: x-user-id }]\n\
                    groups: { beta: { header: { x-beta: \"yes\" } } }\n"
        .to_owned();
    let each = |line: &dyn Fn(&Release) -> String| releases.iter().map(line).collect::<String>();
    text += "backends:\n";
    text += &each(&|release| {
        let (flag, stable, canary) = (release.flag, release.stable.url(), release.canary.url());
        format!("  {flag}-v1: \"{stable}\"\n  {flag}-v2: \"{canary}\"\n")
    });
    text += "flags:\n";
    text += &each(&|Release { flag, plan, .. }| {
        format!(
            "  {flag}: {{ stable: {flag}-v1, canary: {flag}-v2, \
             rollout: {{ revision: \"1\", {plan} }} }}\n"
        )
    });
    text += "routes:\n";
    text += &each(&|Release { flag, .. }| format!("  - {{ path: /{flag}, flag: {flag} }}\n"));
    text
}

/// A request of one of ever new callers, who ask three times each.
pub(crate) fn passing(path: &str, number: u64) -> Request {
    Request::get(path).field("x-user-id", &format!("u-{}", number / 3))
}

/// Some hundred requests a second of ever new callers for the path of a flag.
pub(crate) fn crowd(proxy: &TestProxy, flag: &'static str) -> Crowd {
    let path = format!("/{flag}");
    Crowd::start(proxy.address(), Manner::default(), move |number| {
        passing(&path, number)
    })
}

/// The same, of clients who do not wait for long.
pub(crate) fn impatient_crowd(proxy: &TestProxy, flag: &'static str) -> Crowd {
    let manner = Manner {
        connections: 16,
        patience: Duration::from_millis(300),
        ..Manner::default()
    };
    let path = format!("/{flag}");
    Crowd::start(proxy.address(), manner, move |number| {
        Request::get(&path).field("x-user-id", &format!("u-{number}"))
    })
}

/// Answers with its name, and takes so many milliseconds.
pub(crate) fn slow_by(ms: u64) -> Behaviour {
    Behaviour::Slow(Duration::from_millis(ms))
}

/// Takes requests and never answers.
pub(crate) fn stalling() -> Behaviour {
    Behaviour::RawThenSilence(Vec::new())
}

pub(crate) fn answering_in(content_type: &str) -> Behaviour {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n");
    Behaviour::Raw([head.as_bytes(), b"content-length: 2\r\n\r\n{}"].concat())
}

/// What a check found last; `None` if it has seen nothing.
pub(crate) fn finding(rollout: &Value, check: &str) -> Option<Value> {
    let mut findings = rollout["findings"].as_array().unwrap().iter();
    findings.find(|found| found["check"] == check).cloned()
}

/// What took a rollout back: the check, and what it found.
pub(crate) fn breach(proxy: &TestProxy, flag: &str) -> (String, Value) {
    let rollout = proxy.wait_for_phase(flag, "rolled_back", FOUND_MAX);
    let findings = rollout["journal"][0]["findings"].as_array().unwrap();
    let found = findings
        .iter()
        .find(|found| found["assessment"] == "breach");
    let found = found.unwrap_or_else(|| panic!("{rollout:#}")).clone();
    assert_eq!(found["reason"], rollout["reason"]);
    (found["check"].as_str().unwrap().to_owned(), found)
}
