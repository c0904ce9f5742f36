//! Which endpoints take connections, as far as requests have shown.
//!
//! An endpoint is taken for up until a connection to it fails, and for down until it has served a
//! request again; one that health checks find unwell or that is ejected is down as well. Where nobody checks, nothing is
//! learned without requests, and nothing is promoted either.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::backend::Endpoint;
use crate::domain::ids::BackendName;

/// What was counted of an endpoint since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointTotals {
    /// Requests sent to it.
    pub(crate) requests: u64,
    /// Connections that could not be made.
    pub(crate) connect_failures: u64,
    /// Whether health checks have found it unwell, or it is ejected.
    pub(crate) is_out: bool,
}

/// Follows which endpoints take connections.
#[derive(Debug, Default)]
pub(crate) struct EndpointsUp {
    seen: BTreeMap<(BackendName, Endpoint), EndpointTotals>,
    down: BTreeSet<(BackendName, Endpoint)>,
}

impl EndpointsUp {
    /// Takes in the totals of all endpoints that are known now.
    pub(crate) fn observe(
        &mut self,
        totals: impl IntoIterator<Item = ((BackendName, Endpoint), EndpointTotals)>,
    ) {
        let totals: BTreeMap<_, _> = totals.into_iter().collect();
        for (endpoint, now) in &totals {
            let before = self.seen.get(endpoint).copied().unwrap_or_default();
            if now.is_out || now.connect_failures > before.connect_failures {
                self.down.insert(endpoint.clone());
            } else if now.requests > before.requests {
                self.down.remove(endpoint);
            }
        }
        self.down.retain(|endpoint| totals.contains_key(endpoint));
        self.seen = totals;
    }

    /// How many of a backend's endpoints take connections.
    pub(crate) fn count(&self, backend: &BackendName, endpoints: &[Endpoint]) -> usize {
        let is_up =
            |endpoint: &&Endpoint| !self.down.contains(&(backend.clone(), (*endpoint).clone()));
        endpoints.iter().filter(is_up).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::name;

    #[test]
    fn an_endpoint_is_down_from_a_failed_connection_to_the_next_request() {
        let backend: BackendName = name("v1");
        let endpoint = |port| Endpoint {
            host: "127.0.0.1".into(),
            port,
        };
        let both = [endpoint(1), endpoint(2)];
        let mut up = EndpointsUp::default();
        let mut observe = |totals: [(u64, u64); 2]| {
            let of = |(place, (requests, connect_failures)): (usize, (u64, u64))| {
                let totals = EndpointTotals {
                    requests,
                    connect_failures,
                    is_out: false,
                };
                ((backend.clone(), both[place].clone()), totals)
            };
            up.observe(totals.into_iter().enumerate().map(of));
            up.count(&backend, &both)
        };
        assert_eq!(observe([(0, 0), (0, 0)]), 2, "nothing is known");
        assert_eq!(observe([(9, 0), (9, 1)]), 1);
        assert_eq!(observe([(20, 0), (9, 1)]), 1, "nothing has changed");
        assert_eq!(observe([(30, 0), (10, 1)]), 2);
        assert_eq!(observe([(30, 1), (10, 2)]), 0);
    }
}
