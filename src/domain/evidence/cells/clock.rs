//! When starts of callers begin and end, and the numbers by which cells know them.
//!
//! A start begins with every stage, in slot 0, and lives as long as the stage. Every five minutes of
//! the stage a further one begins, in slots 1 and 2 in turn, and lives for ten. So up to three are alive, and
//! a regression that comes after everybody has had an event once is seen by a start that is younger. A
//! new stage ends all.

use std::time::Duration;

use crate::domain::evidence::cells::{Now, SLOTS};

/// The last stamp before they begin anew at 1. Even, so that the stamps of two ticks in a row are never
/// both odd: counters are kept by that.
const STAMP_MAX: u16 = u16::MAX - 1;

/// How long after one start the next begins.
const EVERY: Duration = Duration::from_secs(300);

/// The clock of a rollout's cells. Moved at the end of a tick, by one hand.
#[derive(Clone, Debug)]
pub struct CellClock {
    stamp: u16,
    /// The number last used in each slot; 0 before the first.
    used: [u8; SLOTS],
    alive: [Option<Start>; SLOTS],
    /// The number of the latest start of the rollout.
    latest: u64,
    /// How many starts have begun in this stage after its own.
    further: u32,
}

/// A start that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its number, counted from 1 over the whole rollout.
    pub number: u64,
    /// The slot whose bits it uses.
    pub slot: usize,
}

/// What must be cleared in all cells before what was returned with it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "numbers would be taken for those of the last round"]
pub struct Clearing {
    /// The ticks' stamps.
    pub(super) stamps: bool,
    /// The bits of slots.
    pub(super) slots: [bool; SLOTS],
}

impl Clearing {
    /// Whether there is anything to clear: about once in eighteen hours.
    pub fn is_needed(self) -> bool {
        self != Self::default()
    }
}

impl CellClock {
    /// The clock of a rollout whose starts so far go up to this number: 0 if it is new. After a restart
    /// nothing is known of callers, so the table begins empty and the next start is a new one.
    pub const fn new(latest_start: u64) -> Self {
        Self {
            stamp: 1,
            used: [0; SLOTS],
            alive: [None; SLOTS],
            latest: latest_start,
            further: 0,
        }
    }

    /// Begins a stage, in a new tick: all starts end, and the stage's own begins.
    pub fn begin_stage(&mut self) -> Clearing {
        let mut clearing = self.next_stamp();
        self.alive = [None; SLOTS];
        self.further = 0;
        self.begin(0, &mut clearing);
        clearing
    }

    /// Begins a tick of the stage, so long after the stage began.
    pub fn next_tick(&mut self, since_stage: Duration) -> Clearing {
        let mut clearing = self.next_stamp();
        let due = since_stage.as_secs() / EVERY.as_secs();
        // After a gap only the starts that would still be alive are begun.
        while u64::from(self.further) < due {
            self.further += 1;
            if due - u64::from(self.further) < 2 {
                let slot = if self.further % 2 == 1 { 1 } else { 2 };
                self.begin(slot, &mut clearing);
            }
        }
        clearing
    }

    /// What the data plane is told.
    pub fn now(&self) -> Now {
        let generation = |slot: usize| self.alive[slot].map_or(0, |_| self.used[slot]);
        Now {
            stamp: self.stamp,
            generations: std::array::from_fn(generation),
        }
    }

    /// The starts that are alive, in the order of their slots.
    pub fn starts(&self) -> impl Iterator<Item = Start> {
        self.alive.iter().flatten().copied()
    }

    /// The number of the latest start, 0 before the first.
    pub const fn latest_start(&self) -> u64 {
        self.latest
    }

    fn next_stamp(&mut self) -> Clearing {
        let is_last = self.stamp == STAMP_MAX;
        self.stamp = if is_last { 1 } else { self.stamp + 1 };
        Clearing {
            stamps: is_last,
            ..Clearing::default()
        }
    }

    /// Begins a start in a slot; the one before it there ends.
    fn begin(&mut self, slot: usize, clearing: &mut Clearing) {
        let is_last = self.used[slot] == u8::MAX;
        self.used[slot] = if is_last { 1 } else { self.used[slot] + 1 };
        clearing.slots[slot] |= is_last;
        self.latest += 1;
        self.alive[slot] = Some(Start {
            number: self.latest,
            slot,
        });
    }
}
