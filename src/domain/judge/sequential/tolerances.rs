//! What users write about harm, and what it means to the judge.

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::settings::SequentialSettings;

/// Buckets in which a ratio of latency doubles.
const BUCKETS_PER_OCTAVE: f64 = 16.0;

/// The share of raters who may all lie without that being harm.
const DISHONEST: f64 = 0.2;

/// What no user notices, whatever it is in percent.
const LATENCY_SLACK_MS: f64 = 2.0;

/// What a user tolerates; `None` leaves the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tolerances {
    /// How many more of its requests than stable canary may fail, as a ratio: 0.25 is 25 % more.
    pub max_increase: Option<f64>,
    /// How much slower the median may be, as a ratio. Counts in whole buckets of 4.4 %, rounded down.
    pub p50: Option<f64>,
    /// The same for the 90th percentile.
    pub p90: Option<f64>,
    /// The same for the 99th percentile.
    pub p99: Option<f64>,
    /// The mean rating, 1 to 5, that canary must be above for a promotion. Half a point below it is
    /// the floor under which canary is harmful.
    pub min: Option<f64>,
}

impl Tolerances {
    /// Puts what is written into settings.
    pub fn apply(&self, settings: &mut SequentialSettings) {
        let tolerated = &mut settings.tolerated;
        if let Some(max_increase) = self.max_increase {
            tolerated.errors_relative = max_increase;
        }
        if let Some(min) = self.min {
            settings.promotion.rating_goal = min;
            tolerated.rating_floor = min - 0.5;
        }
        let buckets = &mut tolerated.latency_buckets;
        for (written, buckets) in [
            (self.p50, &mut buckets.p50),
            (self.p90, &mut buckets.p90),
            (self.p99, &mut buckets.p99),
        ] {
            if let Some(increase) = written {
                *buckets = buckets_in(increase);
            }
        }
    }
}

/// The whole buckets in an increase by a ratio.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from a float saturates, and beyond a few hundred buckets nothing is slow"
)]
fn buckets_in(increase: f64) -> i32 {
    // A hair more, so that a ratio of exactly so many buckets is not rounded to one fewer.
    ((1.0 + increase).log2() * BUCKETS_PER_OCTAVE + 1e-9).floor() as i32
}

/// How easily the judge takes alarm: `alpha` and the default tolerances together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// Half of the usual harm is tolerated, and twice the chance of a false alarm: evidence 50 rolls
    /// back. Promotions ask for twice the certainty.
    Cautious,
    /// As the method was measured: evidence 100 rolls back.
    #[default]
    Normal,
    /// Twice the usual harm is tolerated, and a fifth of the chance of a false alarm: evidence 500 rolls
    /// back. Promotions ask for half the certainty.
    Bold,
}

impl Sensitivity {
    /// The settings it stands for. What a user tolerates in so many words is applied after it.
    pub fn settings(self) -> SequentialSettings {
        let mut settings = SequentialSettings::default();
        // Only the user can know a goal for the mean latency.
        settings.promotion.mean_latency_ms_goal = None;
        settings.tolerated.raters_min = settings.promotion.ratings_min;
        settings.tolerated.ratings_dishonest = DISHONEST;
        settings.tolerated.latency_slack_ms = LATENCY_SLACK_MS;
        settings.promotion.absolute_for_all = true;
        settings.counts_held_back = true;
        let (alpha, beta, scale) = match self {
            Self::Cautious => (0.02, 0.025, 0.5),
            Self::Normal => return settings,
            Self::Bold => (0.002, 0.1, 2.0),
        };
        settings.alpha = alpha;
        settings.beta = beta;
        let tolerated = &mut settings.tolerated;
        for tolerance in [
            &mut tolerated.errors_relative,
            &mut tolerated.errors_absolute,
            &mut tolerated.client_errors_relative,
            &mut tolerated.size_relative,
            &mut tolerated.content_type_relative,
            &mut tolerated.ratings_relative,
            &mut settings.promotion.errors_relative,
        ] {
            *tolerance *= scale;
        }
        if self == Self::Bold {
            // One bucket is the least there is, so only boldness has another number here.
            let buckets = &mut tolerated.latency_buckets;
            (buckets.p50, buckets.p90, buckets.p99) = (2, 2, 2);
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_what_the_user_wrote() {
        let mut settings = SequentialSettings::default();
        let written = r#"{"max_increase": 0.5, "p99": 0.25, "min": 4.2}"#;
        let tolerances: Tolerances = serde_json::from_str(written).unwrap();
        tolerances.apply(&mut settings);
        assert!((settings.tolerated.errors_relative - 0.5).abs() < 1e-12);
        assert!((settings.promotion.rating_goal - 4.2).abs() < 1e-12);
        assert!((settings.tolerated.rating_floor - 3.7).abs() < 1e-12);
        let buckets = settings.tolerated.latency_buckets;
        assert_eq!((buckets.p50, buckets.p90, buckets.p99), (1, 1, 5));
    }

    #[test]
    fn increases_count_in_whole_buckets() {
        let exact = |buckets: i32| (f64::from(buckets) / 16.0).exp2() - 1.0;
        for buckets in 0..40 {
            assert_eq!(buckets_in(exact(buckets)), buckets);
        }
        assert_eq!([0.04, 0.1, 0.25, 1.0].map(buckets_in), [0, 2, 5, 16]);
    }

    #[test]
    fn the_more_cautious_the_less_is_tolerated() {
        let all = [
            Sensitivity::Cautious,
            Sensitivity::Normal,
            Sensitivity::Bold,
        ];
        for pair in all.windows(2) {
            let (careful, bolder) = (pair[0].settings(), pair[1].settings());
            assert!(careful.alpha > bolder.alpha && careful.beta < bolder.beta);
            assert!(careful.tolerated.errors_relative < bolder.tolerated.errors_relative);
        }
        let normal = Sensitivity::Normal.settings();
        assert_eq!(normal.shares, SequentialSettings::default().shares);
        assert_eq!(normal.promotion.mean_latency_ms_goal, None);
    }
}
