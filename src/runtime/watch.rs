//! What a rollout's judgement needs at the data plane: how to look at answers, and the callers seen.

use crate::domain::decision::Decision;
use crate::domain::evidence::Outcome;
use crate::domain::evidence::cells::{Answer, Cell, Slow, Step};
use crate::domain::judge::ArmCuts;
use crate::runtime::callers_seen::{CallerCells, CellCounters, Parity};
use crate::runtime::exposures::Exposures;
use crate::runtime::sight::Sight;

/// One for each flag with an active rollout, from its beginning to its end, whatever snapshots come.
#[derive(Debug, Default)]
pub struct RolloutWatch {
    /// What the controller tells the data plane.
    pub sight: Sight,
    /// The callers seen.
    pub cells: CallerCells,
    /// What each was shown, where feedback is taken.
    pub exposures: Exposures,
}

/// A request as its callers' count sees it.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// What was decided for it.
    pub decision: Decision,
    /// The flag's epoch when that was.
    pub epoch: u64,
    /// Whether it was counted as slow while it waited.
    pub was_waiting: bool,
}

impl RolloutWatch {
    /// Counts how a request ended, in callers. The outcome says its true latency, whether that is
    /// counted elsewhere or not.
    pub fn count_end(&self, request: &Watched, outcome: &Outcome, counters: &CellCounters) {
        let cuts = || self.sight.cuts(request.decision.variant);
        if let Some(mut answer) = ArmCuts::answer(outcome, cuts) {
            // A caller of its own is slow once; one that is known again is by its cell.
            if let Answer::Good { slow, .. } = &mut answer
                && request.was_waiting
                && !request.decision.is_keyed
            {
                *slow = None;
            }
            self.count(request, &answer, counters);
        }
    }

    /// Counts, in callers, a request that still waits for its answer and has crossed all cuts.
    pub fn count_waiting(&self, request: &Watched, counters: &CellCounters) {
        let slow = Slow {
            p50: true,
            p90: true,
            p99: true,
        };
        self.count(request, &Answer::StillWaiting(slow), counters);
    }

    /// The parities of whose ticks none is under way.
    pub fn parities_over(&self) -> &'static [Parity] {
        match self.sight.stamp().map(Parity::of) {
            Some(Parity::Even) => &[Parity::Odd],
            Some(Parity::Odd) => &[Parity::Even],
            None => &Parity::BOTH,
        }
    }

    fn count(&self, request: &Watched, answer: &Answer, counters: &CellCounters) {
        let Watched {
            decision, epoch, ..
        } = request;
        if decision.is_apart() {
            return;
        }
        let Some(now) = self.sight.now(*epoch) else {
            return;
        };
        let step = if decision.is_keyed {
            self.cells
                .record(Cell::of_hash(decision.hash), &now, answer)
        } else {
            Step::of_one_request(&now, answer)
        };
        counters.add(now.stamp, &step);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::decision::{Reason, StratumIndex};
    use crate::domain::evidence::cells::{CellClock, CellCounts, Event};
    use crate::domain::evidence::{Failure, OutcomeClass};
    use crate::domain::ids::GroupIndex;
    use crate::domain::judge::SightCuts;
    use crate::domain::testing::percent;
    use crate::domain::variant::{PerVariant, Variant};

    const EPOCH: u64 = 4;

    /// A watch in its first tick; good answers are slow from 2 ms and odd from 16 bytes on.
    fn watch() -> RolloutWatch {
        let watch = RolloutWatch::default();
        let mut clock = CellClock::new(0);
        watch.cells.clear(clock.begin_stage());
        watch.sight.count_callers(EPOCH, Some(clock.now()));
        watch.sight.cut_at(&SightCuts {
            slow_above: PerVariant::from_fn(|_| [Some(16); 3]),
            usual_sizes: Some((0, 15)),
            usual_types: None,
        });
        watch
    }

    fn request(hash: u32, is_keyed: bool) -> Watched {
        Watched {
            decision: Decision {
                variant: Variant::Canary,
                reason: Reason::Default {
                    weight: percent(50),
                },
                stratum: StratumIndex(0),
                hash,
                is_keyed,
            },
            epoch: EPOCH,
            was_waiting: false,
        }
    }

    fn ended(class: OutcomeClass) -> Outcome {
        Outcome {
            class,
            head_latency: Some(Duration::from_millis(5)),
            bytes: Some(100),
            content_type: None,
        }
    }

    /// Trials and events of a kind in the stage's own start.
    fn of(counters: &CellCounters, event: Event) -> (u64, u64) {
        let share = counters.read(Parity::Even).slots[0].of(event);
        (share.trials, share.events)
    }

    #[test]
    fn a_caller_who_fails_a_hundred_times_counts_once_and_requests_drawn_anew_each() {
        let (watch, keyed, drawn) = (watch(), CellCounters::default(), CellCounters::default());
        let failed = ended(OutcomeClass::BackendFailure(Failure::Status));
        for hash in 0..100 {
            watch.count_end(&request(7, true), &failed, &keyed);
            watch.count_end(&request(hash, false), &failed, &drawn);
        }
        assert_eq!(of(&keyed, Event::Failure), (1, 1));
        assert_eq!(of(&drawn, Event::Failure), (100, 100));
        let new = |counters: &CellCounters| counters.read(Parity::Even).new;
        assert_eq!((new(&keyed), new(&drawn)), (1, 100));
    }

    #[test]
    fn what_is_asked_once_is_asked_of_the_second_answer_or_of_a_request_of_its_own() {
        let (watch, keyed, drawn) = (watch(), CellCounters::default(), CellCounters::default());
        let good = ended(OutcomeClass::Success);
        for (asked, once) in [(0, (0, 0)), (1, (1, 1)), (2, (1, 1))] {
            watch.count_end(&request(7, true), &good, &keyed);
            watch.count_end(&request(7, false), &good, &drawn);
            for event in [Event::SlowP50, Event::OddSize] {
                assert_eq!(of(&keyed, event), once, "{event:?}");
                assert_eq!(of(&drawn, event), (asked + 1, asked + 1), "{event:?}");
            }
        }
        assert_eq!(of(&keyed, Event::UnusualType), (0, 0), "no cut is known");
        assert_eq!(of(&keyed, Event::SlowP99), (1, 1));
    }

    #[test]
    fn what_is_no_evidence_or_of_another_epoch_contributes_nothing() {
        let (watch, counters) = (watch(), CellCounters::default());
        let good = ended(OutcomeClass::Success);
        for is_keyed in [true, false] {
            let mut forced = request(1, is_keyed);
            forced.decision.reason = Reason::Forced {
                group: GroupIndex(0),
            };
            watch.count_end(&forced, &good, &counters);
            watch.count_waiting(&forced, &counters);
            let late = Watched {
                epoch: EPOCH - 1,
                ..request(1, is_keyed)
            };
            watch.count_end(&late, &good, &counters);
            for class in [OutcomeClass::ClientAborted, OutcomeClass::ProxyFault] {
                watch.count_end(&request(1, is_keyed), &ended(class), &counters);
            }
        }
        for parity in Parity::BOTH {
            assert_eq!(counters.read(parity), CellCounts::default());
        }
    }

    #[test]
    fn a_request_that_crossed_the_cuts_is_slow_once_however_it_ends() {
        for is_keyed in [true, false] {
            let (watch, counters) = (watch(), CellCounters::default());
            let mut request = request(3, is_keyed);
            watch.count_waiting(&request, &counters);
            assert_eq!(of(&counters, Event::SlowP99), (1, 1));
            request.was_waiting = true;
            watch.count_end(&request, &ended(OutcomeClass::Success), &counters);
            assert_eq!(of(&counters, Event::SlowP99), (1, 1));
            assert_eq!(of(&counters, Event::Failure), (1, 0));
            let failed = ended(OutcomeClass::BackendFailure(Failure::Timeout));
            let failing = request_of(&request, 4);
            watch.count_waiting(&failing, &counters);
            watch.count_end(&failing, &failed, &counters);
            assert_eq!(of(&counters, Event::SlowP99), (2, 2));
            assert_eq!(of(&counters, Event::Failure), (2, 1));
            assert_eq!(counters.read(Parity::Even).new, 2);
        }
    }

    fn request_of(other: &Watched, hash: u32) -> Watched {
        let decision = Decision {
            hash,
            ..other.decision
        };
        Watched { decision, ..*other }
    }
}
