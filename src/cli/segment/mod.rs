//! `serin segment`: groups of callers that are learned from what callers do.

mod assign;
#[cfg(feature = "segments")]
mod drift;
#[cfg(feature = "segments")]
mod report;
#[cfg(feature = "segments")]
mod traffic;
#[cfg(feature = "segments")]
mod train;

use std::io;
use std::path::Path;

use anyhow::Error;
use clap::Subcommand;

use crate::cli::Done;
use crate::cli::exit::Unusable;

#[derive(Subcommand)]
pub(crate) enum Segment {
    /// Learn segments from a table, and write them as a model.
    #[cfg(feature = "segments")]
    Train(train::Train),
    /// Say for each row of a table which segment it is in.
    Assign(assign::Assign),
    /// Say whether segments still fit what callers do.
    #[cfg(feature = "segments")]
    Report(drift::Report),
}

impl Segment {
    pub(crate) fn run(self) -> Done {
        match self {
            #[cfg(feature = "segments")]
            Self::Train(train) => train.run(),
            Self::Assign(assign) => assign.run(),
            #[cfg(feature = "segments")]
            Self::Report(report) => report.run(),
        }
    }
}

/// The text of a file, or of standard input for `-`.
fn read(path: &Path) -> anyhow::Result<String> {
    let text = match path == Path::new("-") {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(path),
    };
    text.map_err(|error| about(path, error))
}

/// What is wrong with a file.
fn about(path: &Path, problem: impl std::fmt::Display) -> Error {
    Unusable(format!("{}: {problem}", path.display())).into()
}
