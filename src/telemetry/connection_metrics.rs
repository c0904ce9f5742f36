//! What is exported of the connections of clients.

use crate::telemetry::family::Family;

pub(crate) fn handshakes(results: &[(&'static str, u64)]) -> Family {
    let mut handshakes = Family::counter(
        "serin_tls_handshakes_total",
        "Handshakes of TLS with clients, by result: completed, failed or timed_out",
    );
    for (result, count) in results {
        handshakes.add_count(&[("result", result)], *count);
    }
    handshakes
}

pub(crate) fn cuts(reasons: &[(&'static str, u64)]) -> Family {
    let mut cuts = Family::counter(
        "serin_client_cuts_total",
        "Connections of clients that were cut, by reason: too_many, slow_head, not_taking or flood",
    );
    for (reason, count) in reasons {
        cuts.add_count(&[("reason", reason)], *count);
    }
    cuts
}
