//! Counts by bucket, where buckets are whole numbers around zero.
//!
//! A bucket is a place on a scale of equal ratios: bucket `i` of a scale with `b` to the octave holds
//! `2^(i/b)` up to `2^((i+1)/b)`. Counts are kept densely over the range seen so far: after the first
//! few ticks the range no longer grows, and adding is one addition.

use serde::{Deserialize, Serialize};

/// How far from zero a bucket may be: beyond `2^1024` at 16 to the octave a value is no `f64`.
pub const BUCKET_MAX: i32 = 16_384;

/// Counts by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketCounts {
    /// The bucket of the first count.
    lowest: i32,
    counts: Vec<u64>,
    total: u64,
}

impl BucketCounts {
    /// Adds to a bucket. One farther out than [`BUCKET_MAX`] counts as the farthest.
    pub fn add(&mut self, bucket: i32, count: u64) {
        let place = place_in(&mut self.counts, &mut self.lowest, bucket);
        self.counts[place] = self.counts[place].saturating_add(count);
        self.total = self.total.saturating_add(count);
    }

    /// Adds pairs of bucket and count.
    pub fn add_all(&mut self, pairs: &[(i32, u64)]) {
        for (bucket, count) in pairs {
            self.add(*bucket, *count);
        }
    }

    /// Sets all counts to zero, and keeps the room for them.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The sum of all counts.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Buckets that have a count, in rising order, with it.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, u64)> {
        (0..self.counts.len())
            .map(|place| {
                (
                    self.lowest + i32::try_from(place).unwrap_or(0),
                    self.counts[place],
                )
            })
            .filter(|(_, count)| *count > 0)
    }

    /// The bucket that the smallest share `q` (0 to 1) of all values reaches into.
    pub fn quantile(&self, q: f64) -> Option<i32> {
        let wanted = q * self.total as f64;
        let mut below = 0.0;
        self.iter().find_map(|(bucket, count)| {
            below += count as f64;
            (below >= wanted).then_some(bucket)
        })
    }
}

/// The place of a bucket in a dense range that begins with `lowest`; the range grows as needed.
pub(super) fn place_in<T: Clone + Default>(
    values: &mut Vec<T>,
    lowest: &mut i32,
    bucket: i32,
) -> usize {
    let bucket = bucket.clamp(-BUCKET_MAX, BUCKET_MAX);
    if values.is_empty() {
        *lowest = bucket;
    } else if bucket < *lowest {
        let missing = lowest.abs_diff(bucket) as usize;
        values.splice(0..0, std::iter::repeat_n(T::default(), missing));
        *lowest = bucket;
    }
    let place = lowest.abs_diff(bucket) as usize;
    if place >= values.len() {
        values.resize(place + 1, T::default());
    }
    place
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_the_buckets_reached() {
        let mut counts = BucketCounts::default();
        assert_eq!(counts.quantile(0.5), None);
        counts.add_all(&[(5, 50), (9, 49), (40, 1)]);
        assert_eq!(counts.quantile(0.5), Some(5));
        assert_eq!(counts.quantile(0.51), Some(9));
        assert_eq!(counts.quantile(0.99), Some(9));
        assert_eq!(counts.quantile(1.0), Some(40));
    }

    #[test]
    fn a_bucket_beyond_all_is_the_last_one() {
        let mut counts = BucketCounts::default();
        counts.add(i32::MAX, 1);
        counts.add(i32::MIN, 2);
        assert_eq!(
            counts.iter().collect::<Vec<_>>(),
            [(-BUCKET_MAX, 2), (BUCKET_MAX, 1)]
        );
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(pairs in prop::collection::vec((-90..90_i32, 0..5_u64), 0..40)) {
            let mut counts = BucketCounts::default();
            counts.add(7, 3);
            counts.clear();
            counts.add_all(&pairs);
            let mut map = BTreeMap::new();
            for (bucket, count) in pairs.iter().filter(|(_, count)| *count > 0) {
                *map.entry(*bucket).or_insert(0) += count;
            }
            prop_assert_eq!(counts.iter().collect::<Vec<_>>(), Vec::from_iter(map));
            prop_assert_eq!(counts.total(), pairs.iter().map(|(_, count)| count).sum::<u64>());
        }
    }
}
