//! What is exported of tokens and the keys that they are verified by.

use crate::telemetry::family::Family;
use crate::telemetry::samples::{KeySourceSample, Samples};

pub(crate) fn tokens(samples: &Samples) -> Vec<Family> {
    let mut results = Family::counter(
        "serin_jwt_tokens_total",
        "Tokens that requests brought, by result: verified, or why it is not believed",
    );
    for (result, count) in &samples.tokens {
        results.add_count(&[("result", result)], *count);
    }
    let mut families = vec![results];
    families.extend(key_sources(&samples.key_sources));
    families
}

fn key_sources(samples: &[KeySourceSample]) -> [Family; 3] {
    let mut refreshes = Family::counter(
        "serin_jwks_refreshes_total",
        "Attempts to get the keys that tokens are verified by, by result: ok or failed",
    );
    let mut keys = Family::gauge(
        "serin_jwks_keys",
        "Keys that tokens are verified by, as they were had last",
    );
    let mut had = Family::gauge(
        "serin_jwks_last_success_timestamp_seconds",
        "When these keys were had last, in seconds since 1970",
    );
    for sample in samples {
        let url = ("url", &*sample.url);
        refreshes.add_count(&[url, ("result", "ok")], sample.successes);
        refreshes.add_count(&[url, ("result", "failed")], sample.failures);
        keys.add_count(&[url], sample.keys);
        if let Some(seconds) = sample.had_unix_seconds {
            had.add_count(&[url], seconds);
        }
    }
    [refreshes, keys, had]
}
