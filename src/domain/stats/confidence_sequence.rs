//! An upper bound of a mean that holds at all times at once.
//!
//! The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas ("Time-
//! uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 2024),
//! in its one-sided form: with `n` values of variance `v`, and `r > 0` chosen in advance,
//!
//! ```text
//! mean + sqrt(2 v (n r^2 + 1) / (n^2 r^2) * ln(1 + sqrt(n r^2 + 1) / (2 alpha)))
//! ```
//!
//! stays above the true mean for all `n`, with a chance of about `1 - alpha`. Latencies are
//! skewed and have no known bound, so nothing that is exact for small `n` is of use here.

/// Sums of values, from which mean and variance follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Moments {
    /// How many values.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_of_squares: f64,
}

impl Moments {
    /// Adds a value so many times.
    pub fn add(&mut self, value: f64, times: f64) {
        self.count += times;
        self.sum += times * value;
        self.sum_of_squares += times * value * value;
    }

    /// The mean; 0 without values.
    pub fn mean(&self) -> f64 {
        if self.count > 0.0 {
            self.sum / self.count
        } else {
            0.0
        }
    }

    /// The upper end of the confidence sequence with a chance of error of `alpha`; infinite without
    /// values.
    ///
    /// It is narrowest, relative to the least possible, after about 1,000 values.
    pub fn mean_upper_bound(&self, alpha: f64) -> f64 {
        let n = self.count;
        if n <= 0.0 {
            return f64::INFINITY;
        }
        let mean = self.mean();
        let variance = (self.sum_of_squares / n - mean * mean).max(0.0);
        let log = -2.0 * alpha.ln();
        // The r^2 that is best at 1,000 values (the same paper, appendix B.2).
        let r2 = (log + (log + 1.0).ln()) / 1000.0;
        let per_n = variance * 2.0 * (n * r2 + 1.0) / (n * n * r2);
        mean + (per_n * ((n * r2 + 1.0).sqrt() / (2.0 * alpha)).ln_1p()).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        for value in values {
            moments.add(*value, 1.0);
        }
        moments
    }

    #[test]
    fn nothing_seen_bounds_nothing() {
        assert!(Moments::default().mean_upper_bound(0.05).is_infinite());
    }

    #[test]
    fn the_bound_closes_in_on_the_mean_from_above() {
        let mut last = f64::INFINITY;
        for repeats in [1, 10, 100, 10_000] {
            let bound = of(&[90.0, 110.0].repeat(repeats)).mean_upper_bound(0.05);
            assert!(bound > 100.0 && bound < last, "{bound} after {last}");
            last = bound;
        }
        assert!(last < 101.0, "{last}");
    }

    #[test]
    fn equal_values_are_their_own_bound() {
        let bound = of(&[5.0; 9]).mean_upper_bound(0.05);
        assert!((bound - 5.0).abs() < 1e-6, "{bound}");
    }
}
