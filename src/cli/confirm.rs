//! Asks a person before something is done that is not easily taken back.

use std::io::{IsTerminal, Write, stderr, stdin};

use anyhow::bail;
use clap::Args;

use crate::cli::exit::Unusable;

#[derive(Args)]
pub(crate) struct Confirmation {
    /// Do it without asking.
    #[arg(short, long)]
    yes: bool,
}

impl Confirmation {
    /// Asks whether to do something that cannot be taken back. Where nobody can be asked, it must
    /// have been confirmed on the command line.
    ///
    /// # Errors
    /// When it was not confirmed; nothing must be done then.
    pub(crate) fn demand(&self, what: &str) -> anyhow::Result<()> {
        if !self.yes && !is_attended() {
            let problem =
                format!("this would {what}; `--yes` confirms it where nobody can be asked");
            return Err(Unusable(problem).into());
        }
        self.offer(what)
    }

    /// Asks whether to do something that can be taken back, and does not hinder those who cannot be
    /// asked.
    ///
    /// # Errors
    /// When somebody says no; nothing must be done then.
    pub(crate) fn offer(&self, what: &str) -> anyhow::Result<()> {
        if self.yes || !is_attended() {
            return Ok(());
        }
        eprint!("This will {what}. Go on? [y/N] ");
        stderr().flush()?;
        let mut answer = String::new();
        stdin().read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => bail!("not confirmed, so nothing was done"),
        }
    }
}

/// Whether a person sits at the terminal.
fn is_attended() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}
