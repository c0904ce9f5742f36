//! What is to be told of a training, as JSON.

use serde_json::{Map, Value, json};

use crate::domain::segment::SegmentModel;
use crate::learning::Training;
use crate::learning::explain::share;

/// All that a training has to tell.
pub fn to_json(training: &Training) -> Value {
    let model = training.model.document();
    let tried = training.tried.iter();
    let tried = tried
        .map(|(clusters, silhouette)| json!({ "clusters": clusters, "silhouette": silhouette }));
    let mut told = described(&training.model);
    told["rows_trained"] = json!(training.rows_trained);
    told["tried"] = tried.collect();
    told["date"] = json!(model.date);
    told
}

/// What a model says of itself.
fn described(model: &SegmentModel) -> Value {
    let document = model.document();
    let rows = usize::try_from(document.rows).unwrap_or(usize::MAX);
    let segments = document.segments.iter().map(|segment| {
        let centroid: Map<String, Value> = document
            .features
            .iter()
            .zip(&segment.centroid)
            .map(|(feature, value)| (feature.name.clone(), json!(value)))
            .collect();
        let size = usize::try_from(segment.rows).unwrap_or(usize::MAX);
        json!({
            "name": segment.name,
            "rows": segment.rows,
            "share": share(size, rows),
            "centroid": centroid,
        })
    });
    let rules = model.rules().into_iter().map(|rule| {
        json!({
            "segment": model.name(rule.segment),
            "rule": rule.to_string(),
            "rows": rule.rows,
        })
    });
    json!({
        "method": document.method,
        "seed": document.seed,
        "rows": document.rows,
        "features": model.feature_names(),
        "segments": segments.collect::<Value>(),
        "silhouette": document.quality.silhouette,
        "inertia": document.quality.inertia,
        "fidelity": document.quality.fidelity,
        "accuracy": document.quality.accuracy,
        "rules": rules.collect::<Value>(),
    })
}
