//! Parity on data sets with published figures, and what the seed decides.

use super::*;
use crate::domain::segment::{Columns, FeatureTable, Method};

const IRIS: &str = include_str!("../../tests/data/iris.csv");
const WINE: &str = include_str!("../../tests/data/wine.csv");

/// A data set without its classes, and the classes.
fn unlabelled(text: &str) -> (FeatureTable, Vec<Box<str>>) {
    let mut table = labelled(text);
    let labels = table.labels.take().unwrap();
    (table, labels.values)
}

fn labelled(text: &str) -> FeatureTable {
    let columns = Columns {
        label: Some("class"),
        ..Columns::default()
    };
    FeatureTable::read(text, &columns).unwrap()
}

fn settings(clusters: Clusters) -> Settings {
    Settings {
        clusters,
        seed: 1,
        date: "2026-11-30".to_owned(),
        names: Vec::new(),
    }
}

/// The adjusted Rand index of two partitions (Hubert and Arabie 1985): 1 where they are the same, 0 on
/// average by chance.
fn rand_index<A: Ord, B: Ord>(one: &[A], other: &[B]) -> f64 {
    use std::collections::BTreeMap;
    let pairs = |count: &f64| count * (count - 1.0) / 2.0;
    let (mut both, mut first, mut second) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (a, b) in one.iter().zip(other) {
        *both.entry((a, b)).or_insert(0.0) += 1.0;
        *first.entry(a).or_insert(0.0) += 1.0;
        *second.entry(b).or_insert(0.0) += 1.0;
    }
    let together: f64 = both.values().map(pairs).sum();
    let first: f64 = first.values().map(pairs).sum();
    let second: f64 = second.values().map(pairs).sum();
    let by_chance = first * second / pairs(&(one.len() as f64));
    (together - by_chance) / (f64::midpoint(first, second) - by_chance)
}

#[test]
fn clusters_are_as_good_as_published_ones() {
    for (text, inertia, index) in [(IRIS, 139.8205, 0.620), (WINE, 1277.9285, 0.898)] {
        for seed in 1..=5 {
            let (table, classes) = unlabelled(text);
            let settings = Settings {
                seed,
                ..settings(Clusters::Exactly(3))
            };
            let training = train(&table, &settings).unwrap();
            let found = training.model.document().quality.inertia;
            assert!(
                found <= inertia * 1.002 && found > inertia * 0.999,
                "{found}, {inertia}"
            );
            let assigned: Vec<u16> = training.assigned.iter().map(|s| s.0).collect();
            let found = rand_index(&assigned, &classes);
            assert!((found - index).abs() <= 0.02, "{found}, {index}");
        }
    }
}

#[test]
fn the_silhouette_finds_the_number_of_clusters() {
    for (text, clusters) in [(IRIS, 2), (WINE, 3)] {
        let training = train(&unlabelled(text).0, &settings(Clusters::Auto)).unwrap();
        let document = training.model.document();
        assert_eq!(document.segments.len(), clusters, "{:?}", training.tried);
        let tried = training.tried.iter().find(|tried| tried.0 == clusters);
        assert!((tried.unwrap().1 - document.quality.silhouette).abs() < 1e-6);
        assert!(document.quality.fidelity > 0.9 && document.quality.accuracy > 0.85);
    }
}

#[test]
fn the_tree_is_as_good_as_published_ones() {
    for (text, accuracy) in [(IRIS, 0.944), (WINE, 0.917)] {
        for seed in 1..=5 {
            let settings = Settings {
                seed,
                ..settings(Clusters::Auto)
            };
            let training = train(&labelled(text), &settings).unwrap();
            let document = training.model.document();
            assert_eq!(document.method, Method::Labels);
            let found = document.quality.accuracy;
            assert!(
                (found - accuracy).abs() <= 0.03,
                "{found}, {accuracy}, seed {seed}"
            );
            assert!(document.quality.fidelity > 0.97, "{:?}", document.quality);
        }
    }
}

#[test]
fn a_seed_gives_one_model() {
    for table in [unlabelled(WINE).0, labelled(WINE)] {
        let written = |settings: &Settings| train(&table, settings).unwrap().model.to_json();
        let first = written(&settings(Clusters::Auto));
        assert_eq!(written(&settings(Clusters::Auto)), first);
        let other = Settings {
            seed: 2,
            ..settings(Clusters::Auto)
        };
        assert_ne!(written(&other), first);
    }
}

#[test]
fn segments_are_called_by_what_sets_them_apart_or_as_they_shall_be() {
    let (table, _) = unlabelled(IRIS);
    let names = |names: &[(&str, &str)]| {
        let named = names
            .iter()
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        let settings = Settings {
            names: named.collect(),
            ..settings(Clusters::Auto)
        };
        let training = train(&table, &settings)?;
        let segments = training.model.document().segments.iter();
        Ok::<_, TrainingError>(segments.map(|s| s.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(
        names(&[]).unwrap(),
        ["high-petal_length_cm", "low-petal_length_cm"]
    );
    let renamed = names(&[("low-petal_length_cm", "small")]).unwrap();
    assert_eq!(renamed, ["high-petal_length_cm", "small"]);
    let error = names(&[("tiny", "small")]).unwrap_err().to_string();
    assert!(
        error.starts_with("no segment is called `tiny`; the segments are `high-"),
        "{error}"
    );
    let same = names(&[("low-petal_length_cm", "high-petal_length_cm")]).unwrap_err();
    assert!(
        same.to_string().contains("two segments are named"),
        "{same}"
    );
}

/// A table of two features and a label.
fn rows(count: usize, row: fn(usize) -> String) -> String {
    let rows: String = (0..count).map(row).collect();
    format!("a,b,plan\n{rows}")
}

/// Why nothing is learned from a table.
fn refused(text: &str, label: Option<&str>, clusters: Clusters) -> String {
    let ignored: &[&str] = if label.is_none() { &["plan"] } else { &[] };
    let columns = Columns {
        label,
        ignored,
        ..Columns::default()
    };
    let table = FeatureTable::read(text, &columns).unwrap();
    train(&table, &settings(clusters)).unwrap_err().to_string()
}

#[test]
fn what_has_no_clusters_is_refused() {
    let varied = |row: usize| format!("{row},{},p{}\n", row * row, row % 2);
    let message = refused(&rows(9, varied), None, Clusters::Auto);
    assert_eq!(message, "9 rows are too few: at least 10 are needed");
    let message = refused(
        &rows(20, |row| format!("{row},5,p\n")),
        None,
        Clusters::Auto,
    );
    assert!(
        message.starts_with("column `b` has the same value in every row"),
        "{message}"
    );
    for (clusters, message) in [
        (21, "21 clusters are more than there are rows (20)"),
        (1, "1 clusters cannot be found; ask for 2 to 64"),
        (0, "0 clusters cannot be found; ask for 2 to 64"),
    ] {
        assert_eq!(
            refused(&rows(20, varied), None, Clusters::Exactly(clusters)),
            message
        );
    }
    let three = rows(20, |row| format!("{},{},p\n", row % 3, row % 3));
    let message = refused(&three, None, Clusters::Exactly(4));
    assert_eq!(
        message,
        "4 clusters are more than there are different rows (3)"
    );
}

#[test]
fn labels_that_cannot_be_told_apart_are_refused() {
    let message = refused(
        &rows(20, |row| format!("{row},{},p\n", row * 2)),
        Some("plan"),
        Clusters::Auto,
    );
    assert_eq!(
        message,
        "column `plan` has one label only, `p`: there is nothing to tell apart"
    );
    let rare = rows(20, |row| format!("{row},{},p{}\n", row * 2, row / 17));
    let message = refused(&rare, Some("plan"), Clusters::Auto);
    assert!(
        message.starts_with("column `plan`: label `p1` has 3 rows"),
        "{message}"
    );
    let many = rows(700, |row| format!("{row},{},p{}\n", row * 2, row % 70));
    let message = refused(&many, Some("plan"), Clusters::Auto);
    assert!(
        message.starts_with("column `plan` has 70 different labels"),
        "{message}"
    );
}

#[test]
fn a_long_table_is_trained_on_a_part_of_it() {
    // Two clouds, of which the second is small.
    let value =
        |row: usize| (row % 97) as f64 / 97.0 + if row.is_multiple_of(10) { 20.0 } else { 0.0 };
    let rows = ROWS_TRAINED_MAX + 5_000;
    let table = FeatureTable {
        features: vec!["rate".into()],
        values: (0..rows).map(value).collect(),
        ..FeatureTable::default()
    };
    let training = train(&table, &settings(Clusters::Exactly(2))).unwrap();
    assert_eq!(
        (training.rows_trained, training.assigned.len()),
        (ROWS_TRAINED_MAX, rows)
    );
    let segments = &training.model.document().segments;
    assert_eq!(segments[1].rows, 10_500);
    assert_eq!(segments[0].rows, 94_500);
}

#[test]
fn a_drawing_shows_each_row_and_names_the_segments() {
    let (mut table, _) = unlabelled(IRIS);
    table.features[2] = "petals & <leaves>".into();
    let training = train(&table, &settings(Clusters::Auto)).unwrap();
    let drawing = svg(&table, &training);
    assert_eq!(drawing.matches("r=\"3\"").count(), 150);
    assert!(drawing.contains("petals &amp; &lt;leaves&gt;"), "{drawing}");
    assert!(
        drawing.contains("(100)</text>") && !drawing.contains("NaN"),
        "{drawing}"
    );
    assert_eq!(svg(&table, &training), drawing);
}
