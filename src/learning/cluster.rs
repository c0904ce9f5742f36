//! Clusters of points that are near each other.

use smartcore::cluster::kmeans::{KMeans, KMeansParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::learning::TrainingError;

/// How often k-means begins anew. The best of ten is rarely far from the best there is.
const RUNS: u64 = 10;

/// The most passes of one run. It ends where nothing gets better, mostly after some dozens.
const PASSES_MAX: usize = 500;

/// A partition of points.
pub(super) struct Clustering {
    /// The cluster of each point.
    pub(super) clusters: Vec<usize>,
    /// The sum of the squared distances to the means of the clusters.
    pub(super) inertia: f64,
}

/// The best partition into so many clusters, none of them empty, or none at all where no run found
/// one. Points have `width` numbers each.
pub(super) fn k_means(
    points: &[f64],
    width: usize,
    count: usize,
    seed: u64,
) -> Result<Option<Clustering>, TrainingError> {
    let matrix = DenseMatrix::new(points.len() / width, width, points.to_vec(), false);
    let matrix = matrix.map_err(TrainingError::library)?;
    let mut best: Option<Clustering> = None;
    for run in 0..RUNS {
        let settings = KMeansParameters {
            k: count,
            max_iter: PASSES_MAX,
            seed: Some(seed.wrapping_add(run)),
        };
        let fitted = KMeans::<f64, u32, _, Vec<u32>>::fit(&matrix, settings);
        let found = fitted.and_then(|fitted| fitted.predict(&matrix));
        let found = found.map_err(TrainingError::library)?;
        let clusters: Vec<usize> = found.into_iter().map(|cluster| cluster as usize).collect();
        let Some(means) = means(points, width, &clusters, count) else {
            continue;
        };
        let inertia = inertia(points, width, &clusters, &means);
        // The first of equal ones, so that rounding decides nothing between them.
        if best
            .as_ref()
            .is_none_or(|best| inertia < best.inertia * (1.0 - 1e-9))
        {
            best = Some(Clustering { clusters, inertia });
        }
    }
    Ok(best)
}

/// The mean of each cluster; none where one is empty.
pub(super) fn means(
    points: &[f64],
    width: usize,
    clusters: &[usize],
    count: usize,
) -> Option<Vec<Vec<f64>>> {
    let mut sums = vec![vec![0.0; width]; count];
    let mut sizes = vec![0.0; count];
    for (point, cluster) in points.chunks_exact(width).zip(clusters) {
        sizes[*cluster] += 1.0;
        let sum = &mut sums[*cluster];
        sum.iter_mut()
            .zip(point)
            .for_each(|(sum, value)| *sum += value);
    }
    for (sum, size) in sums.iter_mut().zip(&sizes) {
        if *size < 1.0 {
            return None;
        }
        sum.iter_mut().for_each(|sum| *sum /= size);
    }
    Some(sums)
}

/// The sum of the squared distances of all points to the mean of their cluster.
pub(super) fn inertia(points: &[f64], width: usize, clusters: &[usize], means: &[Vec<f64>]) -> f64 {
    let rows = points.chunks_exact(width).zip(clusters);
    rows.map(|(point, cluster)| {
        let values = point.iter().zip(&means[*cluster]);
        values
            .map(|(value, mean)| (value - mean) * (value - mean))
            .sum::<f64>()
    })
    .sum()
}
