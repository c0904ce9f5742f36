//! What is exported of TLS with clients.

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
