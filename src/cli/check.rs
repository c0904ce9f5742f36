//! `serin check`: is a configuration right?

use clap::Args;

use crate::adapters::config_file;
use crate::app::{access_log, tls};
use crate::cli::exit::Exit;
use crate::cli::{ConfigArgument, Done};
use crate::config::{self, Role};
use crate::runtime::clock;

#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigArgument,
}

impl Check {
    pub(crate) fn run(self) -> Done {
        let path = self.config.config;
        let (config, source) = config_file::read(&path)?.split(&path);
        println!(
            "{}: ok: {} listeners, {} backends, {} groups, {} flags, {} routes",
            path.display(),
            config.listeners.len(),
            config.backends.len(),
            config.groups.iter().count(),
            config.flags.len(),
            config.routes.iter().count(),
        );
        if config.identity.is_empty() && !config.flags.is_empty() {
            println!(
                "note: no `identity`, so callers are not known again and each request is drawn anew"
            );
        }
        for lapsed in tls::lapsed(&config, clock::wall()) {
            println!("note: {lapsed}");
        }
        if let Some(objection) = access_log::unwritable(&config, &source) {
            // Another user, or another machine, may be the one to serve.
            let problems = config::object(&source.text, &[objection]);
            println!("note: {}", problems.display(&path));
        }
        let tokens = &config.admin.tokens;
        if !tokens.is_empty() && tokens.iter().all(|token| token.role != Role::Operator) {
            println!("note: no token of role `operator`, so nobody can give commands");
        }
        Ok(Exit::Done)
    }
}
