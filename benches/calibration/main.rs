//! Measures the judge: how often it is wrong, and how soon it is right.
//!
//! `cargo bench --bench calibration -- [TABLE]... [--scale F]` prints a table in Markdown for each name, or
//! all of them; `--scale` multiplies the number of runs; `--served` takes the settings of `serin serve` in
//! place of the method's own. The judge's `FIGURES.md` holds what was measured last. It takes minutes, so it is
//! no test: the tests run a few rollouts of the same worlds.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tables are printed, and how far it is"
)]

mod false_alarms;
mod found;
mod healthy;
mod table;
mod worlds;

use std::process::ExitCode;

use table::{Runs, Table};

/// Measures a table.
type Measure = fn(Runs) -> Table;

/// All tables, by name.
const TABLES: [(&str, Measure); 8] = [
    ("false-requests", false_alarms::requests),
    ("false-callers", false_alarms::callers),
    ("stable-alone", false_alarms::stable_alone),
    ("late-callers", found::late),
    ("found-callers", found::callers),
    ("found-requests", found::requests),
    ("healthy", healthy::promoted_rollouts),
    ("harmful", healthy::harmful),
];

fn main() -> ExitCode {
    let mut names = Vec::new();
    let mut runs = Runs::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo passes to every benchmark.
            "--bench" => {}
            "--served" => worlds::judge_as_served(),
            "--scale" => match arguments.next().map(|factor| factor.parse()) {
                Some(Ok(factor)) => runs = Runs::scaled_by(factor),
                _ => return refuse("--scale takes a number, for example 0.1"),
            },
            name if TABLES.iter().any(|(known, _)| *known == name) => names.push(argument),
            other => return refuse(&format!("no table `{other}`")),
        }
    }
    for (name, measure) in TABLES {
        if names.is_empty() || names.iter().any(|asked| asked == name) {
            println!("{}", measure(runs));
        }
    }
    ExitCode::SUCCESS
}

fn refuse(problem: &str) -> ExitCode {
    let names: Vec<_> = TABLES.iter().map(|(name, _)| *name).collect();
    println!("{problem}; tables are {}", names.join(", "));
    ExitCode::from(2)
}
