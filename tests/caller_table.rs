//! What the table of callers costs; in a process of its own, where no other test takes memory.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

use serin::runtime::callers_seen::CallerCells;

#[test]
fn a_table_takes_memory_only_where_callers_are() {
    let resident_kb = || {
        let status = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("Private_Dirty:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap()
    };
    let before = resident_kb();
    let tables: Vec<_> = (0..20).map(|_| CallerCells::default()).collect();
    let after = resident_kb();
    // Twenty tables are 205 MB.
    assert!(
        after < before + 10_000,
        "{before} kB before, {after} kB after"
    );
    drop(tables);
}
