//! Cells against sets of callers that remember everything.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The same counts from whole sets, one for each start and event.
#[derive(Default)]
struct Sets {
    seen: HashSet<u32>,
    seen_in_stage: HashSet<u32>,
    had: HashMap<u64, HashSet<(u32, Event)>>,
    answers: HashMap<(u64, u32), u32>,
    trials: HashSet<(u32, Event)>,
}

impl Sets {
    fn record(&mut self, caller: u32, starts: &[Start], answer: &Answer, counts: &mut Expected) {
        counts.new += u64::from(self.seen.insert(caller));
        counts.new_in_stage += u64::from(self.seen_in_stage.insert(caller));
        let is_good_with_cuts = matches!(answer, Answer::Good { slow: Some(_), .. });
        let is_waiting = matches!(answer, Answer::StillWaiting(_));
        let slow = match answer {
            Answer::Good { slow, .. } => slow.unwrap_or_default(),
            Answer::StillWaiting(slow) => *slow,
            _ => Slow::default(),
        };
        let outcomes = [
            (Event::Failure, !is_waiting, *answer == Answer::Failed),
            (
                Event::ClientError,
                !is_waiting && *answer != Answer::Failed,
                *answer == Answer::ClientError,
            ),
            (Event::SlowP90, is_good_with_cuts || is_waiting, slow.p90),
            (Event::SlowP99, is_good_with_cuts || is_waiting, slow.p99),
        ];
        for (event, is_trial, happened) in outcomes {
            let is_first = is_trial && self.trials.insert((caller, event));
            for start in starts {
                let had = self.had.entry(start.number).or_default();
                if is_first && !had.contains(&(caller, event)) {
                    counts.add(start, event, 1, 0);
                }
                if happened && had.insert((caller, event)) {
                    counts.add(start, event, 0, 1);
                }
            }
        }
        if let Answer::Good {
            slow: Some(slow),
            odd_size,
            unusual_type,
        } = answer
        {
            for start in starts {
                let answers = self.answers.entry((start.number, caller)).or_default();
                *answers += 1;
                if *answers == 2 {
                    counts.add(start, Event::SlowP50, 1, u64::from(slow.p50));
                    for (event, is_so) in [
                        (Event::OddSize, odd_size),
                        (Event::UnusualType, unusual_type),
                    ] {
                        if let Some(is_so) = is_so {
                            counts.add(start, event, 1, u64::from(*is_so));
                        }
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Expected {
    new: u64,
    new_in_stage: u64,
    of: HashMap<(usize, Event), (u64, u64)>,
}

impl Expected {
    fn add(&mut self, start: &Start, event: Event, trials: u64, events: u64) {
        let counts = self.of.entry((start.slot, event)).or_default();
        *counts = (counts.0 + trials, counts.1 + events);
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Answer(u32, Answer),
    Tick(u32),
    Stage,
}

fn answers() -> impl Strategy<Value = Answer> {
    let slow = (any::<bool>(), any::<bool>(), any::<bool>());
    let slow = slow.prop_map(|(p50, p90, p99)| Slow { p50, p90, p99 });
    let good = (
        prop::option::of(slow.clone()),
        prop::option::of(any::<bool>()),
        prop::option::of(any::<bool>()),
    );
    let good = good.prop_map(|(slow, odd_size, unusual_type)| Answer::Good {
        slow,
        odd_size,
        unusual_type,
    });
    prop_oneof![
        2 => Just(Answer::Failed),
        1 => Just(Answer::ClientError),
        1 => Just(Answer::TooManyRequests),
        5 => good,
        1 => slow.prop_map(Answer::StillWaiting),
    ]
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        12 => (0..5_u32, answers()).prop_map(|(caller, answer)| Happening::Answer(caller, answer)),
        // From a second to a gap of half an hour.
        4 => prop_oneof![Just(1), Just(60), Just(299), Just(1800)].prop_map(Happening::Tick),
        1 => Just(Happening::Stage),
    ];
    prop::collection::vec(one, 1..120)
}

/// Words of five callers, which is all that a test needs of a table.
struct World {
    words: [Word; 5],
    clock: CellClock,
    sets: Sets,
    since_stage: u64,
}

impl World {
    fn new(clock: CellClock) -> Self {
        let mut world = Self {
            words: [Word::default(); 5],
            clock,
            sets: Sets::default(),
            since_stage: 0,
        };
        world.begin_stage();
        world
    }

    fn begin_stage(&mut self) {
        let clearing = self.clock.begin_stage();
        self.clear(clearing);
        self.since_stage = 0;
        self.sets.seen_in_stage.clear();
    }

    fn tick(&mut self, seconds: u32) {
        self.since_stage += u64::from(seconds);
        let clearing = self.clock.next_tick(Duration::from_secs(self.since_stage));
        self.clear(clearing);
    }

    fn clear(&mut self, clearing: Clearing) {
        if clearing.is_needed() {
            self.words = self.words.map(|word| word.cleared(clearing));
        }
        self.sets.trials.clear();
    }

    /// Takes in an answer both ways and compares what is counted.
    fn answer(&mut self, caller: u32, answer: &Answer) {
        let starts: Vec<Start> = self.clock.starts().collect();
        let mut expected = Expected::default();
        self.sets.record(caller, &starts, answer, &mut expected);
        let word = &mut self.words[caller as usize];
        let (next, step) = word.after(&self.clock.now(), answer);
        *word = Word::from_bits(next.to_bits());
        let mut counts = CellCounts::default();
        counts.add(&step);
        assert_eq!(
            (counts.new, counts.new_in_stage),
            (expected.new, expected.new_in_stage)
        );
        for slot in 0..SLOTS {
            for event in Event::ALL {
                let found = counts.slots[slot].of(event);
                let wanted = expected.of.get(&(slot, event)).copied().unwrap_or_default();
                assert_eq!(
                    (found.trials, found.events),
                    wanted,
                    "slot {slot}, {event:?}"
                );
            }
        }
    }

    fn run(&mut self, happenings: Vec<Happening>) {
        for happening in happenings {
            match happening {
                Happening::Answer(caller, answer) => self.answer(caller, &answer),
                Happening::Tick(seconds) => self.tick(seconds),
                Happening::Stage => self.begin_stage(),
            }
        }
    }
}

proptest! {
    #[test]
    fn cells_count_what_sets_of_callers_would(happenings in happenings()) {
        World::new(CellClock::new(0)).run(happenings);
    }

    #[test]
    fn numbers_that_come_round_are_not_mistaken_for_old_ones(
        before in happenings(), after in happenings(), stages in 250..258_u32,
    ) {
        let mut world = World::new(CellClock::new(0));
        world.run(before);
        // Just about a round of stages later, and of ticks.
        for _ in 0..stages {
            world.begin_stage();
        }
        world.run(after);
    }
}

#[test]
fn stamps_that_come_round_are_not_mistaken_for_old_ones() {
    let mut world = World::new(CellClock::new(0));
    world.answer(0, &Answer::TooManyRequests);
    let stamp = world.clock.now().stamp;
    // Idle for a whole round, so that the stamp is the same again.
    for _ in 1..u32::from(u16::MAX) {
        let clearing = world.clock.next_tick(Duration::ZERO);
        world.clear(clearing);
    }
    assert_eq!(world.clock.now().stamp, stamp);
    world.answer(0, &Answer::TooManyRequests);
}

#[test]
fn starts_come_every_five_minutes_and_live_for_ten() {
    let mut clock = CellClock::new(7);
    let alive = |clock: &CellClock| -> Vec<(u64, usize)> {
        clock
            .starts()
            .map(|start| (start.number, start.slot))
            .collect()
    };
    let _ = clock.begin_stage();
    assert_eq!(alive(&clock), [(8, 0)]);
    let mut seen = Vec::new();
    for seconds in 1..=1500 {
        let _ = clock.next_tick(Duration::from_secs(seconds));
        if seconds % 300 == 299 || seconds % 300 == 0 {
            seen.push(alive(&clock));
        }
    }
    let expected: [&[(u64, usize)]; 10] = [
        &[(8, 0)],
        &[(8, 0), (9, 1)],
        &[(8, 0), (9, 1)],
        &[(8, 0), (9, 1), (10, 2)],
        &[(8, 0), (9, 1), (10, 2)],
        &[(8, 0), (11, 1), (10, 2)],
        &[(8, 0), (11, 1), (10, 2)],
        &[(8, 0), (11, 1), (12, 2)],
        &[(8, 0), (11, 1), (12, 2)],
        &[(8, 0), (13, 1), (12, 2)],
    ];
    assert_eq!(seen, expected);
    let _ = clock.begin_stage();
    assert_eq!(alive(&clock), [(14, 0)]);
}

#[test]
fn callers_of_a_cell_have_one_bucket() {
    for hash in [0, 1, 77, 0x8000_0000, u32::MAX] {
        let cell = Cell::of_hash(hash);
        let bucket = usize::from(Bucket::of_hash(hash).place());
        assert_eq!(cell.index() / Cell::PER_BUCKET as usize, bucket);
        assert!(cell.index() < Cell::COUNT);
    }
}

#[test]
fn a_table_counts_each_caller_once() {
    let mut table = CellTable::default();
    let mut clock = CellClock::new(0);
    table.clear(clock.begin_stage());
    let (mut first, mut second) = (CellCounts::default(), CellCounts::default());
    for hash in [5, 5, 0x1234_5678, 5] {
        table.record(
            Cell::of_hash(hash),
            &clock.now(),
            &Answer::Failed,
            &mut first,
        );
    }
    table.clear(clock.next_tick(Duration::from_secs(1)));
    table.record(Cell::of_hash(5), &clock.now(), &Answer::Failed, &mut second);
    table.record(Cell::of_hash(9), &clock.now(), &Answer::Failed, &mut second);
    let failures = |counts: &CellCounts| counts.slots[0].of(Event::Failure);
    assert_eq!((failures(&first).trials, failures(&first).events), (2, 2));
    assert_eq!((failures(&second).trials, failures(&second).events), (1, 1));
    first.merge(&second);
    assert_eq!((first.new, first.new_in_stage), (3, 3));
    assert_eq!(failures(&first).events, 3);
}
