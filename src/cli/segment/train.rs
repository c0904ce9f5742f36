//! `serin segment train`: learn segments from a table.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;

use crate::cli::Done;
use crate::cli::exit::{Exit, Unusable};
use crate::cli::remote::CallArguments;
use crate::cli::segment::traffic::{self, Named};
use crate::cli::segment::{about, read, report};
use crate::cli::whole_file::{self, Readers};
use crate::cli::words;
use crate::domain::segment::{Columns, FeatureTable};
use crate::learning::{self, Clusters, Settings, Training};
use crate::runtime::clock;

const MORE: &str = "Equal tables, seeds and dates give equal models, byte for byte. \
    What all of it means: docs/segments.md.";

#[derive(Args)]
#[command(after_help = MORE)]
pub(crate) struct Train {
    /// The table: comma-separated values with a header, one row for each caller, every column a number but
    /// those named below; `-` reads standard input.
    #[arg(value_name = "FILE.csv", required_unless_present = "from_traffic")]
    table: Option<PathBuf>,
    /// Learn from what the running Serin counts of callers (`caller_features`), in place of a table.
    #[arg(long, conflicts_with_all = ["table", "key", "label"])]
    from_traffic: bool,
    #[command(flatten)]
    columns: ColumnArguments,
    #[command(flatten)]
    how: HowArguments,
    /// Where the model is written; `-` prints it in place of the report.
    #[arg(long, short, default_value = "segments.json", value_name = "FILE")]
    output: PathBuf,
    /// Draw the rows in the plane in which they differ most, as SVG.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    call: CallArguments,
}

/// Which columns mean what.
#[derive(Args)]
struct ColumnArguments {
    /// The column of the callers' keys, which nothing is learned from. Without it `key`, `caller` or
    /// `pseudonym`, where there is one.
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,
    /// Learn these labels, in place of clusters.
    #[arg(long, value_name = "COLUMN", conflicts_with = "clusters")]
    label: Option<String>,
    /// A column to leave out; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
}

/// How to train.
#[derive(Args)]
struct HowArguments {
    /// How many clusters: a number, or `auto`, which tries 2 to 10 and takes the best silhouette.
    #[arg(long, default_value = "auto", value_parser = clusters, value_name = "auto|N")]
    clusters: Clusters,
    /// What everything drawn at random is drawn from.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// The day that the model says it was trained on. Without it, the day on which the table was last
    /// changed, so that the same file gives the same model on any day.
    #[arg(long, value_parser = date, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    /// Call a segment something else; may be given several times.
    #[arg(long = "name", value_parser = renaming, value_name = "OLD=NEW")]
    names: Vec<(String, String)>,
}

impl Train {
    pub(crate) fn run(self) -> Done {
        if self.table.as_deref() == Some(&*self.output) {
            let problem = "the model would take the place of the table; say another file with `-o`";
            return Err(about(&self.output, problem));
        }
        let (table, date) = self.table()?;
        let settings = Settings {
            clusters: self.how.clusters,
            seed: self.how.seed,
            date: self.how.date.clone().unwrap_or(date),
            names: self.how.names.clone(),
        };
        let training = learning::train(&table, &settings);
        let training = training.map_err(|error| match &self.table {
            Some(path) => about(path, error),
            None => Unusable(format!("what is known of callers: {error}")).into(),
        })?;
        if let Some(plot) = &self.plot {
            write(plot, &learning::svg(&table, &training))?;
        }
        self.tell(&training)
    }

    /// The table, and the day that a model of it says.
    fn table(&self) -> anyhow::Result<(FeatureTable, String)> {
        let Some(path) = &self.table else {
            let text = traffic::read(&self.call.open()?, Named::Pseudonym, "")?;
            let (table, left_out) = traffic::learnable(&text, &self.columns.ignore)?;
            if !left_out.is_empty() {
                let left_out = left_out.join(", ");
                eprintln!("left out, for all callers are alike in it: {left_out}");
            }
            return Ok((table, day(clock::wall())));
        };
        let text = read(path)?;
        let ignored: Vec<&str> = self.columns.ignore.iter().map(|name| &**name).collect();
        let columns = Columns {
            key: self.columns.key.as_deref(),
            label: self.columns.label.as_deref(),
            ignored: &ignored,
            features: None,
        };
        let table = FeatureTable::read(&text, &columns);
        let table = table.map_err(|error| about(path, error))?;
        Ok((table, last_change(path)))
    }

    fn tell(&self, training: &Training) -> Done {
        let model = training.model.to_json();
        if self.output == Path::new("-") {
            print!("{model}");
            return Ok(Exit::Done);
        }
        write(&self.output, &model)?;
        if self.call.is_json() {
            let mut told = learning::to_json(training);
            told["model"] = json!(self.output);
            println!("{told:#}");
        } else {
            println!("{}", report::text(training));
            println!("\nwritten to {}", self.output.display());
        }
        Ok(Exit::Done)
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let put = |file: &mut fs::File| file.write_all(text.as_bytes());
    let written = whole_file::put(path, Readers::AsUsual, put);
    written.map_err(|error| about(path, format!("cannot be written: {error}")))
}

/// The day on which a file was last changed; today, for what is no file.
fn last_change(path: &Path) -> String {
    let changed = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok();
    let since = changed.and_then(|changed| changed.duration_since(SystemTime::UNIX_EPOCH).ok());
    day(since.unwrap_or_else(clock::wall))
}

fn day(since_1970: Duration) -> String {
    let moment = words::date(since_1970);
    moment.split('T').next().unwrap_or_default().to_owned()
}

fn clusters(text: &str) -> Result<Clusters, String> {
    match text {
        "auto" => Ok(Clusters::Auto),
        _ => text
            .parse()
            .map(Clusters::Exactly)
            .map_err(|_| "expected `auto` or a number".to_owned()),
    }
}

fn date(text: &str) -> Result<String, String> {
    let date = text.parse::<jiff::civil::Date>();
    date.map(|date| date.to_string())
        .map_err(|error| error.to_string())
}

fn renaming(text: &str) -> Result<(String, String), String> {
    let parts = text
        .split_once('=')
        .filter(|(_, new)| !new.trim().is_empty());
    let (old, new) = parts.ok_or("expected `OLD=NEW`")?;
    Ok((old.to_owned(), new.trim().to_owned()))
}
