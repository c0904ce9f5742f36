//! `serin callers`: what is known of callers, and erasing it.

use std::io::{self, BufWriter, Read, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::admin::wire::{BusiestCallers, ForgottenCaller, FoundCaller};
use crate::cli::Done;
use crate::cli::confirm::Confirmation;
use crate::cli::exit::{Exit, Unusable};
use crate::cli::remote::{CallArguments, Remote};
use crate::cli::whole_file::{self, Readers};
use crate::domain::caller_features::CallerFeatures;

/// Where all callers are.
const EXPORT: &str = "/api/v1/callers/export";

#[derive(Subcommand)]
pub(crate) enum Callers {
    /// Show the callers with the most requests, by pseudonym.
    List(List),
    /// Show what is known of one caller.
    Show(Show),
    /// Write what is known of all callers as comma-separated values.
    Export(Export),
    /// Erase a caller from everything that remembers callers.
    Forget(Forget),
}

#[derive(Args)]
pub(crate) struct List {
    /// How many at the most.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "CALLERS")]
    limit: u64,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The caller's key; `-` reads it from the standard input.
    key: String,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Export {
    /// Name callers by their keys instead of pseudonyms; it is written into the journal.
    #[arg(long)]
    plain: bool,
    /// Why, for the journal.
    #[arg(
        short = 'm',
        long,
        default_value = "",
        value_name = "TEXT",
        requires = "plain"
    )]
    reason: String,
    /// Where to write it, instead of the standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Forget {
    /// The caller's key; `-` reads it from the standard input.
    key: String,
    /// Why, for the journal; without the key.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    call: CallArguments,
}

impl Callers {
    pub(crate) fn run(self) -> Done {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Export(export) => export.run(),
            Self::Forget(forget) => forget.run(),
        }
    }
}

impl List {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let limit = self.limit.to_string();
        let answer = remote.get("/api/v1/callers", &[("limit", &limit)])?;
        let Some(answer) = remote.unless_json(answer) else {
            return Ok(Exit::Done);
        };
        let busiest: BusiestCallers = remote.read(answer)?;
        println!(
            "{} callers are known, {} gave way to others",
            busiest.tracked, busiest.evicted
        );
        for caller in busiest.callers {
            println!("{}  {}", caller.pseudonym, in_words(&caller.features));
        }
        Ok(Exit::Done)
    }
}

impl Show {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let said = json!({ "key": key(self.key)? });
        let answer = remote.command(Method::POST, "/api/v1/callers/find", &said)?;
        let Some(answer) = remote.unless_json(answer) else {
            return Ok(Exit::Done);
        };
        let found: FoundCaller = remote.read(answer)?;
        println!("pseudonym    {}", found.pseudonym);
        let features = found.features.as_ref().map(in_words);
        let features = features.unwrap_or_else(|| "nothing is known".to_owned());
        println!("features     {features}");
        let groups: Vec<_> = found.groups.iter().map(|group| group.as_str()).collect();
        let groups = groups.join(", ");
        println!(
            "put into     {}",
            if groups.is_empty() {
                "no group"
            } else {
                &groups
            }
        );
        Ok(Exit::Done)
    }
}

impl Export {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        match &self.output {
            Some(path) => self.write_file(&remote, path)?,
            None => self.write(&remote, stdout().lock())?,
        }
        Ok(Exit::Done)
    }

    /// Writes a file, which nobody else may read where keys are in it.
    fn write_file(&self, remote: &Remote, path: &Path) -> anyhow::Result<()> {
        let readers = match self.plain {
            true => Readers::Owner,
            false => Readers::AsUsual,
        };
        whole_file::put(path, readers, |file| self.write(remote, file))
    }

    fn write(&self, remote: &Remote, out: impl Write) -> anyhow::Result<()> {
        let mut out = BufWriter::new(out);
        let mut written = Ok(());
        let take = |bytes: &[u8]| {
            written = out.write_all(bytes);
            written.is_ok()
        };
        let said = json!({ "reason": self.reason });
        if self.plain {
            remote.download((Method::POST, EXPORT), Some(&said), take)?;
        } else {
            remote.download((Method::GET, EXPORT), None, take)?;
        }
        match written.and_then(|()| out.flush()) {
            // Whoever reads has seen enough, as `head` has.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

impl Forget {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let key = key(self.key)?;
        self.confirmation
            .demand("erase all that is known of this caller")?;
        let said = json!({ "key": key, "reason": self.reason });
        let answer = remote.command(Method::POST, "/api/v1/callers/forget", &said)?;
        let Some(answer) = remote.unless_json(answer) else {
            return Ok(Exit::Done);
        };
        let forgotten: ForgottenCaller = remote.read(answer)?;
        let erased = match forgotten.erased.as_slice() {
            [] => "nothing was known of it".to_owned(),
            erased => format!("erased: {}", erased.join(", ")),
        };
        println!("{} is forgotten; {erased}", forgotten.pseudonym);
        if !forgotten.is_written {
            println!("it is not written down yet, and is as soon as the disk takes it");
        }
        Ok(Exit::Done)
    }
}

/// A key that was given on the command line, or is to be read, so that it stands in no list of processes.
fn key(given: String) -> anyhow::Result<String> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    let key = text.trim_end_matches(['\n', '\r']);
    if key.is_empty() {
        return Err(Unusable("there is no key on the standard input".to_owned()).into());
    }
    Ok(key.to_owned())
}

/// What is known of a caller, in a line.
fn in_words(features: &CallerFeatures) -> String {
    format!(
        "{:.0} requests, {:.3}/s, {:.1}% errors, {:.1}% writes, {:.1} ms mean, {:.1} ms p99, {:.0} B in, {:.0} B out, {:.0} paths",
        features.requests,
        features.requests_per_second,
        features.error_share * 100.0,
        features.write_share * 100.0,
        features.latency_mean_ms,
        features.latency_p99_ms,
        features.request_bytes_mean,
        features.response_bytes_mean,
        features.distinct_paths,
    )
}
