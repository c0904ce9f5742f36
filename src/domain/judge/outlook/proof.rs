//! How long it takes to show that canary is harmless, if it is as good as stable.

use crate::domain::judge::outlook::latency::QUANTILES;
use crate::domain::judge::outlook::{Ahead, Counted, GroupAhead, LONGEST_SECONDS, WaitsFor};
use crate::domain::judge::sequential::{Check, Unit};
use crate::domain::stats::log_space::{log_mean_exp, log_sum_exp};
use crate::domain::stats::odds_ratio::{Grid, Hypothesis, OddsRatioTest, Table};

/// Seconds after which a further start begins, and then every so many.
pub(super) const START_SECONDS: f64 = 300.0;

/// How long a further start lives.
const START_LIFE_SECONDS: f64 = 600.0;

/// Halvings in search of a time: to a thousandth of what was doubled before.
const HALVINGS: u32 = 10;

/// Evidence of failures: `ln` of each alternative's gain, compared with stable and by canary alone.
#[derive(Clone, Debug)]
struct Levels {
    compared: Vec<f64>,
    alone: Vec<f64>,
}

impl Levels {
    fn zero(len: usize) -> Self {
        Self {
            compared: vec![0.0; len],
            alone: vec![0.0; len],
        }
    }

    fn add(&mut self, other: &Self, factor: f64) {
        let more = other.compared.iter().chain(&other.alone);
        let own = self.compared.iter_mut().chain(&mut self.alone);
        for (own, more) in own.zip(more) {
            *own += more * factor;
        }
    }

    fn times(&self, factor: f64) -> Self {
        let mut product = Self::zero(self.compared.len());
        product.add(self, factor);
        product
    }
}

/// What first failures of a start come to as time passes: by the seconds of its age.
struct Path(Vec<(f64, Levels)>);

impl Path {
    /// At an age, by a straight line between what is known.
    fn at(&self, age: f64) -> Levels {
        let next = self.0.partition_point(|(known, _)| *known < age);
        let Some((after, levels)) = self.0.get(next).or_else(|| self.0.last()) else {
            return Levels::zero(0);
        };
        let part = match next.checked_sub(1).and_then(|place| self.0.get(place)) {
            Some((before, earlier)) if age < *after => {
                let share = (age - before) / (after - before);
                let mut level = levels.times(share);
                level.add(earlier, 1.0 - share);
                return level;
            }
            Some(_) => 1.0,
            None => (age / after).clamp(0.0, 1.0),
        };
        levels.times(part)
    }
}

/// Tests of one stage.
pub(super) struct Proof<'a> {
    ahead: &'a Ahead<'a>,
    harmless: OddsRatioTest,
    grid: Grid,
    odds: f64,
    margin: f64,
}

impl<'a> Proof<'a> {
    pub(super) fn new(ahead: &'a Ahead<'a>) -> Self {
        let grid = &ahead.settings.grids.harmless;
        let promotion = &ahead.settings.promotion;
        let next = ahead.exposed(|group| group.next).max(1e-9);
        let margin = (promotion.risk / next)
            .max(promotion.error_rate_least)
            .min(promotion.error_rate_most);
        let tolerated = ahead.settings.tolerated.errors_relative;
        let relative = promotion.errors_relative.max(tolerated);
        Self {
            ahead,
            harmless: OddsRatioTest::new(Hypothesis::AtLeast, grid),
            grid: Grid::new(grid),
            odds: 1.0 + relative.max(margin / ahead.failure_rate()),
            margin,
        }
    }

    /// Seconds until each is shown; infinity where it never is.
    pub(super) fn waits(&self) -> Vec<(WaitsFor, f64)> {
        let is_by_caller = self.ahead.settings.unit == Unit::Caller;
        let of_requests = self.failures(Counted::Requests);
        let all = |seconds: f64| self.either(&of_requests.times(seconds));
        let mut waits = Vec::new();
        if is_by_caller {
            let path = self.first_failures();
            let firsts = |seconds| self.first_level(&path, seconds);
            waits.push((WaitsFor::Failures, self.until(firsts)));
            let is_either = self.ahead.settings.promotion.absolute_for_all;
            let compared = |seconds| log_mean_exp(&of_requests.times(seconds).compared);
            let needed = match is_either {
                true => self.until(all),
                false => self.until(compared),
            };
            waits.push((WaitsFor::AllFailures, needed));
        } else {
            waits.push((WaitsFor::Failures, self.until(all)));
        }
        for ((check, z), wait) in QUANTILES
            .into_iter()
            .zip([WaitsFor::LatencyP50, WaitsFor::LatencyP90])
        {
            waits.extend(self.latency(check, z).map(|seconds| (wait, seconds)));
        }
        waits
    }

    /// What failures of a second come to, or first ones, of a canary that fails as stable does.
    fn failures(&self, counted: Counted) -> Levels {
        let mut levels = Levels::zero(self.grid.len());
        let (mut trials, mut events) = (0.0, 0.0);
        for group in &self.ahead.groups {
            let Some(table) = group.table(counted, group.failures, group.failures) else {
                continue;
            };
            self.harmless.add(&table, self.odds, &mut levels.compared);
            trials += table.canary_trials;
            events += table.canary_events;
        }
        for (sum, (log_g, g_less_one)) in levels.alone.iter_mut().zip(self.grid.points()) {
            let without = (-self.margin * g_less_one / (1.0 - self.margin)).ln_1p();
            *sum += events * log_g + (trials - events) * without;
        }
        levels
    }

    fn first_failures(&self) -> Path {
        let mut levels = Levels::zero(self.grid.len());
        let mut points = Vec::new();
        for (age, span) in self.ahead.steps(LONGEST_SECONDS) {
            levels.add(&self.failures(Counted::FirstFailures(age)), span);
            points.push((age + span / 2.0, levels.clone()));
        }
        Path(points)
    }

    /// Evidence after so many seconds: the stage's own start, and further ones that take turns in two slots.
    fn first_level(&self, path: &Path, seconds: f64) -> f64 {
        let promotion = &self.ahead.settings.promotion;
        let own = path.at(seconds);
        let whole = path.at(START_LIFE_SECONDS);
        let of_slot = |(place, weight): (u32, &f64)| {
            let compared = if place == 0 {
                own.compared.clone()
            } else {
                let since = seconds - f64::from(place) * START_SECONDS;
                let lives = (since / START_LIFE_SECONDS).floor().max(0.0);
                let rest = (since - lives * START_LIFE_SECONDS).max(0.0);
                let mut sum = path.at(rest);
                sum.add(&whole, lives);
                sum.compared
            };
            let has_begun = seconds >= f64::from(place) * START_SECONDS;
            has_begun.then(|| weight.ln() + log_mean_exp(&compared))
        };
        let slots: Vec<f64> = (0..).zip(&promotion.slots).filter_map(of_slot).collect();
        self.with_alone(log_sum_exp(slots), &own.alone)
    }

    fn either(&self, levels: &Levels) -> f64 {
        self.with_alone(log_mean_exp(&levels.compared), &levels.alone)
    }

    fn with_alone(&self, compared: f64, alone: &[f64]) -> f64 {
        let share = self.ahead.settings.promotion.absolute_share;
        log_sum_exp([
            (1.0 - share).ln() + compared,
            share.ln() + log_mean_exp(alone),
        ])
    }

    /// Seconds until a canary as fast as stable is shown to be so at a quantile; by requests, as the
    /// judge has it. `None` where stable's latency is not known.
    fn latency(&self, check: Check, z: f64) -> Option<f64> {
        let Ahead { settings, .. } = self.ahead;
        self.ahead.groups.iter().find_map(|group| group.latency)?;
        let tolerated = settings.tolerated.latency_buckets.of(check).unwrap_or(0);
        let buckets = self.ahead.latency_margin().max(tolerated);
        let slack_ms = settings.tolerated.latency_slack_ms;
        let table = |group: &GroupAhead| -> Option<Table> {
            let (canary, stable) = group.latency?.slow(z, (buckets, slack_ms), 1.0);
            group.table(Counted::Requests, canary, stable)
        };
        let mut growth = vec![0.0; self.grid.len()];
        for table in self.ahead.groups.iter().filter_map(table) {
            self.harmless.add(&table, 1.0, &mut growth);
        }
        let level = |seconds: f64| {
            let sums: Vec<f64> = growth.iter().map(|each| each * seconds).collect();
            log_mean_exp(&sums)
        };
        Some(self.until(level))
    }

    /// The first second at which evidence is enough; infinity where it is not within the longest.
    fn until(&self, log_evidence: impl Fn(f64) -> f64) -> f64 {
        let goal = -self.ahead.settings.beta.ln();
        let is_enough = |seconds: f64| log_evidence(seconds) >= goal;
        let mut high = 1.0;
        while !is_enough(high) {
            high *= 2.0;
            if high > LONGEST_SECONDS {
                return f64::INFINITY;
            }
        }
        let mut low = if high > 1.0 { high / 2.0 } else { 0.0 };
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if is_enough(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }
}
