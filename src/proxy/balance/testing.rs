//! Endpoints for the tests of policies.

use std::num::NonZeroU16;

use crate::domain::backend::{BalancePolicy, Balancing, Endpoint};
use crate::proxy::balance::chance::mix;
use crate::proxy::balance::{Balance, Candidates, Chance, Policy};

/// Endpoints as a request finds them.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) weights: Vec<u16>,
    pub(super) in_flight: Vec<usize>,
    pub(super) is_open: Vec<bool>,
    pub(super) last: Option<usize>,
}

impl Pool {
    /// All open, none busy.
    pub(super) fn of(weights: &[u16]) -> Self {
        Self {
            weights: weights.to_vec(),
            in_flight: vec![0; weights.len()],
            is_open: vec![true; weights.len()],
            last: None,
        }
    }
}

impl Candidates for Pool {
    fn count(&self) -> usize {
        self.weights.len()
    }

    fn weight(&self, place: usize) -> u64 {
        self.weights[place].into()
    }

    fn in_flight(&self, place: usize) -> usize {
        self.in_flight[place]
    }

    fn is_open(&self, place: usize) -> bool {
        self.is_open[place]
    }

    fn last(&self) -> Option<usize> {
        self.last
    }
}

/// A policy over endpoints with weights.
pub(super) fn policy(policy: BalancePolicy, weights: &[u16]) -> Policy {
    let endpoint = |place| Endpoint {
        host: format!("10.0.0.{place}").into(),
        port: 80,
    };
    let endpoints: Vec<_> = (0..weights.len()).map(endpoint).collect();
    let mut weights: Vec<_> = weights
        .iter()
        .map(|it| NonZeroU16::new(*it).unwrap())
        .collect();
    if weights.windows(2).all(|pair| pair[0] == pair[1]) {
        weights.clear();
    }
    Policy::new(&Balancing { policy, weights }, &endpoints)
}

/// A request whose caller is not known.
pub(super) fn chance(number: u64) -> Chance {
    Chance {
        draw: mix(number),
        caller: None,
    }
}

/// How much each endpoint gets of many requests.
pub(super) fn shares(policy: &Policy, some: &Pool) -> Vec<f64> {
    let mut counts = vec![0_u32; some.weights.len()];
    for number in 0..20_000 {
        counts[policy.pick(some, chance(number)).unwrap()] += 1;
    }
    counts
        .into_iter()
        .map(|count| f64::from(count) / 20_000.0)
        .collect()
}
