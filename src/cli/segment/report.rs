//! What a training came to, in words.

use crate::cli::words;
use crate::domain::segment::rule::Short;
use crate::domain::segment::{Method, SegmentModel};
use crate::learning::Training;

/// The report of a training, for people.
pub(super) fn text(training: &Training) -> String {
    let model = &training.model;
    let mut parts = vec![head(training)];
    parts.push(lines(&sizes(model)));
    parts.push("mean of each feature".to_owned() + "\n" + &indented(&lines(&centroids(model))));
    parts.push(tree(model));
    parts.join("\n\n")
}

fn head(training: &Training) -> String {
    let document = training.model.document();
    let quality = document.quality;
    let how = match document.method {
        Method::Clusters => "clusters",
        Method::Labels => "labels",
    };
    let mut head = format!(
        "{} segments of {} rows, by {} features: {how}, seed {}, {}\n\
         silhouette {:.3} (1: far apart, 0: no structure), inertia {}",
        document.segments.len(),
        document.rows,
        document.features.len(),
        document.seed,
        document.date,
        quality.silhouette,
        Short(quality.inertia),
    );
    if !training.tried.is_empty() {
        let tried = training.tried.iter();
        let tried: Vec<String> = tried
            .map(|(count, found)| format!("{count}: {found:.3}"))
            .collect();
        head += &format!("\nsilhouette by number of clusters: {}", tried.join(", "));
    }
    if u64::try_from(training.rows_trained).is_ok_and(|rows| rows < document.rows) {
        head += &format!(
            "\ntrained on {} rows, drawn at random",
            training.rows_trained
        );
    }
    head
}

fn sizes(model: &SegmentModel) -> Vec<Vec<String>> {
    let document = model.document();
    let mut rows = vec![["SEGMENT", "ROWS", "SHARE"].map(str::to_owned).to_vec()];
    rows.extend(document.segments.iter().map(|segment| {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a share is shown with one digit"
        )]
        let share = segment.rows as f64 / document.rows.max(1) as f64;
        vec![
            segment.name.clone(),
            segment.rows.to_string(),
            format!("{:.1}%", share * 100.0),
        ]
    }));
    rows
}

fn centroids(model: &SegmentModel) -> Vec<Vec<String>> {
    let document = model.document();
    let titles = document.segments.iter().map(|segment| segment.name.clone());
    let titles = ["FEATURE".to_owned()]
        .into_iter()
        .chain(titles)
        .chain(["ALL".to_owned()]);
    let mut rows = vec![titles.collect()];
    for (place, feature) in document.features.iter().enumerate() {
        let values = document
            .segments
            .iter()
            .map(|segment| segment.centroid[place]);
        let values = values
            .chain([feature.mean])
            .map(|value| Short(value).to_string());
        rows.push([feature.name.clone()].into_iter().chain(values).collect());
    }
    rows
}

fn tree(model: &SegmentModel) -> String {
    let quality = model.document().quality;
    let mut rows = vec![["SEGMENT", "ROWS", "RULE"].map(str::to_owned).to_vec()];
    rows.extend(model.rules().iter().map(|rule| {
        vec![
            model.name(rule.segment).to_owned(),
            rule.rows.to_string(),
            rule.to_string(),
        ]
    }));
    format!(
        "the tree puts {:.1}% of these rows into their segment, and {:.1}% of rows that it has not seen \
         (5 folds; of ten cuts the mean, where there are up to 10,000 rows)\n{}",
        quality.fidelity * 100.0,
        quality.accuracy * 100.0,
        indented(&lines(&rows))
    )
}

fn lines(rows: &[Vec<String>]) -> String {
    words::table(rows, |_, cell| cell.to_owned()).join("\n")
}

fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {line}"));
    lines.collect::<Vec<_>>().join("\n")
}
