//! Segments: groups of callers that were learned from what callers do.
//!
//! A [`SegmentModel`] is trained elsewhere (`serin segment train`) and is only read here: it puts
//! a row of features into one of its segments, by the nearest of its *centroids* where segments are
//! clusters, by its decision *tree* where they are learned labels. Either is a walk over flat
//! arrays, so a caller is classified in well under a microsecond. What it says of a row it can
//! also say in words.

pub mod caller_table;
pub mod centroids;
pub mod classifier;
pub mod csv;
pub mod model;
pub mod rule;
pub mod table;
pub mod tree;

pub use self::caller_table::{CallerTable, Named, UnfitTable};
pub use self::classifier::{Classifier, FeatureSource, Placement, Unknown};
pub use self::model::{Feature, Method, ModelError, Quality, Segment, SegmentModel};
pub use self::rule::Rule;
pub use self::table::{Columns, FeatureTable, TableError, TextColumn};
pub use self::tree::{Node, Split, Tree};

/// The most features of a model: more than anybody reads, few enough to lie on the stack while a
/// request is classified.
pub const FEATURES_MAX: usize = 64;

/// The most segments of a model: each is a group that somebody has to understand.
pub const SEGMENTS_MAX: usize = 64;

/// The most nodes of a tree; one of depth eight has 511.
pub const NODES_MAX: usize = 4096;

/// The place of a segment in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIndex(pub u16);
