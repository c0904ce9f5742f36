//! How an arm answers.

use std::f64::consts::LN_2;

use crate::domain::evidence::LatencyHistogram;
use crate::domain::variant::Variant;
use crate::simulator::scene::change::{Change, Harm};

/// The normal deviates of the 90th and the 99th percentile.
const Z_90: f64 = 1.281_551_565_544_600_4;
const Z_99: f64 = 2.326_347_874_040_841;

/// Buckets of latency for each unit of the natural logarithm.
const BUCKETS_PER_E: f64 = LatencyHistogram::BUCKETS_PER_OCTAVE as f64 / LN_2;

/// How a service answers while nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// The share of requests that fail, 0 to 1, over all callers.
    pub failures: f64,
    /// The share of requests that did not fail answered 4xx.
    pub client_errors: f64,
    /// The median latency of a caller's good answers.
    pub median_ms: f64,
    /// The standard deviation of the logarithm of it, for one caller.
    pub latency_sigma: f64,
    /// How large good answers are, as the median of bytes; their logarithm has a standard deviation
    /// of 1. `None` where answers do not say.
    pub median_bytes: Option<f64>,
}

impl Service {
    /// One request in 200 fails, one in 250 is refused, and answers take 100 ms, more or less.
    pub const HEALTHY: Self = Self {
        failures: 0.005,
        client_errors: 0.004,
        median_ms: 100.0,
        latency_sigma: 0.6,
        median_bytes: Some(8_000.0),
    };
}

/// How an arm answers in one tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Conduct {
    failures_factor: f64,
    /// The share of the requests spared by that which fails as well.
    failures_added: f64,
    /// The share of requests that did not fail answered 4xx.
    pub(super) client_errors: f64,
    /// Where on the scale of latency buckets the median lies.
    median_bucket: f64,
    /// A standard deviation in buckets, and by how much more the slowest tenth is spread.
    sigma: f64,
    stretch: f64,
    /// The share of good answers that is empty.
    pub(super) empty: f64,
}

impl Conduct {
    /// How an arm answers at a second, in a stage.
    pub(super) fn of(
        service: &Service,
        changes: &[Change],
        variant: Variant,
        (second, stage): (f64, usize),
    ) -> Self {
        let sigma = service.latency_sigma;
        let median = service.median_ms.max(f64::MIN_POSITIVE).ln() * BUCKETS_PER_E;
        let mut conduct = Self {
            failures_factor: 1.0,
            failures_added: 0.0,
            client_errors: service.client_errors,
            median_bucket: median + LatencyHistogram::BUCKET_OF_1_MS as f64,
            sigma: sigma * BUCKETS_PER_E,
            stretch: 0.0,
            empty: 0.0,
        };
        let is_on = |change: &&Change| *change.strikes.get(variant) && change.is_on(second, stage);
        for change in changes.iter().filter(is_on) {
            conduct.change(change.harm);
        }
        conduct
    }

    fn change(&mut self, harm: Harm) {
        match harm {
            Harm::Fails(share) => self.failures_added = either(self.failures_added, share),
            Harm::FailsTimes(factor) => self.failures_factor *= factor,
            Harm::Refuses(share) => self.client_errors = either(self.client_errors, share),
            Harm::Slower(factor) => self.median_bucket += factor.ln() * BUCKETS_PER_E,
            Harm::TailSlower(factor) => {
                self.stretch += factor.ln() * BUCKETS_PER_E / (Z_99 - Z_90);
            }
            Harm::Empty(share) => self.empty = either(self.empty, share),
        }
    }

    /// The share of its requests that fail, for a caller of whom so many usually do.
    pub(super) fn failures(&self, usual: f64) -> f64 {
        either((usual * self.failures_factor).min(1.0), self.failures_added)
    }

    /// The place on the scale of latency buckets of an answer `z` standard deviations from the median.
    pub(super) fn latency_at(&self, z: f64) -> f64 {
        self.median_bucket + z * self.sigma + (z - Z_90).max(0.0) * self.stretch
    }

    /// The same the other way round: how many standard deviations from the median a place is.
    pub(super) fn deviation_of(&self, place: f64) -> f64 {
        let z = (place - self.median_bucket) / self.sigma;
        if z <= Z_90 {
            return z;
        }
        Z_90 + (z - Z_90) * self.sigma / (self.sigma + self.stretch)
    }
}

/// Buckets by which a caller is slower whose latency is `e^log_factor` times that of others.
pub(super) fn buckets_of(log_factor: f64) -> f64 {
    log_factor * BUCKETS_PER_E
}

/// The probability of one or the other of two independent events.
fn either(a: f64, b: f64) -> f64 {
    a + b - a * b
}

/// The bucket that a place on the scale of latency lies in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the buckets there are"
)]
pub(super) fn latency_bucket(place: f64) -> usize {
    place.clamp(0.0, (LatencyHistogram::BUCKETS - 1) as f64) as usize
}
