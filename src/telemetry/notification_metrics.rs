//! What is exported of notifications.

use crate::telemetry::family::Family;
use crate::telemetry::samples::NotificationSample;

pub(crate) fn notifications(samples: &[NotificationSample]) -> Vec<Family> {
    let mut results = Family::counter(
        "serin_notifications_total",
        "Attempts to tell a target, by result: delivered, failed (and made again) or given_up",
    );
    let mut pending = Family::gauge(
        "serin_notifications_pending",
        "Notifications that wait to be delivered to a target",
    );
    for sample in samples {
        for (result, count) in &sample.results {
            results.add_count(&[("target", &sample.target), ("result", result)], *count);
        }
        pending.add_count(&[("target", &sample.target)], sample.pending);
    }
    vec![results, pending]
}
