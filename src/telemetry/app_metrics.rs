//! What is exported of apps: none by its name, for there may be many.

use crate::telemetry::family::Family;
use crate::telemetry::samples::AppsSample;

pub(crate) fn apps(sample: &AppsSample) -> [Family; 2] {
    let mut count = Family::gauge("serin_apps", "Apps that are known, whatever their status");
    count.add_count(&[], sample.count);
    let mut refused = Family::counter(
        "serin_admission_refusals_total",
        "Requests that were not let in, by reason: no_key, unknown_key, expired_key, pending, suspended, \
         revoked or rate_limited",
    );
    for (reason, requests) in &sample.refused {
        refused.add_count(&[("reason", reason)], *requests);
    }
    [count, refused]
}
