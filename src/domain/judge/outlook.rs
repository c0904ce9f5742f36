//! What a stage will take at the rates seen so far, and the smallest harm that it would see.
//!
//! The tests of the judge itself, asked about the counts that a second brings *on average*: how fast
//! the evidence then grows, and how long until there is enough. Chance makes the true time longer or
//! shorter by a third or so; `serin simulate` draws it. Callers who are slow or fail by habit are not known
//! here, and make it longer.

use serde::{Deserialize, Serialize};

use crate::domain::evidence::LatencyHistogram;
use crate::domain::ids::GroupName;
use crate::domain::judge::sequential::{Check, SequentialSettings, Unit};
use crate::domain::judge::stage::StageContext;
use crate::domain::stage_weights::StageWeights;
use crate::domain::stats::odds_ratio::{Grid, Hypothesis, OddsRatioTest, Table};
use crate::domain::weight::Weight;

/// Halvings in search of the smallest harm: to a thousandth of a percent.
const HALVINGS: u32 = 30;

/// The greatest slowdown that is looked for.
const SLOWDOWN_MAX: f64 = 20.0;

/// The logarithm of the ratio between one bucket of latency and the next.
pub const LOG_BUCKET: f64 = std::f64::consts::LN_2 / LatencyHistogram::BUCKETS_PER_OCTAVE as f64;

/// The normal deviate of the 90th percentile.
pub const Z90: f64 = 1.281_551_565_544_600_4;

/// What comes in, of callers in one group or in none.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRates {
    /// The group; `None` for everyone else.
    pub group: Option<GroupName>,
    /// Requests in a second, of both arms.
    pub requests: f64,
    /// Callers who ask in a second; for requests drawn anew as many as those.
    pub callers: f64,
    /// The share of requests that stable fails, 0 to 1.
    pub failures: f64,
    /// The standard deviation of the logarithm of stable's latency, where enough is known of it.
    pub spread: Option<f64>,
}

/// What a stage will take, and what it would see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageOutlook {
    /// Requests of canary in a second.
    pub canary_per_second: f64,
    /// Seconds until a canary as good as stable may pass, the hold included; `None` where that cannot be
    /// told, for nothing comes in or there is nothing to compare with.
    pub seconds: Option<f64>,
    /// What takes longest until then.
    pub waits_for: WaitsFor,
    /// The smallest failure rate of canary, 0 to 1, that would be found within that time.
    pub failures_found: Option<f64>,
    /// The smallest slowdown of canary's median, as a ratio above 1, that would be.
    pub slowdown_found: Option<f64>,
}

/// What a stage waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Nothing comes in.
    #[default]
    Requests,
    /// Its hold.
    Hold,
    /// The least number of requests.
    MinRequests,
    /// Proof that canary fails no more.
    Failures,
    /// Proof that its median is no slower.
    LatencyP50,
    /// Proof that its 90th percentile is no slower.
    LatencyP90,
}

/// Looks ahead to a stage that lasts `hold_seconds` at least, of which the first `warm_up_seconds` are no
/// evidence.
pub fn outlook(
    settings: &SequentialSettings,
    stage: &StageContext,
    (hold_seconds, warm_up_seconds): (f64, f64),
    rates: &[GroupRates],
) -> StageOutlook {
    let ahead = Ahead {
        settings,
        rates,
        weights: &stage.weights,
        harm: OddsRatioTest::new(Hypothesis::AtMost, &settings.grids.harm),
        harmless: OddsRatioTest::new(Hypothesis::AtLeast, &settings.grids.harmless),
    };
    let canary_per_second: f64 = ahead.canary(|group| group.requests);
    if canary_per_second <= 0.0 {
        return StageOutlook::default();
    }
    let until = |seconds: f64| warm_up_seconds + seconds;
    let mut waits = vec![
        (WaitsFor::Hold, hold_seconds),
        (
            WaitsFor::MinRequests,
            until(stage.min_requests as f64 / canary_per_second),
        ),
    ];
    if stage.has_control() {
        let margin = ahead.margin_of_failures(&stage.next);
        waits.push((
            WaitsFor::Failures,
            until(ahead.to_show_few_failures(margin)),
        ));
        for (wait, z) in [(WaitsFor::LatencyP50, 0.0), (WaitsFor::LatencyP90, Z90)] {
            waits.extend(
                ahead
                    .to_show_no_slowness(z)
                    .map(|seconds| (wait, until(seconds))),
            );
        }
    }
    let longest = waits.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
    let (waits_for, seconds) = longest.unwrap_or_default();
    let judged = (seconds - warm_up_seconds).max(0.0);
    StageOutlook {
        canary_per_second,
        seconds: seconds.is_finite().then_some(seconds),
        waits_for,
        failures_found: ahead.smallest_failures(judged),
        slowdown_found: ahead.smallest_slowdown(judged),
    }
}

struct Ahead<'a> {
    settings: &'a SequentialSettings,
    rates: &'a [GroupRates],
    weights: &'a StageWeights,
    harm: OddsRatioTest,
    harmless: OddsRatioTest,
}

impl Ahead<'_> {
    fn weight(&self, group: &GroupRates) -> f64 {
        share(self.weights.of(group.group.as_ref()))
    }

    /// How much of something canary gets.
    fn canary(&self, of: impl Fn(&GroupRates) -> f64) -> f64 {
        let each = self.rates.iter();
        each.map(|group| self.weight(group) * of(group)).sum()
    }

    /// What is counted in a second: callers who ask, where they are the unit.
    fn trials(&self, group: &GroupRates) -> f64 {
        match self.settings.unit {
            Unit::Request => group.requests,
            Unit::Caller => group.callers.min(group.requests),
        }
    }

    /// A second's tables, where there is a control: shares of events by arm.
    fn tables(
        &self,
        share_of: impl Fn(&GroupRates) -> Option<(f64, f64)>,
    ) -> impl Iterator<Item = Table> {
        self.rates.iter().filter_map(move |group| {
            let (canary, stable) = share_of(group)?;
            let weight = self.weight(group);
            let trials = self.trials(group);
            let (canary_trials, stable_trials) = (weight * trials, (1.0 - weight) * trials);
            (0.0 < weight && weight < 1.0).then_some(Table {
                canary_trials,
                canary_events: canary_trials * canary,
                stable_trials,
                stable_events: stable_trials * stable,
            })
        })
    }

    /// Stable's failure rate over all, never quite 0.
    fn failure_rate(&self) -> f64 {
        let all: f64 = self.rates.iter().map(|group| group.requests).sum();
        let failed = self
            .rates
            .iter()
            .map(|group| group.requests * group.failures);
        (failed.sum::<f64>() / all.max(1e-9)).max(1e-6)
    }

    /// The failure rate that must be excluded before `next`.
    fn margin_of_failures(&self, next: &StageWeights) -> f64 {
        let all: f64 = self.rates.iter().map(|group| group.requests).sum();
        let exposed = self.rates.iter();
        let exposed = exposed.map(|group| group.requests * share(next.of(group.group.as_ref())));
        let promotion = &self.settings.promotion;
        (promotion.risk / (exposed.sum::<f64>() / all.max(1e-9)).max(1e-9))
            .clamp(promotion.error_rate_least, promotion.error_rate_most)
    }

    /// Seconds until a canary that fails as often as stable is shown to do so.
    fn to_show_few_failures(&self, margin: f64) -> f64 {
        let promotion = &self.settings.promotion;
        let past = self.failure_rate();
        let relative = promotion
            .errors_relative
            .max(self.settings.tolerated.errors_relative);
        let odds = 1.0 + relative.max(margin / past);
        let same = |group: &GroupRates| Some((group.failures, group.failures));
        let compared = fastest(&self.harmless, self.tables(same), odds);
        let (mut trials, mut events) = (0.0, 0.0);
        for table in self.tables(same) {
            trials += table.canary_trials;
            events += table.canary_events;
        }
        let grid = Grid::new(&self.settings.grids.harmless);
        let mut alone = vec![0.0; grid.len()];
        for (sum, (log_g, g_less_one)) in alone.iter_mut().zip(grid.points()) {
            let without = (-margin * g_less_one / (1.0 - margin)).ln_1p();
            *sum = events * log_g + (trials - events) * without;
        }
        let alone = alone.into_iter().fold(0.0, f64::max);
        let share = promotion.absolute_share;
        let needed = |share: f64| self.needed_to_pass() - share.ln();
        (needed(1.0 - share) / compared).min(needed(share) / alone)
    }

    /// Seconds until a canary as fast as stable is shown to be so at a quantile, by its normal deviate.
    /// `None` where stable's latency is not known.
    fn to_show_no_slowness(&self, z: f64) -> Option<f64> {
        self.rates.iter().find_map(|group| group.spread)?;
        let buckets = self.latency_margin();
        let slower = |group: &GroupRates| {
            let spread = group.spread?;
            Some((
                above(z + f64::from(buckets) * LOG_BUCKET / spread),
                above(z),
            ))
        };
        let growth = fastest(&self.harmless, self.tables(slower), 1.0);
        Some(self.needed_to_pass() / growth)
    }

    /// Buckets by which canary may be slower at this exposure.
    fn latency_margin(&self) -> i32 {
        let all: f64 = self.rates.iter().map(|group| group.requests).sum();
        let exposed = self.canary(|group| group.requests) / all.max(1e-9);
        let margins = &self.settings.promotion.latency_margins;
        let margin = margins.iter().find(|margin| exposed <= margin.exposed_max);
        let margin = margin.or_else(|| margins.last());
        let tolerated = self.settings.tolerated.latency_buckets.p50;
        margin.map_or(0, |margin| margin.buckets).max(tolerated)
    }

    /// `ln` of what one alternative needs for a promotion: the evidence is a mean over all.
    fn needed_to_pass(&self) -> f64 {
        (self.harmless.len() as f64).ln() - self.settings.beta.ln()
    }

    /// `ln` of what one alternative of a check needs for a rollback.
    fn needed_to_breach(&self, check: Check) -> f64 {
        let prior = match self.settings.unit {
            Unit::Request => self.settings.prior.stage,
            // That of a start, and of the second of a rollout among all its starts.
            Unit::Caller => self.settings.prior.start / 6.0,
        };
        let alternatives = self.harm.len() as f64;
        let share = self.settings.shares[check].max(1e-9);
        self.settings.log_evidence_needed() + alternatives.ln() - prior.ln() - share.ln()
    }

    /// Whether harm that makes evidence grow so fast is found in so many seconds.
    fn is_found(&self, growth: f64, check: Check, seconds: f64) -> bool {
        growth.min(self.settings.cap_per_second) * seconds >= self.needed_to_breach(check)
    }

    fn smallest_failures(&self, seconds: f64) -> Option<f64> {
        let past = self.failure_rate();
        let tolerated = &self.settings.tolerated;
        let odds = 1.0
            + tolerated
                .errors_relative
                .max(tolerated.errors_absolute / past);
        let is_found = |failures: f64| {
            let of = |group: &GroupRates| Some((failures.max(group.failures), group.failures));
            let growth = fastest(&self.harm, self.tables(of), odds);
            self.is_found(growth, Check::Errors, seconds)
        };
        smallest((past, 1.0), is_found)
    }

    fn smallest_slowdown(&self, seconds: f64) -> Option<f64> {
        let tolerated = f64::from(self.settings.tolerated.latency_buckets.p50) * LOG_BUCKET;
        let is_found = |slowdown: f64| {
            let of = |group: &GroupRates| {
                let spread = group.spread?;
                Some((above((tolerated - slowdown.ln()) / spread), above(0.0)))
            };
            let growth = fastest(&self.harm, self.tables(of), 1.0);
            self.is_found(growth, Check::P50, seconds)
        };
        smallest((1.0, SLOWDOWN_MAX), is_found)
    }
}

/// The fastest growth of log evidence in a second, over all alternatives; 0 where none grows.
fn fastest(test: &OddsRatioTest, tables: impl Iterator<Item = Table>, odds: f64) -> f64 {
    let mut sums = vec![0.0; test.len()];
    tables.for_each(|table| test.add(&table, odds, &mut sums));
    sums.into_iter().fold(0.0, f64::max)
}

/// The smallest value in a range from which on something is so, if it is at its end.
fn smallest((mut low, mut high): (f64, f64), is_so: impl Fn(f64) -> bool) -> Option<f64> {
    if !is_so(high) {
        return None;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_so(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

fn share(weight: Weight) -> f64 {
    f64::from(weight.basis_points()) / 1e4
}

/// The share of a normal distribution above a deviate, to seven digits.
///
/// Abramowitz and Stegun (1964), formula 26.2.17.
fn above(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 5] = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series = COEFFICIENTS.iter().rev().fold(0.0, |sum, c| (sum + c) * t);
    let density = (-z * z / 2.0).exp() / (std::f64::consts::TAU).sqrt();
    if z >= 0.0 {
        density * series
    } else {
        1.0 - density * series
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::judge::JudgeSettings;
    use crate::domain::testing::percent;
    use crate::domain::timestamp::Timestamp;

    fn stage(now: u16, next: u16) -> StageContext {
        let weights = |weight| StageWeights {
            default: percent(weight),
            ..StageWeights::default()
        };
        StageContext {
            epoch: 1,
            counted_from: Timestamp::default(),
            min_requests: 100,
            weights: weights(now),
            next: weights(next),
        }
    }

    fn rates(requests: f64, failures: f64) -> [GroupRates; 1] {
        [GroupRates {
            group: None,
            requests,
            callers: requests,
            failures,
            spread: Some(0.6),
        }]
    }

    fn ahead(stage: &StageContext, seconds: f64, rates: &[GroupRates]) -> StageOutlook {
        outlook(
            &JudgeSettings::default().sequential(),
            stage,
            (seconds, 0.0),
            rates,
        )
    }

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
    fn more_requests_pass_sooner_and_show_smaller_harm() {
        let few = ahead(&stage(10, 25), 300.0, &rates(20.0, 0.01));
        let many = ahead(&stage(10, 25), 300.0, &rates(2_000.0, 0.01));
        assert!(many.seconds <= few.seconds, "{many:?} {few:?}");
        assert_eq!(many.waits_for, WaitsFor::Hold);
        let found = |outlook: StageOutlook| (outlook.failures_found, outlook.slowdown_found);
        let ((few_failures, few_slow), (many_failures, many_slow)) = (found(few), found(many));
        assert!(many_failures.unwrap() < few_failures.unwrap_or(1.0));
        assert!(many_slow.unwrap() < few_slow.unwrap_or(SLOWDOWN_MAX));
        assert!(many_failures.unwrap() > 0.0125, "less is tolerated");
    }

    #[test]
    fn known_times_to_a_rollback_are_met_within_a_factor_of_two() {
        // Medians of simulated rollouts at 1,000 requests a second, 5 %: from which failure rate on is
        // harm found in the time that finding it takes?
        for (seconds, from, to) in [(5_942.0 / 50.0, 0.01, 0.02), (1_027.0 / 50.0, 0.01, 0.05)] {
            let found = ahead(&stage(5, 25), seconds, &rates(1_000.0, from));
            let found = found.failures_found.unwrap();
            assert!((to * 0.5..to * 2.0).contains(&found), "{found} of {to}");
        }
    }

    #[test]
    fn where_nothing_comes_in_or_nothing_is_compared_it_says_so() {
        let nothing = ahead(&stage(10, 25), 300.0, &rates(0.0, 0.0));
        assert_eq!(nothing, StageOutlook::default());
        assert_eq!(nothing.waits_for, WaitsFor::Requests);
        let everyone = ahead(&stage(100, 100), 300.0, &rates(100.0, 0.0));
        assert_eq!(everyone.seconds, Some(300.0));
        assert_eq!(everyone.failures_found, None);
        let unknown = [GroupRates {
            spread: None,
            ..rates(100.0, 0.0)[0].clone()
        }];
        let unknown = ahead(&stage(10, 25), 300.0, &unknown);
        assert_eq!(unknown.slowdown_found, None);
        assert!(unknown.seconds.is_some());
    }

    #[test]
    fn a_few_busy_callers_show_less_than_many() {
        let settings = JudgeSettings {
            unit: Unit::Caller,
            ..JudgeSettings::default()
        };
        let of = |callers| {
            let rates = [GroupRates {
                callers,
                ..rates(200.0, 0.001)[0].clone()
            }];
            outlook(
                &settings.sequential(),
                &stage(10, 25),
                (300.0, 10.0),
                &rates,
            )
        };
        assert!(of(5.0).failures_found.unwrap_or(1.0) > of(200.0).failures_found.unwrap());
        assert!(of(5.0).seconds.unwrap() > of(200.0).seconds.unwrap());
    }
}
