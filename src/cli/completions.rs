//! `serin completions`: what a shell needs to complete command lines.

use std::io::{Write as _, stdout};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::exit::Exit;
use crate::cli::{Arguments, Done};

/// How each shell takes it.
pub(crate) const HELP: &str = "\
  bash   source <(serin completions bash)
  zsh    serin completions zsh > \"${fpath[1]}/_serin\"
  fish   serin completions fish > ~/.config/fish/completions/serin.fish";

#[derive(Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Done {
        let mut command = Arguments::command();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "serin", &mut script);
        stdout().write_all(&script)?;
        Ok(Exit::Done)
    }
}
