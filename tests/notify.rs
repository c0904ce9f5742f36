//! Those who are not here are told: of each change, in order, at least once, and not at the cost
//! of the change itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::net::SocketAddr;
use std::process::Command;

use serin::runtime::clock;
use support::hook::Heard;
use support::proxy::{SERIN, backends, replace_file};
use support::{Behaviour, Hook, Load, Manners, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

/// How often a message may be tried before this test is sure that it was not delivered.
const TRIES: usize = 2;

/// What names a message, so that one that comes twice is known.
fn id(told: &Heard) -> &str {
    let mut lines = told.head.lines();
    let line = lines.find(|line| line.starts_with("x-serin-notification-id: "));
    line.unwrap()
}

/// Somebody who is told: answers with a status, and remembers what came.
struct Hub(Hook);

impl Hub {
    fn start(status: u16) -> Self {
        Self(Hook::start(Manners::Answer(status, "")))
    }

    const fn address(&self) -> SocketAddr {
        self.0.address()
    }

    fn answer(&self, status: u16) {
        self.0.behave(Manners::Answer(status, ""));
    }

    fn told(&self) -> Vec<Heard> {
        self.0.messages()
    }

    /// Waits until so many messages have come, and gives them.
    #[track_caller]
    fn wait_for(&self, count: usize) -> Vec<Heard> {
        self.0.wait_for(count);
        self.told()
    }
}

/// A configuration with a rollout between two backends, and those who are told of it.
fn config(pair: &[TestBackend; 2], targets: &str) -> String {
    format!(
        "{}trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
         flags: {{ orders: {{ stable: v1, canary: v2, rollout: {{ revision: \"2.4.0\", \
         stages: [50%, 100%], hold: 5s, min_requests: 1000000 }} }} }}\n\
         routes: [{{ flag: orders }}]\nnotify: [{targets}]\n",
        backends(&[("v1", &pair[0]), ("v2", &pair[1])])
    )
}

fn pair() -> [TestBackend; 2] {
    [TestBackend::start("stable"), TestBackend::start("canary")]
}

fn order(proxy: &TestProxy, verb: &str, why: &str) {
    let path = format!("/api/v1/rollouts/orders/{verb}");
    let answer = proxy.command("POST", &path, &format!("{{ \"reason\": \"{why}\" }}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn each_change_is_told_in_order_with_reason_and_numbers_and_no_secret_shows() {
    let (pair, hub, chat) = (pair(), Hub::start(204), Hub::start(200));
    let targets = format!(
        "{{ webhook: \"http://{}/s3cret\", name: hub, headers: {{ authorization: \"Bearer \
         s3cret\" }} }}, {{ webhook: \"http://{}/s3cret\", name: chat, format: slack, \
         on: [rolled_back] }}",
        hub.address(),
        chat.address()
    );
    let proxy = TestProxy::start(&config(&pair, &targets));
    order(&proxy, "pause", "a look at p99");
    order(&proxy, "resume", "it was the cache");
    let load = Load::start(proxy.address());
    pair[1].behave(Behaviour::Status(500));
    proxy.wait_for_phase("orders", "rolled_back", SOON);
    drop(load);

    let told = hub.wait_for(4);
    let phases: Vec<_> = told.iter().map(|told| told.body["phase"].clone()).collect();
    assert_eq!(
        phases,
        ["progressing", "paused", "progressing", "rolled_back"]
    );
    for told in &told {
        assert!(
            told.head.starts_with("post /s3cret http/1.1\r\n"),
            "{}",
            told.head
        );
        assert!(told.head.contains("authorization: bearer s3cret\r\n"));
        assert!(told.head.contains("content-type: application/json\r\n"));
        let named = (
            &told.body["flag"],
            &told.body["revision"],
            &told.body["version"],
        );
        assert_eq!(named, (&"orders".into(), &"2.4.0".into(), &1.into()));
    }
    assert_eq!(told[1].body["why"], "a look at p99");
    assert_eq!(told[1].body["who"], "operator");
    assert_eq!(told[1].body["weights"]["default"], 0.5);
    let last = &told[3].body;
    assert_eq!(last["weights"]["default"], 0.0);
    assert!(last["why"].as_str().unwrap().contains("canary"), "{last}");
    let breach = last["findings"].as_array().unwrap().iter();
    let breach = breach.filter(|finding| finding["assessment"] == "breach");
    let failed = breach.map(|finding| finding["canary"].as_f64().unwrap());
    assert!(failed.fold(0.0, f64::max) > 0.5, "{last}");

    let shown = chat.wait_for(1);
    assert_eq!(shown.len(), 1, "only of what it wants");
    let text = shown[0].body.to_string();
    assert!(
        text.contains("orders") && text.contains("rolled back"),
        "{text}"
    );

    let delivered = [("target", "hub"), ("result", "delivered")];
    proxy.wait_for_count("serin_notifications_total", &delivered, 4);
    let status = proxy.command("GET", "/api/v1/status", "");
    for shown in [status.text(), &proxy.log(), &proxy.metrics().text] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn a_target_that_is_ill_delays_no_rollback_and_is_told_after_a_kill() {
    let (pair, hub) = (pair(), Hub::start(503));
    let targets = format!("{{ webhook: \"http://{}/\", name: hub }}", hub.address());
    let folder = TempDir::new().unwrap();
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\n{}",
        config(&pair, &targets)
    );
    replace_file(&folder.path().join("serin.yaml"), &text);
    let start = || TestProxy::in_folder(folder.path(), Command::new(SERIN));
    let mut proxy = start();
    hub.wait_for(TRIES);
    let begun = clock::monotonic();
    order(&proxy, "rollback", "it smells");
    let took = begun.elapsed();
    assert!(took < SOON / 10, "{took:?}");
    let pending = || {
        proxy
            .metrics()
            .count("serin_notifications_pending", &[("target", "hub")])
    };
    wait_until("both wait", SOON, || pending() == 2);
    let phase = |told: &Heard| told.body["phase"].as_str().unwrap().to_owned();
    assert!(
        hub.told().iter().all(|told| phase(told) == "progressing"),
        "in order"
    );
    proxy.kill();

    let tried = hub.told();
    hub.answer(200);
    let proxy = start();
    let told = hub.wait_for(tried.len() + 2);
    let last = &told[tried.len()..];
    assert_eq!(
        [phase(&last[0]), phase(&last[1])],
        ["progressing", "rolled_back"]
    );
    assert_eq!(id(&last[0]), id(&tried[0]), "the same message again");
    assert_ne!(id(&last[1]), id(&tried[0]));
    assert_eq!(last[1].body["why"], "it smells");
    wait_until("nothing waits", SOON, || {
        proxy.metrics().count("serin_notifications_pending", &[]) == 0
    });
}
