//! Asks a person before something is done that is not easily taken back.

use std::io::{IsTerminal, Write, stderr, stdin};

use anyhow::bail;
use clap::Args;

#[derive(Args)]
pub(crate) struct Confirmation {
    /// Do it without asking.
    #[arg(short, long)]
    yes: bool,
}

impl Confirmation {
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
