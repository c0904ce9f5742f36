//! Learns segments from a table of features.
//!
//! Without labels, callers that are alike make clusters: features are standardised, k-means++
//! (Arthur and Vassilvitskii 2007) runs ten times from different starts, and how many clusters
//! there are is said or chosen by the silhouette (Rousseeuw 1987). A decision tree (CART, Breiman
//! et al. 1984) then explains the clusters. With labels, the tree learns those. All that is drawn at
//! random is drawn from a seed, so equal tables and settings give equal models, byte for byte.
//!
//! k-means and the tree are smartcore's. The tree of linfa-trees 0.8.1 keeps counts of classes in a
//! hash map, adds them up in its random order and breaks ties by it: 200 fits to the irises gave
//! four different trees.

mod cluster;
mod drift;
mod error;
mod explain;
mod naming;
mod plot;
mod report;
mod sample;
mod scale;
mod silhouette;
#[cfg(test)]
mod tests;
mod training;

pub use self::drift::{Drift, drift};
pub use self::error::TrainingError;
pub use self::plot::svg;
pub use self::report::to_json;
pub use self::silhouette::silhouette;
pub use self::training::{Clusters, Settings, Training, train};

/// The fewest rows that are trained on. Fewer show no structure.
pub const ROWS_MIN: usize = 10;

/// The most clusters that are tried where nobody says how many.
pub const CLUSTERS_TRIED_MAX: usize = 10;

/// The most rows that clusters and trees are trained on; of a longer table so many are drawn.
pub const ROWS_TRAINED_MAX: usize = 100_000;

/// The most rows by which the number of clusters is chosen.
pub const ROWS_TRIED_MAX: usize = 10_000;

/// The most rows between which silhouettes compare all distances: the work grows with the square.
pub const ROWS_COMPARED_MAX: usize = 2_000;
