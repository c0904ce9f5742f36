//! What health checks have found of an endpoint: written by who checks, read by every worker.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is known of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointHealth(AtomicU8);

/// Nobody checks it.
const UNCHECKED: u8 = 0;
/// It is checked, and well as far as is known.
const HEALTHY: u8 = 1;
/// It has failed one check after the other.
const UNHEALTHY: u8 = 2;

impl EndpointHealth {
    /// Says what checks have found; none where nobody checks any more.
    pub fn set(&self, is_healthy: Option<bool>) {
        let known = match is_healthy {
            None => UNCHECKED,
            Some(true) => HEALTHY,
            Some(false) => UNHEALTHY,
        };
        self.0.store(known, Ordering::Relaxed);
    }

    /// What checks have found; none where nobody checks.
    pub fn get(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            UNCHECKED => None,
            known => Some(known == HEALTHY),
        }
    }

    /// Whether it may be asked: it is well until proven otherwise.
    pub fn is_usable(&self) -> bool {
        self.0.load(Ordering::Relaxed) != UNHEALTHY
    }
}
