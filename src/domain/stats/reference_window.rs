//! What stable did lately, as a histogram that forgets.
//!
//! Cuts for latency and size come from stable's own past. Each tick the window is multiplied by a
//! factor below 1 and the new counts are added, so the weight of the past falls geometrically; but
//! never below a given number of samples, or little traffic would never make a usable window.

use serde::{Deserialize, Serialize};

use crate::domain::stats::bucket_counts::{BucketCounts, place_in};

/// A decaying histogram over buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReferenceWindow {
    /// The bucket of the first mass.
    lowest: i32,
    mass: Vec<f64>,
    total: f64,
}

impl ReferenceWindow {
    /// Decays by `factor`, but not below `keep` samples, and adds the counts of a tick.
    pub fn add(&mut self, tick: &BucketCounts, factor: f64, keep: f64) {
        self.decay(factor, keep);
        for (bucket, count) in tick.iter() {
            let place = place_in(&mut self.mass, &mut self.lowest, bucket);
            self.mass[place] += count as f64;
        }
        self.total += tick.total() as f64;
    }

    /// Samples in the window, decayed ones as parts.
    pub const fn total(&self) -> f64 {
        self.total
    }

    /// The mass of one bucket.
    pub fn mass_of(&self, bucket: i32) -> f64 {
        let place = i64::from(bucket) - i64::from(self.lowest);
        let place = usize::try_from(place).ok();
        place
            .and_then(|place| self.mass.get(place))
            .copied()
            .unwrap_or(0.0)
    }

    /// Buckets and their mass, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = (i32, f64)> {
        (self.lowest..).zip(self.mass.iter().copied())
    }

    /// The largest bucket that more than `1 - q` of the mass lies in or above.
    ///
    /// `None` while there is no mass at all.
    pub fn cut(&self, q: f64) -> Option<i32> {
        // A little more than the share, so that rounding in the sums does not decide a tie.
        let wanted = (1.0 - q) * self.total * (1.0 + 1e-12);
        let mut above = 0.0;
        let buckets = (0..self.mass.len()).rev();
        buckets
            .map(|place| (place, self.mass[place]))
            .find_map(|(place, mass)| {
                above += mass;
                let bucket = self.lowest + i32::try_from(place).unwrap_or(0);
                (above > wanted).then_some(bucket)
            })
    }

    fn decay(&mut self, factor: f64, keep: f64) {
        if self.total <= 0.0 {
            return;
        }
        let factor = factor.max((keep / self.total).min(1.0));
        for mass in &mut self.mass {
            *mass *= factor;
        }
        self.total *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(pairs: &[(i32, u64)]) -> BucketCounts {
        let mut counts = BucketCounts::default();
        counts.add_all(pairs);
        counts
    }

    #[test]
    fn a_cut_leaves_less_than_its_share_above() {
        let mut window = ReferenceWindow::default();
        assert_eq!(window.cut(0.5), None);
        window.add(&tick(&[(1, 50), (2, 40), (3, 9), (4, 1)]), 0.9, 0.0);
        // Exactly 1 % lies in bucket 4, which is not more than 1 %.
        assert_eq!(
            [0.5, 0.9, 0.99].map(|q| window.cut(q)),
            [Some(1), Some(2), Some(3)]
        );
        assert_eq!(window.cut(0.05), Some(1));
    }

    #[test]
    fn the_past_fades_but_not_below_what_is_kept() {
        let mut window = ReferenceWindow::default();
        window.add(&tick(&[(1, 1000)]), 0.5, 400.0);
        window.add(&tick(&[]), 0.5, 400.0);
        assert!((window.total() - 500.0).abs() < 1e-9);
        window.add(&tick(&[]), 0.5, 400.0);
        window.add(&tick(&[]), 0.5, 400.0);
        assert!((window.total() - 400.0).abs() < 1e-9);
        assert!((window.mass_of(1) - 400.0).abs() < 1e-9);
        assert!(window.mass_of(-7).abs() < 1e-300 && window.mass_of(9).abs() < 1e-300);
    }
}
