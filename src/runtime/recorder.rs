//! Counts outcomes on the request path, without a lock and without a shared line.
//!
//! Every worker has counters of its own. It is their only writer, so a count is a load and a
//! store, never a locked instruction; the control plane reads them from its own thread, sums
//! over workers and takes differences. Counters only grow, so a reading is never lost and what
//! `/metrics` shows is the very same numbers.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::evidence::{
    ArmCounts, CallerSketch, Failure, FailureCounts, LatencyHistogram, Outcome, OutcomeClass,
};

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the number. Only the owning worker may.
    pub fn add(&self, more: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Takes from the number, for what is counted up and down. Only the owning worker may.
    pub fn subtract(&self, less: u64) {
        let rest = self.0.load(Ordering::Relaxed).saturating_sub(less);
        self.0.store(rest, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The status codes that are counted by name; any other is counted by its class.
///
/// A fixed list keeps the number of series bounded whatever a backend answers. `499` stands for a
/// client that left before there was an answer, as in nginx.
pub const CODES: [&str; 46] = [
    "1xx", "2xx", "3xx", "4xx", "5xx", "101", "200", "201", "202", "203", "204", "206", "300",
    "301", "302", "303", "304", "307", "308", "400", "401", "402", "403", "404", "405", "406",
    "408", "409", "410", "411", "412", "413", "414", "415", "416", "422", "428", "429", "431",
    "499", "500", "501", "502", "503", "504", "505",
];

/// For each status 100 to 599 its place in [`CODES`].
const CODE_PLACES: [u8; 500] = code_places();

#[allow(
    clippy::cast_possible_truncation,
    reason = "there are fewer than 256 codes"
)]
const fn code_places() -> [u8; 500] {
    let mut places = [0; 500];
    let mut status = 0;
    while status < places.len() {
        places[status] = (status / 100) as u8;
        status += 1;
    }
    let mut place = 5;
    while place < CODES.len() {
        let digits = CODES[place].as_bytes();
        let [hundreds, tens, ones] = [digits[0] - b'0', digits[1] - b'0', digits[2] - b'0'];
        let status = hundreds as usize * 100 + tens as usize * 10 + ones as usize;
        places[status - 100] = place as u8;
        place += 1;
    }
    places
}

/// One worker's requests on one route, for one flag, group and variant, by status code.
#[derive(Debug)]
pub struct CodeCounters([Counter; CODES.len()]);

impl Default for CodeCounters {
    fn default() -> Self {
        Self(array::from_fn(|_| Counter::default()))
    }
}

impl CodeCounters {
    /// Counts one request that ended with a status; anything outside 100 to 599 counts as `5xx`.
    pub fn record(&self, status: u16) {
        let place = usize::from(status)
            .checked_sub(100)
            .and_then(|at| CODE_PLACES.get(at));
        self.0[usize::from(*place.unwrap_or(&4))].add(1);
    }

    /// The numbers now, in the order of [`CODES`].
    pub fn read(&self) -> [u64; CODES.len()] {
        array::from_fn(|place| self.0[place].get())
    }
}

#[derive(Debug)]
struct HistogramCounters {
    buckets: Box<[Counter]>,
    sum_micros: Counter,
}

impl Default for HistogramCounters {
    fn default() -> Self {
        let buckets = (0..LatencyHistogram::BUCKETS)
            .map(|_| Counter::default())
            .collect();
        Self {
            buckets,
            sum_micros: Counter::default(),
        }
    }
}

impl HistogramCounters {
    fn record(&self, latency: Duration) {
        self.buckets[LatencyHistogram::bucket_of(latency)].add(1);
        self.sum_micros
            .add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    fn read(&self) -> LatencyHistogram {
        let counts = self.buckets.iter().map(Counter::get).enumerate();
        LatencyHistogram::from_counts(counts, Duration::from_micros(self.sum_micros.get()))
    }
}

/// A [`CallerSketch`] that is written by a worker and emptied by the control plane.
#[derive(Debug, Default)]
struct SketchCells([AtomicU64; CallerSketch::WORDS]);

impl SketchCells {
    /// Writes only on a first sight, which is rare once a tick has begun.
    fn insert(&self, caller_hash: u64) {
        let (word, bit) = CallerSketch::place_of(caller_hash);
        if self.0[word].load(Ordering::Relaxed) & bit == 0 {
            self.0[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn take(&self) -> CallerSketch {
        CallerSketch::from_words(array::from_fn(|word| {
            self.0[word].swap(0, Ordering::Relaxed)
        }))
    }
}

/// One worker's outcomes in one arm: a flag's variant, for one group under one epoch of weights.
#[derive(Debug, Default)]
pub struct ArmCounters {
    good: HistogramCounters,
    /// Heads that were not good answers: they count in what is exported, not in what is judged.
    other: HistogramCounters,
    successes: Counter,
    client_errors: Counter,
    too_many_requests: Counter,
    failures: [Counter; Failure::ALL.len()],
    client_aborts: Counter,
    proxy_faults: Counter,
    refused_connects: Counter,
    rescued: Counter,
    callers: SketchCells,
    failed_callers: SketchCells,
}

impl ArmCounters {
    /// Counts how one request ended; what is no evidence about the backend is left out.
    pub fn record(&self, outcome: &Outcome, caller_hash: u32) {
        let caller_hash = u64::from(caller_hash);
        match outcome.class {
            OutcomeClass::ClientAborted => return self.client_aborts.add(1),
            OutcomeClass::ProxyFault => return self.proxy_faults.add(1),
            OutcomeClass::Success => self.successes.add(1),
            OutcomeClass::ClientError => self.client_errors.add(1),
            OutcomeClass::TooManyRequests => self.too_many_requests.add(1),
            OutcomeClass::BackendFailure(failure) => {
                self.failures[failure as usize].add(1);
                self.failed_callers.insert(caller_hash);
            }
        }
        self.callers.insert(caller_hash);
        if let Some(latency) = outcome.head_latency {
            let is_good = outcome.class == OutcomeClass::Success;
            let histogram = if is_good { &self.good } else { &self.other };
            histogram.record(latency);
        }
    }

    /// Counts a request that no endpoint of the backend accepted a connection for.
    pub fn record_refused(&self) {
        self.refused_connects.add(1);
    }

    /// Counts a request that another backend answered in this one's place.
    pub fn record_rescued(&self) {
        self.rescued.add(1);
    }

    /// The numbers now, since the counters were made.
    pub fn read(&self) -> ArmReading {
        let failures = Failure::ALL.map(|failure| self.failures[failure as usize].get());
        // Each is read once: the worker goes on counting meanwhile.
        let (client_errors, too_many_requests) =
            (self.client_errors.get(), self.too_many_requests.get());
        let others = [self.successes.get(), client_errors, too_many_requests];
        let requests = others.iter().chain(&failures).sum();
        let counts = ArmCounts {
            requests,
            failures: FailureCounts::from_counts(failures),
            client_errors,
            too_many_requests,
            refused_connects: self.refused_connects.get(),
            latency: self.good.read(),
            callers: CallerSketch::default(),
            failed_callers: CallerSketch::default(),
            ..ArmCounts::default()
        };
        ArmReading {
            counts,
            other_latency: self.other.read(),
            client_aborts: self.client_aborts.get(),
            proxy_faults: self.proxy_faults.get(),
            rescued: self.rescued.get(),
        }
    }

    /// The callers seen since this was last asked, and those of them who met a failure.
    pub fn take_callers(&self) -> (CallerSketch, CallerSketch) {
        (self.callers.take(), self.failed_callers.take())
    }
}

/// What [`ArmCounters`] stand at.
#[derive(Clone, Debug, Default)]
pub struct ArmReading {
    /// The evidence, without its callers.
    pub counts: ArmCounts,
    /// Time to the head of answers that were not good.
    pub other_latency: LatencyHistogram,
    /// Requests that the client broke off.
    pub client_aborts: u64,
    /// Requests that failed by our own fault.
    pub proxy_faults: u64,
    /// Requests that another backend answered in this one's place.
    pub rescued: u64,
}

impl ArmReading {
    /// Adds another worker's, or another epoch's, numbers.
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.other_latency.merge(&other.other_latency);
        self.client_aborts += other.client_aborts;
        self.proxy_faults += other.proxy_faults;
        self.rescued += other.rescued;
    }
}

/// One worker's dealings with one endpoint.
#[derive(Debug, Default)]
pub struct EndpointCounters {
    /// Requests sent.
    pub requests: Counter,
    /// Connections made.
    pub connects: Counter,
    /// Connections that could not be made.
    pub connect_failures: Counter,
    /// Connections open now.
    pub connections: Counter,
}

/// What [`EndpointCounters`] stand at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointReading {
    /// Requests sent.
    pub requests: u64,
    /// Connections made.
    pub connects: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
    /// Connections open now.
    pub connections: u64,
}

impl EndpointCounters {
    /// The numbers now.
    pub fn read(&self) -> EndpointReading {
        EndpointReading {
            requests: self.requests.get(),
            connects: self.connects.get(),
            connect_failures: self.connect_failures.get(),
            connections: self.connections.get(),
        }
    }
}

impl EndpointReading {
    /// Adds another worker's numbers.
    pub const fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.connects += other.connects;
        self.connect_failures += other.connect_failures;
        self.connections += other.connections;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_counted_by_name_or_by_its_class() {
        let counters = CodeCounters::default();
        for status in [200, 200, 404, 418, 599, 101, 100, 999, 0] {
            counters.record(status);
        }
        let counts = counters.read();
        let of = |code| counts[CODES.iter().position(|known| *known == code).unwrap()];
        assert_eq!(
            (of("200"), of("404"), of("4xx"), of("101"), of("1xx")),
            (2, 1, 1, 1, 1)
        );
        assert_eq!(of("5xx"), 3);
    }

    #[test]
    fn an_arm_counts_what_is_evidence_and_nothing_else() {
        let arm = ArmCounters::default();
        let ended = |class, head_ms: Option<u64>| Outcome {
            class,
            head_latency: head_ms.map(Duration::from_millis),
            ..Outcome::default()
        };
        arm.record(&ended(OutcomeClass::Success, Some(10)), 1);
        arm.record(&ended(OutcomeClass::ClientError, Some(1)), 2);
        arm.record(
            &ended(OutcomeClass::BackendFailure(Failure::Connect), None),
            3,
        );
        arm.record(&ended(OutcomeClass::ClientAborted, Some(5)), 4);
        arm.record(&ended(OutcomeClass::ProxyFault, None), 5);

        let reading = arm.read();
        assert_eq!((reading.client_aborts, reading.proxy_faults), (1, 1));
        assert_eq!(reading.counts.requests, 3);
        assert_eq!(reading.counts.client_errors, 1);
        assert_eq!(reading.counts.failures.of(Failure::Connect), 1);
        assert_eq!(reading.counts.latency.count(), 1);
        assert_eq!(reading.other_latency.count(), 1);
        let (callers, failed) = arm.take_callers();
        assert_eq!((callers.estimate(), failed.estimate()), (3, 1));
        assert_eq!(
            arm.take_callers().0.estimate(),
            0,
            "a tick starts with nobody"
        );
    }
}
