//! Whether what callers do is counted, of how many, and for how long it counts.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::config::defaults::{CALLERS_HALF_LIFE, CALLERS_HALF_LIFE_MIN, CALLERS_TRACKED};
use crate::config::document::Document;
use crate::config::report::{Problem, Report};
use crate::config::written::Placed;

/// What is counted of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerFeaturesConfig {
    /// The most callers that are known at a time.
    pub callers: NonZeroUsize,
    /// The time after which what was counted counts half.
    pub half_life: Duration,
}

/// Understands `caller_features`.
pub(super) fn caller_features(
    document: &Document,
    report: &Report,
) -> Option<CallerFeaturesConfig> {
    let Placed { place, value } = document.caller_features.as_ref()?;
    if document.identity.is_empty() {
        let problem = Problem::new("no caller has a key that anything could be counted under");
        report.add(
            *place,
            problem.hint("say under `identity` where keys come from"),
        );
    }
    let callers = value.callers.map(|count| count.0);
    let callers = callers.and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?));
    let half_life = value.half_life.as_ref().map(|written| {
        let half_life = written.value.0;
        if half_life < CALLERS_HALF_LIFE_MIN {
            let least = humantime::format_duration(CALLERS_HALF_LIFE_MIN);
            let problem = Problem::new("callers are not watched as closely as that");
            report.add(
                written.place,
                problem.hint(format!("write at least `{least}`")),
            );
        }
        half_life
    });
    Some(CallerFeaturesConfig {
        callers: callers.unwrap_or(CALLERS_TRACKED),
        half_life: half_life.unwrap_or(CALLERS_HALF_LIFE),
    })
}
