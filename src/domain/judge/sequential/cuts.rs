//! Stable's past, and the cuts that come from it.
//!
//! An answer is slow when its bucket lies above a cut, and odd when it lies outside two. Cuts for a
//! tick are known before it, from earlier ticks alone, so the data plane can say of each answer what
//! it is as it ends.

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::check::Check;
use crate::domain::judge::sequential::settings::{PerQuantile, Reference, Tolerated};
use crate::domain::judge::sequential::tick::{ArmTick, StratumTick};
use crate::domain::stats::bucket_counts::BucketCounts;
use crate::domain::stats::reference_window::ReferenceWindow;
use crate::domain::variant::Variant;

/// Buckets in which a latency doubles.
const BUCKETS_PER_OCTAVE: f64 = 16.0;

/// What is slow, odd and unusual in the next tick. `None` while stable has shown too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// Stable's answers above these latency buckets are slow; canary's above the moved ones.
    pub latency: PerQuantile<Option<i32>>,
    /// Sizes in buckets below the first or above the second are odd.
    pub size: Option<(i32, i32)>,
    /// The content types that stable sends, rising; all others are unusual.
    pub content_types: Option<Vec<i32>>,
}

impl Cuts {
    /// Nothing is known of stable.
    pub const UNKNOWN: Self = Self {
        latency: PerQuantile {
            p50: None,
            p90: None,
            p99: None,
        },
        size: None,
        content_types: None,
    };

    /// The latency bucket above which an answer of an arm is slow.
    pub fn slow_above(&self, check: Check, arm: Variant, tolerated: &Tolerated) -> Option<i32> {
        let cut = self.latency.of(check).flatten()?;
        Some(match arm {
            Variant::Stable => cut,
            Variant::Canary => {
                let buckets = tolerated.latency_buckets.of(check).unwrap_or(0);
                moved(cut, buckets, tolerated.latency_slack_ms)
            }
        })
    }

    /// Whether a size, by its bucket, is odd.
    pub fn is_odd_size(&self, bucket: i32) -> Option<bool> {
        let (low, high) = self.size?;
        Some(!(low..=high).contains(&bucket))
    }

    /// Whether a content type is unusual.
    pub fn is_unusual(&self, content_type: i32) -> Option<bool> {
        let usual = self.content_types.as_ref()?;
        Some(usual.binary_search(&content_type).is_err())
    }
}

/// A latency cut moved up by whole buckets, or by so many milliseconds where that is more.
pub(in crate::domain::judge) fn moved(cut: i32, buckets: i32, slack_ms: f64) -> i32 {
    if slack_ms <= 0.0 {
        return cut + buckets;
    }
    let upper_ms = (f64::from(cut + 1) / BUCKETS_PER_OCTAVE).exp2();
    // A hair less, so that an edge that is met exactly is not passed.
    let edges = (upper_ms + slack_ms).log2() * BUCKETS_PER_OCTAVE - 1e-9;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast from a float saturates, and beyond a few hundred buckets nothing is slow"
    )]
    let by_slack = edges.ceil() as i32 - 1;
    by_slack.max(cut + buckets)
}

/// What stable did in earlier ticks, where it was compared with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StablePast {
    latency: ReferenceWindow,
    sizes: ReferenceWindow,
    content_types: ReferenceWindow,
    /// Requests that failed in bucket 1, others in bucket 0.
    failures: ReferenceWindow,
}

/// How the past fades from tick to tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fading {
    /// By which factor.
    pub(super) factor: f64,
    /// Samples below which it does not.
    pub(super) kept: f64,
}

impl StablePast {
    /// The cuts for the next tick.
    pub(super) fn cuts(&self, settings: &Reference, with_content_types: bool) -> Cuts {
        let is_enough = |window: &ReferenceWindow| window.total() >= settings.samples_min;
        let latency = Some(&self.latency).filter(|window| is_enough(window));
        let cut = |q: f64| latency.and_then(|window| window.cut(q));
        let sizes = Some(&self.sizes).filter(|window| is_enough(window));
        let types = Some(&self.content_types).filter(|window| is_enough(window));
        Cuts {
            latency: PerQuantile {
                p50: cut(0.5),
                p90: cut(0.9),
                p99: cut(0.99),
            },
            size: sizes.and_then(|window| window.cut(0.05).zip(window.cut(0.95))),
            content_types: types.filter(|_| with_content_types).map(|window| {
                let least = settings.content_type_rare * window.total();
                let usual = window.iter().filter(|(_, mass)| *mass >= least);
                usual.map(|(number, _)| number).collect()
            }),
        }
    }

    /// Stable's failure rate, never quite 0 or 1.
    pub(super) fn failure_rate(&self) -> f64 {
        (self.failures.mass_of(1) + 0.5) / (self.failures.total() + 1.0)
    }

    /// Forgets the numbers of content types.
    pub(super) fn forget_content_types(&mut self) {
        self.content_types = ReferenceWindow::default();
    }

    /// Takes in what stable did in a tick, where there was a canary to compare it with. `sums` is room
    /// for the sums of one tick.
    pub(super) fn observe(
        &mut self,
        strata: &[StratumTick],
        Fading { factor, kept }: Fading,
        sums: &mut BucketCounts,
    ) {
        let stable = || {
            let compared = strata.iter().filter(|stratum| stratum.has_control());
            compared.map(|stratum| &stratum.arms.stable)
        };
        let mut add = |window: &mut ReferenceWindow, counts: fn(&ArmTick) -> &[(i32, u64)]| {
            sums.clear();
            for arm in stable() {
                sums.add_all(counts(arm));
            }
            window.add(sums, factor, kept);
        };
        add(&mut self.latency, |arm| &arm.latency);
        add(&mut self.sizes, |arm| &arm.sizes);
        add(&mut self.content_types, |arm| &arm.content_types);
        sums.clear();
        for arm in stable() {
            sums.add(0, arm.requests.saturating_sub(arm.failures));
            sums.add(1, arm.failures);
        }
        self.failures.add(sums, factor, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::variant::PerVariant;

    fn stratum(weight: f64, stable: ArmTick) -> StratumTick {
        StratumTick {
            weight,
            arms: PerVariant {
                stable,
                canary: ArmTick::default(),
            },
            ..StratumTick::default()
        }
    }

    fn see(past: &mut StablePast, strata: &[StratumTick]) {
        let fading = Fading {
            factor: 0.9,
            kept: 400.0,
        };
        past.observe(strata, fading, &mut BucketCounts::default());
    }

    fn busy() -> ArmTick {
        ArmTick {
            requests: 300,
            failures: 3,
            latency: vec![(10, 140), (20, 150), (30, 10)],
            sizes: vec![(4, 1), (8, 290), (9, 9)],
            content_types: vec![(1, 298), (2, 2)],
            ..ArmTick::default()
        }
    }

    #[test]
    fn nothing_is_slow_before_stable_has_shown_what_is_usual() {
        let mut past = StablePast::default();
        let settings = Reference::default();
        assert_eq!(past.cuts(&settings, true), Cuts::UNKNOWN);
        see(&mut past, &[stratum(1.0, busy()), stratum(0.0, busy())]);
        assert_eq!(
            past.cuts(&settings, true),
            Cuts::UNKNOWN,
            "no control there"
        );
        see(&mut past, &[stratum(0.5, busy())]);
        let cuts = past.cuts(&settings, true);
        assert_eq!((cuts.latency.p50, cuts.latency.p99), (Some(20), Some(30)));
        assert_eq!(cuts.size, Some((8, 8)));
        assert_eq!(
            (cuts.is_odd_size(7), cuts.is_odd_size(8)),
            (Some(true), Some(false))
        );
        assert_eq!(
            (cuts.is_unusual(1), cuts.is_unusual(2)),
            (Some(false), Some(true))
        );
        assert!((past.failure_rate() - 3.5 / 301.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_tolerated_moves_canarys_cut_only() {
        let mut past = StablePast::default();
        see(&mut past, &[stratum(0.5, busy())]);
        let cuts = past.cuts(&Reference::default(), false);
        let tolerated = Tolerated::default();
        let above = |arm| cuts.slow_above(Check::P99, arm, &tolerated);
        assert_eq!(
            (above(Variant::Stable), above(Variant::Canary)),
            (Some(30), Some(31))
        );
        assert_eq!(cuts.content_types, None);
        assert_eq!(
            cuts.slow_above(Check::Size, Variant::Stable, &tolerated),
            None
        );
    }
}
