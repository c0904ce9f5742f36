//! What a condition can name: the values of a stage, of canary and of stable.
//!
//! All of them come from the stage's totals by [`StageValues::of`], and from nowhere else.

use std::time::Duration;

use crate::domain::evidence::{ArmCounts, TickCounts};
use crate::domain::variant::{PerVariant, Variant};

/// One value of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmValue {
    /// Mean time to the head of good answers, in milliseconds.
    LatencyMeanMs,
    /// Its median.
    LatencyP50Ms,
    /// Its 90th percentile.
    LatencyP90Ms,
    /// Its 99th percentile.
    LatencyP99Ms,
    /// The share of requests that failed by the backend's fault, 0 to 1.
    ErrorRate,
    /// Requests in a second, on average.
    RequestsPerSecond,
    /// Requests.
    Requests,
    /// The mean of ratings, 1 to 5.
    FeedbackMean,
}

impl ArmValue {
    /// Each with its name for canary and its name for stable.
    const NAMES: [(Self, &'static str, &'static str); 8] = [
        (
            Self::LatencyMeanMs,
            "latency_mean_ms",
            "stable_latency_mean_ms",
        ),
        (
            Self::LatencyP50Ms,
            "latency_p50_ms",
            "stable_latency_p50_ms",
        ),
        (
            Self::LatencyP90Ms,
            "latency_p90_ms",
            "stable_latency_p90_ms",
        ),
        (
            Self::LatencyP99Ms,
            "latency_p99_ms",
            "stable_latency_p99_ms",
        ),
        (Self::ErrorRate, "error_rate", "stable_error_rate"),
        (
            Self::RequestsPerSecond,
            "requests_per_second",
            "stable_requests_per_second",
        ),
        (Self::Requests, "requests", "stable_requests"),
        (Self::FeedbackMean, "feedback_mean", "stable_feedback_mean"),
    ];
}

/// A value of canary or of stable, as a condition names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueName {
    variant: Variant,
    value: ArmValue,
}

impl ValueName {
    /// The value that a word names.
    pub fn read(word: &str) -> Option<Self> {
        ArmValue::NAMES.iter().find_map(|(value, canary, stable)| {
            let variant = match word {
                _ if word == *canary => Variant::Canary,
                _ if word == *stable => Variant::Stable,
                _ => return None,
            };
            let value = *value;
            Some(Self { variant, value })
        })
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        let mut names = ArmValue::NAMES.iter();
        let found = names.find(|(value, _, _)| *value == self.value);
        found.map_or("", |(_, canary, stable)| match self.variant {
            Variant::Canary => canary,
            Variant::Stable => stable,
        })
    }

    /// Whether it comes of what people say, and not of the requests alone.
    pub const fn is_rating(self) -> bool {
        matches!(self.value, ArmValue::FeedbackMean)
    }

    /// The least and the most that it can be.
    pub const fn range(self) -> (f64, f64) {
        match self.value {
            ArmValue::ErrorRate => (0.0, 1.0),
            ArmValue::FeedbackMean => (1.0, 5.0),
            _ => (0.0, f64::INFINITY),
        }
    }

    /// All words that name a value, those of canary first.
    pub fn all() -> impl Iterator<Item = &'static str> + Clone {
        let names = ArmValue::NAMES.iter();
        let canary = names.clone().map(|(_, canary, _)| *canary);
        canary.chain(names.map(|(_, _, stable)| *stable))
    }
}

/// The values of one arm; `None` for what nothing was seen of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ArmValues {
    /// See [`ArmValue::LatencyMeanMs`].
    pub latency_mean_ms: Option<f64>,
    /// See [`ArmValue::LatencyP50Ms`].
    pub latency_p50_ms: Option<f64>,
    /// See [`ArmValue::LatencyP90Ms`].
    pub latency_p90_ms: Option<f64>,
    /// See [`ArmValue::LatencyP99Ms`].
    pub latency_p99_ms: Option<f64>,
    /// See [`ArmValue::ErrorRate`].
    pub error_rate: Option<f64>,
    /// See [`ArmValue::RequestsPerSecond`].
    pub requests_per_second: Option<f64>,
    /// Requests.
    pub requests: u64,
    /// See [`ArmValue::FeedbackMean`].
    pub feedback_mean: Option<f64>,
}

impl ArmValues {
    /// What was counted of an arm in a span of time.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a count that a double cannot hold takes longer than any rollout"
    )]
    pub fn of(counts: &ArmCounts, span: Duration) -> Self {
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        let requests = counts.requests as f64;
        let ratings: u64 = counts.ratings.iter().sum();
        let stars: u64 = (1..).zip(counts.ratings).map(|(star, n)| star * n).sum();
        Self {
            latency_mean_ms: counts.latency.mean_ms(),
            latency_p50_ms: counts.latency.quantile_ms(0.5),
            latency_p90_ms: counts.latency.quantile_ms(0.9),
            latency_p99_ms: counts.latency.quantile_ms(0.99),
            error_rate: share(counts.failures.total() as f64, requests),
            requests_per_second: share(requests, span.as_secs_f64()),
            requests: counts.requests,
            feedback_mean: share(stars as f64, ratings as f64),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "as above")]
    const fn get(&self, value: ArmValue) -> Option<f64> {
        match value {
            ArmValue::LatencyMeanMs => self.latency_mean_ms,
            ArmValue::LatencyP50Ms => self.latency_p50_ms,
            ArmValue::LatencyP90Ms => self.latency_p90_ms,
            ArmValue::LatencyP99Ms => self.latency_p99_ms,
            ArmValue::ErrorRate => self.error_rate,
            ArmValue::RequestsPerSecond => self.requests_per_second,
            ArmValue::Requests => Some(self.requests as f64),
            ArmValue::FeedbackMean => self.feedback_mean,
        }
    }
}

/// The values of both arms since a stage began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageValues(pub PerVariant<ArmValues>);

impl StageValues {
    /// What was counted in a stage, over its length so far.
    pub fn of(totals: &TickCounts, span: Duration) -> Self {
        Self(PerVariant::from_fn(|variant| {
            ArmValues::of(&totals.total(variant), span)
        }))
    }

    /// The same with means of all ratings of the rollout, by how often there is each: callers rate a release once,
    /// whatever stage it is in. Of fewer than `ratings_min` none is known.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "nobody asks for so many ratings"
    )]
    pub fn rated(mut self, ratings: &PerVariant<[f64; 5]>, ratings_min: u64) -> Self {
        for variant in Variant::ALL {
            let each = ratings.get(variant);
            let raters: f64 = each.iter().sum();
            let stars: f64 = (1..).zip(each).map(|(star, n)| f64::from(star) * n).sum();
            self.0.get_mut(variant).feedback_mean =
                (raters > 0.0 && raters >= ratings_min as f64).then(|| stars / raters);
        }
        self
    }

    /// A value by its name.
    pub fn get(&self, name: ValueName) -> Option<f64> {
        self.0.get(name.variant).get(name.value)
    }

    /// The requests of each arm.
    pub fn requests(&self) -> PerVariant<u64> {
        PerVariant::from_fn(|variant| self.0.get(variant).requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::{Failure, Stratum};

    #[test]
    fn each_word_names_the_value_that_is_called_so() {
        for word in ValueName::all() {
            assert_eq!(ValueName::read(word).unwrap().as_str(), word);
        }
        assert_eq!(ValueName::all().count(), 16);
        assert_eq!(ValueName::read("latency"), None);
        assert_eq!(ValueName::read("stable_stable_requests"), None);
    }

    #[test]
    fn values_come_from_counts_and_what_was_not_seen_is_unknown() {
        let mut canary = ArmCounts {
            requests: 8,
            ratings: [1, 0, 0, 0, 3],
            ..ArmCounts::default()
        };
        canary.failures.record(Failure::Status);
        canary.failures.record(Failure::Timeout);
        for _ in 0..6 {
            canary.latency.record(Duration::from_millis(20));
        }
        let mut stratum = Stratum::empty(None, 1, "10%".parse().unwrap());
        stratum.arms.canary = canary;
        let mut totals = TickCounts::default();
        totals.add(stratum);
        let values = StageValues::of(&totals, Duration::from_secs(4));
        let value = |word: &str| values.get(ValueName::read(word).unwrap());
        assert_eq!(value("error_rate"), Some(0.25));
        assert_eq!(value("requests_per_second"), Some(2.0));
        assert_eq!(value("requests"), Some(8.0));
        assert_eq!(value("feedback_mean"), Some(4.0));
        assert_eq!(value("latency_mean_ms"), Some(20.0));
        let p99 = value("latency_p99_ms").unwrap();
        assert!((p99 / 20.0 - 1.0).abs() < 0.03, "{p99}");
        assert_eq!(value("stable_requests"), Some(0.0));
        for word in ["error_rate", "latency_mean_ms", "feedback_mean"] {
            assert_eq!(value(&format!("stable_{word}")), None, "{word}");
        }
        assert_eq!(values.requests().canary, 8);
    }

    #[test]
    fn a_mean_of_few_raters_is_not_known() {
        let means = |raters: f64| {
            let ratings = PerVariant {
                stable: [0.0; 5],
                canary: [0.0, 0.0, 0.0, 0.0, raters],
            };
            let values = StageValues::default().rated(&ratings, 20);
            PerVariant::from_fn(|variant| values.0.get(variant).feedback_mean)
        };
        assert_eq!(means(19.0).canary, None);
        assert_eq!(means(20.0).canary, Some(5.0));
        assert_eq!(means(20.0).stable, None);
    }
}
