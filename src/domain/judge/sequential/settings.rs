//! What the judge tolerates and how sure it must be, all in one place.
//!
//! Users write tolerances (see [`tolerances`](super::tolerances)); the rest stays inside. Each
//! default is the one the method was measured with.

use std::num::NonZeroU32;

use crate::domain::judge::sequential::check::{Check, PerCheck};

/// What chance divides between the arms: what is split at random is what must be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Each request is drawn anew.
    #[default]
    Request,
    /// A caller stays in its arm; counting its requests would call one caller many.
    Caller,
}

/// Settings of a [`SequentialJudge`](super::SequentialJudge).
#[derive(Clone, Debug, PartialEq)]
pub struct SequentialSettings {
    /// What the split is random over.
    pub unit: Unit,
    /// The chance that a harmless rollout is rolled back, over its whole life and all checks. 0.01.
    pub alpha: f64,
    /// The chance that a stage with a canary harmful by the margin is promoted. 0.05.
    pub beta: f64,
    /// The chance of a false alarm about the split, over the whole rollout. 0.001.
    pub alpha_split: f64,
    /// Each check's share of `alpha`; they sum to at most 1, and 0 turns a check off.
    ///
    /// Errors have the most, because most bad releases fail.
    pub shares: PerCheck<f64>,
    /// Judge each of so many groups for itself as well: half of `alpha` for all callers together,
    /// and an equal part of the other half for each group. Off by default.
    pub groups: Option<NonZeroU32>,
    /// Whether harm that one group alone shows is told of that group, so that it can be taken back without the
    /// others. Off by default.
    pub finds_one_group: bool,
    /// The alternatives each test is mixed over.
    pub grids: Grids,
    /// When a change is expected to begin.
    pub prior: Prior,
    /// What harm is tolerated before a rollback.
    pub tolerated: Tolerated,
    /// What a promotion asks for.
    pub promotion: Promotion,
    /// How stable's past is kept, from which the cuts come.
    pub reference: Reference,
    /// The most log evidence that an alternative may gain per second of data. 0.6: a rollback then
    /// needs about eleven seconds of it, and one hiccup does not decide.
    pub cap_per_second: f64,
    /// Callers: whether what the cap holds back counts later, tick by tick, for as long as the harm goes on.
    /// Off by default, as the method was measured; on where users say how sensitive the judge is to be, for
    /// where all callers are back within seconds, all have their first failure within as many ticks.
    pub counts_held_back: bool,
}

/// Alternatives. They are spread over all harm worth finding, since the evidence is their mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Grids {
    /// Odds ratios above the tolerated one, each over 1.
    pub harm: Vec<f64>,
    /// Odds ratios below the margin of a promotion, each under 1.
    pub harmless: Vec<f64>,
    /// Stakes of bets on a mean, each in 0 to 1.
    pub stakes: Vec<f64>,
    /// Odds ratios of a wrong split, in both directions.
    pub split: Vec<f64>,
}

/// Masses of "the change begins now"; over any rollout they sum to at most 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// Requests: at the first tick. 0.4, for most harm is there from the beginning.
    pub rollout: f64,
    /// Requests: at the first tick of each of the next four stages. 0.1.
    pub stage: f64,
    /// Requests: all later ticks together, falling as one over time. 0.2.
    pub late: f64,
    /// Requests: the seconds over which the late mass is spread. 1e7, or four months.
    pub horizon_seconds: f64,
    /// Callers: at the first tick of a start. 0.5; the other half is spread evenly.
    pub start: f64,
    /// Callers: the seconds over which the rest is spread. 600, the life of a start.
    pub start_seconds: f64,
}

/// What is tolerated of canary before it counts as harm.
#[derive(Clone, Debug, PartialEq)]
pub struct Tolerated {
    /// Failures: relative to stable's rate. 0.25.
    pub errors_relative: f64,
    /// Failures: absolute, where that is more. 0.0005, one in two thousand requests.
    pub errors_absolute: f64,
    /// Answers 4xx: relative. 0.5.
    pub client_errors_relative: f64,
    /// Answers of unusual size: relative. 0.5.
    pub size_relative: f64,
    /// Answers of unusual content type: relative. 0.5.
    pub content_type_relative: f64,
    /// Bad ratings: relative. 0.25.
    pub ratings_relative: f64,
    /// The mean rating below which canary is harmful, 1 to 5. 3.5.
    pub rating_floor: f64,
    /// Ratings that an arm needs before any decide. 0; 20 where users say how sensitive the judge is
    /// to be, so that a handful of raters neither causes nor prevents anything.
    pub raters_min: u64,
    /// The share of raters, 0 to 1, who may all lie without that being harm. 0; 0.2 where users say how
    /// sensitive the judge is to be: one rater in five with a grudge decides nothing alone.
    pub ratings_dishonest: f64,
    /// Latency: whole buckets of 4.4 % that canary's cuts lie above stable's. 1 each.
    pub latency_buckets: PerQuantile<i32>,
    /// Latency: milliseconds that canary's cuts lie above stable's at least, however little that is in
    /// percent. 0; 2 where users say how sensitive the judge is to be: less than the way to any caller
    /// varies by, and backends that answer in a millisecond are told apart by how busy they are.
    pub latency_slack_ms: f64,
    /// The share of its requests that canary may fail whatever stable does; off by default.
    pub error_rate_max: Option<f64>,
    /// The same where there is nothing to compare with, if there is no such limit: every exposed group
    /// is at full weight, or no request went to stable. Off by default. What stable fails as well,
    /// whomever it serves, does not count.
    pub uncompared_error_rate_max: Option<f64>,
    /// The mean latency of good answers, in milliseconds, above which canary is harmful whatever
    /// stable does; off by default.
    pub mean_latency_ms_max: Option<f64>,
}

impl Tolerated {
    /// The mean rating below which canary is harmful even if a share of its raters say the worst
    /// whatever they were shown.
    pub fn rating_floor_with_dishonest(&self) -> f64 {
        self.rating_floor - self.ratings_dishonest * (self.rating_floor - 1.0)
    }
}

/// A value for each quantile of latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerQuantile<T> {
    /// For the median.
    pub p50: T,
    /// For the 90th percentile.
    pub p90: T,
    /// For the 99th percentile.
    pub p99: T,
}

impl<T: Copy> PerQuantile<T> {
    /// The value of a check of latency.
    pub const fn of(&self, check: Check) -> Option<T> {
        match check {
            Check::P50 => Some(self.p50),
            Check::P90 => Some(self.p90),
            Check::P99 => Some(self.p99),
            _ => None,
        }
    }
}

/// What must hold before a stage is promoted.
#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    /// Failures: canary must be shown to fail no more than this relative to stable. 0.5.
    pub errors_relative: f64,
    /// Failures: the harm that may go unseen, as a share of all callers. 0.0025; divided by the share
    /// exposed next it is the failure rate that must be excluded.
    pub risk: f64,
    /// That failure rate's least value. 0.0025.
    pub error_rate_least: f64,
    /// That failure rate's greatest value. 0.05.
    pub error_rate_most: f64,
    /// How much of the bet goes to that rate instead of the odds ratio. 0.2: a service that never
    /// fails shows no ratio.
    pub absolute_share: f64,
    /// Callers: whether the failures among all requests may be shown to be below that rate instead of
    /// no more than stable's, as first failures may. Off by default, as the method was measured; on where
    /// users say how sensitive the judge is to be, for a service that never fails would never pass.
    pub absolute_for_all: bool,
    /// By the share of callers exposed, how many buckets slower canary may be; ascending.
    pub latency_margins: Vec<LatencyMargin>,
    /// Callers: how the evidence of the slots of starts is weighted.
    pub slots: Vec<f64>,
    /// The least time of a stage, in seconds. 60.
    pub seconds_min: f64,
    /// The first seconds of a stage, which count for nothing here: caches and connections are cold. 10.
    pub settle_seconds: f64,
    /// The least number of canary requests in a stage. 100.
    pub requests_min: u64,
    /// Callers: the least number of canary callers in a stage. 3.
    pub callers_min: u64,
    /// Evidence of harm at which nothing is promoted any more. 10.
    pub suspicious: f64,
    /// The mean latency in milliseconds that canary's upper bound must stay below, if any. 1000.
    pub mean_latency_ms_goal: Option<f64>,
    /// The mean rating that canary must be above, once there are enough. 4.0.
    pub rating_goal: f64,
    /// How many ratings are enough. 20.
    pub ratings_min: u64,
}

/// How much slower canary may be for a promotion, while few see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyMargin {
    /// The greatest share of callers exposed that this is for.
    pub exposed_max: f64,
    /// Buckets of 4.4 %.
    pub buckets: i32,
}

/// How stable's past is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The factor per ten seconds. 0.97, a half-life of four minutes.
    pub decay: f64,
    /// Samples needed before there are cuts. 200.
    pub samples_min: f64,
    /// Samples below which nothing decays. 400.
    pub samples_kept: f64,
    /// The share of stable's answers below which a content type counts as unusual. 0.01.
    pub content_type_rare: f64,
}

/// What each of the checks that are off by default takes from the others' shares when turned on.
pub const EXTRA_SHARE: f64 = 0.05;

impl SequentialSettings {
    /// Turns a check on that is off by default: it gets [`EXTRA_SHARE`] and the others, in
    /// proportion, that much less. A check that is on already keeps its share.
    pub fn turn_on(&mut self, check: Check) {
        if self.shares[check] > 0.0 {
            return;
        }
        for other in Check::ALL {
            self.shares[other] *= 1.0 - EXTRA_SHARE;
        }
        self.shares[check] = EXTRA_SHARE;
    }

    /// Limits canary's failures, a share of 0 to 1, whatever stable does.
    pub fn limit_error_rate(&mut self, max: f64) {
        self.tolerated.error_rate_max = Some(max);
        self.turn_on(Check::ErrorRateMax);
    }

    /// Limits canary's failures where there is nothing to compare them with.
    pub fn limit_uncompared_error_rate(&mut self, max: f64) {
        self.tolerated.uncompared_error_rate_max = Some(max);
        self.turn_on(Check::ErrorRateMax);
    }

    /// Limits canary's mean latency, whatever stable does; it is the goal of promotions, too.
    pub fn limit_mean_latency(&mut self, max_ms: f64) {
        self.tolerated.mean_latency_ms_max = Some(max_ms);
        self.promotion.mean_latency_ms_goal = Some(max_ms);
        self.turn_on(Check::MeanLatencyMax);
    }

    /// `ln` of the evidence that rolls back, over all callers together.
    pub fn log_evidence_needed(&self) -> f64 {
        let share = if self.groups.is_some() { 0.5 } else { 1.0 };
        -(self.alpha * share).ln()
    }

    /// `ln` of the evidence in one group that rolls back.
    pub fn log_evidence_needed_of_group(&self) -> Option<f64> {
        let groups = f64::from(self.groups?.get());
        Some(-(self.alpha / (2.0 * groups)).ln())
    }
}

impl Default for SequentialSettings {
    fn default() -> Self {
        Self {
            unit: Unit::default(),
            alpha: 0.01,
            beta: 0.05,
            alpha_split: 0.001,
            shares: PerCheck::from_fn(|check| match check {
                Check::Errors => 0.35,
                Check::ClientErrors => 0.15,
                Check::P50 | Check::P90 | Check::P99 | Check::Ratings => 0.1,
                Check::Size | Check::RatingFloor => 0.05,
                Check::ContentType | Check::ErrorRateMax | Check::MeanLatencyMax => 0.0,
            }),
            groups: None,
            finds_one_group: false,
            grids: Grids::default(),
            prior: Prior::default(),
            tolerated: Tolerated::default(),
            promotion: Promotion::default(),
            reference: Reference::default(),
            cap_per_second: 0.6,
            counts_held_back: false,
        }
    }
}

impl Default for Grids {
    fn default() -> Self {
        Self {
            harm: vec![1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0],
            harmless: vec![0.9, 0.75, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05],
            stakes: vec![0.05, 0.1, 0.2, 0.35, 0.5, 0.75],
            split: vec![
                0.5, 0.67, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.25, 1.5, 2.0,
            ],
        }
    }
}

impl Default for Prior {
    fn default() -> Self {
        Self {
            rollout: 0.4,
            stage: 0.1,
            late: 0.2,
            horizon_seconds: 1e7,
            start: 0.5,
            start_seconds: 600.0,
        }
    }
}

impl Default for Tolerated {
    fn default() -> Self {
        Self {
            errors_relative: 0.25,
            errors_absolute: 0.0005,
            client_errors_relative: 0.5,
            size_relative: 0.5,
            content_type_relative: 0.5,
            ratings_relative: 0.25,
            rating_floor: 3.5,
            raters_min: 0,
            ratings_dishonest: 0.0,
            latency_buckets: PerQuantile {
                p50: 1,
                p90: 1,
                p99: 1,
            },
            latency_slack_ms: 0.0,
            error_rate_max: None,
            uncompared_error_rate_max: None,
            mean_latency_ms_max: None,
        }
    }
}

impl Default for Promotion {
    fn default() -> Self {
        let margin = |(exposed_max, buckets)| LatencyMargin {
            exposed_max,
            buckets,
        };
        Self {
            errors_relative: 0.5,
            risk: 0.0025,
            error_rate_least: 0.0025,
            error_rate_most: 0.05,
            absolute_share: 0.2,
            absolute_for_all: false,
            latency_margins: [(0.02, 9), (0.1, 6), (0.3, 4), (1.0, 3)]
                .map(margin)
                .to_vec(),
            slots: vec![0.5, 0.25, 0.25],
            seconds_min: 60.0,
            settle_seconds: 10.0,
            requests_min: 100,
            callers_min: 3,
            suspicious: 10.0,
            mean_latency_ms_goal: Some(1000.0),
            rating_goal: 4.0,
            ratings_min: 20,
        }
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self {
            decay: 0.97,
            samples_min: 200.0,
            samples_kept: 400.0,
            content_type_rare: 0.01,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of_shares(settings: &SequentialSettings) -> f64 {
        settings.shares.iter().map(|(_, share)| share).sum()
    }

    #[test]
    fn all_checks_together_share_one_alpha() {
        let mut settings = SequentialSettings::default();
        assert!((sum_of_shares(&settings) - 1.0).abs() < 1e-12);
        settings.limit_error_rate(0.05);
        settings.limit_error_rate(0.04);
        settings.limit_mean_latency(1000.0);
        settings.turn_on(Check::ContentType);
        assert!((sum_of_shares(&settings) - 1.0).abs() < 1e-12);
        assert!(settings.shares.iter().all(|(_, share)| *share > 0.0));
    }

    #[test]
    fn groups_and_all_callers_share_one_alpha() {
        let mut settings = SequentialSettings::default();
        assert!((settings.log_evidence_needed() - 100_f64.ln()).abs() < 1e-12);
        assert_eq!(settings.log_evidence_needed_of_group(), None);
        settings.groups = NonZeroU32::new(4);
        let together = (-settings.log_evidence_needed()).exp();
        let each = (-settings.log_evidence_needed_of_group().unwrap()).exp();
        assert!((together + 4.0 * each - settings.alpha).abs() < 1e-12);
    }

    #[test]
    fn the_prior_never_lays_down_more_than_there_is() {
        let prior = Prior::default();
        assert!(prior.rollout + 4.0 * prior.stage + prior.late <= 1.0 + 1e-12);
        assert!(prior.start <= 1.0);
    }
}
