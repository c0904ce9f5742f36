//! How well rows lie in their own cluster.

use crate::learning::ROWS_COMPARED_MAX;

/// All distances between some points.
pub(super) struct Distances {
    points: usize,
    /// Point after point, the distances to all.
    all: Vec<f32>,
}

impl Distances {
    /// Takes points of so many numbers each, at most [`ROWS_COMPARED_MAX`] of them.
    pub(super) fn between(points: &[f64], width: usize) -> Self {
        let points: Vec<&[f64]> = points.chunks_exact(width).take(ROWS_COMPARED_MAX).collect();
        let distance = |a: &[f64], b: &[f64]| {
            let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
            // A silhouette is told with three digits.
            #[allow(clippy::cast_possible_truncation, reason = "seven digits are enough")]
            let distance = squares.sum::<f64>().sqrt() as f32;
            distance
        };
        let rows = points.iter();
        let all = rows.flat_map(|a| points.iter().map(|b| distance(a, b)));
        Self {
            all: all.collect(),
            points: points.len(),
        }
    }

    /// The mean silhouette of all points (Rousseeuw 1987): of each, how much closer it is on
    /// average to its own cluster than to the next one. 0 for a point alone in its cluster.
    pub(super) fn silhouette(&self, clusters: &[usize]) -> f64 {
        let count = clusters.iter().max().map_or(0, |most| most + 1);
        let mut sizes = vec![0_u32; count];
        for cluster in &clusters[..self.points] {
            sizes[*cluster] += 1;
        }
        let mut sums = vec![0.0; count];
        let total: f64 = (0..self.points)
            .map(|point| {
                sums.fill(0.0);
                let row = &self.all[point * self.points..][..self.points];
                for (distance, cluster) in row.iter().zip(clusters) {
                    sums[*cluster] += f64::from(*distance);
                }
                width(&sums, &sizes, clusters[point])
            })
            .sum();
        #[allow(clippy::cast_precision_loss, reason = "some thousand points")]
        let points = self.points.max(1) as f64;
        total / points
    }
}

/// The silhouette of one point of cluster `own`, from the sums of its distances to each cluster.
fn width(sums: &[f64], sizes: &[u32], own: usize) -> f64 {
    if sizes[own] < 2 {
        return 0.0;
    }
    let within = sums[own] / f64::from(sizes[own] - 1);
    let others = sums.iter().zip(sizes).enumerate();
    let nearest = others
        .filter(|(cluster, (_, size))| *cluster != own && **size > 0)
        .map(|(_, (sum, size))| sum / f64::from(*size))
        .fold(f64::INFINITY, f64::min);
    let larger = within.max(nearest);
    match larger > 0.0 && nearest.is_finite() {
        true => (nearest - within) / larger,
        false => 0.0,
    }
}

/// The mean silhouette of points of so many numbers each in their clusters; of more than
/// [`ROWS_COMPARED_MAX`] points the first so many are looked at.
pub fn silhouette(points: &[f64], width: usize, clusters: &[usize]) -> f64 {
    Distances::between(points, width).silhouette(clusters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silhouette_is_as_defined() {
        // By hand: a = 1, b = 9.5, s = 17/19 at 0; a = 1, b = 8.5, s = 15/17 at 1; the others alike.
        let found = silhouette(&[0.0, 1.0, 9.0, 10.0], 1, &[0, 0, 1, 1]);
        assert!(
            (found - (17.0 / 19.0 + 15.0 / 17.0) / 2.0).abs() < 1e-6,
            "{found}"
        );
    }

    #[test]
    fn one_alone_counts_as_nothing_and_mixed_clusters_less() {
        let alone = silhouette(&[0.0, 1.0, 10.0], 1, &[0, 0, 1]);
        assert!((alone - (0.9 + 8.0 / 9.0) / 3.0).abs() < 1e-6, "{alone}");
        assert!(silhouette(&[0.0, 10.0, 0.0, 10.0], 1, &[0, 0, 1, 1]) < 0.0);
        assert!(silhouette(&[1.0, 1.0, 1.0], 1, &[0, 0, 1]).abs() < 1e-9);
    }
}
