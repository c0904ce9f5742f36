//! `serin segment report --drift`: do segments still fit what callers do?

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Done;
use crate::cli::exit::{Exit, Unusable};
use crate::cli::remote::CallArguments;
use crate::cli::segment::traffic::{self, Named};
use crate::cli::segment::{about, read};
use crate::domain::segment::{Columns, FeatureTable, SegmentModel};
use crate::learning::{Drift, drift};

#[derive(Args)]
pub(crate) struct Report {
    /// The model, as `serin segment train` writes it.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Compare callers as they were with callers as they are.
    #[arg(long, required = true, requires = "table")]
    drift: bool,
    /// Callers as they were: the table that the model was trained on, or another one, with its keys or pseudonyms.
    #[arg(long, value_name = "FILE.csv")]
    table: Option<PathBuf>,
    /// Callers as they are; without it, what the running Serin counts of them.
    #[arg(long, value_name = "FILE.csv")]
    now: Option<PathBuf>,
    /// The share of callers that may be in another segment, and the part of the silhouette that may be lost.
    #[arg(long, default_value = "20%", value_parser = percent, value_name = "PERCENT")]
    bound: f64,
    /// Why keys are looked at, for the journal, where the table has keys and no pseudonyms.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    call: CallArguments,
}

impl Report {
    pub(crate) fn run(self) -> Done {
        let model = SegmentModel::parse(&read(&self.model)?);
        let model = model.map_err(|error| about(&self.model, error))?;
        let path = self.table.clone().unwrap_or_default();
        let before = table(&model, &read(&path)?).map_err(|error| about(&path, error))?;
        let Some(keys) = &before.keys else {
            return Err(about(
                &path,
                "it has no column of keys to know callers again by",
            ));
        };
        let now = match &self.now {
            Some(path) => table(&model, &read(path)?).map_err(|error| about(path, error))?,
            None => {
                let named = match &*keys.name {
                    "pseudonym" => Named::Pseudonym,
                    _ => Named::Key,
                };
                let text = traffic::read(&self.call.open()?, named, &self.reason)?;
                let read = table(&model, &text);
                read.map_err(|error| Unusable(format!("the callers' features: {error}")))?
            }
        };
        let drift = drift(&model, &before, &now);
        let alerts = alerts(&model, &drift, self.bound);
        if self.call.is_json() {
            println!("{:#}", as_json(&model, &drift, &alerts));
        } else {
            println!("{}", text(&model, &drift));
            alerts.iter().for_each(|alert| println!("{alert}"));
        }
        Ok(if alerts.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        })
    }
}

/// The rows of a table with the model's features.
fn table(model: &SegmentModel, text: &str) -> Result<FeatureTable, impl std::fmt::Display + use<>> {
    let features = model.feature_names();
    let columns = Columns {
        features: Some(&features),
        ..Columns::default()
    };
    FeatureTable::read(text, &columns)
}

/// What is beyond the bound, in words.
fn alerts(model: &SegmentModel, drift: &Drift, bound: f64) -> Vec<String> {
    let mut alerts = Vec::new();
    match drift.changed_share() {
        None => alerts.push("no caller is in both tables, so nothing is known of any".to_owned()),
        Some(share) if share > bound => alerts.push(format!(
            "{:.1}% of callers are in another segment now, more than the {:.1}% that are tolerated; train anew",
            share * 100.0,
            bound * 100.0
        )),
        Some(_) => {}
    }
    let trained = model.document().quality.silhouette;
    let least = trained - trained.abs() * bound;
    match drift.silhouette {
        None => alerts.push("all callers are in one segment now".to_owned()),
        Some(now) if now < least => alerts.push(format!(
            "the silhouette is {now:.3} now, below the {least:.3} that are tolerated; segments run into each other"
        )),
        Some(_) => {}
    }
    alerts
}

fn text(model: &SegmentModel, drift: &Drift) -> String {
    let Drift {
        compared,
        changed,
        gone,
        new,
        ..
    } = drift;
    let share = drift
        .changed_share()
        .map_or_else(String::new, |share| format!(" ({:.1}%)", share * 100.0));
    let mut lines = vec![format!(
        "{changed} of {compared} callers in another segment now{share}; {gone} are gone, {new} are new"
    )];
    for ((from, to), count) in &drift.moves {
        let (from, to) = (model.name(*from), model.name(*to));
        lines.push(format!("  {from} -> {to}: {count}"));
    }
    let now = drift.silhouette;
    let now = now.map_or_else(|| "none".to_owned(), |now| format!("{now:.3}"));
    let trained = model.document().quality.silhouette;
    lines.push(format!(
        "silhouette {now} now, {trained:.3} when the model was trained"
    ));
    lines.join("\n")
}

fn as_json(model: &SegmentModel, drift: &Drift, alerts: &[String]) -> serde_json::Value {
    let moves = drift.moves.iter().map(|((from, to), count)| {
        json!({ "from": model.name(*from), "to": model.name(*to), "callers": count })
    });
    json!({
        "compared": drift.compared,
        "changed": drift.changed,
        "changed_share": drift.changed_share(),
        "gone": drift.gone,
        "new": drift.new,
        "moves": moves.collect::<Vec<_>>(),
        "silhouette": drift.silhouette,
        "silhouette_trained": model.document().quality.silhouette,
        "alerts": alerts,
    })
}

/// A share, such as `20%` or `0.2`.
fn percent(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map(|number| number / unit);
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "expected a percentage from `0%` to `100%`".to_owned())
}
