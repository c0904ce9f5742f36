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

    /// What an outcome of an arm is to the callers' count; `None` where it is no evidence.
    pub fn answer(&self, variant: Variant, outcome: &Outcome) -> Option<Answer> {
        match outcome.class {
            OutcomeClass::ClientAborted | OutcomeClass::ProxyFault => None,
            OutcomeClass::BackendFailure(_) => Some(Answer::Failed),
            OutcomeClass::ClientError => Some(Answer::ClientError),
            OutcomeClass::TooManyRequests => Some(Answer::TooManyRequests),
            OutcomeClass::Success => Some(Answer::Good {
                slow: outcome
                    .head_latency
                    .and_then(|latency| self.slow(variant, LatencyHistogram::bucket_of(latency))),
                odd_size: outcome
                    .bytes
                    .and_then(|bytes| self.is_odd_size(SizeCounts::bucket_of(bytes))),
                unusual_type: outcome
                    .content_type
                    .and_then(|content_type| self.is_unusual(content_type)),
            }),
        }
    }

    /// Which cuts an answer of an arm is slower than, by its bucket of the histogram; `None` while there
    /// are none.
    pub fn slow(&self, variant: Variant, latency_bucket: usize) -> Option<Slow> {
        let bucket = from_1_ms(latency_bucket);
        let [p50, p90, p99] = *self.slow_above.get(variant);
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

    fn is_unusual(&self, content_type: ContentTypeIndex) -> Option<bool> {
        Some(self.usual_types? >> content_type.place() & 1 == 0)
    }
}

/// The judge counts buckets of latency from one millisecond on, in both directions.
pub(super) fn from_1_ms(bucket: usize) -> i32 {
    let offset = i32::try_from(LatencyHistogram::BUCKET_OF_1_MS).unwrap_or(i32::MAX);
    i32::try_from(bucket)
        .unwrap_or(i32::MAX)
        .saturating_sub(offset)
}

/// How callers are counted in the tick that begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallersTick {
    /// What must be cleared in all cells first.
    pub clearing: Clearing,
    /// The tick and its starts; `None` while nobody is counted.
    pub now: Option<Now>,
}
