//! Knows every counter there is: makes them, hands them out, reads them.
//!
//! Counters are made when a snapshot is, so that a request finds its own by place and never by
//! name. A counter outlives the snapshot it was made for: what `/metrics` shows only grows, and a
//! request that began under old weights is still counted under the epoch it was decided in.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::backend::Endpoint;
use crate::domain::evidence::{Stratum as EvidenceStratum, TickCounts};
use crate::domain::flag::{Flag, Stratum};
use crate::domain::ids::{BackendName, FlagName};
use crate::domain::route::{Route, RouteTarget};
use crate::domain::routing::RoutingSnapshot;
use crate::runtime::arm_entry::{ArmEntry, ArmKey, PerWorker, weight_of};
use crate::runtime::callers_seen::Parity;
use crate::runtime::content_types::ContentTypes;
use crate::runtime::endpoint_health::{EndpointHealth, HealthReading};
use crate::runtime::meters::{FlagMeters, RouteMeters, StratumMeters, WorkerMeters};
use crate::runtime::recorder::{
    ArmReading, CODES, CodeCounters, EndpointCounters, EndpointReading,
};
use crate::runtime::series::{ArmName, RequestSeries, StratumName, arm_names};
use crate::runtime::watch::RolloutWatch;

#[derive(Debug, Default)]
pub(super) struct Books {
    codes: HashMap<RequestSeries, PerWorker<CodeCounters>>,
    pub(super) arms: BTreeMap<ArmKey, ArmEntry>,
    /// What was counted in epochs that are over.
    closed: BTreeMap<ArmName, ArmReading>,
    endpoints: BTreeMap<(BackendName, Endpoint), PerWorker<EndpointCounters>>,
    health: BTreeMap<(BackendName, Endpoint), Arc<EndpointHealth>>,
    /// Of the rollouts that are active.
    watches: BTreeMap<FlagName, Arc<RolloutWatch>>,
}

/// All counters of all workers.
#[derive(Debug)]
pub struct Ledger {
    workers: usize,
    content_types: Arc<ContentTypes>,
    /// Given where an endpoint has failed too many requests.
    alarm: Arc<Notify>,
    /// Held while a snapshot is made, a tick drained or metrics read; never by a request.
    books: Mutex<Books>,
}

impl Ledger {
    /// Starts empty, for a number of workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            content_types: Arc::default(),
            alarm: Arc::default(),
            books: Mutex::default(),
        }
    }

    /// What the numbers of content types stand for.
    pub fn content_types(&self) -> &ContentTypes {
        &self.content_types
    }

    /// Where it is heard that an endpoint has failed too many requests; one may listen.
    pub const fn alarm(&self) -> &Arc<Notify> {
        &self.alarm
    }

    /// What a flag's active rollout needs at the data plane; made when it is asked for first, and kept
    /// until [`unwatch`](Self::unwatch), whatever snapshots come and go.
    ///
    /// Snapshots made from now on have it; one that is published already does not get it.
    pub fn watch(&self, flag: &FlagName) -> Arc<RolloutWatch> {
        let mut books = self.books();
        if let Some(known) = books.watches.get(flag) {
            return Arc::clone(known);
        }
        // What was counted for a rollout before this one is none of its business.
        let own = books
            .arms
            .iter_mut()
            .filter(|(key, _)| key.arm.flag == *flag);
        for (_, entry) in own {
            for parity in Parity::BOTH {
                entry.drain_cells(parity);
            }
        }
        let watch = Arc::<RolloutWatch>::default();
        books.watches.insert(flag.clone(), Arc::clone(&watch));
        watch
    }

    /// Lets go of what a flag's rollout needed, for it has ended. Nobody is counted from now on; the
    /// memory is free once no snapshot made before is in use.
    pub fn unwatch(&self, flag: &FlagName) {
        if let Some(watch) = self.books().watches.remove(flag) {
            watch.sight.count_callers(0, None);
        }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
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
            .map(|flag| self.flag_meters(books, routing, flag, worker));
        let flags = flags.collect();
        let routes = routing.routes.iter();
        let routes = routes.map(|(_, route)| self.route_meters(books, routing, route, worker));
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
        let health = routing.backends.iter().map(|backend| {
            let of_endpoint = |endpoint: &Endpoint| {
                let key = (backend.name.clone(), endpoint.clone());
                let health = books.health.entry(key);
                let health = health.or_insert_with(|| Arc::new(EndpointHealth::new(&self.alarm)));
                Arc::clone(health)
            };
            backend.endpoints.iter().map(of_endpoint).collect()
        });
        let health = health.collect();
        let unrouted = RequestSeries {
            route: "".into(),
            arm: None,
        };
        WorkerMeters {
            unrouted: self.codes(books, unrouted, worker),
            routes,
            flags,
            endpoints,
            health,
            content_types: Arc::clone(&self.content_types),
        }
    }

    fn route_meters(
        &self,
        books: &mut Books,
        routing: &RoutingSnapshot,
        route: &Route,
        worker: usize,
    ) -> RouteMeters {
        let series = |arm| RequestSeries {
            route: route.label.clone(),
            arm,
        };
        let RouteTarget::Flag { flag, .. } = route.target else {
            return RouteMeters::Backend(self.codes(books, series(None), worker));
        };
        let strata = arm_names(routing, routing.flag(flag)).into_iter();
        let codes =
            strata.map(|names| names.map(|arm| self.codes(books, series(Some(arm)), worker)));
        let strata = codes.collect();
        let is_refusing = routing.admission.reads_keys;
        RouteMeters::Flag {
            strata,
            undecided: is_refusing.then(|| self.codes(books, series(None), worker)),
        }
    }

    fn flag_meters(
        &self,
        books: &mut Books,
        routing: &RoutingSnapshot,
        flag: &Flag,
        worker: usize,
    ) -> FlagMeters {
        // No request is counted for a flag that has no backends.
        let counted = flag.backends.map(|_| flag.weights.strata());
        let strata = counted.into_iter().flatten();
        let strata = strata.zip(arm_names(routing, flag));
        let strata = strata.map(|(stratum, names)| {
            let mut arms = |is_keyed| {
                names.clone().map(|arm| {
                    let key = ArmKey {
                        arm,
                        is_keyed,
                        epoch: flag.epoch,
                        weight: weight_of(stratum),
                    };
                    let entry = books.arms.entry(key);
                    let entry = entry.or_insert_with(|| ArmEntry::new(self.per_worker()));
                    Arc::clone(&entry.counters[worker])
                })
            };
            // Those who chose were not drawn at all, so for them it makes no difference.
            let is_drawn = stratum != Stratum::Forced;
            let (keyed, drawn_anew) = (arms(true), arms(!is_drawn));
            let watch = books.watches.get(&flag.name);
            let stratum = &names.stable.stratum;
            StratumMeters {
                exposed_as: watch.and_then(|watch| watch.exposures.number_of(stratum)),
                keyed,
                drawn_anew,
            }
        });
        let strata = strata.collect();
        FlagMeters {
            strata,
            watch: books.watches.get(&flag.name).cloned(),
        }
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
    /// Flags without anything new have an entry, too, as long as they have counters; requests drawn
    /// anew are there only where there were any.
    ///
    /// Where a rollout is watched, the callers' counts are those of the ticks before the one that its
    /// [`Sight`](crate::runtime::sight::Sight) is in. So at the end of a tick the controller, in this order,
    ///
    /// 1. moves its clock, clears in the table what the clock says
    ///    ([`clear`](crate::runtime::callers_seen::CallerCells::clear)), and publishes the new `Now` with
    ///    [`count_callers`](crate::runtime::sight::Sight::count_callers);
    /// 2. drains.
    ///
    /// A worker that has read the old `Now` just before may count after the drain; that comes two ticks on.
    /// While nobody is counted, everything that is left is handed out.
    pub fn drain(&self) -> BTreeMap<FlagName, TickCounts> {
        let mut books = self.books();
        // Found before they are read: once nobody can count to them any more, what is read now is
        // all there will ever be.
        let orphans = books.orphans();
        let mut ticks: BTreeMap<FlagName, TickCounts> = BTreeMap::new();
        let Books { arms, watches, .. } = &mut *books;
        for (key, entry) in arms {
            let ArmKey {
                arm,
                is_keyed,
                epoch,
                weight,
            } = key;
            let tick = ticks.entry(arm.flag.clone()).or_default();
            let group = match &arm.stratum {
                StratumName::Group(name) => Some(name.clone()),
                StratumName::Default => None,
                StratumName::Forced => continue,
            };
            if !is_keyed && entry.is_unused() {
                continue;
            }
            let parities = match watches.get(&arm.flag) {
                None => &[],
                Some(_) if orphans.binary_search(key).is_ok() => &Parity::BOTH[..],
                Some(watch) => watch.parities_over(),
            };
            let mut stratum = EvidenceStratum::empty(group, *epoch, *weight);
            stratum.is_keyed = *is_keyed;
            *stratum.arms.get_mut(arm.variant) = entry.drain(parities);
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
        for (key, entry) in &books.arms {
            arms.entry(key.arm.clone())
                .or_default()
                .merge(&entry.read());
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
            health: (books.health.iter())
                .map(|(key, health)| (key.clone(), health.read()))
                .collect(),
        }
    }
}

impl Books {
    /// Arms of epochs that are over for every worker.
    fn orphans(&self) -> Vec<ArmKey> {
        let orphaned = self.arms.iter().filter(|(_, entry)| entry.is_orphaned());
        let orphans = orphaned.map(|(key, _)| key.clone()).collect();
        // What a worker has counted before it let go is seen from here on.
        fence(Ordering::Acquire);
        orphans
    }

    /// Moves arms into the sums of closed epochs.
    fn close(&mut self, orphans: Vec<ArmKey>) {
        for key in orphans {
            if let Some(entry) = self.arms.remove(&key) {
                self.closed.entry(key.arm).or_default().merge(&entry.read());
            }
        }
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
    /// How each endpoint is.
    pub health: BTreeMap<(BackendName, Endpoint), HealthReading>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::bucket::Bucket;
    use crate::domain::decision::{Decision, Reason, StratumIndex};
    use crate::domain::evidence::ArmCounts;
    use crate::domain::evidence::cells::{Answer, Cell, CellClock};
    use crate::domain::evidence::{Failure, Outcome, OutcomeClass};
    use crate::domain::flag::FlagWeights;
    use crate::domain::ids::{BackendIndex, FlagIndex, RouteIndex};
    use crate::domain::rating::Rating;
    use crate::domain::route::{HostPattern, PathPattern, Route, RouteTable};
    use crate::domain::testing::{self, name, percent};
    use crate::domain::variant::{PerVariant, Variant};
    use crate::domain::weight::Weight;

    /// One flag on one route, under an epoch.
    fn routing(epoch: u64) -> RoutingSnapshot {
        let flag = Flag {
            weights: FlagWeights {
                default: percent(10),
                ..FlagWeights::default()
            },
            epoch,
            ..testing::flag("orders")
        };
        let route = Route {
            label: "/".into(),
            host: HostPattern::Any,
            path: PathPattern::prefix("/"),
            methods: vec![],
            headers: vec![],
            target: RouteTarget::Flag {
                flag: FlagIndex(0),
                backends: PerVariant {
                    stable: BackendIndex(0),
                    canary: BackendIndex(0),
                },
            },
            send: Box::default(),
            is_public: false,
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
            is_keyed: true,
        }
    }

    fn record(meters: &WorkerMeters, decision: Decision, class: OutcomeClass) {
        let head_latency = Some(Duration::from_millis(3));
        let arm = meters.arm(FlagIndex(0), decision);
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
    fn requests_drawn_anew_are_a_stratum_of_their_own_and_exported_with_the_others() {
        let ledger = Ledger::new(1);
        let meters = ledger.meters(&routing(1));
        assert_eq!(
            ledger.drain()[&name::<FlagName>("orders")].strata().len(),
            1
        );
        let drawn = Decision {
            is_keyed: false,
            ..decision(0, 1)
        };
        record(&meters[0], drawn, OutcomeClass::Success);
        record(&meters[0], drawn, OutcomeClass::Success);
        record(&meters[0], decision(0, 1), OutcomeClass::Success);
        let ticks = ledger.drain();
        let strata = ticks[&name::<FlagName>("orders")].strata().iter();
        let seen = strata.map(|stratum| (stratum.is_keyed, stratum.arms.canary.requests));
        assert_eq!(seen.collect::<Vec<_>>(), [(false, 2), (true, 1)]);
        let arms = ledger.read().arms;
        let exported = arms.values().filter(|arm| arm.counts.requests > 0);
        let exported: Vec<_> = exported.map(|arm| arm.counts.requests).collect();
        assert_eq!(exported, [3]);
    }

    #[test]
    fn callers_are_handed_out_when_their_tick_is_over_and_late_ones_two_ticks_on() {
        let ledger = Ledger::new(1);
        let flag = name::<FlagName>("orders");
        let before = ledger.meters(&routing(1));
        let watch = ledger.watch(&flag);
        let meters = ledger.meters(&routing(1));
        assert!(before[0].watch(FlagIndex(0)).is_none());
        let (mut clock, mut ticks) = (CellClock::new(0), 0);
        let mut next_tick = || {
            let clearing = match ticks {
                0 => clock.begin_stage(),
                _ => clock.next_tick(Duration::from_secs(ticks)),
            };
            ticks += 1;
            watch.cells.clear(clearing);
            watch.sight.count_callers(1, Some(clock.now()));
            canary_of(&ledger.drain()).cells.new
        };
        let see = |hash: u32, stamp_of: Option<u16>| {
            let decision = decision(0, hash);
            let counters = &meters[0].arm(FlagIndex(0), decision).cells;
            let now = watch.sight.now(1).unwrap();
            let cell = Cell::of_hash(hash);
            let step = watch.cells.record(cell, &now, &Answer::TooManyRequests);
            counters.add(stamp_of.unwrap_or(now.stamp), &step);
        };
        assert_eq!(next_tick(), 0);
        let first = watch.sight.stamp();
        see(1, None);
        see(2, None);
        assert_eq!(canary_of(&ledger.drain()).cells.new, 0, "the tick goes on");
        assert_eq!(next_tick(), 2);
        // A worker that had read the tick before.
        see(3, first);
        see(4, None);
        assert_eq!(next_tick(), 1);
        assert_eq!(next_tick(), 1);
        see(5, None);
        ledger.unwatch(&flag);
        assert_eq!(watch.sight.now(1), None);
        let other = ledger.watch(&flag);
        assert!(!Arc::ptr_eq(&watch, &other));
        assert!(Arc::ptr_eq(&ledger.watch(&flag), &other));
        other.sight.count_callers(1, None);
        assert_eq!(canary_of(&ledger.drain()).cells.new, 0, "of the one before");
    }

    #[test]
    fn what_is_counted_at_another_weight_is_kept_apart_even_under_the_same_epoch() {
        let ledger = Ledger::new(1);
        let mut waiting = routing(1);
        Arc::make_mut(&mut waiting.flags[0]).weights.default = Weight::ZERO;
        let before = ledger.meters(&waiting);
        record(&before[0], decision(0, 1), OutcomeClass::Success);
        let after = ledger.meters(&routing(1));
        record(&after[0], decision(0, 1), OutcomeClass::Success);
        let ticks = ledger.drain();
        let strata = ticks[&name::<FlagName>("orders")].strata().iter();
        let weights: Vec<_> = strata
            .map(|stratum| (stratum.epoch, stratum.weight))
            .collect();
        assert_eq!(weights, [(1, Weight::ZERO), (1, percent(10))]);
    }

    #[test]
    fn a_rating_counts_once_for_the_arm_that_was_shown_under_the_latest_weights() {
        let ledger = Ledger::new(2);
        let _before = ledger.meters(&routing(1));
        let _after = ledger.meters(&routing(2));
        let (flag, bad) = (name::<FlagName>("orders"), Rating::try_from(1).unwrap());
        assert!(ledger.rate(&flag, None, Variant::Canary, bad));
        assert!(ledger.rate(&flag, None, Variant::Canary, bad));
        assert!(!ledger.rate(&name("cart"), None, Variant::Canary, bad));
        assert!(!ledger.rate(&flag, Some(&name("beta")), Variant::Canary, bad));
        let ticks = ledger.drain();
        let strata = ticks[&flag].strata().iter();
        let rated = strata.map(|stratum| (stratum.epoch, stratum.arms.canary.ratings));
        let rated: Vec<_> = rated.collect();
        assert_eq!(rated, [(1, [0; 5]), (2, [2, 0, 0, 0, 0])]);
        assert_eq!(canary_of(&ledger.drain()).ratings, [0; 5]);
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
