//! A decision tree that tells classes apart.

use serde::Deserialize;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_classifier::{
    DecisionTreeClassifier, DecisionTreeClassifierParameters,
};

use crate::domain::segment::tree::Walk;
use crate::domain::segment::{FeatureTable, Node, Split, Tree};
use crate::learning::TrainingError;
use crate::learning::sample::{FOLDS, folds};

/// The most questions to a leaf: more than five make no rule that anybody reads.
const DEPTH_MAX: u16 = 5;

/// A leaf has at least one row in so many, so that rules are not about single callers.
const LEAF_ROWS_SHARE: usize = 200;

/// How often a table is cut into folds. With less than two hundred rows, one cut may say two per
/// cent more or less than another.
const REPETITIONS: u64 = 10;

/// A longer table is cut once.
const ROWS_REPEATED_MAX: usize = 10_000;

/// Trains a tree that tells the classes of a table's rows apart.
pub(super) fn tree(table: &FeatureTable, classes: &[u32]) -> Result<Tree, TrainingError> {
    let first = classes.first().copied().unwrap_or_default();
    if classes.iter().all(|class| *class == first) {
        let node = Node {
            segment: u16::try_from(first).unwrap_or_default(),
            rows: classes.len() as u64,
            split: None,
        };
        return Ok(Tree { nodes: vec![node] });
    }
    let (rows, width) = (table.rows(), table.features.len());
    let matrix = DenseMatrix::new(rows, width, table.values.clone(), false);
    let matrix = matrix.map_err(TrainingError::library)?;
    let settings = DecisionTreeClassifierParameters {
        // The library counts levels of nodes, of which there is one more than questions.
        max_depth: Some(DEPTH_MAX + 1),
        min_samples_leaf: (rows / LEAF_ROWS_SHARE).max(1),
        // Nothing is drawn, since every split looks at every feature.
        seed: Some(0),
        ..DecisionTreeClassifierParameters::default()
    };
    let fitted = DecisionTreeClassifier::fit(&matrix, &classes.to_vec(), settings);
    let fitted = fitted.map_err(TrainingError::library)?;
    // The library shows its nodes only as it writes them.
    let written = serde_json::to_value(&fitted).map_err(TrainingError::library)?;
    let fitted: Fitted = serde_json::from_value(written).map_err(TrainingError::library)?;
    Ok(fitted.pruned())
}

/// The share of rows that a tree, trained on the other folds, puts into their class; the mean over
/// [`REPETITIONS`] ways to cut the table, of which one is enough where it is long.
pub(super) fn accuracy(
    table: &FeatureTable,
    classes: &[u32],
    seed: u64,
) -> Result<f64, TrainingError> {
    let is_short = table.rows() <= ROWS_REPEATED_MAX;
    let repetitions = if is_short { REPETITIONS } else { 1 };
    let mut right = 0;
    for repetition in 0..repetitions {
        let folds = folds(classes, seed.wrapping_add(repetition));
        for fold in 0..FOLDS {
            right += right_in(fold, &folds, table, classes)?;
        }
    }
    let all = classes
        .len()
        .saturating_mul(usize::try_from(repetitions).unwrap_or(1));
    Ok(share(right, all))
}

/// How many rows of one fold a tree that was trained on the others puts into their class.
fn right_in(
    fold: usize,
    folds: &[usize],
    table: &FeatureTable,
    classes: &[u32],
) -> Result<usize, TrainingError> {
    let (within, others): (Vec<usize>, Vec<usize>) =
        (0..folds.len()).partition(|row| folds[*row] == fold);
    let other_classes: Vec<u32> = others.iter().map(|row| classes[*row]).collect();
    let walk = Walk::new(&tree(&table.select(&others), &other_classes)?);
    let is_right = |row: &&usize| u32::from(walk.segment(table.row(**row)).0) == classes[**row];
    Ok(within.iter().filter(is_right).count())
}

/// A part of a whole.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "no table has 2^53 rows")]
    let (part, whole) = (part as f64, whole.max(1) as f64);
    part / whole
}

/// What the library writes of a tree.
#[derive(Deserialize)]
struct Fitted {
    nodes: Vec<FittedNode>,
    classes: Vec<u32>,
}

#[derive(Deserialize)]
struct FittedNode {
    /// A place in `classes`.
    output: usize,
    n_node_samples: u64,
    split_feature: usize,
    split_value: Option<f64>,
    true_child: Option<usize>,
    false_child: Option<usize>,
}

impl Fitted {
    /// The tree without splits whose leaves all say the same.
    fn pruned(&self) -> Tree {
        let mut nodes = Vec::new();
        self.put(0, &mut nodes);
        Tree { nodes }
    }

    /// Appends a node and what is below it; the segment where that is one and the same.
    fn put(&self, place: usize, nodes: &mut Vec<Node>) -> Option<u16> {
        let node = &self.nodes[place];
        let segment = u16::try_from(self.classes[node.output]).unwrap_or_default();
        let here = nodes.len();
        nodes.push(Node {
            segment,
            rows: node.n_node_samples,
            split: None,
        });
        let (Some(at_most), Some(below), Some(above)) =
            (node.split_value, node.true_child, node.false_child)
        else {
            return Some(segment);
        };
        let first = self.put(below, nodes);
        let behind = nodes.len();
        let second = self.put(above, nodes);
        if let Some(segment) = first.filter(|_| first == second) {
            nodes.truncate(here + 1);
            nodes[here].segment = segment;
            return Some(segment);
        }
        // A tree of so few levels has few nodes and a table few features.
        nodes[here].split = Some(Split {
            feature: u16::try_from(node.split_feature).unwrap_or_default(),
            at_most,
            below: u32::try_from(here + 1).unwrap_or_default(),
            above: u32::try_from(behind).unwrap_or_default(),
        });
        None
    }
}
