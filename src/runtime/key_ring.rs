//! The keys of tokens that come from elsewhere, as they were had last.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::domain::jwt::{KeySet, RemoteKeys, TokenFault};
use crate::runtime::recorder::Counter;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// The last good set of each source. A ring is never changed; other keys are another ring.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    /// Few: one for each issuer.
    pub sets: Vec<(Arc<RemoteKeys>, Arc<KeySet>)>,
}

impl KeyRing {
    /// The keys of a source, once they were had.
    pub fn of(&self, remote: &RemoteKeys) -> Option<&Arc<KeySet>> {
        let mut sets = self.sets.iter();
        let set = sets
            .find(|(source, _)| std::ptr::eq(&raw const **source, remote) || **source == *remote);
        set.map(|(_, keys)| keys)
    }
}

/// How it goes with one source of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeySourceStatus {
    /// Its URL, without a query.
    pub url: String,
    /// The keys that are used.
    pub keys: usize,
    /// When they were had last, in milliseconds since 1970.
    pub had_unix_ms: Option<u64>,
    /// How often that went well.
    pub successes: u64,
    /// How often it did not.
    pub failures: u64,
    /// Why it did not the last time, if it did not; the keys are those that were had before.
    pub problem: Option<String>,
}

/// What workers need to verify tokens.
#[derive(Clone, Debug)]
pub struct KeyRingReader {
    /// The keys.
    pub ring: SnapshotReader<KeyRing>,
    /// Wakes whoever has keys, when a token names one that is not known.
    pub wanted: Arc<Notify>,
}

impl Default for KeyRingReader {
    /// One that never has keys.
    fn default() -> Self {
        Self {
            ring: SnapshotWriter::new(KeyRing::default()).reader(),
            wanted: Arc::default(),
        }
    }
}

/// What became of the tokens of one worker's requests.
#[derive(Debug, Default)]
pub struct TokenCounters {
    /// Those that were believed.
    pub verified: Counter,
    /// The others, by [`TokenFault`].
    faults: [Counter; TokenFault::ALL.len()],
}

impl TokenCounters {
    /// Counts a token that is not believed.
    pub fn count(&self, fault: TokenFault) {
        self.faults[fault as usize].add(1);
    }

    /// The tokens by the names they are exported under.
    pub fn results(&self) -> [(&'static str, u64); 1 + TokenFault::ALL.len()] {
        let mut results = [("verified", self.verified.get()); 1 + TokenFault::ALL.len()];
        for fault in TokenFault::ALL {
            results[1 + fault as usize] = (fault.as_str(), self.faults[fault as usize].get());
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_counted_under_its_own_name() {
        let counters = TokenCounters::default();
        counters.verified.add(3);
        counters.count(TokenFault::NoKeys);
        counters.count(TokenFault::Expired);
        counters.count(TokenFault::Expired);
        let results = counters.results();
        let of = |name: &str| results.iter().find(|(result, _)| *result == name);
        assert_eq!(of("verified"), Some(&("verified", 3)));
        assert_eq!(of("expired"), Some(&("expired", 2)));
        assert_eq!(of("no_keys"), Some(&("no_keys", 1)));
        assert_eq!(results.iter().map(|(_, count)| count).sum::<u64>(), 6);
    }
}
