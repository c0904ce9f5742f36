//! Draws the judge's tick from what the data plane counted.

use crate::domain::evidence::cells::{self, CellCounts, Event, SlotCounts};
use crate::domain::evidence::{ArmCounts, LatencyHistogram};
use crate::domain::judge::sequential::check::Check;
use crate::domain::judge::sequential::tick::{ArmTick, CallerStart, FirstEvents};

/// Where the count of each check comes from.
const EVENTS: [(Check, Event); Event::COUNT] = [
    (Check::Errors, Event::Failure),
    (Check::ClientErrors, Event::ClientError),
    (Check::P50, Event::SlowP50),
    (Check::P90, Event::SlowP90),
    (Check::P99, Event::SlowP99),
    (Check::Size, Event::OddSize),
    (Check::ContentType, Event::UnusualType),
];

impl From<&ArmCounts> for ArmTick {
    /// What was counted of requests. Callers are added by [`count_callers`](ArmTick::count_callers).
    fn from(counts: &ArmCounts) -> Self {
        let latency = counts.latency.filled();
        Self {
            requests: counts.requests,
            failures: counts.failures.total(),
            client_errors: counts.client_errors,
            latency: latency
                .map(|(bucket, n)| (LatencyHistogram::from_1_ms(bucket), n))
                .collect(),
            sizes: numbered(counts.sizes.filled()),
            content_types: numbered(counts.content_types.filled()),
            ratings: counts.ratings,
            ratings_changed: counts.ratings_changed,
            ..Self::default()
        }
    }
}

impl ArmTick {
    /// Adds what was counted of callers, for the starts that are alive, in their order.
    pub fn count_callers(&mut self, counts: &CellCounts, starts: &[CallerStart]) {
        self.new_callers += counts.new;
        self.stage_callers += counts.new_in_stage;
        let of_start = |start: &CallerStart| counts.slots.get(start.slot).map(FirstEvents::from);
        let firsts = starts
            .iter()
            .map(|start| of_start(start).unwrap_or_default());
        self.firsts = firsts.collect();
    }
}

impl From<&SlotCounts> for FirstEvents {
    fn from(counts: &SlotCounts) -> Self {
        let mut firsts = Self::default();
        for (check, event) in EVENTS {
            if let Some(share) = firsts.of_mut(check) {
                *share = counts.of(event);
            }
        }
        firsts
    }
}

impl From<cells::Start> for CallerStart {
    fn from(start: cells::Start) -> Self {
        Self {
            number: start.number,
            slot: start.slot,
        }
    }
}

fn numbered(counts: impl Iterator<Item = (usize, u64)>) -> Vec<(i32, u64)> {
    let number = |place| i32::try_from(place).unwrap_or(i32::MAX);
    counts.map(|(place, n)| (number(place), n)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::evidence::cells::{Answer, Cell, CellClock, CellTable};
    use crate::domain::evidence::{Failure, Outcome, OutcomeClass};

    #[test]
    fn what_was_counted_of_requests_is_what_the_judge_is_told() {
        let mut counts = ArmCounts::default();
        let mut record = |class, ms| {
            let head_latency = Some(Duration::from_millis(ms));
            counts.record(
                &Outcome {
                    class,
                    head_latency,
                    ..Outcome::default()
                },
                1,
            );
        };
        record(OutcomeClass::Success, 1);
        record(OutcomeClass::Success, 2);
        record(OutcomeClass::ClientError, 3);
        record(OutcomeClass::BackendFailure(Failure::Timeout), 4);
        let arm = ArmTick::from(&counts);
        assert_eq!((arm.requests, arm.failures, arm.client_errors), (4, 1, 1));
        assert_eq!(arm.latency, [(0, 1), (16, 1)]);
    }

    #[test]
    fn what_was_counted_of_callers_is_told_start_by_start() {
        let (mut table, mut clock) = (CellTable::default(), CellClock::new(0));
        table.clear(clock.begin_stage());
        table.clear(clock.next_tick(Duration::from_secs(300)));
        let mut counts = CellCounts::default();
        table.record(Cell::of_hash(7), &clock.now(), &Answer::Failed, &mut counts);
        let starts: Vec<CallerStart> = clock.starts().map(CallerStart::from).collect();
        let mut arm = ArmTick::default();
        arm.count_callers(&counts, &starts);
        assert_eq!((arm.new_callers, arm.stage_callers), (1, 1));
        assert_eq!(arm.firsts.len(), 2);
        for firsts in &arm.firsts {
            let failures = firsts.of(Check::Errors);
            assert_eq!((failures.trials, failures.events), (1, 1));
            assert_eq!(firsts.of(Check::ClientErrors).trials, 0, "it failed");
        }
    }
}
