//! Short ways to make what the `prometheus` crate encodes.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::domain::evidence::LatencyHistogram;

/// The bounds of exported histograms are powers of two of a millisecond, from 2^-2 to 2^16: these
/// are bounds of the judge's buckets, too, so what is exported is exact.
const OCTAVES: std::ops::RangeInclusive<i32> = -2..=16;

/// Labels of one series, in the order they are shown.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A family of series with one name.
pub(crate) struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    metrics: Vec<Metric>,
}

impl Family {
    /// Numbers that only grow.
    pub(crate) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: MetricType::COUNTER,
            metrics: Vec::new(),
        }
    }

    /// Numbers that come and go.
    pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: MetricType::GAUGE,
            metrics: Vec::new(),
        }
    }

    /// Distributions of durations, in seconds.
    pub(crate) const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: MetricType::HISTOGRAM,
            metrics: Vec::new(),
        }
    }

    /// Adds a number to a family of counters or gauges.
    pub(crate) fn add(&mut self, labels: Labels<'_>, value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// Adds a whole number.
    #[allow(
        clippy::cast_precision_loss,
        reason = "Prometheus knows no other numbers"
    )]
    pub(crate) fn add_count(&mut self, labels: Labels<'_>, count: u64) {
        self.add(labels, count as f64);
    }

    /// Adds a distribution to a family of histograms.
    pub(crate) fn add_histogram(&mut self, labels: Labels<'_>, latency: &LatencyHistogram) {
        let buckets = OCTAVES.map(|octave| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(f64::from(octave).exp2() / 1e3);
            bucket.set_cumulative_count(latency.cumulative_below_octave(octave));
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(latency.count());
        histogram.set_sample_sum(latency.sum().as_secs_f64());
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// Adds ratings, by how often there is each of 1 to 5, to a family of histograms.
    #[allow(
        clippy::cast_precision_loss,
        reason = "Prometheus knows no other numbers"
    )]
    pub(crate) fn add_ratings(&mut self, labels: Labels<'_>, ratings: &[u64; 5]) {
        let (mut count, mut stars) = (0, 0);
        let buckets = (1_u32..).zip(ratings).map(|(rating, n)| {
            count += n;
            stars += u64::from(rating) * n;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(f64::from(rating));
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(stars as f64);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// What the crate encodes; `None` for a family without series, which it cannot.
    pub(crate) fn into_proto(self) -> Option<MetricFamily> {
        if self.metrics.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(self.metrics);
        Some(family)
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
