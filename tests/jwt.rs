//! Callers who are known by tokens, tokens that are not believed, and claims that sort callers into groups.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::Command;

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use serin::runtime::clock;
use support::proxy::{SERIN, backends, replace_file};
use support::tokens::{Signer, jwks, unsigned};
use support::{Answer, Request, SOON, TestBackend, TestProxy, wait_until};

/// A proxy before a canary for Ann, for whoever has the tier gold and for admins.
struct Edge {
    proxy: TestProxy,
    stable: TestBackend,
    canary: TestBackend,
}

impl Edge {
    /// With sources of callers' keys, and files beside the configuration.
    fn start(identity: &str, files: &[(&str, &str)]) -> Self {
        let (stable, canary) = (TestBackend::start("v1"), TestBackend::start("v2"));
        let config = format!(
            "workers: 2\n{}identity: [{identity}]\n\
             groups:\n  ann: {{ callers: [ann] }}\n  gold: {{ claim: {{ tier: gold }} }}\n\
             \x20 admins: {{ claim: {{ realm_access.roles: admin }} }}\n  seniors: {{ claim: {{ level: \"3\" }} }}\n\
             flags:\n  shop: {{ stable: v1, canary: v2, groups: {{ ann: 100%, gold: 100%, admins: 100%, seniors: 100% }} }}\n\
             routes: [{{ path: /, flag: shop }}, {{ path: /plain, backend: v1 }}, {{ path: /open, backend: v1, public: true }}]\n",
            backends(&[("v1", &stable), ("v2", &canary)])
        );
        Self {
            proxy: TestProxy::with_files(&config, files),
            stable,
            canary,
        }
    }

    fn ask(&self, token: &str) -> Answer {
        self.proxy.ask(&bearer(token))
    }

    /// The backend that answers whoever brings a token.
    fn backend(&self, token: &str) -> String {
        let answer = self.ask(token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().to_owned()
    }

    fn count(&self, result: &str) -> u64 {
        let metrics = self.proxy.metrics();
        metrics.count("serin_jwt_tokens_total", &[("result", result)])
    }
}

fn bearer(token: &str) -> Request {
    Request::get("/").field("authorization", &format!("Bearer {token}"))
}

fn now() -> u64 {
    clock::wall().as_secs()
}

/// What a good token says, with other members.
fn claims(others: &Value) -> Value {
    let mut claims =
        json!({ "sub": "ann", "iss": "https://id.test", "aud": "shop", "exp": now() + 300 });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

const SOURCE: &str =
    "{ jwt: { jwks_file: jwks.json, issuer: \"https://id.test\", audience: [shop] } }";

#[test]
fn a_token_says_who_a_caller_is_and_goes_on_as_it_came() {
    let signer = Signer::new("1", Algorithm::ES256);
    let edge = Edge::start(SOURCE, &[("jwks.json", &jwks(&[&signer]))]);
    let ann = signer.sign(&claims(&json!({})));
    assert_eq!(edge.backend(&ann), "v2");
    let sent = edge.canary.last_head();
    assert_eq!(sent.field("authorization"), Some(&*format!("Bearer {ann}")));
    let bob = signer.sign(&claims(&json!({ "sub": "bob" })));
    assert_eq!(edge.backend(&bob), "v1");
    // Lower case, and more than one space, are the same to HTTP.
    let lower = Request::get("/").field("authorization", &format!("bearer  {ann}"));
    assert_eq!(edge.proxy.ask(&lower).text(), "v2");
    // Other credentials are no token, and several fields may be read in two ways.
    let basic = Request::get("/").field("authorization", "Basic YW5uOmFubg==");
    assert_eq!(edge.proxy.ask(&basic).text(), "v1");
    assert_eq!((edge.count("verified"), edge.count("malformed")), (3, 0));
    assert_eq!(
        edge.proxy
            .ask(&bearer(&ann).field("authorization", "x"))
            .text(),
        "v1"
    );
    assert_eq!(edge.count("malformed"), 1);
}

#[test]
fn claims_sort_callers_into_groups_where_they_are_verified() {
    let (signer, stranger) = (
        Signer::new("1", Algorithm::EdDSA),
        Signer::new("1", Algorithm::EdDSA),
    );
    let edge = Edge::start(SOURCE, &[("jwks.json", &jwks(&[&signer]))]);
    for (others, backend) in [
        (json!({ "sub": "bob" }), "v1"),
        (json!({ "sub": "bob", "tier": "gold" }), "v2"),
        (json!({ "sub": "bob", "tier": "silver" }), "v1"),
        (json!({ "sub": "bob", "tier": ["silver", "gold"] }), "v2"),
        (
            json!({ "sub": "bob", "realm_access": { "roles": ["dev", "admin"] } }),
            "v2",
        ),
        (
            json!({ "sub": "bob", "realm_access": { "roles": ["dev"] } }),
            "v1",
        ),
        (json!({ "sub": "bob", "level": 3 }), "v2"),
        (json!({ "sub": "bob", "level": 4 }), "v1"),
    ] {
        assert_eq!(
            edge.backend(&signer.sign(&claims(&others))),
            backend,
            "{others}"
        );
        assert_eq!(
            edge.backend(&stranger.sign(&claims(&others))),
            "v1",
            "{others}"
        );
    }
}

#[test]
fn a_bad_token_makes_nobody_known() {
    let (signer, other) = (
        Signer::new("1", Algorithm::RS256),
        Signer::new("1", Algorithm::RS256),
    );
    let unknown = Signer::new("2", Algorithm::RS256);
    let edge = Edge::start(SOURCE, &[("jwks.json", &jwks(&[&signer]))]);
    let good = claims(&json!({ "tier": "gold" }));
    let mut hmac = Header::new(Algorithm::HS256);
    hmac.kid = Some("1".to_owned());
    let confused = Signer::of_secret(signer.pem.as_bytes(), Algorithm::HS256);
    let set = jwks(&[&signer]);
    let by_set = Signer::of_secret(set.as_bytes(), Algorithm::HS256);
    let signed = |others: &Value| signer.sign(&claims(others));
    let cases = [
        ("signature", other.sign(&good)),
        ("unknown_key", unknown.sign(&good)),
        ("expired", signed(&json!({ "exp": now() - 61 }))),
        ("not_yet_valid", signed(&json!({ "nbf": now() + 120 }))),
        ("issuer", signed(&json!({ "iss": "https://evil.test" }))),
        ("audience", signed(&json!({ "aud": "billing" }))),
        ("no_expiry", signed(&json!({ "exp": null }))),
        ("no_caller", signed(&json!({ "sub": null }))),
        ("algorithm", confused.sign_with(&hmac, &good)),
        ("algorithm", by_set.sign_with(&hmac, &good)),
        (
            "algorithm",
            unsigned(&json!({ "alg": "none", "kid": "1" }), &good, ""),
        ),
        ("malformed", "a.b.c".to_owned()),
        ("too_long", signed(&json!({ "more": "x".repeat(8 * 1024) }))),
    ];
    for (result, token) in &cases {
        let before = edge.count(result);
        assert_eq!(edge.backend(token), "v1", "{result}");
        assert_eq!(edge.count(result), before + 1, "{result}");
    }
    assert_eq!(edge.count("verified"), 0);
    assert_eq!(edge.backend(&signer.sign(&good)), "v2");
    // None of it is written down anywhere.
    let log = edge.proxy.log();
    for (_, token) in &cases {
        assert!(!log.contains(&**token));
    }
}

#[test]
fn where_a_token_is_required_nobody_passes_without_a_good_one() {
    let signer = Signer::new("1", Algorithm::ES384);
    let source =
        "{ jwt: { jwks_file: jwks.json, algorithms: [ES384], required: true } }, client_ip";
    let edge = Edge::start(source, &[("jwks.json", &jwks(&[&signer]))]);
    let missing = edge.proxy.get("/plain");
    assert_eq!(missing.field("www-authenticate"), Some("Bearer"));
    assert_eq!(missing.problem(401)["detail"], "a token is needed here");
    let expired = edge.ask(&signer.sign(&claims(&json!({ "exp": now() - 100 }))));
    assert_eq!(expired.problem(401)["detail"], "the token has expired");
    let told = "Bearer error=\"invalid_token\", error_description=\"the token has expired\"";
    assert_eq!(expired.field("www-authenticate"), Some(told));
    assert_eq!((edge.stable.requests(), edge.canary.requests()), (0, 0));
    assert_eq!(edge.backend(&signer.sign(&claims(&json!({})))), "v2");
    let metrics = edge.proxy.metrics();
    assert_eq!(metrics.count("serin_requests_total", &[("code", "401")]), 2);
    // A route that is public asks for none, and takes no offence at a bad one.
    let open = Request::get("/open");
    assert_eq!(edge.proxy.ask(&open).status, 200);
    let bad = open.field("authorization", "Bearer a.b.c");
    assert_eq!(edge.proxy.ask(&bad).status, 200);
}

#[test]
fn a_token_in_a_cookie_or_a_header_of_its_own_is_one_as_well() {
    let secret = "0123456789abcdef0123456789abcdef";
    let signer = Signer::of_secret(secret.as_bytes(), Algorithm::HS256);
    let sources = "{ jwt: { cookie: session, key_file: secret, algorithms: [HS256] } }, \
                   { jwt: { header: x-token, key_file: other, algorithms: [HS256], claim: user.id } }";
    let other = "fedcba9876543210fedcba9876543210";
    let edge = Edge::start(sources, &[("secret", secret), ("other", other)]);
    let token = signer.sign(&claims(&json!({})));
    let in_cookie =
        |token: &str| Request::get("/").field("cookie", &format!("a=b; session={token}"));
    assert_eq!(edge.proxy.ask(&in_cookie(&token)).text(), "v2");
    assert_eq!(edge.backend(&token), "v1");
    // Each source has its own key and its own claim.
    let second = Signer::of_secret(other.as_bytes(), Algorithm::HS256);
    let token = second.sign(&claims(&json!({ "sub": "bob", "user": { "id": "ann" } })));
    let in_header = Request::get("/").field("x-token", &token);
    assert_eq!(edge.proxy.ask(&in_header).text(), "v2");
    assert_eq!(edge.proxy.ask(&in_cookie(&token)).text(), "v1");
}

#[test]
fn a_token_that_was_verified_once_is_good_until_its_time_is_over() {
    let signer = Signer::new("1", Algorithm::ES256);
    let source = "{ jwt: { jwks_file: jwks.json, leeway: 1s } }";
    let edge = Edge::start(source, &[("jwks.json", &jwks(&[&signer]))]);
    let end = now() + 4;
    let token = signer.sign(&claims(&json!({ "exp": end - 1 })));
    assert_eq!(edge.backend(&token), "v2");
    assert_eq!(edge.backend(&token), "v2");
    wait_until("the token expires", SOON, || edge.backend(&token) == "v1");
    assert!(now() >= end);
    assert!(edge.count("expired") > 0);
    assert_eq!(edge.backend(&signer.sign(&claims(&json!({})))), "v2");
}

#[test]
fn keys_in_a_file_are_others_when_the_file_is_another() {
    let (old, new) = (
        Signer::new("old", Algorithm::ES256),
        Signer::new("new", Algorithm::ES256),
    );
    let edge = Edge::start(SOURCE, &[("jwks.json", &jwks(&[&old]))]);
    let file = edge.proxy.config_path().with_file_name("jwks.json");
    let by_old = old.sign(&claims(&json!({})));
    let by_new = new.sign(&claims(&json!({})));
    assert_eq!(
        (edge.backend(&by_old), edge.backend(&by_new)),
        ("v2".into(), "v1".into())
    );
    replace_file(&file, &jwks(&[&old, &new]));
    wait_until("the new key", SOON, || edge.backend(&by_new) == "v2");
    assert_eq!(edge.backend(&by_old), "v2");
    // A token that was verified before is not good any more, either.
    replace_file(&file, &jwks(&[&new]));
    wait_until("the old key is gone", SOON, || {
        edge.backend(&by_old) == "v1"
    });
    assert_eq!(edge.backend(&by_new), "v2");
    // What is no set of keys is refused, and what was there before stays.
    replace_file(&file, "{\"keys\": [");
    edge.proxy.wait_for_log("is not a JSON Web Key Set", SOON);
    assert_eq!(edge.backend(&by_new), "v2");
}

#[test]
fn a_request_with_a_token_is_explained_without_the_token() {
    let signer = Signer::new("1", Algorithm::ES256);
    let edge = Edge::start(SOURCE, &[("jwks.json", &jwks(&[&signer]))]);
    let token = signer.sign(&claims(&json!({ "sub": "bob", "tier": "gold" })));
    let bad = Signer::new("1", Algorithm::ES256).sign(&claims(&json!({})));
    let explain = |token: &str, live: bool| {
        let mut command = Command::new(SERIN);
        command.args([
            "explain",
            "/",
            "--header",
            &format!("authorization: Bearer {token}"),
        ]);
        if live {
            command.args([
                "--live",
                "--admin",
                &format!("http://{}", edge.proxy.admin()),
            ]);
        } else {
            command.arg("--config").arg(edge.proxy.config_path());
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(output.status.success(), "{said}{output:?}");
        said
    };
    for live in [false, true] {
        let said = explain(&token, live);
        assert!(
            said.contains("bob, in gold") && said.contains("verified"),
            "{said}"
        );
        assert!(!said.contains(&token));
        let said = explain(&bad, live);
        assert!(said.contains("not known, in no group"), "{said}");
        assert!(
            said.contains("not believed: the signature of the token is wrong"),
            "{said}"
        );
    }
    assert!(!edge.proxy.log().contains(&token));
}

#[test]
fn applications_that_pass_a_token_on_are_told_what_the_proxy_gives() {
    let signer = Signer::new("1", Algorithm::ES256);
    let stranger = Signer::new("1", Algorithm::ES256);
    let edge = Edge::start(SOURCE, &[("jwks.json", &jwks(&[&signer]))]);
    let ask = |context: &Value| {
        let body = json!({ "context": context }).to_string();
        let path = "/ofrep/v1/evaluate/flags/shop";
        edge.proxy.command("POST", path, &body).json()["variant"].clone()
    };
    let ann = claims(&json!({}));
    let gold = claims(&json!({ "sub": "bob", "tier": "gold" }));
    for (said, by_signer, by_stranger) in [(&ann, "canary", "stable"), (&gold, "canary", "stable")]
    {
        for (signer, expected) in [(&signer, by_signer), (&stranger, by_stranger)] {
            let token = signer.sign(said);
            let served = if expected == "canary" { "v2" } else { "v1" };
            assert_eq!(edge.backend(&token), served);
            let context = json!({ "authorization": format!("Bearer {token}") });
            let context_of_one = json!({
                "authorization": format!("Bearer {token}"), "targetingKey": "bob",
            });
            assert_eq!(ask(&context), expected, "{said}");
            // An application may name the caller itself; what the token says beside that counts.
            let is_gold = said == &gold && expected == "canary";
            let named = if is_gold { "canary" } else { "stable" };
            assert_eq!(ask(&context_of_one), named, "{said}");
        }
    }
    assert!(!edge.proxy.log().contains("Bearer"));
}
