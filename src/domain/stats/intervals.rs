//! How far chance reaches: bounds on a share, and on the difference between two.
//!
//! One-sided throughout, with the reach given as a number `z` of standard errors. Counts of rare
//! events are skewed, so a normal bound alone would call two events of an expected tenth
//! impossible; every bound here adds what is missing.

use crate::domain::variant::PerVariant;

/// Events among trials: failures among requests, slow answers among good ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How often it happened, at most `trials`.
    pub events: u64,
    /// How often it could have.
    pub trials: u64,
}

impl Share {
    /// Events per trial, 0 to 1; 0 without trials.
    pub fn ratio(self) -> f64 {
        if self.trials == 0 {
            0.0
        } else {
            self.events as f64 / self.trials as f64
        }
    }
}

/// What a count may exceed its normal bound by, in events: `(z^2 - 1) / 6 + 1/2`.
///
/// The first term is the skew correction of Cornish and Fisher (1938) for a Poisson count, the
/// second the correction for continuity (Yates 1934).
fn skew_allowance(z: f64) -> f64 {
    (z * z - 1.0) / 6.0 + 0.5
}

/// The lower end of the score interval for a share (Wilson 1927), after the skew allowance.
///
/// 0 where nothing can be said.
pub fn share_lower_bound(share: Share, z: f64) -> f64 {
    let trials = share.trials as f64;
    let events = (share.events as f64 - skew_allowance(z)).max(0.0);
    if share.trials == 0 || events <= 0.0 {
        return 0.0;
    }
    let ratio = events / trials;
    let z2 = z * z / trials;
    let spread = z * ((ratio * (1.0 - ratio) + z2 / 4.0) / trials).sqrt();
    ((ratio + z2 / 2.0 - spread) / (1.0 + z2)).max(0.0)
}

/// The share that is tolerated of canary, given stable's: `stable * factor + slack`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerated {
    /// By which stable's share is multiplied, 1 or more.
    pub factor: f64,
    /// What is added to it.
    pub slack: f64,
}

impl Tolerated {
    /// The tolerated share, 0 to 1.
    pub fn of(self, stable_ratio: f64) -> f64 {
        (stable_ratio * self.factor + self.slack).min(1.0)
    }
}

/// How many events canary had, how many were tolerated, and how far chance may part the two.
///
/// Summed over strata as Mantel and Haenszel (1959) do: each stratum states the count it expects
/// of *its* canary requests by *its* stable ones, and only these counts are added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Excess {
    /// Canary's events.
    pub observed: f64,
    /// Canary's events that stable's share and the tolerance allow.
    pub tolerated: f64,
    /// Variance of the difference, in square events.
    pub variance: f64,
    /// Third central moment of the difference, in cubic events: which way its tail is longer.
    pub third_moment: f64,
}

impl Excess {
    /// Compares two shares that are both uncertain.
    ///
    /// The variance is that at the edge of the tolerated, as for a score test (Farrington and
    /// Manning 1990), with the share there estimated by moments from both arms together: an arm
    /// without a single event is then not taken to be free of chance. Of the third moment only
    /// canary's part is kept: stable's is negative, and leaving it out is the careful side.
    pub fn between(shares: PerVariant<Share>, tolerated: Tolerated) -> Self {
        let (canary, stable) = (shares.canary, shares.stable);
        if canary.trials == 0 || stable.trials == 0 {
            return Self::default();
        }
        let (n_canary, n_stable) = (canary.trials as f64, stable.trials as f64);
        let events = (canary.events + stable.events) as f64;
        let at_edge = (events - n_canary * tolerated.slack)
            / (n_canary * tolerated.factor + n_stable).max(1.0);
        let stable_at_edge = at_edge.clamp(0.0, 1.0);
        let canary_at_edge = tolerated.of(stable_at_edge);
        let canary_variance = n_canary * canary_at_edge * (1.0 - canary_at_edge);
        let stable_variance = stable_at_edge * (1.0 - stable_at_edge) / n_stable;
        Self {
            observed: canary.events as f64,
            tolerated: n_canary * tolerated.of(stable.ratio()),
            variance: canary_variance + (n_canary * tolerated.factor).powi(2) * stable_variance,
            third_moment: canary_variance,
        }
    }

    /// Compares canary's share beyond a cut with the share that a quantile of stable leaves
    /// beyond it, when `tail` of a whole population would lie beyond (0.01 for a p99).
    ///
    /// The cut is the k-th largest of stable's n values. The true share beyond that varies as
    /// Beta(k, n - k + 1) (David and Nagaraja 2003, section 2.3): by its mean k / (n + 1), and
    /// with a tail that is long where k is small. A "p99" of 25 values is just their largest,
    /// and says little; this is where that is taken into account.
    pub fn beyond_quantile(canary: Share, stable_trials: u64, tail: f64) -> Self {
        if canary.trials == 0 || stable_trials == 0 {
            return Self::default();
        }
        let (n_canary, n_stable) = (canary.trials as f64, stable_trials as f64);
        let rank_from_top = (tail * n_stable).floor() + 1.0;
        let beyond = rank_from_top / (n_stable + 1.0);
        let per_rank = n_canary / n_stable;
        let canary_variance = n_canary * beyond * (1.0 - beyond);
        Self {
            observed: canary.events as f64,
            tolerated: n_canary * beyond,
            variance: canary_variance * (1.0 + per_rank),
            third_moment: canary_variance + 2.0 * rank_from_top * per_rank.powi(3),
        }
    }

    /// Adds another stratum's counts.
    pub fn add(&mut self, other: Self) {
        self.observed += other.observed;
        self.tolerated += other.tolerated;
        self.variance += other.variance;
        self.third_moment += other.third_moment;
    }

    /// Whether canary had more events than chance explains, at `z` standard errors.
    ///
    /// The reach is widened for skew by the first term of Cornish and Fisher (1938), and by half
    /// an event for continuity.
    pub fn is_beyond_chance(&self, z: f64) -> bool {
        self.share_of_reach(z) > 1.0
    }

    /// How much of what chance explains at `z` standard errors canary's excess takes up: 0 where it
    /// had no more events than tolerated, above 1 where chance does not explain them.
    pub fn share_of_reach(&self, z: f64) -> f64 {
        if self.variance <= 0.0 {
            return 0.0;
        }
        let skew = (z * z - 1.0) / 6.0 * self.third_moment / self.variance;
        let reach = z * self.variance.sqrt() + skew + 0.5;
        ((self.observed - self.tolerated) / reach).max(0.0)
    }

    /// Whether canary had no more events than tolerated, give or take `z` standard errors.
    pub fn is_within(&self, z: f64) -> bool {
        self.observed - self.tolerated <= z * self.variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(events: u64, trials: u64) -> Share {
        Share { events, trials }
    }

    fn excess(canary: Share, stable: Share) -> Excess {
        let tolerated = Tolerated {
            factor: 1.25,
            slack: 0.0005,
        };
        Excess::between(PerVariant { stable, canary }, tolerated)
    }

    /// `P(Poisson(mean) >= events)`.
    fn poisson_tail(mean: f64, events: u64) -> f64 {
        let mut term = (-mean).exp();
        let mut below = 0.0;
        for k in 1..=events {
            below += term;
            term *= mean / k as f64;
        }
        1.0 - below
    }

    #[test]
    fn wilson_without_the_allowance_is_the_textbook_value() {
        // With z = 1 the allowance is half an event, so 10 of 100 is taken as 9.5 of 100.
        let bound = share_lower_bound(share(10, 100), 1.0);
        let textbook = |p: f64| (p + 0.005 - (p * (1.0 - p) / 100.0 + 2.5e-5).sqrt()) / 1.01;
        assert!((bound - textbook(0.095)).abs() < 1e-12);
        assert!(share_lower_bound(share(0, 100), 4.0).abs() < 1e-12);
        assert!(share_lower_bound(share(0, 0), 4.0).abs() < 1e-12);
    }

    #[test]
    fn the_bound_holds_for_rare_events_too() {
        for mean in [0.05_f64, 0.1, 0.5, 1.0, 3.0, 10.0] {
            let excess = |observed: u64| Excess {
                observed: observed as f64,
                tolerated: mean,
                variance: mean,
                third_moment: mean,
            };
            let first_beyond = (1..).find(|n| excess(*n).is_beyond_chance(4.0)).unwrap();
            let chance = poisson_tail(mean, first_beyond);
            assert!(chance < 4e-5, "mean {mean}: {chance}");
        }
    }

    #[test]
    fn a_clear_difference_is_seen_and_a_small_one_is_not() {
        assert!(excess(share(50, 1000), share(95, 19_000)).is_beyond_chance(4.0));
        assert!(!excess(share(12, 1000), share(190, 19_000)).is_beyond_chance(4.0));
        assert!(excess(share(12, 1000), share(190, 19_000)).is_within(1.0));
    }

    #[test]
    fn a_handful_of_stable_requests_proves_nothing_in_a_large_canary() {
        assert!(!excess(share(500, 10_000), share(0, 20)).is_beyond_chance(4.0));
    }

    #[test]
    fn nothing_seen_is_no_excess() {
        let none = excess(Share::default(), Share::default());
        assert_eq!(none, Excess::default());
        assert!(!none.is_beyond_chance(4.0));
    }

    #[test]
    fn the_tail_beyond_a_quantile_varies_with_both_samples() {
        let of = |stable_trials| Excess::beyond_quantile(share(40, 1000), stable_trials, 0.01);
        assert!(!of(100).is_beyond_chance(4.0));
        assert!(of(100_000).is_beyond_chance(4.0));
    }

    #[test]
    fn the_largest_of_a_few_values_is_no_p99() {
        // The true share beyond the largest of 25 is above a quarter once in 1,300 times.
        let excess = Excess::beyond_quantile(share(1000, 4000), 25, 0.01);
        assert!(!excess.is_beyond_chance(4.0));
    }
}
