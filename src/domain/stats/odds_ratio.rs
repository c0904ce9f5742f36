//! Log e-values for the odds ratio of two arms, tick by tick.
//!
//! Of one tick and stratum are known: `n` trials of canary and `N` of both arms, `E` events of both
//! and `k` of them canary's. Given the totals, `k` follows Fisher's noncentral hypergeometric
//! distribution, which is that of a sum of at most `m = min(n, E)` independent Bernoulli variables
//! (Vatutin and Mikhailov 1982). For `g > 0` the mean of `g^k` is then a product of factors
//! `1 + p_i (g - 1)`, by the inequality of the arithmetic and the geometric mean at most
//! `(1 + (mu / m) (g - 1))^m` where `mu` is the mean of `k`. With a bound of that mean under the
//! hypothesis,
//!
//! ```text
//! H0 odds ratio <= omega, g > 1:  mu <= omega n E / (N + (omega - 1) max(n, E))
//! H0 odds ratio >= omega, g < 1:  mu >= omega n E / (N + (omega - 1) (n + E))
//! log e-value:  k ln g - m ln(1 + (mu / m) (g - 1)),   0 where m = 0
//! ```
//!
//! has an exponential of mean at most 1. Only the split *within* the tick is used: what raises the
//! events of both arms cancels, and weights may change between ticks. Products over ticks and
//! strata keep the property, whence Ville's inequality (1939) bounds the chance that they ever
//! become large; see [`e_process`](crate::domain::stats::e_process).

use serde::{Deserialize, Serialize};

/// Trials and events of both arms in one tick and stratum. Counts above 2^53 lose digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Canary's trials.
    pub canary_trials: f64,
    /// Canary's events.
    pub canary_events: f64,
    /// Stable's trials.
    pub stable_trials: f64,
    /// Stable's events.
    pub stable_events: f64,
}

/// Which odds ratios the hypothesis allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hypothesis {
    /// At most `omega`; evidence against it is evidence of harm. Alternatives have `g > 1`.
    AtMost,
    /// At least `omega`; evidence against it is evidence of harmlessness. Alternatives have `g < 1`.
    AtLeast,
}

/// A test of one hypothesis against a grid of alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct OddsRatioTest {
    hypothesis: Hypothesis,
    grid: Grid,
}

/// A grid of alternatives, each an odds ratio over the hypothesis's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// `ln g` and `g - 1` of each alternative.
    points: Box<[(f64, f64)]>,
}

impl Grid {
    /// A grid of positive numbers.
    pub fn new(alternatives: &[f64]) -> Self {
        let point = |g: &f64| (g.ln(), g.ln().exp_m1());
        Self {
            points: alternatives.iter().map(point).collect(),
        }
    }

    /// How many alternatives there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// `ln g` and `g - 1` of each alternative.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().copied()
    }

    /// Adds `k ln g - m ln(1 + mean (g - 1))` for each alternative: the log e-value of `k` events
    /// in `m` independent trials that each have one with a probability of `mean`, or on average.
    pub fn add(&self, events: f64, trials: f64, mean: f64, sums: &mut [f64]) {
        for (sum, (log_g, g_less_one)) in sums.iter_mut().zip(self.points()) {
            *sum += events * log_g - trials * (mean * g_less_one).ln_1p();
        }
    }
}

impl OddsRatioTest {
    /// A test with alternatives on the far side of the hypothesis.
    pub fn new(hypothesis: Hypothesis, alternatives: &[f64]) -> Self {
        Self {
            hypothesis,
            grid: Grid::new(alternatives),
        }
    }

    /// How many alternatives there are, and so how many sums [`add`](Self::add) wants.
    pub fn len(&self) -> usize {
        self.grid.len()
    }

    /// Whether there is no alternative.
    pub fn is_empty(&self) -> bool {
        self.grid.is_empty()
    }

    /// Adds a table's log e-value for each alternative to the sums, under the odds ratio `omega`.
    pub fn add(&self, table: &Table, omega: f64, sums: &mut [f64]) {
        let Table {
            canary_trials: canary,
            canary_events,
            stable_trials,
            stable_events,
        } = *table;
        let trials = canary + stable_trials;
        let events = canary_events + stable_events;
        let most = canary.min(events);
        if most <= 0.0 {
            return;
        }
        let reach = match self.hypothesis {
            Hypothesis::AtMost => canary.max(events),
            Hypothesis::AtLeast => canary + events,
        };
        let mean = omega * canary * events / (trials + (omega - 1.0) * reach);
        self.grid.add(canary_events, most, mean / most, sums);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::stats::log_space::log_sum_exp;

    const ABOVE: [f64; 4] = [1.1, 2.0, 8.0, 34.0];
    const BELOW: [f64; 4] = [0.9, 0.6, 0.2, 0.05];

    fn log_choose(n: u64, k: u64) -> f64 {
        let log_factorial = |n: u64| (1..=n).map(|i| (i as f64).ln()).sum::<f64>();
        log_factorial(n) - log_factorial(k) - log_factorial(n - k)
    }

    /// The logarithm of the mean of each e-value, by going through all splits of the events as
    /// Fisher's noncentral hypergeometric distribution weighs them.
    fn log_means(test: &OddsRatioTest, [canary, stable, events]: [u64; 3], omega: f64) -> Vec<f64> {
        let first = events.saturating_sub(stable);
        let splits: Vec<u64> = (first..=events.min(canary)).collect();
        let log_weight =
            |k: u64| log_choose(canary, k) + log_choose(stable, events - k) + k as f64 * omega.ln();
        let norm = log_sum_exp(splits.iter().map(|k| log_weight(*k)));
        let e_values: Vec<Vec<f64>> = splits
            .iter()
            .map(|k| {
                let table = Table {
                    canary_trials: canary as f64,
                    canary_events: *k as f64,
                    stable_trials: stable as f64,
                    stable_events: (events - k) as f64,
                };
                let mut sums = vec![log_weight(*k) - norm; test.len()];
                test.add(&table, omega, &mut sums);
                sums
            })
            .collect();
        let of_point = |i: usize| log_sum_exp(e_values.iter().map(|sums| sums[i]));
        (0..test.len()).map(of_point).collect()
    }

    #[test]
    fn no_events_or_no_trials_say_nothing() {
        let test = OddsRatioTest::new(Hypothesis::AtMost, &ABOVE);
        for (canary_trials, stable_events) in [(0.0, 5.0), (10.0, 0.0)] {
            let table = Table {
                canary_trials,
                stable_events,
                stable_trials: 10.0,
                ..Table::default()
            };
            let mut sums = [0.0; 4];
            test.add(&table, 1.25, &mut sums);
            assert!(sums.iter().all(|sum| sum.abs() < 1e-300), "{sums:?}");
        }
    }

    #[test]
    fn the_formula_gives_the_value_worked_out_by_hand() {
        // n = 10, N = 30, E = 6, k = 4, omega = 1, g = 2: mu = 2, m = 6.
        let table = Table {
            canary_trials: 10.0,
            canary_events: 4.0,
            stable_trials: 20.0,
            stable_events: 2.0,
        };
        let mut sums = [0.0];
        OddsRatioTest::new(Hypothesis::AtMost, &[2.0]).add(&table, 1.0, &mut sums);
        let expected = 4.0 * 2_f64.ln() - 6.0 * (1.0 + 2.0 / 6.0_f64).ln();
        assert!((sums[0] - expected).abs() < 1e-12, "{sums:?}");
    }

    proptest! {
        /// By enumeration: at the edge of the hypothesis and within it.
        #[test]
        fn the_mean_of_an_e_value_is_at_most_one(
            canary in 1..40_u64, stable in 1..120_u64, share in 0.0..1.0_f64,
            log_omega in 0.0..3.0_f64, inside in 0.0..2.0_f64,
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let events = 1 + ((canary + stable - 1) as f64 * share) as u64;
            let counts = [canary, stable, events];
            for (hypothesis, grid, sign) in
                [(Hypothesis::AtMost, ABOVE, -1.0), (Hypothesis::AtLeast, BELOW, 1.0)]
            {
                let test = OddsRatioTest::new(hypothesis, &grid);
                for true_log_omega in [log_omega, log_omega + sign * inside] {
                    let splits = log_means_under(&test, counts, log_omega, true_log_omega);
                    for log_mean in splits {
                        prop_assert!(log_mean < 1e-12, "{log_mean}");
                    }
                }
            }
        }

        #[test]
        fn more_canary_events_are_more_evidence(
            canary in 1..500_u32, stable in 1..500_u32, k in 0..400_u32, others in 0..100_u32,
        ) {
            let test = OddsRatioTest::new(Hypothesis::AtMost, &ABOVE);
            let value = |canary_events: u32| {
                let table = Table {
                    canary_trials: f64::from(canary),
                    canary_events: f64::from(canary_events),
                    stable_trials: f64::from(stable),
                    stable_events: f64::from(others.min(stable)),
                };
                let mut sums = [0.0; 4];
                test.add(&table, 1.25, &mut sums);
                sums
            };
            let k = k.min(canary - 1);
            let (fewer, more) = (value(k), value(k + 1));
            for (fewer, more) in fewer.into_iter().zip(more) {
                prop_assert!(more > fewer - 1e-9, "{more} after {fewer}");
            }
        }
    }

    /// As [`log_means`], where the true odds ratio need not be the hypothesis's.
    fn log_means_under(
        test: &OddsRatioTest,
        counts: [u64; 3],
        log_omega: f64,
        true_log_omega: f64,
    ) -> Vec<f64> {
        if (log_omega - true_log_omega).abs() < 1e-300 {
            return log_means(test, counts, log_omega.exp());
        }
        let [canary, stable, events] = counts;
        let splits = events.saturating_sub(stable)..=events.min(canary);
        let log_weight = |k: u64| {
            log_choose(canary, k) + log_choose(stable, events - k) + k as f64 * true_log_omega
        };
        let norm = log_sum_exp(splits.clone().map(log_weight));
        let mut means = vec![f64::NEG_INFINITY; test.len()];
        for k in splits {
            let table = Table {
                canary_trials: canary as f64,
                canary_events: k as f64,
                stable_trials: stable as f64,
                stable_events: (events - k) as f64,
            };
            let mut sums = vec![log_weight(k) - norm; test.len()];
            test.add(&table, log_omega.exp(), &mut sums);
            for (mean, sum) in means.iter_mut().zip(sums) {
                *mean = crate::domain::stats::log_space::log_add_exp(*mean, sum);
            }
        }
        means
    }
}
