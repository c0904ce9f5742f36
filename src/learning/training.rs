//! From a table to a model.

use std::collections::{BTreeMap, HashSet};

use crate::domain::segment::centroids::Centroids;
use crate::domain::segment::model::{ModelDocument, VERSION};
use crate::domain::segment::tree::Walk;
use crate::domain::segment::{
    Feature, FeatureTable, Method, Quality, SEGMENTS_MAX, Segment, SegmentIndex, SegmentModel,
};
use crate::learning::cluster::{inertia, k_means, means};
use crate::learning::error::TrainingError;
use crate::learning::explain::{self, share};
use crate::learning::naming;
use crate::learning::sample::{FOLDS, places};
use crate::learning::scale::{scales, standardised};
use crate::learning::silhouette::{Distances, silhouette};
use crate::learning::{
    CLUSTERS_TRIED_MAX, ROWS_COMPARED_MAX, ROWS_MIN, ROWS_TRAINED_MAX, ROWS_TRIED_MAX,
};

/// How many clusters there shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clusters {
    /// As many as have the best silhouette, 2 to [`CLUSTERS_TRIED_MAX`].
    #[default]
    Auto,
    /// So many.
    Exactly(usize),
}

/// How to train.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How many clusters; of no meaning where the table has labels.
    pub clusters: Clusters,
    /// The seed of all that is drawn at random.
    pub seed: u64,
    /// The day that is written into the model, as `YYYY-MM-DD`.
    pub date: String,
    /// New names of segments: what they would be called, and what they shall be called.
    pub names: Vec<(String, String)>,
}

/// A model with what else came out.
#[derive(Clone, Debug)]
pub struct Training {
    /// The model.
    pub model: SegmentModel,
    /// The segment of each row of the table.
    pub assigned: Vec<SegmentIndex>,
    /// The numbers of clusters that were tried, each with its silhouette.
    pub tried: Vec<(usize, f64)>,
    /// How many rows clusters and trees were trained on.
    pub rows_trained: usize,
}

/// Learns segments from a table: its labels where it has some, clusters where not.
///
/// # Errors
/// Where the table does not allow for it, with the column or what else stands against it.
pub fn train(table: &FeatureTable, settings: &Settings) -> Result<Training, TrainingError> {
    let rows = table.rows();
    if rows < ROWS_MIN {
        return Err(TrainingError::TooFewRows { rows });
    }
    let features = scales(table)?;
    let learner = Learner {
        table,
        settings,
        points: standardised(table, &features),
        features,
    };
    match &table.labels {
        Some(labels) => learner.labels(&labels.name, &labels.values),
        None => learner.clusters(),
    }
}

/// A table that is learned from.
struct Learner<'t> {
    table: &'t FeatureTable,
    settings: &'t Settings,
    features: Vec<Feature>,
    /// The table's values in standard deviations.
    points: Vec<f64>,
}

impl Learner<'_> {
    fn width(&self) -> usize {
        self.features.len()
    }

    /// The points at these places.
    fn points_at(&self, rows: &[usize]) -> Vec<f64> {
        let width = self.width();
        let row = |row: &usize| &self.points[row * width..][..width];
        rows.iter().flat_map(row).copied().collect()
    }

    fn clusters(&self) -> Result<Training, TrainingError> {
        let (seed, width) = (self.settings.seed, self.width());
        let trained = places(self.table.rows(), ROWS_TRAINED_MAX, seed);
        let points = self.points_at(&trained);
        let distinct = distinct(&points, width);
        let (count, tried) = match self.settings.clusters {
            Clusters::Exactly(count) => (self.asked_for(count, distinct)?, Vec::new()),
            Clusters::Auto => self.best_count(&trained, distinct)?,
        };
        let found = k_means(&points, width, count, seed)?;
        let found = found.ok_or(TrainingError::EmptyCluster { clusters: count })?;
        let original = self.table.select(&trained);
        let mut centroids = means(&original.values, width, &found.clusters, count)
            .ok_or(TrainingError::EmptyCluster { clusters: count })?;
        // The largest comes first, and where two are as large what is lower.
        let size = |of: usize| {
            found
                .clusters
                .iter()
                .filter(|cluster| **cluster == of)
                .count()
        };
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| {
            let by_values = || compared(&centroids[*a], &centroids[*b]);
            size(*b).cmp(&size(*a)).then_with(by_values)
        });
        centroids = order
            .iter()
            .map(|place| centroids[*place].clone())
            .collect();
        let scales = self.features.iter().map(|f| (f.mean, f.deviation));
        let nearest = Centroids::new(scales, centroids.iter().map(|centroid| &**centroid));
        let rows = 0..self.table.rows();
        let assigned = rows.map(|row| {
            nearest
                .nearest(self.table.row(row))
                .unwrap_or(SegmentIndex(0))
        });
        let centres: Vec<&[f64]> = nearest.points().collect();
        let names = naming::names(&centres, &self.table.features);
        self.finish(
            Method::Clusters,
            centroids,
            names,
            assigned.collect(),
            trained,
            tried,
        )
    }

    fn asked_for(&self, count: usize, distinct: usize) -> Result<usize, TrainingError> {
        let rows = self.table.rows();
        let (rows, what) = match count > rows {
            true => (rows, "rows"),
            false => (distinct, "different rows"),
        };
        match count {
            _ if count > rows => Err(TrainingError::MoreClustersThanRows {
                clusters: count,
                rows,
                what,
            }),
            2..=SEGMENTS_MAX => Ok(count),
            _ => Err(TrainingError::ClusterCount { clusters: count }),
        }
    }

    /// The number of clusters with the best silhouette, and what was tried.
    fn best_count(
        &self,
        trained: &[usize],
        distinct: usize,
    ) -> Result<(usize, Vec<(usize, f64)>), TrainingError> {
        let (seed, width) = (self.settings.seed, self.width());
        let at = |places: Vec<usize>, of: &[usize]| -> Vec<usize> {
            places.into_iter().map(|place| of[place]).collect()
        };
        let rows = at(places(trained.len(), ROWS_TRIED_MAX, seed), trained);
        let points = self.points_at(&rows);
        let compared = places(rows.len(), ROWS_COMPARED_MAX, seed.wrapping_add(1));
        let distances = Distances::between(&self.points_at(&at(compared.clone(), &rows)), width);
        let mut tried = Vec::new();
        // A silhouette needs clusters that have not one row each.
        for count in 2..=CLUSTERS_TRIED_MAX.min(distinct.saturating_sub(1)) {
            if let Some(found) = k_means(&points, width, count, seed)? {
                let clusters = at(compared.clone(), &found.clusters);
                tried.push((count, distances.silhouette(&clusters)));
            }
        }
        // The first of equal ones: the fewest clusters.
        let best = tried.iter().rev().max_by(|a, b| a.1.total_cmp(&b.1));
        match best {
            Some((count, _)) => Ok((*count, tried)),
            None => Err(TrainingError::MoreClustersThanRows {
                clusters: 2,
                rows: distinct,
                what: "different rows",
            }),
        }
    }

    fn labels(&self, column: &str, labels: &[Box<str>]) -> Result<Training, TrainingError> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for label in labels {
            *sizes.entry(label).or_default() += 1;
        }
        let mut order: Vec<(&str, usize)> = sizes.into_iter().collect();
        order.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        let column = column.to_owned();
        match &order[..] {
            [(label, _)] => {
                let label = (*label).to_owned();
                return Err(TrainingError::OneLabel { column, label });
            }
            found if found.len() > SEGMENTS_MAX => {
                let found = found.len();
                return Err(TrainingError::TooManyLabels { column, found });
            }
            found => {
                if let Some((label, rows)) = found.iter().find(|(_, rows)| *rows < FOLDS) {
                    let (label, rows) = ((*label).to_owned(), *rows);
                    return Err(TrainingError::RareLabel {
                        column,
                        label,
                        rows,
                    });
                }
            }
        }
        let places_of: BTreeMap<&str, usize> = order
            .iter()
            .enumerate()
            .map(|(place, (label, _))| (*label, place))
            .collect();
        let classes: Vec<usize> = labels.iter().map(|label| places_of[&**label]).collect();
        let centroids = means(&self.table.values, self.width(), &classes, order.len());
        let assigned = classes.into_iter().map(index).collect();
        let names = order.iter().map(|(label, _)| (*label).to_owned()).collect();
        let trained = places(self.table.rows(), ROWS_TRAINED_MAX, self.settings.seed);
        self.finish(
            Method::Labels,
            centroids.unwrap_or_default(),
            names,
            assigned,
            trained,
            Vec::new(),
        )
    }

    /// Has the segments explained by a tree, and all of it measured.
    fn finish(
        &self,
        method: Method,
        centroids: Vec<Vec<f64>>,
        names: Vec<String>,
        assigned: Vec<SegmentIndex>,
        trained: Vec<usize>,
        tried: Vec<(usize, f64)>,
    ) -> Result<Training, TrainingError> {
        let table = self.table.select(&trained);
        let classes: Vec<u32> = trained
            .iter()
            .map(|row| u32::from(assigned[*row].0))
            .collect();
        let tree = explain::tree(&table, &classes)?;
        let walk = Walk::new(&tree);
        let rows = self.table.rows();
        let agreed = (0..rows).filter(|row| walk.segment(self.table.row(*row)) == assigned[*row]);
        let quality = Quality {
            silhouette: self.silhouette(&assigned),
            inertia: self.inertia(&assigned, &centroids),
            fidelity: share(agreed.count(), rows),
            accuracy: explain::accuracy(&table, &classes, self.settings.seed)?,
        };
        let names = renamed(names, &self.settings.names)?;
        let segments = names.into_iter().zip(centroids).enumerate();
        let segments = segments.map(|(place, (name, centroid))| Segment {
            name,
            rows: assigned.iter().filter(|at| **at == index(place)).count() as u64,
            centroid,
        });
        let model = SegmentModel::new(ModelDocument {
            version: VERSION,
            date: self.settings.date.clone(),
            seed: self.settings.seed,
            method,
            rows: rows as u64,
            features: self.features.clone(),
            segments: segments.collect(),
            tree,
            quality,
        })?;
        Ok(Training {
            model,
            assigned,
            tried,
            rows_trained: trained.len(),
        })
    }

    fn silhouette(&self, assigned: &[SegmentIndex]) -> f64 {
        let seed = self.settings.seed.wrapping_add(1);
        let compared = places(assigned.len(), ROWS_COMPARED_MAX, seed);
        let clusters: Vec<usize> = compared.iter().map(|row| assigned[*row].0.into()).collect();
        silhouette(&self.points_at(&compared), self.width(), &clusters)
    }

    fn inertia(&self, assigned: &[SegmentIndex], centroids: &[Vec<f64>]) -> f64 {
        let scales = self.features.iter().map(|f| (f.mean, f.deviation));
        let standard = Centroids::new(scales, centroids.iter().map(|centroid| &**centroid));
        let standard: Vec<Vec<f64>> = standard.points().map(<[f64]>::to_vec).collect();
        let clusters: Vec<usize> = assigned.iter().map(|segment| segment.0.into()).collect();
        inertia(&self.points, self.width(), &clusters, &standard)
    }
}

/// How many different points there are.
fn distinct(points: &[f64], width: usize) -> usize {
    let bits = |point: &[f64]| -> Vec<u64> { point.iter().map(|value| value.to_bits()).collect() };
    let different: HashSet<Vec<u64>> = points.chunks_exact(width).map(bits).collect();
    different.len()
}

/// Which of two rows of numbers is lower in the first number in which they differ.
fn compared(a: &[f64], b: &[f64]) -> std::cmp::Ordering {
    let mut pairs = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
    pairs
        .find(|order| order.is_ne())
        .unwrap_or(std::cmp::Ordering::Equal)
}

fn index(place: usize) -> SegmentIndex {
    SegmentIndex(u16::try_from(place).unwrap_or(u16::MAX))
}

fn renamed(mut names: Vec<String>, new: &[(String, String)]) -> Result<Vec<String>, TrainingError> {
    let old = names.clone();
    for (from, to) in new {
        let Some(place) = old.iter().position(|name| name == from) else {
            let known: Vec<String> = old.iter().map(|name| format!("`{name}`")).collect();
            return Err(TrainingError::UnknownName {
                name: from.clone(),
                known: known.join(", "),
            });
        };
        names[place].clone_from(to);
    }
    Ok(names)
}
