//! What is exported of the control plane: its configuration, its state file, its orders.

use crate::telemetry::family::Family;
use crate::telemetry::samples::{ConfigSample, StoreSample};

pub(crate) fn config(sample: Option<&ConfigSample>) -> Vec<Family> {
    let Some(sample) = sample else {
        return Vec::new();
    };
    let mut reloads = Family::counter(
        "serin_config_reloads_total",
        "Times that another configuration was taken or refused since the start",
    );
    reloads.add_count(&[("result", "taken")], sample.taken);
    reloads.add_count(&[("result", "refused")], sample.refused);
    let mut last = Family::gauge(
        "serin_config_last_reload_success",
        "1 when the configuration that was read last is the one that is running, else 0",
    );
    last.add(&[], f64::from(u8::from(sample.is_current)));
    vec![reloads, last]
}

pub(crate) fn store(sample: &StoreSample, is_frozen: bool) -> Vec<Family> {
    let mut writable = Family::gauge(
        "serin_state_writable",
        "1 when where rollouts are can be written down, else 0: weights do not rise then",
    );
    writable.add(&[], f64::from(u8::from(sample.is_writable)));
    let mut failures = Family::counter(
        "serin_state_write_failures_total",
        "Writes of the state that failed",
    );
    failures.add_count(&[], sample.failed_writes);
    let mut dropped = Family::counter(
        "serin_state_dropped_total",
        "Lines of the journal and points of the history that could not be written and are lost",
    );
    dropped.add_count(&[], sample.dropped);
    let mut bytes = Family::gauge("serin_state_file_bytes", "Size of the state file");
    bytes.add_count(&[], sample.file_bytes);
    let mut frozen = Family::gauge(
        "serin_promotions_frozen",
        "1 while an operator wants nothing promoted, else 0",
    );
    frozen.add(&[], f64::from(u8::from(is_frozen)));
    vec![writable, failures, dropped, bytes, frozen]
}
