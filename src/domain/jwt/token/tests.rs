use jsonwebtoken::Header;
use serde_json::json;

use super::*;
use crate::domain::jwt::KeySetFault;
use crate::domain::jwt::testing::{Signer, jwks, unsigned};

/// A moment.
const NOW: u64 = 1_800_000_000;

fn policy(algorithms: &[Algorithm]) -> TokenPolicy {
    TokenPolicy {
        algorithms: algorithms.into(),
        issuers: Box::default(),
        audiences: Box::default(),
        leeway: Duration::from_secs(60),
        claim: "sub".into(),
    }
}

fn strict() -> TokenPolicy {
    TokenPolicy {
        issuers: ["https://id.test".into()].into(),
        audiences: ["orders".into(), "shop".into()].into(),
        ..policy(&[Algorithm::ES256])
    }
}

/// What a good token says, with other members; `null` takes one out.
fn claims(others: &Value) -> Value {
    let mut claims = json!({
        "sub": "ann", "iss": "https://id.test", "aud": "orders", "exp": NOW + 300, "nbf": NOW - 10,
    });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

#[test]
fn tokens_of_every_algorithm_are_verified_and_no_other_key_signs_them() {
    let all = [
        Algorithm::RS256,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];
    for algorithm in all {
        let (own, other) = (Signer::new("a", algorithm), Signer::new("a", algorithm));
        let keys = KeySet::from_jwks(jwks(&[&own]).as_bytes(), &[algorithm]).unwrap();
        let verify = |token: &str| policy(&[algorithm]).verify(token, &keys, NOW);
        let verified = verify(&own.sign(&claims(&json!({})))).unwrap();
        assert_eq!(&*verified.key, "ann", "{algorithm:?}");
        assert_eq!(verified.until, NOW + 360);
        let forged = other.sign(&claims(&json!({})));
        assert_eq!(verify(&forged), Err(TokenFault::Signature), "{algorithm:?}");
        let keys = KeySet::from_pem(&own.pem, &[algorithm]).unwrap();
        let token = own.sign(&claims(&json!({})));
        assert!(policy(&[algorithm]).verify(&token, &keys, NOW).is_ok());
        let private = KeySet::from_pem(&own.private_pem, &[algorithm]);
        assert_eq!(private.unwrap_err(), KeySetFault::Private);
    }
    for (algorithm, bytes) in [(Algorithm::HS256, 32), (Algorithm::HS512, 64)] {
        let secret = vec![7; bytes];
        let signer = Signer::of_secret(&secret, algorithm);
        let keys = KeySet::from_secret(&secret, &[algorithm]).unwrap();
        let token = signer.sign(&claims(&json!({})));
        assert!(policy(&[algorithm]).verify(&token, &keys, NOW).is_ok());
        let short = KeySet::from_secret(&secret[1..], &[algorithm]);
        assert_eq!(short.unwrap_err(), KeySetFault::Short(bytes));
    }
}

#[test]
fn what_a_token_says_of_its_algorithm_does_not_choose_another_kind_of_key() {
    let rsa = Signer::new("a", Algorithm::RS256);
    let keys = KeySet::from_jwks(jwks(&[&rsa]).as_bytes(), &[Algorithm::RS256]).unwrap();
    let verify = |token: &str| policy(&[Algorithm::RS256]).verify(token, &keys, NOW);
    // The public key, as everybody knows it, taken for a secret.
    let public = Signer::of_secret(rsa.pem.as_bytes(), Algorithm::HS256);
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("a".to_owned());
    let confused = public.sign_with(&header, &claims(&json!({})));
    assert_eq!(verify(&confused), Err(TokenFault::Algorithm));
    // Even where both were allowed, which the configuration refuses, the key is none of that kind.
    let both = [Algorithm::RS256, Algorithm::HS256];
    let verified = policy(&both).verify(&confused, &keys, NOW);
    assert_eq!(verified, Err(TokenFault::UnknownKey));
    for alg in ["none", "None", "NONE", "", "RS1"] {
        let head = json!({ "alg": alg, "kid": "a" });
        for signature in ["", "AAAA"] {
            let token = unsigned(&head, &claims(&json!({})), signature);
            assert_eq!(verify(&token), Err(TokenFault::Algorithm), "{alg}");
        }
    }
    let empty = unsigned(&json!({ "alg": "RS256" }), &claims(&json!({})), "");
    assert_eq!(verify(&empty), Err(TokenFault::Signature));
    // PS256 is of the same key, and not allowed all the same.
    let padded = rsa.sign_with(&Header::new(Algorithm::PS256), &claims(&json!({})));
    assert_eq!(verify(&padded), Err(TokenFault::Algorithm));
}

#[test]
fn claims_have_to_hold() {
    let signer = Signer::new("a", Algorithm::ES256);
    let keys = KeySet::from_jwks(jwks(&[&signer]).as_bytes(), &[Algorithm::ES256]).unwrap();
    let long = "x".repeat(CALLER_KEY_BYTES_MAX + 1);
    for (others, expected) in [
        (json!({}), Ok("ann")),
        (json!({ "sub": 42 }), Ok("42")),
        (json!({ "aud": ["else", "shop"] }), Ok("ann")),
        (json!({ "nbf": null }), Ok("ann")),
        (json!({ "exp": NOW - 59 }), Ok("ann")),
        (json!({ "exp": NOW - 60 }), Err(TokenFault::Expired)),
        (json!({ "exp": NOW as f64 - 59.5 }), Ok("ann")),
        (json!({ "exp": null }), Err(TokenFault::NoExpiry)),
        (json!({ "exp": "tomorrow" }), Err(TokenFault::Malformed)),
        (json!({ "exp": -1 }), Err(TokenFault::Expired)),
        (json!({ "nbf": NOW + 60 }), Ok("ann")),
        (json!({ "nbf": NOW + 61 }), Err(TokenFault::NotYet)),
        (json!({ "nbf": true }), Err(TokenFault::Malformed)),
        (
            json!({ "iss": "https://id.test/" }),
            Err(TokenFault::Issuer),
        ),
        (json!({ "iss": null }), Err(TokenFault::Issuer)),
        (json!({ "iss": 7 }), Err(TokenFault::Issuer)),
        (json!({ "aud": "else" }), Err(TokenFault::Audience)),
        (json!({ "aud": [] }), Err(TokenFault::Audience)),
        (json!({ "aud": null }), Err(TokenFault::Audience)),
        (json!({ "aud": { "orders": 1 } }), Err(TokenFault::Audience)),
        (json!({ "sub": null }), Err(TokenFault::NoCaller)),
        (json!({ "sub": "" }), Err(TokenFault::NoCaller)),
        (json!({ "sub": true }), Err(TokenFault::NoCaller)),
        (json!({ "sub": ["ann"] }), Err(TokenFault::NoCaller)),
        (json!({ "sub": "a\nb" }), Err(TokenFault::NoCaller)),
        (json!({ "sub": long }), Err(TokenFault::NoCaller)),
    ] {
        let token = signer.sign(&claims(&others));
        let verified = strict().verify(&token, &keys, NOW);
        let key = verified.as_ref().map(|verified| &*verified.key);
        assert_eq!(key.map_err(|fault| *fault), expected, "{others}");
    }
}

#[test]
fn a_token_that_is_none_is_not_read() {
    let signer = Signer::new("a", Algorithm::ES256);
    let keys = KeySet::from_jwks(jwks(&[&signer]).as_bytes(), &[Algorithm::ES256]).unwrap();
    let verify = |token: &str| strict().verify(token, &keys, NOW);
    let good = signer.sign(&claims(&json!({})));
    let critical = json!({ "alg": "ES256", "kid": "a", "crit": ["b64"], "b64": false });
    let (signed, _) = good.rsplit_once('.').unwrap();
    for token in [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        signed,
        &good[1..],
        &format!("{good}."),
        &format!("{good}.x"),
        &format!(" {good}"),
        &unsigned(&critical, &claims(&json!({})), "AAAA"),
        &unsigned(&json!([]), &claims(&json!({})), "AAAA"),
    ] {
        assert_eq!(verify(token), Err(TokenFault::Malformed), "{token}");
    }
    assert_eq!(
        verify(&"a".repeat(TOKEN_BYTES_MAX + 1)),
        Err(TokenFault::TooLong)
    );
    // Each byte counts.
    for place in [0, signed.len() / 2, signed.len() - 1, good.len() - 2] {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        assert!(
            verify(&String::from_utf8(bytes).unwrap()).is_err(),
            "{place}"
        );
    }
    assert!(verify(&good).is_ok());
}

#[test]
fn keys_are_chosen_by_their_id_and_the_unusable_passed_over() {
    let (one, two) = (
        Signer::new("1", Algorithm::ES256),
        Signer::new("2", Algorithm::ES256),
    );
    let allowed = [Algorithm::ES256, Algorithm::RS256];
    let keys = KeySet::from_jwks(jwks(&[&one, &two]).as_bytes(), &allowed).unwrap();
    let verify = |token: &str| policy(&allowed).verify(token, &keys, NOW);
    assert!(verify(&two.sign(&claims(&json!({})))).is_ok());
    let unnamed = two.sign_with(&Header::new(Algorithm::ES256), &claims(&json!({})));
    assert!(verify(&unnamed).is_ok());
    let third = Signer::new("3", Algorithm::ES256).sign(&claims(&json!({})));
    assert_eq!(verify(&third), Err(TokenFault::UnknownKey));

    let rsa = Signer::new("r", Algorithm::RS256);
    let kept = |key: Value| {
        let set = json!({ "keys": [key, { "kty": "new" }, 7, one.jwk(&json!({}))] });
        KeySet::from_jwks(set.to_string().as_bytes(), &allowed)
            .unwrap()
            .count()
            - 1
    };
    for (key, expected) in [
        (rsa.jwk(&json!({})), 1),
        (rsa.jwk(&json!({ "use": "enc" })), 0),
        (rsa.jwk(&json!({ "key_ops": ["encrypt"] })), 0),
        (rsa.jwk(&json!({ "key_ops": ["verify"] })), 1),
        (rsa.jwk(&json!({ "alg": "RS512" })), 0),
        (rsa.jwk(&json!({ "alg": "RSA-OAEP" })), 0),
        (rsa.jwk(&json!({ "n": "AQAB" })), 0),
        (two.jwk(&json!({ "crv": "P-521" })), 0),
        (Signer::new("e", Algorithm::EdDSA).jwk(&json!({})), 0),
        (
            Signer::of_secret(&[7; 64], Algorithm::HS256).jwk(&json!({})),
            0,
        ),
    ] {
        assert_eq!(kept(key.clone()), expected, "{key}");
    }
    let fault = |text: &str| KeySet::from_jwks(text.as_bytes(), &allowed).unwrap_err();
    for text in ["", "[]", "{}", "<html>", r#"{"keys": {}}"#] {
        assert_eq!(fault(text), KeySetFault::NotASet, "{text}");
    }
    assert_eq!(
        fault(r#"{"keys": []}"#),
        KeySetFault::NoneFits("ES256, RS256".to_owned())
    );
    let many = json!({ "keys": vec![one.jwk(&json!({})); 33] });
    assert_eq!(fault(&many.to_string()), KeySetFault::TooMany);
    assert_eq!(fault(&" ".repeat(65 * 1024)), KeySetFault::TooLong);
}
