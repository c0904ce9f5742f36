//! Exact bounds on the share of a kind, from how often it was seen.
//!
//! C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
//! binomial", Biometrika 26 (1934). Exact means that they hold for any share and however few trials: never
//! seen in 300 trials is "at most 1 %", which a normal approximation would call "none".

use crate::domain::stats::intervals::Share;
use crate::domain::stats::log_space::log_add_exp;

/// Halvings of the interval that holds a bound; 2^-50 is far below what anybody reads.
const HALVINGS: u32 = 50;

/// The share that is exceeded by the true one with a chance of at most `error`; 1 without trials.
pub fn upper_bound(share: Share, error: f64) -> f64 {
    if share.events >= share.trials {
        return 1.0;
    }
    let (mut low, mut high) = (share.ratio(), 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        match chance_of_at_most(share, middle) > error {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// The share that the true one is below with a chance of at most `error`; 0 without trials.
pub fn lower_bound(share: Share, error: f64) -> f64 {
    let others = Share {
        events: share.trials.saturating_sub(share.events),
        trials: share.trials,
    };
    1.0 - upper_bound(others, error)
}

/// The chance of at most so many events where each trial is one with probability `p`, in 0 to 1.
fn chance_of_at_most(Share { events, trials }: Share, p: f64) -> f64 {
    let log_odds = (p / (1.0 - p)).ln();
    let mut log_term = trials as f64 * (-p).ln_1p();
    let mut log_sum = log_term;
    for seen in 0..events {
        log_term += ((trials - seen) as f64 / (seen + 1) as f64).ln() + log_odds;
        log_sum = log_add_exp(log_sum, log_term);
    }
    log_sum.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(events: u64, trials: u64) -> Share {
        Share { events, trials }
    }

    #[test]
    fn bounds_are_those_of_the_tables() {
        // Two-sided 95 % intervals, as in the tables of Clopper and Pearson.
        for (events, trials, low, high) in [
            (0, 10, 0.0, 0.308_5),
            (1, 10, 0.002_5, 0.445_0),
            (5, 10, 0.187_1, 0.812_9),
            (10, 10, 0.691_5, 1.0),
            (3, 1_000, 0.000_62, 0.008_74),
        ] {
            let seen = share(events, trials);
            assert!((lower_bound(seen, 0.025) - low).abs() < 1e-4, "{seen:?}");
            assert!((upper_bound(seen, 0.025) - high).abs() < 1e-4, "{seen:?}");
        }
    }

    #[test]
    fn never_seen_is_bounded_by_the_rule_of_three() {
        let bound = upper_bound(share(0, 300), 0.05);
        assert!((bound - 0.01).abs() < 1e-4, "{bound}");
    }

    #[test]
    fn nothing_is_known_without_trials() {
        let none = share(0, 0);
        assert!(lower_bound(none, 0.05) <= 0.0 && upper_bound(none, 0.05) >= 1.0);
    }
}
