//! Evidence of harm: one e-process for each check, or one for each check and start.
//!
//! Where callers are the unit, a caller counts at most once in a start, and a start is a mixture of
//! its own. Start `k` of the rollout has the share `1 / (k (k + 1))` of the check's evidence; these sum
//! to 1 over however many starts there will be. A start that has ended stays at its last value.

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::check::{Check, PerCheck};
use crate::domain::judge::sequential::comparison::{
    Counted, LogValues, Tests, compared, strata_of, table, zeros,
};
use crate::domain::judge::sequential::cuts::Cuts;
use crate::domain::judge::sequential::held_back::HeldBack;
use crate::domain::judge::sequential::settings::{SequentialSettings, Unit};
use crate::domain::judge::sequential::tick::{CallerStart, StratumTick, Tick, place};
use crate::domain::stats::betting;
use crate::domain::stats::bucket_counts::BucketCounts;
use crate::domain::stats::e_process::StartMixture;
use crate::domain::stats::log_space::{LogValue, log_add_exp, log_sum_exp};
use crate::domain::stats::odds_ratio::Table;

/// Ended starts that are kept one by one, in case a late tick still names one. Beyond, and in what is
/// stored, only their sum is.
const ENDED_MAX: usize = 64;

/// What a tick is looked at with.
pub(super) struct Look<'a> {
    pub(super) settings: &'a SequentialSettings,
    pub(super) tests: &'a Tests,
    pub(super) tick: &'a Tick,
    pub(super) cuts: &'a Cuts,
    /// Odds ratios that each check tolerates.
    pub(super) odds: PerCheck<f64>,
    /// Seconds of data in the tick.
    pub(super) seconds: f64,
    /// The mass of "the change begins in this tick", for what has no starts.
    pub(super) mass: f64,
    /// Canary's latencies in this tick.
    pub(super) canary_latency: &'a BucketCounts,
    /// The group looked at; `None` for all callers together.
    pub(super) group: Option<usize>,
}

impl Look<'_> {
    fn cap(&self) -> f64 {
        self.settings.cap_per_second * self.seconds
    }

    /// A check's tables, one for each stratum.
    fn tables(&self, check: Check, counted: Counted) -> impl Iterator<Item = Table> {
        let (cuts, tolerated) = (self.cuts, &self.settings.tolerated);
        compared(self.tick, self.group)
            .filter_map(move |stratum| table(check, stratum, counted, cuts, tolerated))
    }

    /// The sum over strata of a check's log e-values.
    fn compare(&self, check: Check, counted: Counted) -> LogValues {
        let mut sums = zeros(self.tests.harm.len());
        for table in self.tables(check, counted) {
            self.tests.harm.add(&table, self.odds[check], &mut sums);
        }
        sums
    }

    /// What befell requests, in all strata.
    fn requests(&self, check: Check) -> Table {
        let mut sum = Table::default();
        for table in self.tables(check, Counted::Requests) {
            sum.canary_trials += table.canary_trials;
            sum.canary_events += table.canary_events;
            sum.stable_trials += table.stable_trials;
            sum.stable_events += table.stable_events;
        }
        sum
    }

    /// Bets that canary's mean rating is below the floor; ratings 1 to 5 are taken as 0 to 1.
    fn below_rating_floor(&self) -> LogValues {
        let exposed = strata_of(self.tick, self.group).filter(|stratum| stratum.is_exposed());
        let mut ratings = [0.0; 5];
        for stratum in exposed {
            for (sum, n) in ratings.iter_mut().zip(stratum.arms.canary.ratings) {
                *sum += n as f64;
            }
        }
        let floor = (self.settings.tolerated.rating_floor_with_dishonest() - 1.0) / 4.0;
        let bet = |stake: &f64| {
            let each = (0..).zip(ratings).filter(|(_, n)| *n > 0.0);
            each.map(|(place, n)| n * betting::below_floor(*stake, floor, f64::from(place) / 4.0))
                .sum()
        };
        self.settings.grids.stakes.iter().map(bet).collect()
    }

    /// Canary's requests against a fixed failure rate. Requests of a caller come together, so where
    /// callers are the unit the tick's share is one value, and a bet on its mean.
    fn above_error_rate(
        &self,
        limit: f64,
        is_looked_at: impl Fn(&StratumTick) -> bool,
    ) -> LogValues {
        let exposed = strata_of(self.tick, self.group).filter(|stratum| stratum.is_exposed());
        let (mut trials, mut events) = (0.0, 0.0);
        for stratum in exposed.filter(|stratum| is_looked_at(stratum)) {
            trials += stratum.arms.canary.requests as f64;
            events += stratum.arms.canary.failures as f64;
        }
        if self.settings.unit == Unit::Request {
            let mut sums = zeros(self.tests.harm.len());
            self.tests.harm_alone.add(events, trials, limit, &mut sums);
            return sums;
        }
        self.stakes_on((trials > 0.0).then(|| events / trials), limit)
    }

    /// The same where canary is compared with nothing: in groups without a control, and in all of them where no
    /// request went to stable that it could be compared with. What stable fails as well does not count.
    fn above_uncompared_error_rate(&self, limit: f64) -> LogValues {
        let stable = |strata: &mut dyn Iterator<Item = &StratumTick>| {
            strata.fold((0, 0), |(requests, failures), stratum| {
                let arm = &stratum.arms.stable;
                (requests + arm.requests, failures + arm.failures)
            })
        };
        let (controls, _) = stable(&mut compared(self.tick, None));
        let (requests, failures) = stable(&mut strata_of(self.tick, None));
        let is_shared = failures as f64 > limit * requests as f64;
        self.above_error_rate(limit, |stratum| {
            !is_shared && (controls == 0 || !stratum.has_control())
        })
    }

    /// Canary's latencies against a fixed mean. A latency counts as the lower edge of its bucket,
    /// which can only make it look better.
    fn above_mean_latency(&self, limit_ms: f64) -> LogValues {
        let counts = self.canary_latency;
        let values = || {
            counts
                .iter()
                .map(|(bucket, n)| (lower_edge_ms(bucket), n as f64))
        };
        if self.settings.unit == Unit::Caller {
            let sum: f64 = values().map(|(ms, n)| ms * n).sum();
            let mean = (counts.total() > 0).then(|| sum / counts.total() as f64);
            return self.stakes_on(mean, limit_ms);
        }
        let bet = |stake: &f64| {
            let each = values().map(|(ms, n)| n * betting::above_limit(*stake, limit_ms, ms));
            each.sum()
        };
        self.settings.grids.stakes.iter().map(bet).collect()
    }

    fn stakes_on(&self, value: Option<f64>, limit: f64) -> LogValues {
        let bet = |stake: &f64| value.map_or(0.0, |x| betting::above_limit(*stake, limit, x));
        self.settings.grids.stakes.iter().map(bet).collect()
    }

    /// A check that has one process for the whole rollout; `None` if it is off or has starts.
    fn whole(&self, check: Check) -> Option<LogValues> {
        let is_on = self.settings.shares[check] > 0.0;
        let tolerated = &self.settings.tolerated;
        match check {
            _ if !is_on => None,
            Check::RatingFloor => Some(self.below_rating_floor()),
            // Limits are for all callers together; a group is compared.
            Check::ErrorRateMax if self.group.is_none() => {
                let uncompared = tolerated.uncompared_error_rate_max;
                let everywhere = tolerated.error_rate_max;
                let everywhere = everywhere.map(|limit| self.above_error_rate(limit, |_| true));
                everywhere
                    .or_else(|| uncompared.map(|limit| self.above_uncompared_error_rate(limit)))
            }
            Check::MeanLatencyMax if self.group.is_none() => {
                let limit = tolerated.mean_latency_ms_max;
                limit.map(|limit| self.above_mean_latency(limit))
            }
            Check::ErrorRateMax | Check::MeanLatencyMax => None,
            Check::Ratings => Some(self.compare(check, Counted::Requests)),
            _ if self.settings.unit == Unit::Request => {
                Some(self.compare(check, Counted::Requests))
            }
            _ => None,
        }
    }
}

/// The lower edge of a latency bucket in milliseconds.
pub(super) fn lower_edge_ms(bucket: i32) -> f64 {
    (f64::from(bucket) / 16.0).exp2()
}

/// The evidence of harm, for all callers or for one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RollbackEvidence {
    /// Checks with one process for the whole rollout; empty before their first tick.
    whole: PerCheck<Option<StartMixture>>,
    /// The starts alive in the last tick.
    starts: Vec<StartEvidence>,
    /// Starts that have ended lately.
    #[serde(skip)]
    ended: Vec<StartEvidence>,
    /// The sum over older ended starts, for each check that compares.
    forgotten: [LogValue; Check::COMPARED_COUNT],
    /// The sum over all ended starts, kept so as not to go through them at each tick.
    ended_sum: [LogValue; Check::COMPARED_COUNT],
    /// The greatest number of a start so far, 0 before the first.
    latest_start: u64,
}

/// One start of callers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StartEvidence {
    number: u64,
    ticks: u32,
    checks: [StartMixture; Check::COMPARED_COUNT],
    #[serde(default)]
    held_back: [HeldBack; Check::COMPARED_COUNT],
}

impl StartEvidence {
    fn new(number: u64, alternatives: usize) -> Self {
        Self {
            number,
            ticks: 0,
            checks: std::array::from_fn(|_| StartMixture::new(alternatives)),
            held_back: Default::default(),
        }
    }

    fn observe(&mut self, place_in_tick: usize, look: &Look<'_>) {
        let (mass, cap) = (self.mass(look), look.cap());
        let checks = self.checks.iter_mut().zip(&mut self.held_back);
        for (check, (mixture, held_back)) in Check::COMPARED.into_iter().zip(checks) {
            if look.settings.shares[check] <= 0.0 {
                continue;
            }
            let log_values = look.compare(check, Counted::CallersOf(place_in_tick));
            if look.settings.counts_held_back {
                let is_capped = log_values.iter().any(|log_e| *log_e > cap);
                let counts = held_back.observe(&look.requests(check), is_capped);
                mixture.step_holding_back(mass, &log_values, cap, counts);
            } else {
                mixture.step(mass, &log_values, cap);
            }
        }
        self.ticks += 1;
    }

    /// The mass of "the change begins in this tick of the start".
    fn mass(&self, look: &Look<'_>) -> f64 {
        let prior = &look.settings.prior;
        let end = f64::from(self.ticks + 1) * look.seconds;
        let mut mass = 0.0;
        if end <= prior.start_seconds {
            mass += (1.0 - prior.start) * look.seconds / prior.start_seconds;
        }
        if self.ticks == 0 {
            mass += prior.start;
        }
        mass
    }

    /// The start's part of the evidence of a check.
    fn part(&self, place: usize) -> f64 {
        let number = self.number as f64;
        self.checks[place].log_evidence() - (number * (number + 1.0)).ln()
    }
}

impl RollbackEvidence {
    pub(super) fn new() -> Self {
        Self {
            whole: PerCheck::from_fn(|_| None),
            starts: Vec::new(),
            ended: Vec::new(),
            forgotten: [LogValue::ZERO; Check::COMPARED_COUNT],
            ended_sum: [LogValue::ZERO; Check::COMPARED_COUNT],
            latest_start: 0,
        }
    }

    /// Nothing seen, after starts whose numbers are used already.
    pub(super) fn anew(&self) -> Self {
        let mut anew = Self::new();
        anew.latest_start = self.latest_start;
        anew
    }

    /// Takes in a tick.
    pub(super) fn observe(&mut self, look: &Look<'_>) {
        for check in Check::ALL {
            if let Some(log_values) = look.whole(check) {
                self.whole[check]
                    .get_or_insert_with(|| StartMixture::new(log_values.len()))
                    .step(look.mass, &log_values, look.cap());
            }
        }
        if look.settings.unit == Unit::Caller {
            self.follow(&look.tick.starts, look.tests.harm.len());
            for (place, start) in look.tick.starts.iter().enumerate() {
                let found = self
                    .starts
                    .iter_mut()
                    .find(|own| own.number == start.number);
                if let Some(own) = found {
                    own.observe(place, look);
                }
            }
        }
    }

    /// `ln` of each check's evidence times its share of alpha.
    pub(super) fn parts(&self, shares: &PerCheck<f64>) -> PerCheck<f64> {
        PerCheck::from_fn(|check| {
            if shares[check] <= 0.0 {
                return f64::NEG_INFINITY;
            }
            let whole = self.whole[check].as_ref().map(StartMixture::log_evidence);
            let of_starts = place(check).map(|place| {
                let alive = self.starts.iter().map(|start| start.part(place));
                log_sum_exp(alive.chain([self.ended_sum[place].0]))
            });
            let zero = f64::NEG_INFINITY;
            shares[check].ln() + log_add_exp(whole.unwrap_or(zero), of_starts.unwrap_or(zero))
        })
    }

    /// Whether all mixtures are over so many alternatives, as a restored one must be.
    pub(super) fn fits(&self, settings: &SequentialSettings) -> bool {
        let (harm, stakes) = (settings.grids.harm.len(), settings.grids.stakes.len());
        let is_by_caller = settings.unit == Unit::Caller;
        let len_of = |check| match check {
            Check::RatingFloor | Check::MeanLatencyMax => stakes,
            Check::ErrorRateMax if is_by_caller => stakes,
            _ => harm,
        };
        let whole = self.whole.iter().all(|(check, mixture)| {
            let mixture = mixture.as_ref();
            mixture.is_none_or(|mixture| mixture.alternatives() == len_of(check))
        });
        let mut mixtures = self.starts.iter().flat_map(|start| &start.checks);
        whole && mixtures.all(|mixture| mixture.alternatives() == harm)
    }

    /// Keeps those starts going that are alive in the tick, ends the others, begins new ones.
    fn follow(&mut self, alive: &[CallerStart], alternatives: usize) {
        let is_same = self.starts.len() == alive.len()
            && self
                .starts
                .iter()
                .zip(alive)
                .all(|(own, start)| own.number == start.number);
        if is_same {
            return;
        }
        let mut known = std::mem::take(&mut self.starts);
        known.append(&mut self.ended);
        for start in alive {
            let found = known.iter().position(|own| own.number == start.number);
            let own = found.map(|place| known.swap_remove(place));
            let new = || StartEvidence::new(start.number, alternatives);
            self.starts.push(own.unwrap_or_else(new));
            self.latest_start = self.latest_start.max(start.number);
        }
        known.sort_unstable_by_key(|own| own.number);
        for oldest in known.drain(..known.len().saturating_sub(ENDED_MAX)) {
            for (place, sum) in self.forgotten.iter_mut().enumerate() {
                sum.0 = log_add_exp(sum.0, oldest.part(place));
            }
        }
        self.ended = known;
        for (place, sum) in self.ended_sum.iter_mut().enumerate() {
            let ended = self.ended.iter().map(|own| own.part(place));
            sum.0 = log_sum_exp(ended.chain([self.forgotten[place].0]));
        }
    }

    /// The same evidence with ended starts summed up, as it is stored.
    pub(super) fn summed_up(&self) -> Self {
        Self {
            ended: Vec::new(),
            forgotten: self.ended_sum,
            ..self.clone()
        }
    }

    /// Ends all starts: what callers did before is no longer known.
    pub(super) fn end_starts(&mut self) {
        self.follow(&[], 0);
        self.forgotten = self.ended_sum;
        self.ended.clear();
    }

    /// The greatest number of a start so far, 0 before the first.
    pub(super) const fn latest_start(&self) -> u64 {
        self.latest_start
    }
}
