//! What is exported of callers: how many are known, and nothing of any of them.

use crate::telemetry::family::Family;
use crate::telemetry::samples::CallersSample;

pub(crate) fn callers(sample: Option<CallersSample>) -> Vec<Family> {
    let Some(CallersSample { tracked, evicted }) = sample else {
        return Vec::new();
    };
    let mut known = Family::gauge(
        "serin_tracked_callers",
        "Callers of whom it is counted what they do",
    );
    known.add_count(&[], tracked);
    let mut gone = Family::counter(
        "serin_evicted_callers_total",
        "Callers that are counted no more, for another one took their place",
    );
    gone.add_count(&[], evicted);
    vec![known, gone]
}
