//! What the data plane is told, so that it can say of each answer what it is as it ends.

use crate::domain::evidence::cells::{Answer, Clearing, Now, Slow};
use crate::domain::evidence::{
    ContentTypeIndex, LatencyHistogram, Outcome, OutcomeClass, SizeCounts,
};
use crate::domain::judge::sequential::{Check, Cuts, Tolerated};
use crate::domain::variant::{PerVariant, Variant};

/// The cuts of one tick, in buckets of the counts they are compared with. `None` while too little is known
/// of stable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SightCuts {
    /// For each arm the latency buckets above which an answer is slow: of the median, of the 90th
    /// and of the 99th percentile.
    pub slow_above: PerVariant<[Option<i32>; 3]>,
    /// The sizes, in buckets, below and above which an answer is odd.
    pub usual_sizes: Option<(i32, i32)>,
    /// The content types that stable sends, one bit for each number.
    pub usual_types: Option<u64>,
}

impl SightCuts {
    /// The cuts as the judge has them, with canary's moved by what is tolerated.
    pub fn new(cuts: &Cuts, tolerated: &Tolerated) -> Self {
        let usual = |types: &Vec<i32>| {
            let bit = |number: &i32| match usize::try_from(*number) {
                Ok(place) => 1_u64 << ContentTypeIndex::at(place).place(),
                Err(_) => 0,
            };
            types.iter().map(bit).fold(0, |bits, bit| bits | bit)
        };
        Self {
            slow_above: PerVariant::from_fn(|variant| {
                [Check::P50, Check::P90, Check::P99]
                    .map(|check| cuts.slow_above(check, variant, tolerated))
            }),
            usual_sizes: cuts.size,
            usual_types: cuts.content_types.as_ref().map(usual),
        }
    }

    /// The cuts of one arm.
    pub fn of(&self, variant: Variant) -> ArmCuts {
        ArmCuts {
            slow_above: *self.slow_above.get(variant),
            usual_sizes: self.usual_sizes,
            usual_types: self.usual_types,
        }
    }
}

/// The cuts of one arm, see [`SightCuts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmCuts {
    /// The latency buckets above which an answer is slow: of the median, of the 90th and of the 99th
    /// percentile.
    pub slow_above: [Option<i32>; 3],
    /// The sizes, in buckets, below and above which an answer is odd.
    pub usual_sizes: Option<(i32, i32)>,
    /// The content types that stable sends, one bit for each number.
    pub usual_types: Option<u64>,
}

impl ArmCuts {
    /// What an outcome is to the callers' count; `None` where it is no evidence. The cuts are asked for
    /// only where they are needed.
    pub fn answer(outcome: &Outcome, cuts: impl FnOnce() -> Self) -> Option<Answer> {
        match outcome.class {
            OutcomeClass::ClientAborted | OutcomeClass::ProxyFault => None,
            OutcomeClass::BackendFailure(_) => Some(Answer::Failed),
            OutcomeClass::ClientError => Some(Answer::ClientError),
            OutcomeClass::TooManyRequests => Some(Answer::TooManyRequests),
            OutcomeClass::Success => Some(cuts().good(outcome)),
        }
    }

    fn good(&self, outcome: &Outcome) -> Answer {
        let (latency, content_type) = (outcome.head_latency, outcome.content_type);
        Answer::Good {
            slow: latency.and_then(|latency| self.slow(LatencyHistogram::bucket_of(latency))),
            odd_size: outcome
                .bytes
                .and_then(|bytes| self.is_odd_size(SizeCounts::bucket_of(bytes))),
            unusual_type: content_type.and_then(|content_type| self.is_unusual(content_type)),
        }
    }

    /// Which cuts an answer is slower than, by its bucket of the histogram; `None` while there are none.
    pub fn slow(&self, latency_bucket: usize) -> Option<Slow> {
        let bucket = LatencyHistogram::from_1_ms(latency_bucket);
        let [p50, p90, p99] = self.slow_above;
        Some(Slow {
            p50: bucket > p50?,
            p90: bucket > p90?,
            p99: bucket > p99?,
        })
    }

    /// Whether a size, by its bucket, is odd; `None` while nothing is known.
    pub fn is_odd_size(&self, bucket: usize) -> Option<bool> {
        let (low, high) = self.usual_sizes?;
        let bucket = i32::try_from(bucket).unwrap_or(i32::MAX);
        Some(!(low..=high).contains(&bucket))
    }

    /// Whether a content type is unusual; `None` while nothing is known.
    pub fn is_unusual(&self, content_type: ContentTypeIndex) -> Option<bool> {
        Some(self.usual_types? >> content_type.place() & 1 == 0)
    }
}

/// How callers are counted in the tick that begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallersTick {
    /// What must be cleared in all cells first.
    pub clearing: Clearing,
    /// The tick and its starts; `None` while nobody is counted.
    pub now: Option<Now>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_good_answer_is_seen_by_the_cuts_of_its_arm() {
        let cuts = SightCuts {
            slow_above: PerVariant {
                stable: [Some(0), Some(16), Some(32)],
                canary: [Some(1), Some(31), Some(33)],
            },
            usual_sizes: Some((4, 40)),
            usual_types: Some(0b10),
        };
        // Buckets 16 to 31 hold 2 ms up to 4 ms.
        let bucket = LatencyHistogram::bucket_of(Duration::from_millis(3));
        let slow = |variant| cuts.of(variant).slow(bucket).unwrap();
        let (stable, canary) = (slow(Variant::Stable), slow(Variant::Canary));
        assert_eq!((stable.p50, stable.p90, stable.p99), (true, true, false));
        assert_eq!((canary.p50, canary.p90, canary.p99), (true, false, false));
        let of_canary = cuts.of(Variant::Canary);
        let is_odd = |bytes| of_canary.is_odd_size(SizeCounts::bucket_of(bytes));
        assert_eq!((is_odd(0), is_odd(100)), (Some(true), Some(false)));
        let is_unusual = |place| of_canary.is_unusual(ContentTypeIndex::at(place));
        assert_eq!((is_unusual(1), is_unusual(2)), (Some(false), Some(true)));

        let nothing_known = ArmCuts::default();
        assert_eq!(nothing_known.slow(bucket), None);
        assert_eq!(nothing_known.is_odd_size(0), None);
        assert_eq!(nothing_known.is_unusual(ContentTypeIndex::NONE), None);
    }

    #[test]
    fn cuts_are_asked_for_where_an_answer_is_good() {
        let outcome = |class| Outcome {
            class,
            ..Outcome::default()
        };
        let unasked = || -> ArmCuts { unreachable!("of no use to it") };
        let refused = outcome(OutcomeClass::ClientError);
        assert_eq!(
            ArmCuts::answer(&refused, unasked),
            Some(Answer::ClientError)
        );
        let aborted = outcome(OutcomeClass::ClientAborted);
        assert_eq!(ArmCuts::answer(&aborted, unasked), None);
        let good = ArmCuts::answer(&outcome(OutcomeClass::Success), ArmCuts::default);
        assert!(matches!(good, Some(Answer::Good { slow: None, .. })));
    }
}
