//! The checks of a judge, and a value for each.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// What is looked at for harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Check {
    /// The backend's failures, compared with stable's.
    #[serde(rename = "err")]
    Errors,
    /// Answers 4xx except 429, compared with stable's.
    #[serde(rename = "c4")]
    ClientErrors,
    /// Good answers slower than stable's median, moved by the tolerance.
    #[serde(rename = "p50")]
    P50,
    /// The same at the 90th percentile.
    #[serde(rename = "p90")]
    P90,
    /// The same at the 99th percentile.
    #[serde(rename = "p99")]
    P99,
    /// Good answers smaller or larger than nearly all of stable's.
    #[serde(rename = "size")]
    Size,
    /// Ratings of 1 or 2, compared with stable's.
    #[serde(rename = "fbrel")]
    Ratings,
    /// Canary's mean rating against a floor.
    #[serde(rename = "fbabs")]
    RatingFloor,
    /// Good answers with a content type that stable never or hardly sends; off by default.
    #[serde(rename = "ctype")]
    ContentType,
    /// Canary's failures against a fixed limit; off by default.
    #[serde(rename = "err_max")]
    ErrorRateMax,
    /// Canary's mean latency against a fixed limit; off by default.
    #[serde(rename = "mean_max")]
    MeanLatencyMax,
}

impl Check {
    /// How many there are.
    pub const COUNT: usize = 11;

    /// All, in the order in which they are reported.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Errors,
        Self::ClientErrors,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Size,
        Self::Ratings,
        Self::RatingFloor,
        Self::ContentType,
        Self::ErrorRateMax,
        Self::MeanLatencyMax,
    ];

    /// The checks that compare what requests or callers met with in the two arms.
    ///
    /// Where callers are the unit, these are the ones that count a caller's first event.
    pub const COMPARED: [Self; Self::COMPARED_COUNT] = [
        Self::Errors,
        Self::ClientErrors,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Size,
        Self::ContentType,
    ];

    /// How many checks compare.
    pub const COMPARED_COUNT: usize = 7;

    /// The short word used in traces, metric labels and the API.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Errors => "err",
            Self::ClientErrors => "c4",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Size => "size",
            Self::Ratings => "fbrel",
            Self::RatingFloor => "fbabs",
            Self::ContentType => "ctype",
            Self::ErrorRateMax => "err_max",
            Self::MeanLatencyMax => "mean_max",
        }
    }

    /// The share of good answers below the cut, for a check of latency.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P90 => Some(0.9),
            Self::P99 => Some(0.99),
            Self::Errors
            | Self::ClientErrors
            | Self::Size
            | Self::Ratings
            | Self::RatingFloor
            | Self::ContentType
            | Self::ErrorRateMax
            | Self::MeanLatencyMax => None,
        }
    }
}

/// One value for each check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerCheck<T>([T; Check::COUNT]);

impl<T> PerCheck<T> {
    /// Makes each value from its check.
    pub fn from_fn(mut value: impl FnMut(Check) -> T) -> Self {
        Self(Check::ALL.map(&mut value))
    }

    /// Checks and values, in the order of [`Check::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Check, &T)> {
        Check::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Check> for PerCheck<T> {
    type Output = T;

    fn index(&self, check: Check) -> &T {
        &self.0[check as usize]
    }
}

impl<T> IndexMut<Check> for PerCheck<T> {
    fn index_mut(&mut self, check: Check) -> &mut T {
        &mut self.0[check as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_stored_by_the_word_they_are_known_by() {
        for check in Check::ALL {
            let word = serde_json::to_string(&check).unwrap();
            assert_eq!(word, format!("\"{}\"", check.key()));
        }
    }

    #[test]
    fn each_check_has_a_value_of_its_own() {
        let values = PerCheck::from_fn(Check::key);
        for (check, key) in values.iter() {
            assert_eq!(*key, check.key());
            assert_eq!(values[check], check.key());
        }
    }
}
