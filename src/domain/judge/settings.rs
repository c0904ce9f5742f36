//! What the judge tolerates, and how sure it must be.

use std::time::Duration;

/// The judge's settings. Every default has its reason here and nowhere else.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeSettings {
    /// What is tolerated of failures.
    pub error_rate: ErrorRateSettings,
    /// What is tolerated of latency.
    pub latency: LatencySettings,
    /// Standard errors by which a difference must stand out to be a breach.
    ///
    /// 4: one chance in 30,000 at a single look. A rollout is looked at every second, and
    /// a thousand looks at growing totals are worth some dozens of fresh ones, so a false
    /// rollback stays below one in a hundred. A test valid at every look replaces this number.
    pub standard_errors: f64,
    /// Requests each arm needs before anything but the tripwire calls a breach.
    ///
    /// 20: below that a share is a story about single requests.
    pub breach_requests_min: u64,
    /// Requests of stable that a comparison needs before it can pass.
    ///
    /// 100: stable's own noise is part of every bound, so little of it widens what passes; and
    /// at the end of a rollout stable is only the one percent kept for comparison.
    pub stable_requests_min: u64,
}

impl Default for JudgeSettings {
    fn default() -> Self {
        Self {
            error_rate: ErrorRateSettings::default(),
            latency: LatencySettings::default(),
            standard_errors: 4.0,
            breach_requests_min: 20,
            stable_requests_min: 100,
        }
    }
}

/// What is tolerated of failures.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRateSettings {
    /// How much more of its requests than stable canary may fail, as a ratio of stable's rate.
    ///
    /// 0.25: a quarter more failures is about what nobody notices, and what can be told from
    /// none within an hour by most services.
    pub max_increase: f64,
    /// What canary may fail on top, as a share of its requests.
    ///
    /// 0.0005: where stable never fails, any multiple of it is nothing, and one failure in two
    /// thousand is no reason to go back.
    pub slack: f64,
    /// The share of its requests canary may fail whatever stable does; off unless asked for,
    /// for an outage common to both arms is not canary's.
    pub max: Option<f64>,
    /// The same where there is no stable to compare with, unless `max` says otherwise.
    ///
    /// 0.05: a version that fails one request in twenty is not one to give to more callers, even
    /// if nobody can say how the old one would have done.
    pub uncompared_max: f64,
}

impl Default for ErrorRateSettings {
    fn default() -> Self {
        Self {
            max_increase: 0.25,
            slack: 0.0005,
            max: None,
            uncompared_max: 0.05,
        }
    }
}

/// What is tolerated of latency, each as a ratio of increase over stable (0.25 is 25 % more).
///
/// Tolerances count in whole buckets of 4.4 %
/// (see [`LatencyHistogram`](crate::domain::evidence::LatencyHistogram)).
#[derive(Clone, Debug, PartialEq)]
pub struct LatencySettings {
    /// For the median. 0.10: it is steady, so a tenth more is a change of the code.
    pub p50: Option<f64>,
    /// For the 90th percentile; off unless asked for, it seldom adds to the other two.
    pub p90: Option<f64>,
    /// For the 99th percentile. 0.25: tails move with the weather of machines and caches.
    pub p99: Option<f64>,
    /// What canary's quantiles may exceed stable's by, however little that is in percent.
    ///
    /// 2 ms: less than the way to any caller varies by. Backends that answer in a millisecond
    /// are told apart by how busy they are, and canary with all the load by a lot from stable
    /// with the one percent that is kept for comparison.
    pub slack: Duration,
    /// The goal for canary's mean; off unless asked for, only the user can know it.
    pub mean_max: Option<Duration>,
}

impl Default for LatencySettings {
    fn default() -> Self {
        Self {
            p50: Some(0.10),
            p90: None,
            p99: Some(0.25),
            slack: Duration::from_millis(2),
            mean_max: None,
        }
    }
}
