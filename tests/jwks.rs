//! Keys of tokens that come from a URL: they are rotated, and their server is gone, slow or talks nonsense.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use serin::runtime::clock;
use support::proxy::backends;
use support::tokens::{Signer, jwks};
use support::{Behaviour, Request, SOON, TestBackend, TestProxy, wait_until};

/// An issuer with its keys at a URL, and a proxy before a canary for whoever is known as Ann.
struct Edge {
    issuer: TestBackend,
    proxy: TestProxy,
    _backends: [TestBackend; 2],
}

/// What an issuer answers.
fn answer(status: &str, body: &str) -> Behaviour {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
    Behaviour::Raw(format!("{head}{body}").into_bytes())
}

impl Edge {
    /// With more keys of the source.
    fn start(issuer: TestBackend, more: &str) -> Self {
        let named = [TestBackend::start("v1"), TestBackend::start("v2")];
        let config = format!(
            "workers: 2\n{}identity: [{{ jwt: {{ jwks_url: \"{}/keys?secret=s3cr3t\", {more} }} }}]\n\
             groups: {{ ann: {{ callers: [ann] }} }}\n\
             flags: {{ shop: {{ stable: v1, canary: v2, groups: {{ ann: 100% }} }} }}\n\
             routes: [{{ flag: shop }}]\n",
            backends(&[("v1", &named[0]), ("v2", &named[1])]),
            issuer.url()
        );
        Self {
            issuer,
            proxy: TestProxy::start(&config),
            _backends: named,
        }
    }

    fn issue(&self, signers: &[&Signer]) {
        self.issuer.behave(answer("200 OK", &jwks(signers)));
    }

    /// The status, and the backend that answers whoever brings a token.
    fn ask(&self, token: &str) -> (u16, String) {
        let request = Request::get("/").field("authorization", &format!("Bearer {token}"));
        let answer = self.proxy.ask(&request);
        (answer.status, answer.text().to_owned())
    }

    fn is_known(&self, token: &str) -> bool {
        let (status, text) = self.ask(token);
        assert_eq!(status, 200, "{text}");
        text == "v2"
    }

    fn refreshes(&self, result: &str) -> u64 {
        let metrics = self.proxy.metrics();
        metrics.count("serin_jwks_refreshes_total", &[("result", result)])
    }

    fn source(&self) -> Value {
        let status = self.proxy.command("GET", "/api/v1/status", "").json();
        assert_eq!(status["key_sources"].as_array().unwrap().len(), 1);
        status["key_sources"][0].clone()
    }
}

fn issuer(signers: &[&Signer]) -> TestBackend {
    TestBackend::with("issuer", answer("200 OK", &jwks(signers)))
}

fn ann(signer: &Signer) -> String {
    signer.sign(&json!({ "sub": "ann", "exp": clock::wall().as_secs() + 300 }))
}

#[test]
fn keys_are_rotated() {
    let (old, new) = (
        Signer::new("old", Algorithm::ES256),
        Signer::new("new", Algorithm::ES256),
    );
    let edge = Edge::start(issuer(&[&old]), "refresh: 1s");
    // They are there from the first request on.
    assert!(edge.is_known(&ann(&old)));
    let (by_old, by_new) = (ann(&old), ann(&new));
    assert!(!edge.is_known(&by_new));
    edge.issue(&[&old, &new]);
    wait_until("the new key", SOON, || edge.is_known(&by_new));
    assert!(edge.is_known(&by_old));
    edge.issue(&[&new]);
    wait_until("the old key is gone", SOON, || !edge.is_known(&by_old));
    assert!(edge.is_known(&by_new));
    let source = edge.source();
    assert_eq!(source["keys"], 1);
    assert_eq!(source["url"], format!("{}/keys", edge.issuer.url()));
    assert_eq!(source["problem"], Value::Null);
    assert!(!edge.proxy.log().contains("s3cr3t"));
}

#[test]
fn a_key_that_is_not_known_is_asked_for_once_in_a_while() {
    let (old, new) = (
        Signer::new("old", Algorithm::ES256),
        Signer::new("new", Algorithm::ES256),
    );
    let edge = Edge::start(issuer(&[&old]), "refresh: 1h");
    assert_eq!(edge.issuer.requests(), 1);
    edge.issue(&[&old, &new]);
    let token = ann(&new);
    for _ in 0..20 {
        edge.is_known(&token);
    }
    assert_eq!(
        edge.issuer.requests(),
        1,
        "it is asked at once, which anybody could bring about"
    );
    wait_until("the new key", SOON, || edge.is_known(&token));
    assert_eq!(edge.issuer.requests(), 2);
    // Those that nobody has are not asked for at once, either.
    let unknown = ann(&Signer::new("third", Algorithm::ES256));
    (0..20).for_each(|_| assert!(!edge.is_known(&unknown)));
    assert_eq!(edge.issuer.requests(), 2);
}

#[test]
fn the_last_good_keys_stay_whatever_the_issuer_does() {
    let signer = Signer::new("1", Algorithm::ES256);
    let mut edge = Edge::start(issuer(&[&signer]), "refresh: 1s, timeout: 1s");
    let token = ann(&signer);
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\"";
    let large = format!("{{\"keys\": [], \"more\": \"{}\"}}", "x".repeat(70 * 1024));
    let bad = [
        (answer("200 OK", "<html>"), "is not a JSON Web Key Set"),
        (answer("200 OK", "{\"keys\": []}"), "has no key for"),
        (answer("500 Oops", &jwks(&[])), "the answer is 500"),
        (answer("302 Found", ""), "the answer is 302"),
        (answer("200 OK", &large), "larger than"),
        (Behaviour::RawThenClose(short.into()), ""),
        (Behaviour::Stall, "1s"),
    ];
    for (behaviour, said) in bad {
        let failures = edge.refreshes("failed");
        edge.issuer.behave(behaviour);
        wait_until(said, SOON, || {
            let problem = edge.source()["problem"].clone();
            let is_said = problem
                .as_str()
                .is_some_and(|problem| problem.contains(said));
            is_said && edge.refreshes("failed") > failures
        });
        assert!(edge.is_known(&token), "{said}");
        assert!(!edge.source()["problem"].to_string().contains("html"));
    }
    edge.issuer.die();
    let failures = edge.refreshes("failed");
    wait_until("nobody is there", SOON, || {
        edge.refreshes("failed") > failures
    });
    assert!(edge.is_known(&token));
    assert_eq!(edge.source()["keys"], 1);
    edge.proxy
        .wait_for_log("keys of tokens cannot be had", SOON);
}

#[test]
fn without_keys_nobody_is_known_and_whoever_must_be_is_told_to_come_again() {
    let signer = Signer::new("1", Algorithm::ES256);
    let server = TestBackend::with("issuer", answer("503 Later", ""));
    let edge = Edge::start(server, "refresh: 1s, required: true");
    edge.proxy.wait_for_log("no keys yet", SOON);
    let token = ann(&signer);
    assert_eq!(edge.ask(&token).0, 503);
    assert_eq!(edge.ask("a.b.c").0, 503);
    edge.issue(&[&signer]);
    wait_until("keys", SOON, || edge.ask(&token).0 == 200);
    assert_eq!(edge.ask("a.b.c").0, 401);
    edge.proxy
        .wait_for_log("keys of tokens can be had again", SOON);
}
