//! `serin man`: manual pages.

use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::exit::Exit;
use crate::cli::{Arguments, Done};

#[derive(Args)]
pub(crate) struct Manual {
    /// Write the pages of all commands into this folder, such as `/usr/local/share/man/man1`;
    /// without it, the page of `serin` itself is printed.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Manual {
    pub(crate) fn run(self) -> Done {
        let command = Arguments::command();
        if let Some(folder) = self.folder {
            std::fs::create_dir_all(&folder)
                .and_then(|()| clap_mangen::generate_to(command, &folder))
                .with_context(|| format!("cannot write to `{}`", folder.display()))?;
        } else {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            stdout().write_all(&page)?;
        }
        Ok(Exit::Done)
    }
}
