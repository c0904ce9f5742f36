//! One worker's latencies, sizes and content types, each in as many counters as there are buckets.
//!
//! There is a set for every arm, stratum and worker, and most are never used; so the counters are made when
//! the first is. After that, finding them is one load of a line that is never written again.

use std::array;
use std::sync::OnceLock;
use std::time::Duration;

use crate::domain::evidence::{
    ContentTypeCounts, ContentTypeIndex, LatencyHistogram, Outcome, SizeCounts,
};
use crate::runtime::recorder::Counter;

/// Latencies, as [`LatencyHistogram`] puts them in buckets.
#[derive(Debug, Default)]
pub(super) struct LatencyCounters(OnceLock<Latencies>);

#[derive(Debug)]
struct Latencies {
    buckets: Box<[Counter]>,
    sum_micros: Counter,
}

impl Default for Latencies {
    fn default() -> Self {
        let buckets = (0..LatencyHistogram::BUCKETS).map(|_| Counter::default());
        Self {
            buckets: buckets.collect(),
            sum_micros: Counter::default(),
        }
    }
}

impl LatencyCounters {
    pub(super) fn record(&self, latency: Duration) {
        let own = self.0.get_or_init(Latencies::default);
        own.buckets[LatencyHistogram::bucket_of(latency)].add(1);
        own.sum_micros
            .add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Whether nothing was ever recorded.
    pub(super) fn is_unused(&self) -> bool {
        self.0.get().is_none()
    }

    /// The sum of all that was recorded, in microseconds.
    pub(super) fn sum_micros(&self) -> u64 {
        self.0.get().map_or(0, |own| own.sum_micros.get())
    }

    pub(super) fn read(&self) -> LatencyHistogram {
        let Some(own) = self.0.get() else {
            return LatencyHistogram::default();
        };
        let counts = own.buckets.iter().map(Counter::get).enumerate();
        LatencyHistogram::from_counts(counts, Duration::from_micros(own.sum_micros.get()))
    }
}

/// Good answers by size and content type.
#[derive(Debug, Default)]
pub(super) struct AnswerCounters(OnceLock<Box<Answers>>);

#[derive(Debug)]
struct Answers {
    sizes: [Counter; SizeCounts::BUCKETS],
    content_types: [Counter; ContentTypeIndex::COUNT],
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            sizes: array::from_fn(|_| Counter::default()),
            content_types: array::from_fn(|_| Counter::default()),
        }
    }
}

impl AnswerCounters {
    /// Counts what is known of an answer; nothing is, where no rollout watches.
    pub(super) fn record(&self, outcome: &Outcome) {
        if outcome.bytes.is_none() && outcome.content_type.is_none() {
            return;
        }
        let own = self.0.get_or_init(Box::default);
        if let Some(bytes) = outcome.bytes {
            own.sizes[SizeCounts::bucket_of(bytes)].add(1);
        }
        if let Some(content_type) = outcome.content_type {
            own.content_types[content_type.place()].add(1);
        }
    }

    pub(super) fn sizes(&self) -> SizeCounts {
        let own = self.0.get();
        let counts = own.into_iter().flat_map(|own| &own.sizes);
        SizeCounts::from_counts(counts.map(Counter::get).enumerate())
    }

    pub(super) fn content_types(&self) -> ContentTypeCounts {
        let Some(own) = self.0.get() else {
            return ContentTypeCounts::default();
        };
        ContentTypeCounts::from_counts(own.content_types.each_ref().map(Counter::get))
    }
}
