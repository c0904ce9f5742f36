//! Knows every counter there is: makes them, hands them out, reads them.
//!
//! Counters are made when a snapshot is, so that a request finds its own by place and never by
//! name. A counter outlives the snapshot it was made for: what `/metrics` shows only grows, and a
//! request that began under old weights is still counted under the epoch it was decided in.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::backend::Endpoint;
use crate::domain::evidence::{ArmCounts, CallerSketch, Stratum as EvidenceStratum, TickCounts};
use crate::domain::flag::{Flag, Stratum};
use crate::domain::ids::{BackendName, FlagName};
use crate::domain::route::RouteTarget;
use crate::domain::routing::RoutingSnapshot;
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;
use crate::runtime::meters::{RouteMeters, WorkerMeters};
use crate::runtime::recorder::{
    ArmCounters, ArmReading, CODES, CodeCounters, EndpointCounters, EndpointReading,
};
use crate::runtime::series::{ArmName, RequestSeries, StratumName, arm_names};

/// One counter for each worker.
type PerWorker<T> = Vec<Arc<T>>;

#[derive(Debug)]
struct ArmEntry {
    weight: Weight,
    counters: PerWorker<ArmCounters>,
    /// What the counters stood at when they were last drained.
    drained: ArmCounts,
}

impl ArmEntry {
    fn read(&self) -> ArmReading {
        let mut sum = ArmReading::default();
        self.counters
            .iter()
            .for_each(|counters| sum.merge(&counters.read()));
        sum
    }

    fn take_callers(&self) -> (CallerSketch, CallerSketch) {
        let mut sum = (CallerSketch::default(), CallerSketch::default());
        for (callers, failed) in self.counters.iter().map(|counters| counters.take_callers()) {
            sum.0.union(&callers);
            sum.1.union(&failed);
        }
        sum
    }

    /// Whether no snapshot and no request in flight can count here any more.
    fn is_orphaned(&self) -> bool {
        self.counters
            .iter()
            .all(|counters| Arc::strong_count(counters) == 1)
    }
}

#[derive(Debug, Default)]
struct Books {
    codes: HashMap<RequestSeries, PerWorker<CodeCounters>>,
    /// By arm and epoch of weights.
    arms: BTreeMap<(ArmName, u64), ArmEntry>,
    /// What was counted in epochs that are over.
    closed: BTreeMap<ArmName, ArmReading>,
    endpoints: BTreeMap<(BackendName, Endpoint), PerWorker<EndpointCounters>>,
}

/// All counters of all workers.
#[derive(Debug)]
pub struct Ledger {
    workers: usize,
    /// Held while a snapshot is made, a tick drained or metrics read; never by a request.
    books: Mutex<Books>,
}

impl Ledger {
    /// Starts empty, for a number of workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            books: Mutex::default(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Counters have no broken state that a panic elsewhere could leave behind.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters that a snapshot's requests need, one set for each worker.
    pub fn meters(&self, routing: &RoutingSnapshot) -> Vec<WorkerMeters> {
        let mut books = self.books();
        (0..self.workers)
            .map(|worker| self.worker_meters(&mut books, routing, worker))
            .collect()
    }

    fn worker_meters(
        &self,
        books: &mut Books,
        routing: &RoutingSnapshot,
        worker: usize,
    ) -> WorkerMeters {
        let flags = routing
            .flags
            .iter()
            .map(|flag| self.flag_arms(books, routing, flag, worker));
        let flags = flags.collect();
        let routes = routing.routes.iter().map(|(_, route)| match route.target {
            RouteTarget::Backend(_) => {
                let series = RequestSeries {
                    route: route.label.clone(),
                    arm: None,
                };
                RouteMeters::Backend(self.codes(books, series, worker))
            }
            RouteTarget::Flag(flag) => {
                let strata = arm_names(routing, routing.flag(flag)).into_iter();
                let codes = strata.map(|names| {
                    names.map(|arm| {
                        let series = RequestSeries {
                            route: route.label.clone(),
                            arm: Some(arm),
                        };
                        self.codes(books, series, worker)
                    })
                });
                RouteMeters::Flag(codes.collect())
            }
        });
        let routes = routes.collect();
        let endpoints = routing.backends.iter().map(|backend| {
            let of_endpoint = |endpoint: &Endpoint| {
                let key = (backend.name.clone(), endpoint.clone());
                let counters = books.endpoints.entry(key);
                Arc::clone(&counters.or_insert_with(|| self.per_worker())[worker])
            };
            backend.endpoints.iter().map(of_endpoint).collect()
        });
        let endpoints = endpoints.collect();
        let unrouted = RequestSeries {
            route: "".into(),
            arm: None,
        };
        WorkerMeters {
            unrouted: self.codes(books, unrouted, worker),
            routes,
            flags,
            endpoints,
        }
    }

    fn flag_arms(
        &self,
        books: &mut Books,
        routing: &RoutingSnapshot,
        flag: &Flag,
        worker: usize,
    ) -> Vec<PerVariant<Arc<ArmCounters>>> {
        let strata = flag.weights.strata().zip(arm_names(routing, flag));
        let arms = strata.map(|(stratum, names)| {
            names.map(|name| {
                let entry = books
                    .arms
                    .entry((name, flag.epoch))
                    .or_insert_with(|| ArmEntry {
                        weight: weight_of(stratum),
                        counters: self.per_worker(),
                        drained: ArmCounts::default(),
                    });
                Arc::clone(&entry.counters[worker])
            })
        });
        arms.collect()
    }

    fn codes(&self, books: &mut Books, series: RequestSeries, worker: usize) -> Arc<CodeCounters> {
        Arc::clone(
            &books
                .codes
                .entry(series)
                .or_insert_with(|| self.per_worker())[worker],
        )
    }

    fn per_worker<T: Default>(&self) -> PerWorker<T> {
        (0..self.workers).map(|_| Arc::default()).collect()
    }

    /// What was counted since the last call, for each flag: one tick of evidence.
    ///
    /// Flags without anything new have an entry, too, as long as they have counters.
    pub fn drain(&self) -> BTreeMap<FlagName, TickCounts> {
        let mut books = self.books();
        // Found before they are read: once nobody can count to them any more, what is read now is
        // all there will ever be.
        let orphans = books.orphans();
        let mut ticks: BTreeMap<FlagName, TickCounts> = BTreeMap::new();
        for ((arm, epoch), entry) in &mut books.arms {
            let tick = ticks.entry(arm.flag.clone()).or_default();
            let group = match &arm.stratum {
                StratumName::Group(name) => Some(name.clone()),
                StratumName::Default => None,
                StratumName::Forced => continue,
            };
            let now = entry.read().counts;
            let mut added = now.since(&entry.drained);
            (added.callers, added.failed_callers) = entry.take_callers();
            entry.drained = now;
            let mut stratum = EvidenceStratum::empty(group, *epoch, entry.weight);
            *stratum.arms.get_mut(arm.variant) = added;
            tick.add(stratum);
        }
        books.close(orphans);
        ticks
    }

    /// Everything that was counted since the start.
    pub fn read(&self) -> Readings {
        let books = self.books();
        let sum_codes = |counters: &PerWorker<CodeCounters>| {
            let mut sum = [0; CODES.len()];
            for codes in counters.iter().map(|counters| counters.read()) {
                sum.iter_mut()
                    .zip(codes)
                    .for_each(|(sum, more)| *sum += more);
            }
            sum
        };
        let mut arms = books.closed.clone();
        for ((arm, _), entry) in &books.arms {
            arms.entry(arm.clone()).or_default().merge(&entry.read());
        }
        let endpoints = books.endpoints.iter().map(|(key, counters)| {
            let mut sum = EndpointReading::default();
            counters
                .iter()
                .for_each(|counters| sum.merge(counters.read()));
            (key.clone(), sum)
        });
        let requests = books
            .codes
            .iter()
            .map(|(key, codes)| (key.clone(), sum_codes(codes)));
        Readings {
            requests: requests.collect(),
            arms,
            endpoints: endpoints.collect(),
        }
    }
}

impl Books {
    /// Arms of epochs that are over for every worker.
    fn orphans(&self) -> Vec<(ArmName, u64)> {
        let orphaned = self.arms.iter().filter(|(_, entry)| entry.is_orphaned());
        let orphans = orphaned.map(|(key, _)| key.clone()).collect();
        // What a worker has counted before it let go is seen from here on.
        fence(Ordering::Acquire);
        orphans
    }

    /// Moves arms into the sums of closed epochs.
    fn close(&mut self, orphans: Vec<(ArmName, u64)>) {
        for key in orphans {
            if let Some(entry) = self.arms.remove(&key) {
                self.closed.entry(key.0).or_default().merge(&entry.read());
            }
        }
    }
}

const fn weight_of(stratum: Stratum) -> Weight {
    match stratum {
        Stratum::Group(entry) => entry.weight,
        Stratum::Default(weight) => weight,
        Stratum::Forced => Weight::ZERO,
    }
}

/// Everything counted since the start, summed over workers.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// Requests by series and code, codes in the order of [`CODES`].
    pub requests: BTreeMap<RequestSeries, [u64; CODES.len()]>,
    /// Outcomes by arm.
    pub arms: BTreeMap<ArmName, ArmReading>,
    /// Dealings with each endpoint.
    pub endpoints: BTreeMap<(BackendName, Endpoint), EndpointReading>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::bucket::Bucket;
    use crate::domain::decision::{Decision, Reason, StratumIndex};
    use crate::domain::evidence::{Failure, Outcome, OutcomeClass};
    use crate::domain::flag::{FlagWeights, Stickiness};
    use crate::domain::ids::{BackendIndex, FlagIndex, RouteIndex};
    use crate::domain::route::{HostPattern, PathPattern, Route, RouteTable};
    use crate::domain::testing::{name, percent};
    use crate::domain::variant::Variant;

    /// One flag on one route, under an epoch.
    fn routing(epoch: u64) -> RoutingSnapshot {
        let flag = Flag {
            name: name("orders"),
            salt: "orders".into(),
            enabled: true,
            stickiness: Stickiness::Caller,
            force: None,
            backends: PerVariant {
                stable: BackendIndex(0),
                canary: BackendIndex(0),
            },
            weights: FlagWeights {
                groups: vec![],
                default: percent(10),
            },
            epoch,
            rolled_back: false,
        };
        let route = Route {
            label: "/".into(),
            host: HostPattern::Any,
            path: PathPattern::prefix("/"),
            methods: vec![],
            headers: vec![],
            target: RouteTarget::Flag(FlagIndex(0)),
        };
        RoutingSnapshot {
            routes: Arc::new(RouteTable::new(vec![route])),
            flags: vec![Arc::new(flag)],
            ..RoutingSnapshot::default()
        }
    }

    fn decision(stratum: usize, hash: u32) -> Decision {
        Decision {
            variant: Variant::Canary,
            reason: Reason::Default {
                weight: percent(10),
            },
            stratum: StratumIndex(stratum),
            hash,
        }
    }

    fn record(meters: &WorkerMeters, decision: Decision, class: OutcomeClass) {
        let head_latency = Some(Duration::from_millis(3));
        let arm = meters.arm(FlagIndex(0), decision.stratum, decision.variant);
        arm.record(
            &Outcome {
                class,
                head_latency,
                ..Outcome::default()
            },
            decision.hash,
        );
        meters
            .codes(Some(RouteIndex(0)), Some(decision))
            .record(200);
    }

    fn canary_of(ticks: &BTreeMap<FlagName, TickCounts>) -> ArmCounts {
        ticks[&name::<FlagName>("orders")].total(Variant::Canary)
    }

    #[test]
    fn a_tick_is_what_was_added_by_all_workers_since_the_last() {
        let ledger = Ledger::new(2);
        let meters = ledger.meters(&routing(1));
        let failed = OutcomeClass::BackendFailure(Failure::Status);
        record(&meters[0], decision(0, 1), OutcomeClass::Success);
        record(&meters[1], decision(0, 2), failed);
        let first = canary_of(&ledger.drain());
        assert_eq!(
            (
                first.requests,
                first.failures.total(),
                first.callers.estimate()
            ),
            (2, 1, 2)
        );
        record(&meters[1], decision(0, 2), OutcomeClass::Success);
        let second = canary_of(&ledger.drain());
        assert_eq!(
            (
                second.requests,
                second.failures.total(),
                second.latency.count()
            ),
            (1, 0, 1)
        );
        assert_eq!(canary_of(&ledger.drain()).requests, 0);
    }

    #[test]
    fn whoever_chose_a_variant_is_counted_and_is_no_evidence() {
        let ledger = Ledger::new(1);
        let meters = ledger.meters(&routing(1));
        let forced = decision(1, 1);
        record(&meters[0], forced, OutcomeClass::Success);
        assert_eq!(canary_of(&ledger.drain()).requests, 0);
        let readings = ledger.read();
        let arm = readings.arms.iter().find(|(arm, reading)| {
            arm.stratum == StratumName::Forced && reading.counts.requests == 1
        });
        assert!(arm.is_some());
        assert!(Bucket::of_hash(forced.hash).is_within(percent(10)));
    }

    #[test]
    fn a_late_answer_counts_under_the_weights_it_was_decided_by_and_totals_only_grow() {
        let ledger = Ledger::new(1);
        let before = ledger.meters(&routing(1));
        let after = ledger.meters(&routing(2));
        record(&before[0], decision(0, 1), OutcomeClass::Success);
        record(&after[0], decision(0, 1), OutcomeClass::Success);
        let ticks = ledger.drain();
        let epochs = ticks[&name::<FlagName>("orders")]
            .strata()
            .iter()
            .map(|s| s.epoch);
        assert_eq!(epochs.collect::<Vec<_>>(), [1, 2]);

        let total = |ledger: &Ledger| {
            let readings = ledger.read();
            readings
                .arms
                .values()
                .map(|arm| arm.counts.requests)
                .sum::<u64>()
        };
        drop(before);
        assert_eq!(
            ledger.drain()[&name::<FlagName>("orders")].strata().len(),
            2
        );
        assert_eq!(
            ledger.drain()[&name::<FlagName>("orders")].strata().len(),
            1
        );
        assert_eq!(total(&ledger), 2, "a closed epoch stays in the totals");
    }
}
