//! Sums of numbers that are kept as their logarithms.
//!
//! Evidence multiplies over thousands of ticks and would leave the range of an `f64` within
//! minutes, in either direction. As logarithms it stays exact to the last few bits; minus infinity
//! stands for zero. Every sum takes its largest term out first, so that nothing overflows and the
//! terms that matter keep their digits.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `ln(exp(a) + exp(b))`.
pub fn log_add_exp(a: f64, b: f64) -> f64 {
    let (large, small) = if a >= b { (a, b) } else { (b, a) };
    if small == f64::NEG_INFINITY {
        return large;
    }
    large + (small - large).exp().ln_1p()
}

/// `ln(sum of exp(x))`; minus infinity for no terms.
pub fn log_sum_exp(terms: impl IntoIterator<Item = f64, IntoIter: Clone>) -> f64 {
    let terms = terms.into_iter();
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    let sum: f64 = terms.map(|term| (term - largest).exp()).sum();
    largest + sum.ln()
}

/// `ln(mean of exp(x))`; minus infinity for no terms.
pub fn log_mean_exp(terms: &[f64]) -> f64 {
    log_sum_exp(terms.iter().copied()) - (terms.len().max(1) as f64).ln()
}

/// Stores logarithms where minus infinity is no number, as in JSON: it is written as `null`.
pub mod stored {
    use super::{Deserialize, Deserializer, Serializer};

    /// Writes the values.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| to_stored(*value)))
    }

    /// Reads them back.
    ///
    /// # Errors
    ///
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(values.into_iter().map(from_stored).collect())
    }

    pub(super) fn to_stored(value: f64) -> Option<f64> {
        Some(value).filter(|value| value.is_finite())
    }

    pub(super) fn from_stored(value: Option<f64>) -> f64 {
        value.unwrap_or(f64::NEG_INFINITY)
    }
}

/// A number kept as its logarithm, stored as `null` where it is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogValue(pub f64);

impl LogValue {
    /// The logarithm of zero.
    pub const ZERO: Self = Self(f64::NEG_INFINITY);
}

impl Default for LogValue {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Serialize for LogValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        stored::to_stored(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LogValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|value| Self(stored::from_stored(value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * (1.0 + a.abs())
    }

    #[test]
    fn sums_of_what_no_float_can_hold_are_exact() {
        assert!(is_close(log_add_exp(1e6, 1e6), 1e6 + 2_f64.ln()));
        assert!(is_close(log_add_exp(-1e6, -1e6 - 800.0), -1e6));
        assert!(is_close(log_sum_exp([-1e6; 8]), -1e6 + 8_f64.ln()));
        assert!(is_close(log_mean_exp(&[-1e6; 8]), -1e6));
    }

    #[test]
    fn zero_adds_nothing_and_no_terms_are_zero() {
        let zero = f64::NEG_INFINITY;
        assert!(is_close(log_add_exp(zero, 2.0), 2.0));
        assert!(is_close(log_add_exp(2.0, zero), 2.0));
        for sum in [
            log_add_exp(zero, zero),
            log_sum_exp([zero, zero]),
            log_sum_exp([]),
            log_mean_exp(&[]),
        ] {
            assert!(sum.is_infinite() && sum < 0.0, "{sum}");
        }
    }

    #[test]
    fn zero_is_stored_as_null() {
        let text = serde_json::to_string(&[LogValue::ZERO, LogValue(-1.5)]).unwrap();
        assert_eq!(text, "[null,-1.5]");
        let read: [LogValue; 2] = serde_json::from_str(&text).unwrap();
        assert_eq!(read, [LogValue::ZERO, LogValue(-1.5)]);
    }

    proptest! {
        #[test]
        fn a_sum_is_the_sum(terms in prop::collection::vec(-20.0..20.0_f64, 1..9)) {
            let plain = terms.iter().map(|term| term.exp()).sum::<f64>().ln();
            let folded = terms.iter().copied().fold(f64::NEG_INFINITY, log_add_exp);
            prop_assert!(is_close(log_sum_exp(terms.iter().copied()), plain));
            prop_assert!(is_close(folded, plain));
        }
    }
}
