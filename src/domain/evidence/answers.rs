//! What good answers are like besides their latency: how large, and of which content type.

use serde::{Deserialize, Serialize};

/// Sizes of answers in buckets of equal ratio: bucket `i` holds `2^(i/4) <= bytes + 1 < 2^((i+1)/4)`.
///
/// Four to the octave, each 19 % wider than the one before: an empty answer, an error page and a
/// document are told apart, and two documents of the same kind are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(usize, u64)>", into = "Vec<(usize, u64)>")]
pub struct SizeCounts(Box<[u64; Self::BUCKETS]>);

impl SizeCounts {
    /// Buckets in one octave.
    pub const BUCKETS_PER_OCTAVE: usize = 4;
    /// Buckets in all: 40 octaves, up to a terabyte.
    pub const BUCKETS: usize = 40 * Self::BUCKETS_PER_OCTAVE;

    /// The bucket of a size in bytes, 0 to [`BUCKETS`](Self::BUCKETS) - 1; anything larger counts
    /// as the largest.
    pub fn bucket_of(bytes: u64) -> usize {
        let size = bytes.saturating_add(1);
        let octave = size.ilog2();
        // The part above the octave, in 32 bits: `size / 2^octave` from 2^31 up to 2^32.
        let mantissa = if octave >= 31 {
            size >> (octave - 31)
        } else {
            size << (31 - octave)
        };
        let quarter = EDGES.iter().filter(|edge| mantissa >= **edge).count();
        (octave as usize * Self::BUCKETS_PER_OCTAVE + quarter).min(Self::BUCKETS - 1)
    }

    /// Counts one answer.
    pub fn record(&mut self, bytes: u64) {
        self.0[Self::bucket_of(bytes)] += 1;
    }

    /// Buckets that hold anything, rising, with their counts.
    pub fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.0.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }

    /// Takes counts made elsewhere; pairs outside the range are left out.
    pub fn from_counts(counts: impl IntoIterator<Item = (usize, u64)>) -> Self {
        let mut sizes = Self::default();
        for (bucket, count) in counts {
            if let Some(own) = sizes.0.get_mut(bucket) {
                *own += count;
            }
        }
        sizes
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Self) {
        add(&mut *self.0, &*other.0);
    }

    /// What was added since an earlier state of the same counts.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut added = self.clone();
        subtract(&mut *added.0, &*earlier.0);
        added
    }
}

/// `2^(31 + q/4)` for q = 1, 2, 3, rounded up: where the quarters of an octave begin.
const EDGES: [u64; 3] = [2_553_802_834, 3_037_000_500, 3_611_622_603];

impl Default for SizeCounts {
    fn default() -> Self {
        Self(Box::new([0; Self::BUCKETS]))
    }
}

impl From<Vec<(usize, u64)>> for SizeCounts {
    fn from(counts: Vec<(usize, u64)>) -> Self {
        Self::from_counts(counts)
    }
}

impl From<SizeCounts> for Vec<(usize, u64)> {
    fn from(sizes: SizeCounts) -> Self {
        sizes.filled().collect()
    }
}

/// A content type, by the number it was given when it was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentTypeIndex(u8);

impl ContentTypeIndex {
    /// How many numbers there are.
    pub const COUNT: usize = Self::OTHER.place() + 1;
    /// The answer did not say.
    pub const NONE: Self = Self(0);
    /// One of those that came when all numbers were taken.
    pub const OTHER: Self = Self(31);

    /// The number at a place; any beyond the last is [`OTHER`](Self::OTHER).
    pub fn at(place: usize) -> Self {
        let last = usize::from(Self::OTHER.0);
        Self(u8::try_from(place.min(last)).unwrap_or(Self::OTHER.0))
    }

    /// Its place.
    pub const fn place(self) -> usize {
        self.0 as usize
    }
}

/// Answers by content type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentTypeCounts([u64; ContentTypeIndex::COUNT]);

impl ContentTypeCounts {
    /// Takes counts in the order of the numbers.
    pub const fn from_counts(counts: [u64; ContentTypeIndex::COUNT]) -> Self {
        Self(counts)
    }

    /// Counts one answer.
    pub const fn record(&mut self, content_type: ContentTypeIndex) {
        self.0[content_type.place()] += 1;
    }

    /// Numbers that were seen, rising, with their counts.
    pub fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.0.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.0, &other.0);
    }

    /// What was added since an earlier state of the same counts.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut added = *self;
        subtract(&mut added.0, &earlier.0);
        added
    }
}

fn add(own: &mut [u64], other: &[u64]) {
    for (own, more) in own.iter_mut().zip(other) {
        *own += more;
    }
}

fn subtract(own: &mut [u64], other: &[u64]) {
    for (own, less) in own.iter_mut().zip(other) {
        *own = own.saturating_sub(*less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_the_buckets_that_the_formula_says() {
        for bytes in (0..5_000).chain([65_535, 65_536, 1 << 30, (1 << 38) + 12_345]) {
            let bucket = SizeCounts::bucket_of(bytes);
            let expected = (4.0 * ((bytes + 1) as f64).log2() + 1e-12).floor();
            assert!((bucket as f64 - expected).abs() < 0.5, "{bytes}");
        }
        assert_eq!(SizeCounts::bucket_of(u64::MAX), SizeCounts::BUCKETS - 1);
    }

    #[test]
    fn what_is_added_is_what_the_difference_says() {
        let mut sizes = SizeCounts::default();
        sizes.record(0);
        let before = sizes.clone();
        sizes.record(1023);
        let added: Vec<_> = sizes.since(&before).into();
        assert_eq!(added, [(40, 1)]);
    }
}
