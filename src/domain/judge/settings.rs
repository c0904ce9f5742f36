//! What a user says of the judge, and what it means to the tests within.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::ids::GroupName;
use crate::domain::judge::sequential::{Check, Sensitivity, SequentialSettings, Tolerances, Unit};

/// What canary may fail, as a share of its requests, where there is nothing to compare it with and no limit
/// is set. 0.05: a version that fails one request in twenty is not one to give to more callers, even if
/// nobody can say how the old one would have done.
const UNCOMPARED_ERROR_RATE_MAX: f64 = 0.05;

/// The judge's settings, as they are written. The default is what is not written, so that settings that
/// were stored before a key was known are read as those without it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JudgeSettings {
    /// What the split is random over: callers where they are known again, else requests.
    pub unit: Unit,
    /// How easily it takes alarm.
    pub sensitivity: Sensitivity,
    /// What is tolerated beside what `sensitivity` stands for.
    pub tolerances: Tolerances,
    /// The share of its requests, 0 to 1, that canary may fail whatever stable does; off unless asked
    /// for, since an outage common to both arms is not canary's.
    pub error_rate_max: Option<f64>,
    /// The goal for canary's mean latency; off unless asked for, only the user can know it.
    pub mean_latency_max: Option<Duration>,
    /// Ratings that an arm needs before any decide.
    pub ratings_min: Option<u64>,
    /// The groups that the plan names, in an order of its own. Each is judged for itself as well, and so
    /// is everyone in none of them.
    pub groups: Vec<GroupName>,
    /// What the breach of one group takes back.
    pub rollback_scope: RollbackScope,
}

/// What is taken back where one group alone comes to harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackScope {
    /// Canary as a whole.
    #[default]
    Flag,
    /// That group, and the rollout goes on with the others.
    Group,
}

impl JudgeSettings {
    /// What they mean to the tests.
    pub fn sequential(&self) -> SequentialSettings {
        let mut settings = self.sensitivity.settings();
        settings.unit = self.unit;
        self.tolerances.apply(&mut settings);
        settings.turn_on(Check::ContentType);
        settings.limit_uncompared_error_rate(UNCOMPARED_ERROR_RATE_MAX);
        if let Some(max) = self.error_rate_max {
            settings.limit_error_rate(max);
        }
        if let Some(max) = self.mean_latency_max {
            settings.limit_mean_latency(max.as_secs_f64() * 1e3);
        }
        if let Some(ratings) = self.ratings_min {
            settings.tolerated.raters_min = ratings;
            settings.promotion.ratings_min = ratings;
        }
        // A stage lasts as long as its hold, and what comes before canary is warm is no evidence.
        settings.promotion.seconds_min = 0.0;
        settings.promotion.settle_seconds = 0.0;
        // Those in no group are one more.
        let groups = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        settings.finds_one_group = self.rollback_scope == RollbackScope::Group;
        settings.groups = (groups > 0).then(|| NonZeroU32::MIN.saturating_add(groups));
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_tests_are_asked() {
        let settings = JudgeSettings {
            unit: Unit::Caller,
            sensitivity: Sensitivity::Cautious,
            tolerances: Tolerances {
                max_increase: Some(0.5),
                p99: Some(0.25),
                min: Some(4.2),
                ..Tolerances::default()
            },
            error_rate_max: Some(0.02),
            mean_latency_max: Some(Duration::from_secs(1)),
            ratings_min: Some(30),
            groups: vec!["beta".parse().unwrap(), "staff".parse().unwrap()],
            rollback_scope: RollbackScope::Group,
        };
        let meant = settings.sequential();
        let tolerated = &meant.tolerated;
        assert_eq!(meant.unit, Unit::Caller);
        assert_eq!(tolerated.latency_buckets.p99, 5);
        assert_eq!(tolerated.error_rate_max, Some(0.02));
        assert_eq!(tolerated.mean_latency_ms_max, Some(1000.0));
        assert_eq!(meant.promotion.mean_latency_ms_goal, Some(1000.0));
        assert_eq!(
            (tolerated.raters_min, meant.promotion.ratings_min),
            (30, 30)
        );
        assert!((tolerated.errors_relative - 0.5).abs() < 1e-12, "written");
        assert!((tolerated.size_relative - 0.25).abs() < 1e-12, "cautious");
        assert_eq!(meant.groups.map(NonZeroU32::get), Some(3));
        assert!(meant.finds_one_group);
        let default = JudgeSettings::default().sequential();
        assert_eq!((default.groups, default.finds_one_group), (None, false));
    }
}
