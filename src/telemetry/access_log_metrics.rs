//! What is exported of the access log.

use crate::telemetry::family::Family;
use crate::telemetry::samples::AccessLogSample;

pub(crate) fn access_log(sample: AccessLogSample) -> [Family; 2] {
    let mut written = Family::counter(
        "serin_access_log_written_total",
        "Lines of the access log that were written",
    );
    written.add_count(&[], sample.written);
    let mut dropped = Family::counter(
        "serin_access_log_dropped_total",
        "Lines of the access log that are lost: not written fast enough, or not at all",
    );
    dropped.add_count(&[], sample.dropped);
    [written, dropped]
}
