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
use crate::runtime::callers_seen::CellCounters;
use crate::runtime::distributions::{AnswerCounters, LatencyCounters};

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
    /// Heads of good answers: they count in what is exported and in what is judged.
    good: LatencyCounters,
    /// Other heads, and those that came after their request was counted as waiting: they count in
    /// what is exported, not in what is judged.
    other: LatencyCounters,
    /// How long requests had waited when they crossed the cut: this counts in what is judged, not in
    /// what is exported, for there the time that it took in the end is the truth.
    waiting: LatencyCounters,
    answers: AnswerCounters,
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
    /// First events of callers, where a rollout watches.
    pub cells: CellCounters,
}

impl ArmCounters {
    /// Counts how one request ended; what is no evidence about the backend is left out. A head that
    /// has been counted as waiting belongs to [`record_late_head`](Self::record_late_head).
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
        let is_good = outcome.class == OutcomeClass::Success;
        if is_good {
            self.answers.record(outcome);
        }
        if let Some(latency) = outcome.head_latency {
            let histogram = if is_good { &self.good } else { &self.other };
            histogram.record(latency);
        }
    }

    /// Counts a request that has waited so long for its answer and still does. Once for each request.
    pub fn record_waiting(&self, waited: Duration) {
        self.waiting.record(waited);
    }

    /// Counts the head of a request's answer after the request was counted as waiting.
    pub fn record_late_head(&self, latency: Duration) {
        self.other.record(latency);
    }

    /// Counts a request that no endpoint of the backend accepted a connection for.
    pub fn record_refused(&self) {
        self.refused_connects.add(1);
    }

    /// Counts a request that another backend answered in this one's place.
    pub fn record_rescued(&self) {
        self.rescued.add(1);
    }

    /// Whether nothing that is judged was counted since the counters were made.
    pub fn is_unused(&self) -> bool {
        self.judged().all(|counter| counter.get() == 0) && self.waiting.is_unused()
    }

    /// A number that changes whenever something that is judged is counted, and says nothing else: requests and
    /// microseconds in one.
    pub fn sum(&self) -> u64 {
        let sum = self.waiting.sum_micros();
        self.judged()
            .fold(sum, |sum, counter| sum.wrapping_add(counter.get()))
    }

    /// What is judged, but for latencies and callers.
    fn judged(&self) -> impl Iterator<Item = &Counter> {
        let classes = [
            &self.successes,
            &self.client_errors,
            &self.too_many_requests,
            &self.refused_connects,
        ];
        classes.into_iter().chain(&self.failures)
    }

    /// The evidence since the counters were made, without its callers.
    pub fn counts(&self) -> ArmCounts {
        self.counts_with(&self.good.read())
    }

    fn counts_with(&self, good: &LatencyHistogram) -> ArmCounts {
        let failures = Failure::ALL.map(|failure| self.failures[failure as usize].get());
        // Each is read once: the worker goes on counting meanwhile.
        let (client_errors, too_many_requests) =
            (self.client_errors.get(), self.too_many_requests.get());
        let others = [self.successes.get(), client_errors, too_many_requests];
        let requests = others.iter().chain(&failures).sum();
        let mut latency = good.clone();
        if !self.waiting.is_unused() {
            latency.merge(&self.waiting.read());
        }
        ArmCounts {
            requests,
            failures: FailureCounts::from_counts(failures),
            client_errors,
            too_many_requests,
            refused_connects: self.refused_connects.get(),
            latency,
            sizes: self.answers.sizes(),
            content_types: self.answers.content_types(),
            ..ArmCounts::default()
        }
    }

    /// All numbers now, since the counters were made.
    pub fn read(&self) -> ArmReading {
        let mut latency = self.good.read();
        let counts = self.counts_with(&latency);
        latency.merge(&self.other.read());
        ArmReading {
            counts,
            latency,
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
    /// Time to the head of all answers, good or not.
    pub latency: LatencyHistogram,
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
        self.latency.merge(&other.latency);
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
    /// Requests that it failed and that were sent once more.
    pub retries: Counter,
    /// Those that were not, for there had been too many.
    pub retries_denied: Counter,
    /// Requests that were sent once more because a kept connection was closed under them.
    pub repeats: Counter,
    /// Connections open now.
    pub connections: Counter,
    /// Requests that wait for a connection now.
    pub pending: Counter,
    /// Requests that found no connection, and no place to wait for one or none in time.
    pub overflows: Counter,
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
    /// Requests that it failed and that were sent once more.
    pub retries: u64,
    /// Those that were not, for there had been too many.
    pub retries_denied: u64,
    /// Requests that were sent once more because a kept connection was closed under them.
    pub repeats: u64,
    /// Connections open now.
    pub connections: u64,
    /// Requests that wait for a connection now.
    pub pending: u64,
    /// Requests that found no connection, and no place to wait for one or none in time.
    pub overflows: u64,
}

impl EndpointCounters {
    /// The numbers now.
    pub fn read(&self) -> EndpointReading {
        EndpointReading {
            requests: self.requests.get(),
            connects: self.connects.get(),
            connect_failures: self.connect_failures.get(),
            retries: self.retries.get(),
            retries_denied: self.retries_denied.get(),
            repeats: self.repeats.get(),
            connections: self.connections.get(),
            pending: self.pending.get(),
            overflows: self.overflows.get(),
        }
    }
}

impl EndpointReading {
    /// Adds another worker's numbers.
    pub const fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.connects += other.connects;
        self.connect_failures += other.connect_failures;
        self.retries += other.retries;
        self.retries_denied += other.retries_denied;
        self.repeats += other.repeats;
        self.connections += other.connections;
        self.pending += other.pending;
        self.overflows += other.overflows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::ContentTypeIndex;

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
        assert_eq!(reading.latency.count(), 2);
        let (callers, failed) = arm.take_callers();
        assert_eq!((callers.estimate(), failed.estimate()), (3, 1));
        assert_eq!(
            arm.take_callers().0.estimate(),
            0,
            "a tick starts with nobody"
        );
    }

    #[test]
    fn a_request_that_waits_is_judged_by_its_wait_and_shown_by_its_head() {
        let arm = ArmCounters::default();
        assert!(arm.is_unused());
        arm.record_waiting(Duration::from_millis(300));
        assert!(!arm.is_unused());
        let reading = arm.read();
        assert_eq!(
            (reading.counts.latency.count(), reading.latency.count()),
            (1, 0)
        );
        let ended = Outcome {
            bytes: Some(7),
            content_type: Some(ContentTypeIndex::NONE),
            ..Outcome::default()
        };
        arm.record(&ended, 1);
        arm.record_late_head(Duration::from_secs(9));
        let reading = arm.read();
        assert_eq!(reading.counts.latency.sum(), Duration::from_millis(300));
        assert_eq!(reading.latency.sum(), Duration::from_secs(9));
        assert_eq!(reading.counts.sizes.filled().collect::<Vec<_>>(), [(12, 1)]);
        assert_eq!(reading.counts.content_types.filled().count(), 1);
    }

    #[test]
    fn only_good_answers_have_a_size_and_a_type() {
        let arm = ArmCounters::default();
        let failed = Outcome {
            class: OutcomeClass::BackendFailure(Failure::Status),
            bytes: Some(7),
            content_type: Some(ContentTypeIndex::OTHER),
            ..Outcome::default()
        };
        arm.record(&failed, 1);
        let counts = arm.counts();
        assert_eq!(counts.sizes.filled().count(), 0);
        assert_eq!(counts.content_types.filled().count(), 0);
    }
}
