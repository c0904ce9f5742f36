//! The cells of a rollout's callers, shared by all workers, and what each worker counts of them.
//!
//! The rules are the domain's ([`cells`](crate::domain::evidence::cells) says them, and why no lock
//! and no fence is needed); here is the table of atomics that they are played on. Workers share the table,
//! which they write at a first sight, failure or slow answer of a caller in a tick, and nothing else.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromZeros;

use crate::domain::evidence::cells::{
    Answer, Cell, CellCounts, Clearing, Event, EventCounts, Now, SLOTS, SlotCounts, Step, Word,
};
use crate::runtime::recorder::Counter;

/// All cells of one rollout: 10 MB of address space, of which pages that nobody has touched take no memory.
#[derive(Debug)]
pub struct CallerCells(Box<[AtomicU64]>);

impl Default for CallerCells {
    fn default() -> Self {
        // Zeroed by the system page by page when they are first used, and never by us.
        let words = <[AtomicU64]>::new_box_zeroed_with_elems(Cell::COUNT);
        // Failing to allocate ends the process here as it does everywhere else.
        Self(words.unwrap_or_else(|_| (0..Cell::COUNT).map(|_| AtomicU64::new(0)).collect()))
    }
}

impl CallerCells {
    /// Takes in what a request of a caller came to, and says what is new about it. Exactly one of several
    /// workers is told of a first event, whichever of them is the first.
    pub fn record(&self, cell: Cell, now: &Now, answer: &Answer) -> Step {
        let word = &self.0[cell.index()];
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let (next, step) = Word::from_bits(seen).after(now, answer);
            let next = next.to_bits();
            if next == seen {
                return step;
            }
            match word.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return step,
                Err(other) => seen = other,
            }
        }
    }

    /// Clears the numbers that are about to be used again, while workers go on.
    pub fn clear(&self, clearing: Clearing) {
        if !clearing.is_needed() {
            return;
        }
        let kept = Word::from_bits(u64::MAX).cleared(clearing).to_bits();
        for word in &self.0 {
            if word.load(Ordering::Relaxed) & !kept != 0 {
                word.fetch_and(kept, Ordering::Relaxed);
            }
        }
    }
}

/// Whether a tick has an even or an odd stamp: the counts of two ticks in a row are kept apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// 2, 4, 6, …
    Even,
    /// 1, 3, 5, …
    Odd,
}

impl Parity {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Even, Self::Odd];

    /// The parity of a tick's stamp.
    pub const fn of(stamp: u16) -> Self {
        if stamp.is_multiple_of(2) {
            Self::Even
        } else {
            Self::Odd
        }
    }
}

/// What one worker counts of the callers in one arm and stratum, kept twice: for ticks of either parity.
///
/// It only grows, as all counters do; whoever reads it takes differences.
#[derive(Debug, Default)]
pub struct CellCounters([TickCounters; 2]);

#[derive(Debug, Default)]
struct TickCounters {
    new: Counter,
    new_in_stage: Counter,
    slots: [[EventCounters; Event::COUNT]; SLOTS],
}

#[derive(Debug, Default)]
struct EventCounters {
    trials: Counter,
    events: Counter,
}

impl CellCounters {
    /// Counts a step that was taken in the tick with this stamp.
    pub fn add(&self, stamp: u16, step: &Step) {
        // As most steps are.
        if *step == Step::default() {
            return;
        }
        let counters = &self.0[Parity::of(stamp) as usize];
        if step.is_new {
            counters.new.add(1);
        }
        if step.is_new_in_stage {
            counters.new_in_stage.add(1);
        }
        for (slot, events) in counters.slots.iter().enumerate() {
            for event in step.trials[slot].iter() {
                events[event as usize].trials.add(1);
            }
            for event in step.events[slot].iter() {
                events[event as usize].events.add(1);
            }
        }
    }

    /// What was counted in all ticks of a parity.
    pub fn read(&self, parity: Parity) -> CellCounts {
        let counters = &self.0[parity as usize];
        CellCounts {
            new: counters.new.get(),
            new_in_stage: counters.new_in_stage.get(),
            slots: counters.slots.each_ref().map(|events| {
                SlotCounts::from_counts(array::from_fn(|event| EventCounts {
                    events: events[event].events.get(),
                    trials: events[event].trials.get(),
                }))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread::scope;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::evidence::cells::{CellClock, CellTable, Slow};

    /// What a request of a caller comes to. Whether its answers are slow by the median, or odd, is the
    /// caller's habit: which of its answers is the second depends on who is faster.
    fn answer(hash: u32, kind: u8) -> Answer {
        let habit = hash.is_multiple_of(2);
        let slow = |beyond| Slow {
            p50: habit,
            p90: beyond,
            p99: beyond && habit,
        };
        match kind {
            0 => Answer::Failed,
            1 => Answer::ClientError,
            2 => Answer::TooManyRequests,
            3 => Answer::StillWaiting(slow(true)),
            _ => Answer::Good {
                slow: Some(slow(kind == 4)),
                odd_size: Some(habit),
                unusual_type: Some(!habit),
            },
        }
    }

    /// For each tick and worker the requests that end there: hash and kind.
    fn ticks() -> impl Strategy<Value = Vec<Vec<Vec<(u32, u8)>>>> {
        let requests = prop::collection::vec((0..20_u32, 0..8_u8), 0..60);
        let workers = prop::collection::vec(requests, 4);
        prop::collection::vec(workers, 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn workers_at_the_same_cells_count_what_one_alone_would(ticks in ticks()) {
            let (cells, mut model) = (CallerCells::default(), CellTable::default());
            let mut clock = CellClock::new(0);
            let counters: Vec<_> = (0..4).map(|_| CellCounters::default()).collect();
            let mut before = [CellCounts::default(); 2];
            let clearing = clock.begin_stage();
            cells.clear(clearing);
            for (tick, workers) in ticks.iter().enumerate() {
                let now = clock.now();
                let start = Barrier::new(workers.len());
                scope(|threads| {
                    for (requests, counters) in workers.iter().zip(&counters) {
                        let (cells, start) = (&cells, &start);
                        threads.spawn(move || {
                            start.wait();
                            for (hash, kind) in requests {
                                let cell = Cell::of_hash(*hash);
                                let step = cells.record(cell, &now, &answer(*hash, *kind));
                                counters.add(now.stamp, &step);
                            }
                        });
                    }
                });
                let mut expected = CellCounts::default();
                for (hash, kind) in workers.iter().flatten() {
                    let cell = Cell::of_hash(*hash);
                    model.record(cell, &now, &answer(*hash, *kind), &mut expected);
                }
                let parity = Parity::of(now.stamp);
                let mut sum = CellCounts::default();
                counters.iter().for_each(|counters| sum.merge(&counters.read(parity)));
                prop_assert_eq!(sum.since(&before[parity as usize]), expected);
                before[parity as usize] = sum;
                // Every third tick another start begins.
                let since_stage = Duration::from_secs(150 * (tick as u64 + 1));
                let _ = clock.next_tick(since_stage);
            }
        }
    }

    #[test]
    fn what_is_known_already_is_not_written_again() {
        let (cells, mut clock) = (CallerCells::default(), CellClock::new(0));
        let _ = clock.begin_stage();
        let cell = Cell::of_hash(7);
        for kind in [0, 1, 3, 4, 4, 0, 1, 3, 4] {
            cells.record(cell, &clock.now(), &answer(7, kind));
        }
        let before = cells.0[cell.index()].load(Ordering::Relaxed);
        let step = cells.record(cell, &clock.now(), &answer(7, 0));
        assert_eq!(step, Step::default());
        assert_eq!(cells.0[cell.index()].load(Ordering::Relaxed), before);
    }

    #[test]
    fn cleared_words_are_those_of_the_model() {
        let (cells, mut clock) = (CallerCells::default(), CellClock::new(0));
        let _ = clock.begin_stage();
        cells.record(Cell::of_hash(3), &clock.now(), &Answer::Failed);
        let before = cells.0[Cell::of_hash(3).index()].load(Ordering::Relaxed);
        let mut rounds = 0;
        for _ in 0..255 {
            let clearing = clock.begin_stage();
            rounds += u32::from(clearing.is_needed());
            cells.clear(clearing);
            let word = cells.0[Cell::of_hash(3).index()].load(Ordering::Relaxed);
            if clearing.is_needed() {
                assert_eq!(word, Word::from_bits(before).cleared(clearing).to_bits());
            }
        }
        assert_eq!(rounds, 1, "numbers come round once");
    }
}
