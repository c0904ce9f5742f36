//! What it costs to find a caller's segment: by features, and by key in a table of a million.

#![allow(missing_docs, reason = "the macros of criterion make public items")]
#![allow(clippy::expect_used, reason = "a bench ends where it cannot go on")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serin::domain::segment::model::{ModelDocument, VERSION};
use serin::domain::segment::{
    CallerTable, Columns, Feature, FeatureTable, Method, Node, Quality, Segment, SegmentModel,
    Split, Tree,
};

const FEATURES: u16 = 8;
const SEGMENTS: u16 = 8;
/// Questions to each leaf.
const DEPTH: u32 = 5;

/// A model of eight features and segments, with a full tree.
fn model(method: Method) -> SegmentModel {
    let value = |segment: u16, feature: u16| f64::from(segment * 31 + feature * 17 % 13);
    let segment = |segment: u16| Segment {
        name: format!("segment-{segment}"),
        rows: 100,
        centroid: (0..FEATURES)
            .map(|feature| value(segment, feature))
            .collect(),
    };
    let feature = |feature: u16| Feature {
        name: format!("feature_{feature}"),
        mean: 100.0,
        deviation: 70.0,
    };
    let splits = 2_u32.pow(DEPTH) - 1;
    let node = |place: u32| Node {
        segment: u16::try_from(place).unwrap_or(0) % SEGMENTS,
        rows: 100,
        split: (place < splits).then(|| Split {
            feature: u16::try_from(place).unwrap_or(0) % FEATURES,
            at_most: f64::from(40 + place * 5),
            below: 2 * place + 1,
            above: 2 * place + 2,
        }),
    };
    let document = ModelDocument {
        version: VERSION,
        date: "2026-11-30".to_owned(),
        seed: 1,
        method,
        rows: 800,
        features: (0..FEATURES).map(feature).collect(),
        segments: (0..SEGMENTS).map(segment).collect(),
        tree: Tree {
            nodes: (0..2 * splits + 1).map(node).collect(),
        },
        quality: Quality::default(),
    };
    SegmentModel::new(document).expect("the model fits together")
}

fn by_features(criterion: &mut Criterion) {
    // Different rows, so that no branch is always the same.
    let rows: Vec<Vec<f64>> = (0..1024_u32)
        .map(|row| {
            (0..u32::from(FEATURES))
                .map(|f| f64::from((row * 7919 + f * 104_729) % 251))
                .collect()
        })
        .collect();
    for (name, method) in [("centroids", Method::Clusters), ("tree", Method::Labels)] {
        let model = model(method);
        let mut next = 0;
        criterion.bench_function(&format!("segment/{name}"), |bench| {
            bench.iter(|| {
                next = (next + 1) % rows.len();
                black_box(model.segment(black_box(&rows[next])))
            });
        });
    }
}

fn by_key(criterion: &mut Criterion) {
    let model = model(Method::Clusters);
    let key = |row: u32| format!("caller-{:08x}", row.wrapping_mul(2_654_435_761));
    let mut text = "key".to_owned();
    for feature in model.feature_names() {
        text += &format!(",{feature}");
    }
    text += "\n";
    for row in 0..1_000_000_u32 {
        text += &key(row);
        for feature in 0..u32::from(FEATURES) {
            text += &format!(",{}.{}", (row * 31 + feature) % 251, row % 10);
        }
        text += "\n";
    }
    let features = model.feature_names();
    let columns = Columns {
        features: Some(&features),
        ..Columns::default()
    };
    let read = || {
        let table = FeatureTable::read(&text, &columns).expect("the table is sound");
        CallerTable::new(table, &model).expect("callers can be looked up")
    };
    let mut group = criterion.benchmark_group("segment/table");
    group.sample_size(10);
    group.bench_function("read a million rows", |bench| bench.iter(read));
    group.finish();
    let table = read();
    let keys: Vec<String> = (0..100_000).map(|row| key(row * 10)).collect();
    let mut next = 0;
    criterion.bench_function("segment/look up", |bench| {
        bench.iter(|| {
            next = (next + 7919) % keys.len();
            black_box(table.segment(black_box(&keys[next])))
        });
    });
}

criterion_group!(benches, by_features, by_key);
criterion_main!(benches);
