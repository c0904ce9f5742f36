//! What the data plane is told of a rollout's judgement: how to look at answers.
//!
//! One for each rollout, shared by the controller, who alone changes it once a tick, and by all
//! workers, who read it once a request. Each field is a relaxed atomic: a worker that sees one of
//! them a tick late counts an answer by the cut of the tick before, which is as good a cut.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::domain::evidence::cells::{Now, SLOTS};
use crate::domain::judge::{ArmCuts, SightCuts};
use crate::domain::variant::{PerVariant, Variant};

/// Stands for a cut that is not known yet.
const UNKNOWN: i32 = i32::MIN;

/// How to look at answers in the current tick.
#[derive(Debug)]
pub struct Sight {
    /// The epoch of weights whose requests are counted; others belong to another stage.
    epoch: AtomicU64,
    /// Stamp and generations of [`Now`]; 0 while callers are not counted.
    now: AtomicU64,
    slow_above: PerVariant<[AtomicI32; 3]>,
    usual_sizes: [AtomicI32; 2],
    /// The highest bit says that the others are known.
    usual_types: AtomicU64,
}

const TYPES_KNOWN: u64 = 1 << 63;

impl Default for Sight {
    fn default() -> Self {
        let unknown = || AtomicI32::new(UNKNOWN);
        Self {
            epoch: AtomicU64::new(0),
            now: AtomicU64::new(0),
            slow_above: PerVariant::from_fn(|_| std::array::from_fn(|_| unknown())),
            usual_sizes: [unknown(), unknown()],
            usual_types: AtomicU64::new(0),
        }
    }
}

impl Sight {
    /// Counts callers of an epoch from now on, in a tick and its starts; nobody for `None`.
    pub fn count_callers(&self, epoch: u64, now: Option<Now>) {
        // Nobody is counted under one epoch's starts and the other's number.
        self.now.store(0, Ordering::Relaxed);
        self.epoch.store(epoch, Ordering::Relaxed);
        self.now.store(now.map_or(0, pack), Ordering::Relaxed);
    }

    /// Looks at answers by other cuts.
    pub fn cut_at(&self, cuts: &SightCuts) {
        for variant in Variant::ALL {
            let places = self.slow_above.get(variant).iter();
            for (place, cut) in places.zip(cuts.slow_above.get(variant)) {
                place.store(cut.unwrap_or(UNKNOWN), Ordering::Relaxed);
            }
        }
        let sizes = cuts
            .usual_sizes
            .map_or([UNKNOWN; 2], |(low, high)| [low, high]);
        for (place, size) in self.usual_sizes.iter().zip(sizes) {
            place.store(size, Ordering::Relaxed);
        }
        let types = cuts.usual_types.map_or(0, |types| types | TYPES_KNOWN);
        self.usual_types.store(types, Ordering::Relaxed);
    }

    /// The stamp of the tick in which callers are counted, whatever the epoch; `None` while nobody is.
    pub fn stamp(&self) -> Option<u16> {
        let packed = self.now.load(Ordering::Relaxed);
        (packed != 0).then(|| unpack(packed).stamp)
    }

    /// The tick and the starts in which callers of an epoch are counted, if they are.
    pub fn now(&self, epoch: u64) -> Option<Now> {
        let packed = self.now.load(Ordering::Relaxed);
        let is_counted = packed != 0 && self.epoch.load(Ordering::Relaxed) == epoch;
        is_counted.then(|| unpack(packed))
    }

    /// The bucket above which an answer of an arm is slower than nearly all of stable's, if known.
    pub fn slowest_cut(&self, variant: Variant) -> Option<i32> {
        known(self.slow_above.get(variant)[2].load(Ordering::Relaxed))
    }

    /// The cuts of an arm.
    pub fn cuts(&self, variant: Variant) -> ArmCuts {
        // Place by place: `map` over an array is not seen through by the compiler here.
        let load = |cut: &AtomicI32| known(cut.load(Ordering::Relaxed));
        let [p50, p90, p99] = self.slow_above.get(variant);
        let [low, high] = &self.usual_sizes;
        let types = self.usual_types.load(Ordering::Relaxed);
        ArmCuts {
            slow_above: [load(p50), load(p90), load(p99)],
            usual_sizes: load(low).zip(load(high)),
            usual_types: (types & TYPES_KNOWN != 0).then_some(types & !TYPES_KNOWN),
        }
    }
}

const fn known(cut: i32) -> Option<i32> {
    if cut == UNKNOWN { None } else { Some(cut) }
}

fn pack(now: Now) -> u64 {
    let generations = now.generations.iter().enumerate();
    let generations = generations.map(|(slot, number)| u64::from(*number) << (16 + 8 * slot));
    u64::from(now.stamp) | generations.sum::<u64>()
}

fn unpack(packed: u64) -> Now {
    let [low, high, first, second, third, ..] = packed.to_le_bytes();
    let generations: [u8; SLOTS] = [first, second, third];
    Now {
        stamp: u16::from_le_bytes([low, high]),
        generations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_controller_says_is_what_a_worker_sees() {
        let sight = Sight::default();
        assert_eq!(sight.now(0), None);
        assert_eq!(sight.cuts(Variant::Stable), ArmCuts::default());

        let now = Now {
            stamp: 65_535,
            generations: [255, 0, 7],
        };
        sight.count_callers(4, Some(now));
        let cuts = SightCuts {
            slow_above: PerVariant {
                stable: [Some(0), Some(16), None],
                canary: [Some(1), Some(17), Some(33)],
            },
            usual_sizes: Some((4, 40)),
            usual_types: Some(0b10),
        };
        sight.cut_at(&cuts);
        assert_eq!((sight.now(4), sight.now(3)), (Some(now), None));
        assert_eq!(sight.stamp(), Some(65_535));
        for variant in Variant::ALL {
            assert_eq!(sight.cuts(variant), cuts.of(variant));
        }
        assert_eq!(sight.slowest_cut(Variant::Canary), Some(33));
        assert_eq!(sight.slowest_cut(Variant::Stable), None);
        sight.count_callers(5, None);
        assert_eq!((sight.now(5), sight.stamp()), (None, None));
    }
}
