//! How answers of a group spread over time: lognormal, by their median and their spread.

use crate::domain::evidence::LatencyHistogram;
use crate::domain::judge::sequential::{Check, moved};

/// The logarithm of the ratio between one bucket of latency and the next.
pub const LOG_BUCKET: f64 = std::f64::consts::LN_2 / LatencyHistogram::BUCKETS_PER_OCTAVE as f64;

/// The normal deviate of the 90th percentile.
pub const Z90: f64 = 1.281_551_565_544_600_4;

/// The checks of latency, each with the normal deviate of its quantile.
pub(super) const QUANTILES: [(Check, f64); 3] = [
    (Check::P50, 0.0),
    (Check::P90, Z90),
    (Check::P99, 2.326_347_874_040_841),
];

/// Stable's latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// The median of good answers, in milliseconds.
    pub median_ms: f64,
    /// The standard deviation of the logarithm.
    pub spread: f64,
}

impl Latency {
    /// The shares of canary's and of stable's answers that are slow at a quantile, if canary takes
    /// `slowdown` times as long and may be slower by so many buckets, or by the slack where that is more.
    pub(super) fn slow(&self, z: f64, allowed: (i32, f64), slowdown: f64) -> (f64, f64) {
        let shift = self.allowance(z, allowed) - slowdown.ln();
        (above(z + shift / self.spread), above(z))
    }

    /// How much slower, in logarithms, canary's cut is.
    fn allowance(&self, z: f64, (buckets, slack_ms): (i32, f64)) -> f64 {
        let log_ms = self.median_ms.ln() + z * self.spread;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast from a float saturates, and no latency is that far out"
        )]
        let cut = (log_ms / LOG_BUCKET).floor() as i32;
        f64::from(moved(cut, buckets, slack_ms).saturating_sub(cut)) * LOG_BUCKET
    }
}

/// The share of a normal distribution above a deviate.
fn above(z: f64) -> f64 {
    0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_above_a_deviate_are_those_of_the_tables() {
        for (z, share) in [
            (0.0, 0.5),
            (1.0, 0.158_655),
            (-1.0, 0.841_345),
            (2.326_348, 0.01),
        ] {
            assert!((above(z) - share).abs() < 1e-6, "{z}: {}", above(z));
        }
    }

    #[test]
    fn two_milliseconds_are_much_where_answers_take_two() {
        let of = |median_ms: f64| Latency {
            median_ms,
            spread: 0.6,
        };
        let allowed = |median_ms, slack_ms| of(median_ms).allowance(0.0, (1, slack_ms)).exp();
        assert!((allowed(2.0, 0.0) - LOG_BUCKET.exp()).abs() < 1e-9);
        assert!(
            (1.9..2.1).contains(&allowed(2.0, 2.0)),
            "{}",
            allowed(2.0, 2.0)
        );
        assert!((allowed(500.0, 2.0) - LOG_BUCKET.exp()).abs() < 1e-9);
        let (canary, stable) = of(2.0).slow(0.0, (1, 2.0), 1.3);
        assert!(canary < stable, "{canary} {stable}");
    }
}
