//! What the token of a request costs a worker: one that was verified before, and one that is new to it.
//!
//! A token that is known costs a hash and a look-up; a new one a signature, which is why they are remembered.

#![allow(missing_docs, reason = "the macros of criterion make public items")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

#[path = "../tests/support/tokens.rs"]
mod tokens;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use serin::domain::identity::IdentitySource;
use serin::domain::jwt::{Algorithm, JwtSource, KeySet, KeySource, TokenPlace, TokenPolicy};
use serin::domain::routing::RoutingSnapshot;
use serin::proxy::TokenDesk;
use serin::runtime::clock;
use serin::runtime::key_ring::KeyRingReader;
use tokens::{Signer, jwks};

/// More tokens than a worker remembers, so that each is new when its turn comes again.
const NEW: usize = 4_096;

fn routing(signer: &Signer, algorithm: Algorithm) -> RoutingSnapshot {
    let keys = KeySet::from_jwks(jwks(&[signer]).as_bytes(), &[algorithm]);
    let source = JwtSource {
        place: TokenPlace::Header(header::AUTHORIZATION),
        keys: KeySource::Fixed(Arc::new(keys.unwrap())),
        policy: TokenPolicy {
            algorithms: [algorithm].into(),
            issuers: ["https://id.example.com".into()].into(),
            audiences: ["orders".into()].into(),
            leeway: Duration::from_secs(60),
            claim: "sub".into(),
        },
        required: false,
    };
    RoutingSnapshot {
        identity: [IdentitySource::Jwt(Box::new(source))].into(),
        ..RoutingSnapshot::default()
    }
}

/// The head of a request by one of many callers.
fn head(signer: &Signer, caller: usize) -> HeaderMap {
    let claims = json!({
        "sub": format!("caller-{caller}"), "iss": "https://id.example.com", "aud": ["orders"],
        "exp": clock::wall().as_secs() + 3600, "tier": "gold", "scope": "read write",
    });
    let value = format!("Bearer {}", signer.sign(&claims));
    let value = HeaderValue::from_str(&value).unwrap();
    [(header::AUTHORIZATION, value)].into_iter().collect()
}

fn tokens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    let kinds = [
        ("es256", Algorithm::ES256),
        ("rs256", Algorithm::RS256),
        ("eddsa", Algorithm::EdDSA),
    ];
    for (name, algorithm) in kinds {
        let signer = Signer::new("1", algorithm);
        let routing = routing(&signer, algorithm);
        let desk = TokenDesk::new(KeyRingReader::default(), Arc::default());
        let known = head(&signer, 0);
        assert_eq!(desk.present(&routing, &known).outcome(), Some(Ok(())));
        group.bench_function(format!("known_{name}"), |bencher| {
            bencher.iter(|| desk.present(&routing, black_box(&known)));
        });
        let heads: Vec<_> = (0..NEW).map(|caller| head(&signer, caller)).collect();
        let mut turns = heads.iter().cycle();
        group.bench_function(format!("new_{name}"), |bencher| {
            bencher.iter(|| desk.present(&routing, turns.next().unwrap()));
        });
    }
    let none = HeaderMap::new();
    let signer = Signer::new("1", Algorithm::ES256);
    let routing = routing(&signer, Algorithm::ES256);
    let desk = TokenDesk::new(KeyRingReader::default(), Arc::default());
    group.bench_function("none_brought", |bencher| {
        bencher.iter(|| desk.present(&routing, black_box(&none)));
    });
    let plain = RoutingSnapshot::default();
    group.bench_function("none_asked_for", |bencher| {
        bencher.iter(|| desk.present(&plain, black_box(&none)));
    });
    group.finish();
}

criterion_group!(benches, tokens);
criterion_main!(benches);
