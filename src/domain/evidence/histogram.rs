//! Latencies in buckets of equal ratio.
//!
//! Bucket `i` holds `2^((i-160)/16) <= ms < 2^((i-159)/16)`: sixteen to the octave, each 4.4 %
//! wider than the one before, the ratio the judge's reference uses. With equal *ratios* a
//! tolerance in percent is a shift by whole buckets, whatever the latency: "canary's p99 may be
//! 25 % above stable's" is "the same share, five buckets up". Quantiles come out within half a
//! bucket (2.2 %), and histograms of workers, ticks and edges add up exactly.
//!
//! The request path never takes a logarithm: exponent and leading mantissa bits of the number
//! of milliseconds name the octave and a first guess, one comparison corrects it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds in 2^-10 ms (0.98 us), rounded up: anything faster counts as this.
const NANOS_MIN: u64 = 977;
/// The last nanosecond before 2^17 ms (131 s): anything slower counts as this.
const NANOS_MAX: u64 = 131_072_000_000 - 1;
/// The octave of 2^-10 ms as an `f64` exponent with its bias of 1023.
const FIRST_OCTAVE: usize = 1023 - 10;
/// Explicit mantissa bits of an `f64`.
const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;

/// Lower edges `2^(j/16)` of the buckets of one octave, and the end of the octave.
const EDGES: [f64; 17] = [
    1.0,
    1.044_273_782_427_413_8,
    1.090_507_732_665_257_7,
    1.138_788_634_756_691_6,
    1.189_207_115_002_721,
    1.241_857_812_073_484,
    1.296_839_554_651_009_6,
    1.354_255_546_936_892_7,
    std::f64::consts::SQRT_2,
    1.476_826_145_939_499_3,
    1.542_210_825_407_940_7,
    1.610_490_331_949_254_3,
    1.681_792_830_507_429,
    1.756_252_160_373_299_5,
    1.834_008_086_409_342_4,
    1.915_206_561_397_147_3,
    2.0,
];

/// The bucket in which each of 32 equal steps of a mantissa begins.
///
/// A step spans at most 0.71 of a bucket, so the true bucket is this one or the next.
const GUESSES: [usize; 32] = guesses();

const fn guesses() -> [usize; 32] {
    let mut guesses = [0; 32];
    let mut step = 0;
    let mut bucket = 0;
    while step < 32 {
        while EDGES[bucket + 1] <= 1.0 + step as f64 / 32.0 {
            bucket += 1;
        }
        guesses[step] = bucket;
        step += 1;
    }
    guesses
}

/// Counts of latencies from one microsecond to 131 seconds, in buckets of 4.4 %.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SparseHistogram", into = "SparseHistogram")]
pub struct LatencyHistogram {
    counts: Box<[u64; Self::BUCKETS]>,
    count: u64,
    /// Exact, where the buckets would only give the mean to a percent or two.
    sum_micros: u64,
}

impl LatencyHistogram {
    /// Buckets in one octave.
    pub const BUCKETS_PER_OCTAVE: usize = 16;
    /// Buckets in all: 27 octaves, from 2^-10 ms (0.98 us) to 2^17 ms (131 s).
    pub const BUCKETS: usize = 27 * Self::BUCKETS_PER_OCTAVE;
    /// The bucket whose lower edge is one millisecond.
    pub const BUCKET_OF_1_MS: usize = 10 * Self::BUCKETS_PER_OCTAVE;

    /// The bucket a latency falls into, 0 to [`BUCKETS`](Self::BUCKETS) - 1.
    pub fn bucket_of(latency: Duration) -> usize {
        // Beyond the last bucket the seconds no longer matter, and must not overflow.
        let nanos = latency.as_secs().min(1000) * 1_000_000_000 + u64::from(latency.subsec_nanos());
        let ms_bits = (nanos.clamp(NANOS_MIN, NANOS_MAX) as f64 / 1e6).to_bits();
        let octave = (ms_bits >> MANTISSA_BITS) as usize - FIRST_OCTAVE;
        let guess = GUESSES[(ms_bits >> (MANTISSA_BITS - 5)) as usize & 31];
        let mantissa_bits = ms_bits & ((1 << MANTISSA_BITS) - 1);
        let mantissa = f64::from_bits(mantissa_bits | 1.0_f64.to_bits());
        octave * Self::BUCKETS_PER_OCTAVE + guess + usize::from(mantissa >= EDGES[guess + 1])
    }

    /// A bucket as the judge numbers it, from one millisecond on in both directions.
    pub fn from_1_ms(bucket: usize) -> i32 {
        let offset = i32::try_from(Self::BUCKET_OF_1_MS).unwrap_or(i32::MAX);
        i32::try_from(bucket)
            .unwrap_or(i32::MAX)
            .saturating_sub(offset)
    }

    /// The lower edge of a bucket, in milliseconds.
    pub fn bucket_lower_ms(bucket: usize) -> f64 {
        let steps = bucket as f64 - Self::BUCKET_OF_1_MS as f64;
        (steps / Self::BUCKETS_PER_OCTAVE as f64).exp2()
    }

    /// The upper edge of a bucket, in milliseconds; the last one also holds all above its edge.
    pub fn bucket_upper_ms(bucket: usize) -> f64 {
        Self::bucket_lower_ms(bucket + 1)
    }

    /// The geometric middle of a bucket, in milliseconds.
    fn bucket_middle_ms(bucket: usize) -> f64 {
        Self::bucket_lower_ms(bucket) * (0.5 / Self::BUCKETS_PER_OCTAVE as f64).exp2()
    }

    /// The whole number of buckets nearest to an increase by a ratio: 0.25 (25 %) is 5 buckets.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the number of buckets before the cast"
    )]
    pub fn buckets_in(increase_ratio: f64) -> usize {
        let steps = (1.0 + increase_ratio.max(0.0)).log2() * Self::BUCKETS_PER_OCTAVE as f64;
        steps.round().clamp(0.0, Self::BUCKETS as f64) as usize
    }

    /// Takes counts made elsewhere: pairs of bucket and count, and the sum of all latencies.
    /// Pairs outside the histogram are left out.
    pub fn from_counts(counts: impl IntoIterator<Item = (usize, u64)>, sum: Duration) -> Self {
        let mut histogram = Self::default();
        for (bucket, count) in counts {
            if let Some(slot) = histogram.counts.get_mut(bucket) {
                *slot += count;
                histogram.count += count;
            }
        }
        histogram.sum_micros = u64::try_from(sum.as_micros()).unwrap_or(u64::MAX);
        histogram
    }

    /// Buckets that hold anything, rising, with their counts.
    pub fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.counts.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }

    /// What was added since an earlier state of the same histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(earlier.counts.iter());
        let added = counts
            .map(|(now, then)| now.saturating_sub(*then))
            .enumerate();
        Self::from_counts(added, self.sum().saturating_sub(earlier.sum()))
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.counts[Self::bucket_of(latency)] += 1;
        self.count += 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// Adds all counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.count += other.count;
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }

    /// How many latencies were counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all latencies, to the microsecond.
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros)
    }

    /// The bucket that holds the `q`-quantile (0 to 1, by nearest rank); `None` when empty.
    pub fn quantile_bucket(&self, q: f64) -> Option<usize> {
        let rank = q * self.count as f64;
        let mut seen = 0;
        self.counts.iter().position(|count| {
            seen += count;
            seen > 0 && seen as f64 >= rank
        })
    }

    /// The `q`-quantile in milliseconds, as the geometric middle of its bucket: within 2.2 %.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        self.quantile_bucket(q).map(Self::bucket_middle_ms)
    }

    /// The mean in milliseconds, exact to the microsecond; `None` when empty.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_micros as f64 / 1e3 / self.count as f64)
    }

    /// The variance in square milliseconds, by the middles of the buckets; `None` when empty.
    pub fn variance_ms2(&self) -> Option<f64> {
        let mean_ms = self.mean_ms()?;
        let square = |bucket| (Self::bucket_middle_ms(bucket) - mean_ms).powi(2);
        let filled = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        let squares: f64 = filled.map(|(bucket, n)| *n as f64 * square(bucket)).sum();
        Some(squares / self.count as f64)
    }

    /// How many latencies lie in buckets above this one.
    pub fn count_above(&self, bucket: usize) -> u64 {
        self.counts.iter().skip(bucket + 1).sum()
    }

    /// How many latencies lie below 2^`octave` ms.
    ///
    /// Exact for -9 to 16, so that a metrics histogram with these bounds is not an estimate.
    /// Below that range the answer is 0, above it everything.
    pub fn cumulative_below_octave(&self, octave: i32) -> u64 {
        let octaves = usize::try_from(octave.saturating_add(10)).unwrap_or(0);
        let below = octaves.saturating_mul(Self::BUCKETS_PER_OCTAVE);
        self.counts.iter().take(below).sum()
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self {
            counts: Box::new([0; Self::BUCKETS]),
            count: 0,
            sum_micros: 0,
        }
    }
}

/// How a histogram is stored: most of its buckets are empty.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SparseHistogram {
    /// Bucket and count, filled buckets only.
    counts: Vec<(usize, u64)>,
    sum_micros: u64,
}

impl From<LatencyHistogram> for SparseHistogram {
    fn from(dense: LatencyHistogram) -> Self {
        Self {
            counts: dense.filled().collect(),
            sum_micros: dense.sum_micros,
        }
    }
}

impl TryFrom<SparseHistogram> for LatencyHistogram {
    type Error = InvalidHistogram;

    fn try_from(sparse: SparseHistogram) -> Result<Self, InvalidHistogram> {
        let mut dense = Self {
            sum_micros: sparse.sum_micros,
            ..Self::default()
        };
        for (bucket, count) in sparse.counts {
            let slot = dense.counts.get_mut(bucket);
            let slot = slot.ok_or(InvalidHistogram::NoSuchBucket(bucket))?;
            *slot = slot.checked_add(count).ok_or(InvalidHistogram::TooMany)?;
            dense.count = dense
                .count
                .checked_add(count)
                .ok_or(InvalidHistogram::TooMany)?;
        }
        Ok(dense)
    }
}

/// Why stored numbers are not a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidHistogram {
    #[error("no latency bucket `{0}`, expected 0 to {last}", last = LatencyHistogram::BUCKETS - 1)]
    NoSuchBucket(usize),
    #[error("latency counts add up to more than 64 bits hold")]
    TooMany,
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers are made small enough by the tests themselves"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_logarithm(nanos: u64) -> usize {
        let ms = nanos.clamp(NANOS_MIN, NANOS_MAX) as f64 / 1e6;
        let bucket = (ms.log2() * 16.0).floor() + 160.0;
        bucket as usize
    }

    fn of(latencies_us: &[u64]) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::default();
        for us in latencies_us {
            histogram.record(Duration::from_micros(*us));
        }
        histogram
    }

    #[test]
    fn the_table_of_edges_is_the_formula() {
        for (j, edge) in EDGES.iter().enumerate() {
            assert!((edge - (j as f64 / 16.0).exp2()).abs() < 1e-15, "{j}");
        }
    }

    #[test]
    fn buckets_agree_with_the_logarithm_around_every_edge() {
        for bucket in 0..=LatencyHistogram::BUCKETS {
            let edge = (LatencyHistogram::bucket_lower_ms(bucket) * 1e6).round() as u64;
            for nanos in edge.saturating_sub(3)..=edge + 3 {
                let found = LatencyHistogram::bucket_of(Duration::from_nanos(nanos));
                assert_eq!(found, by_logarithm(nanos), "{nanos} ns");
            }
        }
    }

    #[test]
    fn powers_of_two_begin_their_octave_and_extremes_are_clamped() {
        let bucket = LatencyHistogram::bucket_of;
        for octave in 0..17 {
            let edge = Duration::from_millis(1 << octave);
            assert_eq!(bucket(edge), 160 + 16 * octave);
            assert_eq!(bucket(edge - Duration::from_nanos(1)), 159 + 16 * octave);
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), LatencyHistogram::BUCKETS - 1);
    }

    #[test]
    fn octave_bounds_cut_exactly() {
        let histogram = of(&[400, 999, 1000, 1999, 2000, 64_000, 400_000_000]);
        assert_eq!(histogram.cumulative_below_octave(-1), 1);
        assert_eq!(histogram.cumulative_below_octave(0), 2);
        assert_eq!(histogram.cumulative_below_octave(1), 4);
        assert_eq!(histogram.cumulative_below_octave(16), 6);
        assert_eq!(histogram.cumulative_below_octave(40), 7);
        assert_eq!(histogram.cumulative_below_octave(-40), 0);
    }

    #[test]
    fn an_empty_histogram_has_no_quantile_and_no_mean() {
        let empty = LatencyHistogram::default();
        assert_eq!(empty.quantile_ms(0.5), None);
        assert_eq!(empty.mean_ms(), None);
        assert_eq!(empty.variance_ms2(), None);
    }

    #[test]
    fn mean_and_variance_are_those_of_the_values() {
        let histogram = of(&[10_000, 20_000, 30_000, 40_000]);
        assert!((histogram.mean_ms().unwrap() - 25.0).abs() < 1e-9);
        let variance = histogram.variance_ms2().unwrap();
        assert!((variance / 125.0 - 1.0).abs() < 0.1, "{variance}");
    }

    #[test]
    fn a_tolerance_is_a_shift_by_whole_buckets() {
        assert_eq!(LatencyHistogram::buckets_in(0.0), 0);
        assert_eq!(LatencyHistogram::buckets_in(0.10), 2);
        assert_eq!(LatencyHistogram::buckets_in(0.25), 5);
        assert_eq!(LatencyHistogram::buckets_in(1.0), 16);
    }

    #[test]
    fn stored_numbers_that_are_no_histogram_are_refused() {
        let read = serde_json::from_str::<LatencyHistogram>;
        let error = read(r#"{"counts":[[432,1]],"sum_micros":0}"#).unwrap_err();
        assert!(error.to_string().contains("no latency bucket `432`"));
        let error = read(r#"{"counts":[[1,18446744073709551615],[2,1]],"sum_micros":0}"#);
        assert!(error.unwrap_err().to_string().contains("64 bits"));
    }

    proptest! {
        #[test]
        fn any_latency_falls_where_the_logarithm_says(nanos in 0_u64..200_000_000_000) {
            let found = LatencyHistogram::bucket_of(Duration::from_nanos(nanos));
            prop_assert_eq!(found, by_logarithm(nanos));
        }

        #[test]
        fn a_quantile_is_within_one_bucket_of_the_exact_one(
            mut latencies_us in prop::collection::vec(1_u64..100_000_000, 1..200),
            q in 0.0_f64..1.0,
        ) {
            let found_ms = of(&latencies_us).quantile_ms(q).unwrap();
            latencies_us.sort_unstable();
            let rank = (q * latencies_us.len() as f64).ceil().max(1.0) as usize;
            let exact_ms = latencies_us[rank - 1] as f64 / 1e3;
            let ratio = found_ms / exact_ms;
            prop_assert!((1.0 / 1.0443..1.0443).contains(&ratio), "{found_ms} {exact_ms}");
        }

        #[test]
        fn merging_is_recording_everything_in_one(
            left in prop::collection::vec(0_u64..100_000_000, 0..50),
            right in prop::collection::vec(0_u64..100_000_000, 0..50),
        ) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            prop_assert_eq!(&merged, &of(&[left, right].concat()));
            let stored = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(merged, serde_json::from_str::<LatencyHistogram>(&stored).unwrap());
        }
    }
}
