//! Log e-values for a mean against a fixed number: one arm, nothing to compare with.
//!
//! Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables by betting"): a
//! stake on the next value being on the wrong side of `m` multiplies the wealth by a factor that is
//! linear in the value; its mean is at most 1 if the mean of the values is on the right side, and it
//! stays positive as long as the stake cannot be lost beyond what there is. Only the *mean* is
//! assumed of anything, no shape.

/// A bet that the mean of values in 0 to 1 is *below* `floor`: `ln(1 + lambda (floor - x))` with
/// `lambda = stake / (1 - floor)`, so that the largest value costs the stake and no more.
///
/// The stake lies in 0 to 1, the floor in 0 to 1 without 1.
pub fn below_floor(stake: f64, floor: f64, x: f64) -> f64 {
    (stake / (1.0 - floor) * (floor - x)).ln_1p()
}

/// A bet that the mean of values of 0 and more is *above* `limit`: `ln(1 + stake (x / limit - 1))`.
///
/// Values need no upper bound, because a stake in 0 to 1 loses at most itself, at a value of 0.
pub fn above_limit(stake: f64, limit: f64, x: f64) -> f64 {
    (stake * (x / limit - 1.0)).ln_1p()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The mean of `exp(bet)` over values and their probabilities.
    fn mean(values: &[(f64, f64)], bet: impl Fn(f64) -> f64) -> f64 {
        let total: f64 = values.iter().map(|(_, weight)| weight).sum();
        let sum: f64 = values
            .iter()
            .map(|(x, weight)| weight * bet(*x).exp())
            .sum();
        sum / total
    }

    fn mean_value(values: &[(f64, f64)]) -> f64 {
        mean(values, f64::ln)
    }

    proptest! {
        #[test]
        fn no_bet_wins_on_average_when_the_mean_is_right(
            values in prop::collection::vec((0.0..1.0_f64, 0.01..1.0_f64), 1..7),
            stake in 0.0..0.99_f64,
            off in 0.0..1.0_f64,
        ) {
            let true_mean = mean_value(&values);
            let floor = true_mean * off;
            prop_assert!(mean(&values, |x| below_floor(stake, floor, x)) <= 1.0 + 1e-9);
            let limit = true_mean * (1.0 + off) + 1e-6;
            let scaled: Vec<_> = values.iter().map(|(x, weight)| (x * 1e4, *weight)).collect();
            prop_assert!(mean(&scaled, |x| above_limit(stake, limit * 1e4, x)) <= 1.0 + 1e-9);
        }

        #[test]
        fn a_bet_wins_more_the_worse_the_value(a in 0.0..1.0_f64, b in 0.0..1.0_f64) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(below_floor(0.5, 0.6, low) >= below_floor(0.5, 0.6, high));
            prop_assert!(above_limit(0.5, 0.6, high) >= above_limit(0.5, 0.6, low));
        }
    }
}
