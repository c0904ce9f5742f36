//! How long one caller's answers took, in as few bytes as tell the slowest hundredth.

use std::time::Duration;

/// Two buckets to a doubling, so that a quantile is right to a fifth: more than enough to tell callers apart.
const BUCKETS: usize = 36;

/// The upper bound of the first bucket is 2^8 microseconds, a quarter of a millisecond: proxies add that much.
/// The last begins at 2^25.5, half a minute, which is longer than backends get.
const FIRST_OCTAVE: u32 = 8;

/// Counts of latencies, of which none can be too large: where one has no room, all are halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latencies([u16; BUCKETS]);

impl Default for Latencies {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Latencies {
    /// Counts one.
    pub(super) fn record(&mut self, latency: Duration) {
        let place = place(latency);
        if self.0[place] == u16::MAX {
            self.halve(false);
        }
        self.0[place] += 1;
    }

    /// Halves all counts. What cannot be halved goes up one time and down the other, so that a single slow answer
    /// neither stays for good nor is gone at once.
    pub(super) fn halve(&mut self, goes_up: bool) {
        for count in &mut self.0 {
            *count = *count / 2 + (*count & u16::from(goes_up));
        }
    }

    /// The latency that `share` of all do not exceed, in milliseconds, to a fifth; none where none was counted.
    pub(super) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let total: u32 = self.0.iter().map(|count| u32::from(*count)).sum();
        let mut left = (f64::from(total) * share).ceil().max(1.0);
        for (place, count) in self.0.iter().enumerate() {
            left -= f64::from(*count);
            if left <= 0.0 {
                return Some(middle_ms(place));
            }
        }
        None
    }
}

/// The bucket of a latency.
fn place(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let octave = micros.max(1).ilog2();
    if octave < FIRST_OCTAVE {
        return 0;
    }
    // The upper half of an octave begins at 2^(octave + 1/2), whose square is 2^(2 * octave + 1).
    let is_upper = u128::from(micros).pow(2) >= 1 << (2 * octave + 1);
    let place = 2 * (octave - FIRST_OCTAVE) + u32::from(is_upper) + 1;
    usize::try_from(place).map_or(BUCKETS - 1, |place| place.min(BUCKETS - 1))
}

/// The geometric middle of a bucket, in milliseconds; of the first, which has no lower bound, half its upper one.
fn middle_ms(place: usize) -> f64 {
    let first = f64::from(FIRST_OCTAVE);
    let exponent = match u32::try_from(place) {
        Ok(0) | Err(_) => first - 1.0,
        Ok(place) => first + (f64::from(place) - 0.5) / 2.0,
    };
    exponent.exp2() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_right_to_a_fifth_wherever_it_lies() {
        for micros in [300, 1_000, 1_500, 7_000, 40_000, 999_999, 20_000_000_u32] {
            let mut latencies = Latencies::default();
            latencies.record(Duration::from_micros(micros.into()));
            let told = latencies.quantile_ms(0.99).unwrap() * 1e3;
            let ratio = told / f64::from(micros);
            assert!((0.83..1.2).contains(&ratio), "{micros} {told}");
        }
        assert_eq!(Latencies::default().quantile_ms(0.99), None);
        let mut latencies = Latencies::default();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert!(latencies.quantile_ms(0.5).unwrap() < 0.25);
        assert!(latencies.quantile_ms(0.99).unwrap() > 30_000.0);
    }

    #[test]
    fn one_slow_answer_of_a_hundred_is_not_the_slowest_hundredth_and_two_are() {
        let mut latencies = Latencies::default();
        (0..99).for_each(|_| latencies.record(Duration::from_millis(2)));
        latencies.record(Duration::from_secs(1));
        assert!(latencies.quantile_ms(0.99).unwrap() < 3.0);
        latencies.record(Duration::from_secs(1));
        assert!(latencies.quantile_ms(0.99).unwrap() > 800.0);
    }

    #[test]
    fn where_a_count_has_no_room_all_are_halved() {
        let mut latencies = Latencies::default();
        (0..1_000).for_each(|_| latencies.record(Duration::from_secs(1)));
        (0..70_000).for_each(|_| latencies.record(Duration::from_millis(2)));
        assert!(latencies.quantile_ms(0.98).unwrap() < 3.0);
        assert!(latencies.quantile_ms(0.995).unwrap() > 800.0);
    }
}
