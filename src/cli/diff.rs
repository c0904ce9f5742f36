//! `serin diff`: what does a change of the configuration change?

use std::path::PathBuf;

use clap::Args;

use crate::adapters::config_file;
use crate::cli::Done;
use crate::cli::exit::Exit;

#[derive(Args)]
pub(crate) struct Diff {
    /// The configuration before.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The configuration after.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// End with 1 where there is a difference.
    #[arg(long)]
    exit_code: bool,
}

impl Diff {
    pub(crate) fn run(self) -> Done {
        let (_, old) = config_file::read(&self.old)?.split(&self.old);
        let (_, new) = config_file::read(&self.new)?.split(&self.new);
        let diff = new.diff_from(&old);
        if self.json {
            println!("{:#}", serde_json::to_value(&diff)?);
        } else if diff.is_empty() {
            println!("no change");
        } else {
            println!("{diff}");
        }
        if self.exit_code && !diff.is_empty() {
            return Ok(Exit::Different);
        }
        Ok(Exit::Done)
    }
}
