//! `serin rollout record`: what the judge was told of a rollout, to be replayed.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::CallArguments;
use crate::domain::ids::FlagName;

/// What is in it, and what it is good for.
const ABOUT: &str = "One line for each second since the rollout, or the process, began: some hours \
                     of them, fewer where many flags are rolled out. The oldest are dropped, a quarter of \
                     an hour at a time, and the first line says what the judge knew by then. No \
                     caller's key is in it. `serin replay` says what a judge makes of it: what it made \
                     of it here.";

#[derive(Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Record {
    /// The flag whose rollout it is.
    flag: FlagName,
    /// The file to write; without it, standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    call: CallArguments,
}

impl Record {
    pub(crate) fn run(self) -> Done {
        let remote = self.call.open()?;
        let trace = remote.get_text(&format!("/api/v1/rollouts/{}/trace", self.flag))?;
        match self
            .output
            .as_deref()
            .filter(|path| *path != Path::new("-"))
        {
            Some(path) => fs::write(path, trace)
                .with_context(|| format!("cannot write `{}`", path.display()))?,
            None => io::stdout()
                .write_all(trace.as_bytes())
                .context("cannot print")?,
        }
        Ok(Exit::Done)
    }
}
