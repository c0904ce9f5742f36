//! The smallest harm that would be found within a time.
//!
//! The evidence of harm adds up tick by tick, and what an alternative gains in one is capped. A canary
//! that few see has an event in some ticks and none in most, so the cap takes away more than it
//! would from the mean: the gain is the mean over a Poisson number of events.

use crate::domain::judge::outlook::latency::QUANTILES;
use crate::domain::judge::outlook::{Ahead, Counted, GroupAhead};
use crate::domain::judge::sequential::{Check, Unit};
use crate::domain::stats::log_space::{log_mean_exp, log_sum_exp};
use crate::domain::stats::odds_ratio::{Grid, Hypothesis, OddsRatioTest, Table};

/// Sizes of harm that are tried first, on a scale of ratios.
const SIZES: u32 = 16;

/// Halvings between the first that is found and the one before: to a four-thousandth of the scale.
const HALVINGS: u32 = 8;

/// The greatest slowdown that is looked for.
pub(super) const SLOWDOWN_MAX: f64 = 20.0;

/// Canary's events in a tick beyond which chance makes no difference to what the cap takes.
const EVENTS_MANY: f64 = 50.0;

/// What is wrong with canary.
#[derive(Clone, Copy, Debug)]
pub(super) enum Harm {
    /// It fails this share of its requests.
    Failures(f64),
    /// All answers take so many times as long.
    Slowdown(f64),
}

impl Ahead<'_> {
    pub(super) fn smallest_failures(&self, seconds: f64) -> Option<f64> {
        let past = self.failure_rate();
        let is_found = |failures| self.is_found(Harm::Failures(failures), seconds);
        smallest((past.min(1.0), 1.0), is_found)
    }

    pub(super) fn smallest_slowdown(&self, seconds: f64) -> Option<f64> {
        let is_found = |slowdown| self.is_found(Harm::Slowdown(slowdown), seconds);
        smallest((1.0, SLOWDOWN_MAX), is_found)
    }

    /// Whether a harm is found in so many seconds that are evidence.
    pub(super) fn is_found(&self, harm: Harm, seconds: f64) -> bool {
        let parts = match harm {
            Harm::Failures(failures) => vec![self.of_failures(failures, seconds)],
            Harm::Slowdown(slowdown) => QUANTILES
                .map(|(check, z)| self.of_slowdown(check, z, slowdown, seconds))
                .to_vec(),
        };
        log_sum_exp(parts) >= self.settings.log_evidence_needed()
    }

    fn of_failures(&self, failures: f64, seconds: f64) -> f64 {
        let tolerated = &self.settings.tolerated;
        let absolute = tolerated.errors_absolute / self.failure_rate();
        let odds = 1.0 + tolerated.errors_relative.max(absolute);
        let tables = |age| {
            self.groups.iter().filter_map(move |group| {
                let canary = failures.max(group.failures);
                group.table(Counted::FirstFailures(age), canary, group.failures)
            })
        };
        self.log_evidence(Check::Errors, odds, seconds, tables)
    }

    fn of_slowdown(&self, check: Check, z: f64, slowdown: f64, seconds: f64) -> f64 {
        let tolerated = &self.settings.tolerated;
        let buckets = tolerated.latency_buckets.of(check).unwrap_or(0);
        let slack_ms = tolerated.latency_slack_ms;
        let slow = |group: &GroupAhead| {
            let latency = group.latency?;
            Some(latency.slow(z, (buckets, slack_ms), slowdown))
        };
        let slow: Vec<_> = self.groups.iter().map(slow).collect();
        let tables = |age| {
            let counted = match check {
                Check::P50 => Counted::Seconds(age),
                _ => Counted::Firsts(age),
            };
            let each = self.groups.iter().zip(&slow);
            each.filter_map(move |(group, slow)| {
                let (canary, stable) = (*slow)?;
                group.table(counted, canary, stable)
            })
        };
        self.log_evidence(check, 1.0, seconds, tables)
    }

    /// `ln` of a check's part in the evidence after so many seconds, with tables of a second by their age.
    ///
    /// Further starts within the stage are left out: each knows less than the stage's own, and counts less.
    fn log_evidence<T: Iterator<Item = Table>>(
        &self,
        check: Check,
        odds: f64,
        seconds: f64,
        tables: impl Fn(f64) -> T,
    ) -> f64 {
        let gains = Gains::new(&self.settings.grids.harm, self.settings.cap_per_second);
        let mut sums = vec![0.0; gains.grid.len()];
        for (age, span) in self.steps(seconds) {
            gains.add(tables(age), odds, span, &mut sums);
        }
        (self.settings.shares[check] * self.prior()).ln() + log_mean_exp(&sums)
    }

    /// The mass of "the change begins with the stage", times what its start counts.
    fn prior(&self) -> f64 {
        let (prior, before) = (&self.settings.prior, self.starts_before);
        match self.settings.unit {
            Unit::Request if before == 0.0 => prior.rollout,
            Unit::Request => prior.stage,
            Unit::Caller => prior.start / ((before + 1.0) * (before + 2.0)),
        }
    }
}

/// What each alternative gains in a tick.
struct Gains {
    test: OddsRatioTest,
    grid: Grid,
    cap: f64,
}

impl Gains {
    fn new(alternatives: &[f64], cap: f64) -> Self {
        Self {
            test: OddsRatioTest::new(Hypothesis::AtMost, alternatives),
            grid: Grid::new(alternatives),
            cap,
        }
    }

    /// Adds what is gained in so many seconds, of one tick each, that bring these tables on average.
    fn add(&self, tables: impl Iterator<Item = Table>, odds: f64, span: f64, sums: &mut [f64]) {
        let len = self.grid.len();
        let mut events = 0.0;
        // What canary's events cost, and what stable's do.
        let (mut own, mut others) = (vec![0.0; len], vec![0.0; len]);
        for table in tables {
            let mut means = vec![0.0; len];
            self.test.add(&table, odds, &mut means);
            let all = (table.canary_events + table.stable_events).max(f64::MIN_POSITIVE);
            events += table.canary_events;
            for (place, (log_g, _)) in self.grid.points().enumerate() {
                let each = (table.canary_events * log_g - means[place]) / all;
                own[place] += each * table.canary_events;
                others[place] += each * table.stable_events;
            }
        }
        if events <= 0.0 {
            return;
        }
        for (place, (log_g, _)) in self.grid.points().enumerate() {
            let gain = log_g - own[place] / events;
            sums[place] += span * capped(events, gain, others[place], self.cap);
        }
    }
}

/// The mean of `min(gain k - cost, cap)` where `k` is a Poisson number.
fn capped(mean: f64, gain: f64, cost: f64, cap: f64) -> f64 {
    if gain <= 0.0 || mean > EVENTS_MANY {
        return (mean * gain - cost).min(cap);
    }
    let (mut k, mut chance, mut short) = (0.0, (-mean).exp(), 0.0);
    while gain * k - cost < cap && k < 4.0 * EVENTS_MANY {
        short += chance * (cap + cost - gain * k);
        k += 1.0;
        chance *= mean / k;
    }
    cap - short
}

/// The smallest value in a range of which something is so, to within a step of the scale.
///
/// The greatest need not be among them: what strikes a few callers at once is over after some ticks, of which each
/// counts no more than the cap.
fn smallest((low, high): (f64, f64), is_so: impl Fn(f64) -> bool) -> Option<f64> {
    let (begin, step) = (low.ln(), (high / low).ln() / f64::from(SIZES));
    let size = |place: u32| begin + step * f64::from(place);
    let found = (1..=SIZES).find(|place| is_so(size(*place).exp()))?;
    let (mut low, mut high) = (size(found - 1), size(found));
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_so(middle.exp()) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high.exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_takes_more_from_rare_events_than_from_their_mean() {
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found}");
        near(capped(0.5, 2.0, 0.1, 1e3), 0.9);
        // One event or more gives the cap, none costs a tenth.
        let none = (-0.5_f64).exp();
        near(capped(0.5, 2.0, 0.1, 0.6), 0.6 * (1.0 - none) - 0.1 * none);
        near(capped(400.0, 2.0, 0.1, 0.6), 0.6);
        near(capped(3.0, -1.0, 0.0, 0.6), -3.0);
    }
}
