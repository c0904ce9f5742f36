//! What is counted of one caller.

use std::time::Duration;

use crate::domain::bucket::murmur3_x86_32;
use crate::domain::caller_features::CallerFeatures;
use crate::domain::caller_features::latencies::Latencies;

/// The bits of a set of paths: as many paths as that are told apart roughly, in a word.
const PATH_BITS: u32 = u64::BITS;

/// Half-lives after which nothing is left of a count that fits into 32 bits.
const FADED_AFTER: u32 = 32;

/// Which of a caller's paths a request asked for: one of 64 places, by a hash of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMark(u8);

impl PathMark {
    /// The place of a path.
    pub fn of(path: &str) -> Self {
        let hash = murmur3_x86_32(b"", path.as_bytes());
        Self(u8::try_from(hash >> 26).unwrap_or_default())
    }
}

/// What one request tells of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Whether it was answered with a status of 400 or above, or not to the end.
    pub is_error: bool,
    /// Whether its method is none of the safe ones.
    pub is_write: bool,
    /// Which path it asked for.
    pub path: PathMark,
    /// How long the head of a backend's answer took, where one came.
    pub head_latency: Option<Duration>,
    /// The length of its body.
    pub request_bytes: u64,
    /// The length of the answer's body.
    pub response_bytes: u64,
}

/// What is counted of one caller, aged; 152 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CallerTally {
    requests: f64,
    errors: f64,
    writes: f64,
    /// Requests whose head came from a backend.
    timed: f64,
    latency_ms: f64,
    request_bytes: f64,
    response_bytes: f64,
    latencies: Latencies,
    /// The paths of this half-life, and of the one before.
    paths: [u64; 2],
    /// The half-life that all this is aged to, counted from the first.
    half_life: u32,
}

impl CallerTally {
    /// Nothing yet, in a half-life.
    pub fn new(half_life: u32) -> Self {
        Self {
            half_life,
            ..Self::default()
        }
    }

    /// Counts a request that has ended in a half-life.
    pub fn see(&mut self, sighting: &Sighting, half_life: u32) {
        self.age(half_life);
        self.requests += 1.0;
        self.errors += f64::from(u8::from(sighting.is_error));
        self.writes += f64::from(u8::from(sighting.is_write));
        self.request_bytes += number(sighting.request_bytes);
        self.response_bytes += number(sighting.response_bytes);
        self.paths[0] |= 1 << sighting.path.0;
        if let Some(latency) = sighting.head_latency {
            self.timed += 1.0;
            self.latency_ms += latency.as_secs_f64() * 1e3;
            self.latencies.record(latency);
        }
    }

    /// Brings all counts to a half-life; to an earlier one nothing goes back.
    fn age(&mut self, half_life: u32) {
        let behind = half_life.saturating_sub(self.half_life);
        if behind == 0 {
            return;
        }
        if behind > FADED_AFTER {
            *self = Self::new(half_life);
            return;
        }
        let left = left_after(behind);
        for count in [
            &mut self.requests,
            &mut self.errors,
            &mut self.writes,
            &mut self.timed,
            &mut self.latency_ms,
            &mut self.request_bytes,
            &mut self.response_bytes,
        ] {
            *count *= left;
        }
        for passed in 0..behind {
            self.latencies
                .halve((self.half_life + passed).is_multiple_of(2));
            self.paths = [0, self.paths[0]];
        }
        self.half_life = half_life;
    }

    /// The requests, as they count in a half-life.
    pub fn requests(&self, half_life: u32) -> f64 {
        self.requests * left_after(half_life.saturating_sub(self.half_life))
    }

    /// Whether so little is left in a half-life that there is nothing to say any more.
    pub fn has_faded(&self, half_life: u32) -> bool {
        self.requests(half_life) < 0.5
    }

    /// What can be said of the caller in a half-life, of `watched` seconds that count; nothing once it has faded.
    pub fn features(&self, half_life: u32, watched: Duration) -> Option<CallerFeatures> {
        if self.has_faded(half_life) {
            return None;
        }
        let mut aged = *self;
        aged.age(half_life);
        let mean = |sum: f64, of: f64| if of > 0.0 { sum / of } else { 0.0 };
        let latency_mean_ms = mean(aged.latency_ms, aged.timed);
        let latency_p99_ms = aged.latencies.quantile_ms(0.99);
        Some(CallerFeatures {
            requests: aged.requests,
            requests_per_second: aged.requests / watched.as_secs_f64().max(1.0),
            error_share: mean(aged.errors, aged.requests),
            latency_mean_ms,
            // Few that have grown old may have left no count; their mean is as good then.
            latency_p99_ms: latency_p99_ms.unwrap_or(latency_mean_ms),
            request_bytes_mean: mean(aged.request_bytes, aged.requests),
            response_bytes_mean: mean(aged.response_bytes, aged.requests),
            write_share: mean(aged.writes, aged.requests),
            distinct_paths: distinct(aged.paths[0] | aged.paths[1]),
        })
    }
}

/// What is left of a count after so many half-lives.
fn left_after(half_lives: u32) -> f64 {
    (-f64::from(half_lives)).exp2()
}

/// How many there were that set these bits (Whang, Vander-Zanden and Taylor, 1990, "A Linear-Time Probabilistic
/// Counting Algorithm"): `-m ln(z / m)` where `z` of `m` are left unset. With none left, as with a half.
fn distinct(bits: u64) -> f64 {
    let places = f64::from(PATH_BITS);
    let unset = f64::from(bits.count_zeros()).max(1.0);
    if bits.count_zeros() == 0 {
        return (places * places.ln()).round();
    }
    (-places * (unset / places).ln()).round()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "bytes beyond nine petabytes may be off by one"
)]
const fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "halves and small counts are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sighting() -> Sighting {
        Sighting {
            is_error: false,
            is_write: false,
            path: PathMark::of("/"),
            head_latency: Some(Duration::from_millis(8)),
            request_bytes: 10,
            response_bytes: 1_000,
        }
    }

    fn features(tally: &CallerTally, half_life: u32) -> CallerFeatures {
        tally.features(half_life, Duration::from_secs(10)).unwrap()
    }

    #[test]
    fn a_tally_has_the_size_that_it_is_said_to_have() {
        assert_eq!(size_of::<CallerTally>(), 152);
    }

    #[test]
    fn features_are_shares_means_and_rates_of_what_was_seen() {
        let mut tally = CallerTally::new(0);
        (0..6).for_each(|_| tally.see(&sighting(), 0));
        let failed = Sighting {
            is_error: true,
            head_latency: None,
            response_bytes: 0,
            ..sighting()
        };
        tally.see(&failed, 0);
        let written = Sighting {
            is_write: true,
            path: PathMark::of("/orders"),
            head_latency: Some(Duration::from_millis(22)),
            request_bytes: 90,
            ..sighting()
        };
        tally.see(&written, 0);
        let seen = features(&tally, 0);
        assert_eq!(seen.values()[..4], [8.0, 0.8, 0.125, 10.0]);
        assert!((18.0..26.0).contains(&seen.latency_p99_ms), "{seen:?}");
        assert_eq!(seen.values()[5..], [20.0, 875.0, 0.125, 2.0]);
    }

    #[test]
    fn counts_are_halved_with_each_half_life_until_nothing_is_left() {
        let mut tally = CallerTally::new(3);
        (0..8).for_each(|_| tally.see(&sighting(), 3));
        for (half_life, requests) in [(3, 8.0), (4, 4.0), (6, 1.0), (7, 0.5)] {
            let seen = features(&tally, half_life);
            let told = [
                seen.requests,
                seen.response_bytes_mean,
                seen.latency_mean_ms,
            ];
            assert_eq!(told, [requests, 1_000.0, 8.0]);
        }
        assert!(tally.has_faded(8));
        assert_eq!(tally.features(8, Duration::from_secs(1)), None);
        assert!(tally.has_faded(u32::MAX));
        tally.see(&sighting(), 300);
        assert_eq!([features(&tally, 300).requests], [1.0], "a new beginning");
    }

    #[test]
    fn paths_are_forgotten_after_two_half_lives() {
        let mut tally = CallerTally::new(0);
        for path in ["/a", "/b", "/c"] {
            tally.see(
                &Sighting {
                    path: PathMark::of(path),
                    ..sighting()
                },
                0,
            );
        }
        tally.see(&sighting(), 1);
        assert_eq!([features(&tally, 1).distinct_paths], [4.0]);
        tally.see(&sighting(), 2);
        assert_eq!([features(&tally, 2).distinct_paths], [1.0]);
    }

    #[test]
    fn many_paths_are_told_about() {
        for (paths, least, most) in [
            (20_u32, 14.0, 27.0),
            (100, 70.0, 140.0),
            (5_000, 266.0, 266.0),
        ] {
            let mut tally = CallerTally::new(0);
            for number in 0..paths {
                let path = PathMark::of(&format!("/items/{number}"));
                tally.see(&Sighting { path, ..sighting() }, 0);
            }
            let told = features(&tally, 0).distinct_paths;
            assert!((least..=most).contains(&told), "{paths}: {told}");
        }
    }

    proptest! {
        #[test]
        fn features_are_finite_and_shares_are_shares(
            seen in prop::collection::vec((any::<[bool; 2]>(), any::<u32>(), any::<Option<u32>>(), 0_u32..40), 1..60),
        ) {
            let (mut tally, mut now) = (CallerTally::new(0), 0);
            for ([is_error, is_write], bytes, latency, later) in seen {
                now += later;
                let sighting = Sighting {
                    is_error,
                    is_write,
                    path: PathMark::of(&bytes.to_string()),
                    head_latency: latency.map(|ms| Duration::from_millis(ms.into())),
                    request_bytes: bytes.into(),
                    response_bytes: 0,
                };
                tally.see(&sighting, now);
                let features = tally.features(now, Duration::ZERO).unwrap();
                prop_assert!(features.values().iter().all(|value| value.is_finite() && *value >= 0.0));
                prop_assert!(features.error_share <= 1.0 && features.write_share <= 1.0);
                prop_assert!(features.distinct_paths >= 1.0);
            }
        }
    }
}
