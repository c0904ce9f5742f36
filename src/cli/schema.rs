//! `serin schema`: what editors need to complete and check a configuration.

use std::io::{self, Write};

use clap::Args;

use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::config;

#[derive(Args)]
pub(crate) struct Schema {}

impl Schema {
    #[allow(clippy::unused_self, reason = "each command runs alike")]
    pub(crate) fn run(self) -> Done {
        io::stdout().write_all(config::schema().as_bytes())?;
        Ok(Exit::Done)
    }
}
