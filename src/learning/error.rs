//! What stands against learning anything.

use crate::domain::segment::{ModelError, SEGMENTS_MAX};
use crate::learning::ROWS_MIN;
use crate::learning::sample::FOLDS;

/// Why nothing is learned.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each is")]
pub enum TrainingError {
    #[error("{rows} rows are too few: at least {ROWS_MIN} are needed")]
    TooFewRows { rows: usize },
    #[error(
        "column `{column}` has the same value in every row and tells nobody apart; leave it out"
    )]
    Constant { column: String },
    #[error("column `{column}` has values too far apart to be put on one scale")]
    TooWide { column: String },
    #[error("{clusters} clusters cannot be found; ask for 2 to {SEGMENTS_MAX}")]
    ClusterCount { clusters: usize },
    #[error("{clusters} clusters are more than there are {what} ({rows})")]
    MoreClustersThanRows {
        clusters: usize,
        rows: usize,
        what: &'static str,
    },
    #[error(
        "no partition into {clusters} clusters was found that leaves none empty; ask for fewer"
    )]
    EmptyCluster { clusters: usize },
    #[error("column `{column}` has one label only, `{label}`: there is nothing to tell apart")]
    OneLabel { column: String, label: String },
    #[error(
        "column `{column}` has {found} different labels, and a model has at most {SEGMENTS_MAX} segments"
    )]
    TooManyLabels { column: String, found: usize },
    #[error(
        "column `{column}`: label `{label}` has {rows} rows, and at least {FOLDS} are needed to check the tree on rows that it has not seen"
    )]
    RareLabel {
        column: String,
        label: String,
        rows: usize,
    },
    #[error("no segment is called `{name}`; the segments are {known}")]
    UnknownName { name: String, known: String },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the library for training fails: {0}")]
    Library(String),
}

impl TrainingError {
    pub(super) fn library(error: impl std::fmt::Display) -> Self {
        Self::Library(error.to_string())
    }
}
