//! Callers as the unit of evidence: who is at risk, and who has an event for the first time.
//!
//! Where the split is by caller, counting requests would call one caller many. So each caller counts at
//! most once in each *start*, a fresh look at everybody (see [`CellClock`]). What is kept of callers is a
//! table of cells, `bucket * 128 + low 7 bits of the hash`: a cell lies in one arm at every weight of a
//! group, because its bucket does, so callers who share one merely count as one. Nobody's key is kept.
//!
//! # One word for each cell
//!
//! A cell is 64 bits, and an answer takes it from one value to the next by a pure function,
//! [`Word::after`]:
//!
//! | bits | what |
//! | --- | --- |
//! | 16 | the stamp of the last tick in which the caller had a trial |
//! | 3 | which kinds of trial it had in that tick: any request, one that did not fail, a good answer |
//! | 3 x 14 | for each slot of starts: which start it is (8), four events had (4), good answers (2) |
//! | 1 | seen in this rollout |
//!
//! A start or a tick that begins costs nothing: bits with another number than the current one count as
//! clear. Numbers repeat after 65,534 ticks and 255 starts of a slot; then, and only then, the table is
//! gone through once to clear them ([`CellClock`] says when).
//!
//! # How many workers share it
//!
//! One table for each active rollout, 10,000 x 128 words of 8 bytes: 10 MB, allocated once when it
//! begins, as relaxed atomics; nothing else depends on their order, so no fence is needed. A worker that
//! ends a request loads the word and computes the next. If both are the same, as for most requests of a
//! caller seen earlier in the tick, it writes nothing, and the line stays shared between cores. Else it
//! tries a compare-and-swap, and computes anew when another worker was faster. Whoever wins counts what the
//! step says ([`Step`]) into its *own* [`CellCounts`], one set for each worker, stratum and arm: each first
//! event is counted exactly once whatever the interleaving, and no lock is held by anybody.
//!
//! The controller is the only one to move the clock. At the end of a tick it publishes the next [`Now`], then
//! drains the counts of the tick before. Counters are kept twice, by the parity of
//! the stamp, so that a worker still counting under the old [`Now`] writes where nobody reads yet; what comes
//! later than the drain is counted two ticks on, and nothing is lost. Clearing goes word by word with
//! `fetch_and` before the new [`Now`] is published; a step under way at that moment may put back a bit
//! of a number that is not in use, and is made again when a worker's swap fails. A worker that still goes by
//! the old [`Now`] may put back the stamp of the old tick, so that a caller of both ticks is at risk once more in
//! the new one. That takes two requests that end within the same microsecond, and befalls both arms alike.
//!
//! This module is the logic alone, for one thread.

mod answer;
mod clock;
mod counts;
mod word;

pub use answer::{Answer, Event, Events, Slow};
pub use clock::{CellClock, Clearing, Start};
pub use counts::{CellCounts, EventCounts, SlotCounts};
pub use word::{Now, Step, Word};

use crate::domain::bucket::Bucket;

/// How many starts may be alive at once.
pub const SLOTS: usize = 3;

/// A caller's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell(u32);

impl Cell {
    /// Cells in each bucket.
    pub const PER_BUCKET: u32 = 128;
    /// Cells in all.
    pub const COUNT: usize = Bucket::COUNT as usize * Self::PER_BUCKET as usize;

    /// The cell of a caller, by the hash that its bucket comes from.
    pub const fn of_hash(hash: u32) -> Self {
        let bucket = Bucket::of_hash(hash).place() as u32;
        Self(bucket * Self::PER_BUCKET + hash % Self::PER_BUCKET)
    }

    /// Its index in a table of [`COUNT`](Self::COUNT) words.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// All cells of a rollout, for one thread.
#[derive(Clone, Debug)]
pub struct CellTable {
    words: Vec<Word>,
}

impl Default for CellTable {
    fn default() -> Self {
        Self {
            words: vec![Word::default(); Cell::COUNT],
        }
    }
}

impl CellTable {
    /// Takes in how a request of a caller ended, and counts what is new about it.
    pub fn record(&mut self, cell: Cell, now: &Now, answer: &Answer, counts: &mut CellCounts) {
        let word = &mut self.words[cell.index()];
        let (next, step) = word.after(now, answer);
        *word = next;
        counts.add(&step);
    }

    /// Clears the numbers that are about to be used again.
    pub fn clear(&mut self, clearing: Clearing) {
        if clearing.is_needed() {
            for word in &mut self.words {
                *word = word.cleared(clearing);
            }
        }
    }
}

#[cfg(test)]
mod tests;
