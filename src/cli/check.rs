//! `serin check`: is a configuration right?

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use crate::adapters::config_file::{self, ConfigFileError, Source};
use crate::app::{access_log, tls};
use crate::cli::exit::Exit;
use crate::cli::{ConfigArgument, Done};
use crate::config::{self, Config, ConfigError, Role};
use crate::domain::ids::FlagIndex;
use crate::runtime::clock;

#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigArgument,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print the configuration as JSON, secrets as `***`, and nothing else.
    #[arg(long)]
    print: bool,
}

impl Check {
    pub(crate) fn run(self) -> Done {
        let path = self.config.config;
        let (config, source) = match config_file::read(&path) {
            Ok(loaded) => loaded.split(&path),
            Err(ConfigFileError::Invalid { errors, .. }) if self.json => {
                let problems: Vec<_> = errors.iter().map(problem).collect();
                println!(
                    "{:#}",
                    json!({ "file": path, "ok": false, "problems": problems })
                );
                return Ok(Exit::Usage);
            }
            Err(error) => return Err(error.into()),
        };
        if self.print {
            println!("{:#}", config::dump(&source.text));
            return Ok(Exit::Done);
        }
        let notes = notes(&config, &source, &path);
        if self.json {
            println!("{:#}", summary(&config, &path, &notes));
            return Ok(Exit::Done);
        }
        println!(
            "{}: ok: {} listeners, {} backends, {} groups, {} flags, {} routes",
            path.display(),
            config.listeners.len(),
            config.backends.len(),
            config.groups.iter().count(),
            config.flags.len(),
            config.routes.iter().count(),
        );
        notes.iter().for_each(|note| println!("note: {note}"));
        Ok(Exit::Done)
    }
}

fn problem(error: &ConfigError) -> Value {
    json!({
        "line": error.line,
        "column": error.column,
        "path": error.path,
        "problem": error.problem,
        "hint": error.hint,
    })
}

fn summary(config: &Config, path: &Path, notes: &[String]) -> Value {
    json!({
        "file": path,
        "ok": true,
        "problems": [],
        "notes": notes,
        "listeners": config.listeners.len(),
        "backends": config.backends.len(),
        "groups": config.groups.iter().count(),
        "flags": config.flags.len(),
        "routes": config.routes.iter().count(),
    })
}

/// What is right, and may still not be what is wanted.
fn notes(config: &Config, source: &Source, path: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    if config.identity.is_empty() && !config.flags.is_empty() {
        let note = "no `identity`, so callers are not known again and each request is drawn anew";
        notes.push(note.to_owned());
    }
    for (place, flag) in config.flags.iter().enumerate() {
        if flag.rollout.is_some() && !config.routes.goes_by(FlagIndex(place)) {
            notes.push(format!(
                "no route goes by flag `{}`, so its rollout sees no requests and waits for ever",
                flag.flag.name
            ));
        }
    }
    for backend in &config.backends {
        let count = backend.endpoints.len();
        if let Some(rule) = &backend.outlier
            && rule.ejected_max(count) == 0
        {
            let (name, share) = (&backend.name, rule.max_ejected);
            let endpoints = if count == 1 { "endpoint" } else { "endpoints" };
            notes.push(format!(
                "`outlier` of backend `{name}` ejects nobody: {share} of {count} {endpoints} is less than one"
            ));
        }
    }
    notes.extend(tls::lapsed(config, clock::wall()));
    if let Some(objection) = access_log::unwritable(config, source) {
        // Another user, or another machine, may be the one to serve.
        let problems = config::object(&source.text, &[objection]);
        notes.push(problems.display(path).to_string());
    }
    let tokens = &config.admin.tokens;
    if !tokens.is_empty() && tokens.iter().all(|token| token.role != Role::Operator) {
        notes.push("no token of role `operator`, so nobody can give commands".to_owned());
    }
    notes
}
