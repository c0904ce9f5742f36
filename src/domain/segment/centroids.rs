//! Finds the nearest of several points, each feature on its own scale.

use crate::domain::segment::SegmentIndex;

/// Centroids in units of each feature's standard deviation, as one array.
#[derive(Clone, Debug, PartialEq)]
pub struct Centroids {
    /// For each feature: its mean, and one over its standard deviation.
    scales: Box<[(f64, f64)]>,
    /// Centroid after centroid, standardised.
    points: Box<[f64]>,
}

/// Which centroid is nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// The nearest; the first of several.
    pub segment: SegmentIndex,
    /// How far it is, in standard deviations.
    pub distance: f64,
    /// The next one, and how far that is, where there is another.
    pub next: Option<(SegmentIndex, f64)>,
}

impl Centroids {
    /// Takes means and standard deviations of the features, and centroids in the features' units.
    pub fn new<'c>(
        scales: impl IntoIterator<Item = (f64, f64)>,
        centroids: impl IntoIterator<Item = &'c [f64]>,
    ) -> Self {
        let scales: Box<[_]> = scales
            .into_iter()
            .map(|(mean, deviation)| (mean, deviation.recip()))
            .collect();
        let standardised = centroids.into_iter().flat_map(|centroid| {
            let values = centroid.iter().zip(&scales);
            values.map(|(value, (mean, scale))| (value - mean) * scale)
        });
        let points = standardised.collect();
        Self { scales, points }
    }

    /// The nearest centroid to a row of features: the first of several. None where all are further away than
    /// can be told, for then no one is nearer than the others.
    pub fn nearest(&self, row: &[f64]) -> Option<SegmentIndex> {
        let mut best = (None, f64::INFINITY);
        for (place, distance) in self.squared_distances(row).enumerate() {
            if distance < best.1 {
                best = (Some(place), distance);
            }
        }
        best.0.map(index)
    }

    /// The two nearest centroids, with their distances, where they can be told.
    pub fn two_nearest(&self, row: &[f64]) -> Option<Nearest> {
        let distances = self.squared_distances(row).enumerate();
        let mut distances: Vec<_> = distances.filter(|(_, it)| it.is_finite()).collect();
        distances.sort_by(|a, b| a.1.total_cmp(&b.1));
        let at = |place: usize| {
            let found = distances.get(place);
            found.map(|(place, distance)| (index(*place), distance.sqrt()))
        };
        let (segment, distance) = at(0)?;
        Some(Nearest {
            segment,
            distance,
            next: at(1),
        })
    }

    /// A row in standard deviations from the mean.
    pub fn standardised<'s>(&'s self, row: &'s [f64]) -> impl Iterator<Item = f64> + 's {
        row.iter()
            .zip(&self.scales)
            .map(|(value, (mean, scale))| (value - mean) * scale)
    }

    /// The centroids in standard deviations from the mean.
    pub fn points(&self) -> impl Iterator<Item = &[f64]> {
        self.points.chunks_exact(self.scales.len())
    }

    fn squared_distances<'s>(&'s self, row: &'s [f64]) -> impl Iterator<Item = f64> + 's {
        self.points
            .chunks_exact(self.scales.len())
            .map(move |point| {
                let standardised = self.standardised(row).zip(point);
                standardised
                    .map(|(value, at)| (value - at) * (value - at))
                    .sum()
            })
    }
}

/// A model has at most [`super::SEGMENTS_MAX`] segments.
fn index(place: usize) -> SegmentIndex {
    SegmentIndex(u16::try_from(place).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_on_each_features_own_scale() {
        // Requests come in hundreds, error shares in hundredths.
        let scales = [(500.0, 100.0), (0.05, 0.01)];
        let centroids = [&[500.0, 0.05][..], &[500.0, 0.09], &[900.0, 0.05]];
        let centroids = Centroids::new(scales, centroids);
        assert_eq!(centroids.nearest(&[520.0, 0.06]), Some(SegmentIndex(0)));
        assert_eq!(centroids.nearest(&[520.0, 0.08]), Some(SegmentIndex(1)));
        assert_eq!(centroids.nearest(&[720.0, 0.05]), Some(SegmentIndex(2)));
        assert_eq!(
            centroids.nearest(&[700.0, 0.05]),
            Some(SegmentIndex(0)),
            "the first of two"
        );
    }

    #[test]
    fn the_next_one_is_told_as_well() {
        let centroids = Centroids::new([(0.0, 2.0)], [&[0.0][..], &[8.0], &[20.0]]);
        let nearest = centroids.two_nearest(&[6.0]).unwrap();
        assert_eq!((nearest.segment, nearest.distance), (SegmentIndex(1), 1.0));
        assert_eq!(nearest.next, Some((SegmentIndex(0), 3.0)));
        let alone = Centroids::new([(0.0, 1.0)], [&[1.0][..]]);
        assert_eq!(alone.two_nearest(&[3.0]).unwrap().next, None);
    }
    #[test]
    fn nothing_is_nearest_to_what_is_further_away_than_can_be_told() {
        let centroids = Centroids::new([(0.0, 2.0), (1.0, 1.0)], [&[0.0, 1.0][..], &[8.0, 1.0]]);
        for far in [1e200, -1e200, f64::MAX, f64::MIN] {
            for row in [[far, 1.0], [8.0, far]] {
                assert_eq!(centroids.nearest(&row), None, "{row:?}");
                assert_eq!(centroids.two_nearest(&row), None, "{row:?}");
            }
        }
        // Far, and yet to be told.
        assert_eq!(centroids.nearest(&[1e150, 1.0]), Some(SegmentIndex(0)));
        assert_eq!(centroids.nearest(&[100.0, 1.0]), Some(SegmentIndex(1)));
    }
}
