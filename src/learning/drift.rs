//! How far callers have moved since a model was trained, and whether its segments still lie apart.

use std::collections::{BTreeMap, HashMap};

use crate::domain::segment::{FeatureTable, SegmentIndex, SegmentModel};
use crate::learning::ROWS_COMPARED_MAX;
use crate::learning::silhouette::silhouette;

/// What has become of the callers of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// Callers that are in both tables.
    pub compared: usize,
    /// Those of them that are in another segment now.
    pub changed: usize,
    /// Callers of the earlier table that are not in the later one.
    pub gone: usize,
    /// Callers of the later table that are not in the earlier one.
    pub new: usize,
    /// How many went from one segment to another.
    pub moves: BTreeMap<(SegmentIndex, SegmentIndex), usize>,
    /// How well the segments lie apart in the later table; none where it has fewer than two.
    pub silhouette: Option<f64>,
}

impl Drift {
    /// The share of callers that are in another segment now; none where nobody could be compared.
    pub fn changed_share(&self) -> Option<f64> {
        (self.compared > 0).then(|| count(self.changed) / count(self.compared))
    }
}

/// Compares two tables of the model's features by what the model makes of their callers; a table without keys has
/// nobody to be compared.
pub fn drift(model: &SegmentModel, before: &FeatureTable, now: &FeatureTable) -> Drift {
    let known = segments_by_key(model, before);
    let later = segments_by_key(model, now);
    let mut drift = Drift {
        compared: 0,
        changed: 0,
        gone: known.keys().filter(|key| !later.contains_key(*key)).count(),
        new: later.keys().filter(|key| !known.contains_key(*key)).count(),
        moves: BTreeMap::new(),
        silhouette: silhouette_of(model, now),
    };
    for (key, from) in known {
        if let Some(to) = later.get(key) {
            drift.compared += 1;
            if *to != from {
                drift.changed += 1;
                *drift.moves.entry((from, *to)).or_default() += 1;
            }
        }
    }
    drift
}

fn segments_by_key<'t>(
    model: &SegmentModel,
    table: &'t FeatureTable,
) -> HashMap<&'t str, SegmentIndex> {
    let keys = table.keys.iter().flat_map(|keys| &keys.values);
    let segments = keys.enumerate();
    segments
        .filter_map(|(row, key)| Some((&**key, model.segment(table.row(row))?)))
        .collect()
}

/// The silhouette of a table's rows in the model's segments and units, over as many rows as training compares, evenly
/// taken from all.
fn silhouette_of(model: &SegmentModel, table: &FeatureTable) -> Option<f64> {
    let step = table.rows().div_ceil(ROWS_COMPARED_MAX).max(1);
    let rows = (0..table.rows()).step_by(step).map(|row| table.row(row));
    let (mut points, mut segments) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(segment) = model.segment(row) else {
            continue;
        };
        points.extend(model.centroids().standardised(row));
        segments.push(usize::from(segment.0));
    }
    let first = segments.first()?;
    let are_several = segments.iter().any(|segment| segment != first);
    are_several.then(|| silhouette(&points, table.features.len(), &segments))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "there are fewer callers than a float can count"
)]
const fn count(callers: usize) -> f64 {
    callers as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::segment::Columns;
    use crate::learning::{Clusters, Settings, train};

    fn table(rows: &[(&str, f64)]) -> FeatureTable {
        let rows = rows.iter().map(|(key, rate)| format!("{key},{rate}\n"));
        let text = format!("key,rate\n{}", rows.collect::<String>());
        FeatureTable::read(&text, &Columns::default()).unwrap()
    }

    /// Ten callers, of rates near 1 and near 100.
    const CALLERS: [(&str, f64); 10] = [
        ("a", 1.0),
        ("b", 1.2),
        ("c", 0.9),
        ("d", 1.1),
        ("e", 1.3),
        ("f", 0.8),
        ("g", 100.0),
        ("h", 101.0),
        ("i", 99.0),
        ("j", 102.0),
    ];

    fn model() -> SegmentModel {
        let settings = Settings {
            clusters: Clusters::Exactly(2),
            date: "2026-11-30".to_owned(),
            ..Settings::default()
        };
        train(&table(&CALLERS), &settings).unwrap().model
    }

    #[test]
    fn who_does_the_same_stays_and_the_silhouette_is_that_of_the_training() {
        let model = model();
        let same = drift(&model, &table(&CALLERS), &table(&CALLERS));
        assert_eq!(
            (same.compared, same.changed, same.gone, same.new),
            (10, 0, 0, 0)
        );
        assert_eq!(same.changed_share(), Some(0.0));
        let trained = model.document().quality.silhouette;
        assert!((same.silhouette.unwrap() - trained).abs() < 1e-6);
    }

    #[test]
    fn who_does_something_else_has_changed_and_others_come_and_go() {
        let (model, mut now) = (model(), CALLERS);
        now[0].1 = 100.0;
        now[6].1 = 50.0;
        now[9].0 = "k";
        let seen = drift(&model, &table(&CALLERS), &table(&now));
        assert_eq!((seen.compared, seen.gone, seen.new), (9, 1, 1));
        let [quiet, busy] = [1.0, 100.0].map(|rate| model.segment(&[rate]).unwrap());
        assert_eq!(seen.moves.get(&(quiet, busy)), Some(&1));
        assert_eq!(seen.changed, seen.moves.values().sum::<usize>());
        assert!(seen.silhouette.unwrap() < model.document().quality.silhouette);
    }

    #[test]
    fn nobody_is_compared_with_nobody() {
        let model = model();
        let strangers = [("x", 1.0), ("y", 1.1)];
        let seen = drift(&model, &table(&CALLERS), &table(&strangers));
        assert_eq!((seen.changed_share(), seen.new, seen.gone), (None, 2, 10));
        assert_eq!(seen.silhouette, None, "all are in one segment");
    }
}
