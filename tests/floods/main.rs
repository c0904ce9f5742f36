//! Clients and backends that ask for more, send more or hold on to more than anybody could want: what that
//! costs Serin in memory, those beside them in time, and what cuts it.
//!
//! Each flood is a line of a table, shown with `--nocapture`.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod connections;
mod frames;
mod http1;
mod readers;
#[path = "../support/mod.rs"]
mod support;
