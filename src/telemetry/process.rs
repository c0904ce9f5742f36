//! The process's own figures, under the names that every Prometheus client library uses.
//!
//! Read from `/proc/self`; where there is none, there are no figures.

use std::fs;
use std::time::Duration;

use crate::telemetry::family::Family;

/// Ticks in a second of `/proc/self/stat`; fixed at 100 by the kernel's interface (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// `started` is the wall time at which the process began, since 1970.
pub(crate) fn families(started: Duration) -> Vec<Family> {
    let mut cpu = Family::counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds",
    );
    let mut memory = Family::gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes",
    );
    let mut files = Family::gauge("process_open_fds", "Number of open file descriptors");
    let mut start = Family::gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds",
    );
    if let Some(seconds) = cpu_seconds() {
        cpu.add(&[], seconds);
    }
    if let Some(bytes) = resident_bytes() {
        memory.add_count(&[], bytes);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory that is being read.
        files.add_count(&[], (entries.count() as u64).saturating_sub(1));
    }
    start.add(&[], started.as_secs_f64());
    vec![cpu, memory, files, start]
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th
    // field after it.
    let fields = stat.rsplit_once(')')?.1;
    let ticks = |place| fields.split_whitespace().nth(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        assert!(cpu_seconds().unwrap() >= 0.0);
        assert!(resident_bytes().unwrap() > 100_000);
    }
}
