//! What is kept of the callers of one cell, in 64 bits, and the step from one answer to the next.

use crate::domain::evidence::cells::answer::{
    Answer, EVENT_BITS, Events, FIRSTS_OF_KINDS, KIND_BITS,
};
use crate::domain::evidence::cells::{Clearing, SLOTS};

const STAMP_BITS: u32 = 16;
const GENERATION_BITS: u32 = 8;
const ANSWER_BITS: u32 = 2;
const SLOT_BITS: u32 = GENERATION_BITS + EVENT_BITS + ANSWER_BITS;
const SLOTS_AT: u32 = STAMP_BITS + KIND_BITS;
/// Where each slot's bits begin.
const SLOT_AT: [u32; SLOTS] = [SLOTS_AT, SLOTS_AT + SLOT_BITS, SLOTS_AT + 2 * SLOT_BITS];
/// Set once a caller was seen in the rollout. The last bit in use.
const SEEN: u64 = 1 << (SLOT_AT[SLOTS - 1] + SLOT_BITS);

/// The second good answer of a start is the one that counts: whoever has just been moved to canary
/// finds caches and connections cold, and the rule is the same for stable.
const ANSWER_THAT_COUNTS: u64 = 2;

/// The tick and the starts that are current, as the data plane is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The tick's stamp, never 0.
    pub stamp: u16,
    /// For each slot the number that tells its start from earlier ones; 0 if the slot is idle.
    pub generations: [u8; SLOTS],
}

/// What an answer adds to the counts of its tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The caller was never seen before in this rollout.
    pub is_new: bool,
    /// It was not seen before in this stage.
    pub is_new_in_stage: bool,
    /// For each slot: the events that the caller is now at risk of, or has been asked about.
    pub trials: [Events; SLOTS],
    /// For each slot: the events it has now.
    pub events: [Events; SLOTS],
}

impl Step {
    /// What an answer adds where each request is drawn anew, and so is a caller of its own that nobody
    /// saw before or sees again.
    ///
    /// A request that has been counted as [`StillWaiting`](Answer::StillWaiting) is slow already: when
    /// it ends well after all, its answer is to come without cuts.
    pub fn of_one_request(now: &Now, answer: &Answer) -> Self {
        let mut trials = FIRSTS_OF_KINDS[usize::from(answer.kinds())];
        let mut events = answer.events();
        for (event, is_so) in answer.asked_once() {
            trials.add_if(is_so.is_some(), event);
            events.add_if(is_so == Some(true), event);
        }
        // It is a caller once: when it ends.
        let is_new = !matches!(answer, Answer::StillWaiting(_));
        let in_alive = |set: Events| {
            now.generations.map(|generation| {
                if generation == 0 {
                    Events::default()
                } else {
                    set
                }
            })
        };
        Self {
            is_new,
            is_new_in_stage: is_new && now.generations[0] != 0,
            trials: in_alive(trials),
            events: in_alive(events),
        }
    }
}

/// What is kept of the callers of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word(u64);

/// One slot's part of a word.
#[derive(Clone, Copy)]
struct Slot {
    generation: u8,
    had: u8,
    answers: u64,
}

impl Word {
    /// Takes a word as it is kept in a shared table.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word as it is kept in a shared table.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The word after an answer, and what the answer adds to the counts.
    pub fn after(self, now: &Now, answer: &Answer) -> (Self, Step) {
        let known_kinds = if self.stamp() == now.stamp {
            self.kinds()
        } else {
            0
        };
        let (kinds, happened) = (answer.kinds(), answer.events());
        if kinds & !known_kinds == 0 && self.has_said_all(now, answer, happened) {
            return (self, Step::default());
        }
        let firsts = FIRSTS_OF_KINDS[usize::from(kinds & !known_kinds)];
        let mut step = Step {
            is_new: self.0 & SEEN == 0,
            is_new_in_stage: now.generations[0] != 0
                && self.slot(0).generation != now.generations[0],
            ..Step::default()
        };
        let stamp = u64::from(now.stamp) | u64::from(known_kinds | kinds) << STAMP_BITS;
        let mut next = self.0 & !mask(0, SLOTS_AT) | stamp | SEEN;
        for (slot, generation) in now.generations.into_iter().enumerate() {
            if generation == 0 {
                continue;
            }
            let mut own = self.slot(slot);
            if own.generation != generation {
                own = Slot {
                    generation,
                    had: 0,
                    answers: 0,
                };
            }
            let (trials, events) = own.take(*answer, firsts, happened);
            step.trials[slot] = trials;
            step.events[slot] = events;
            let at = SLOT_AT[slot];
            next = next & !mask(at, SLOT_BITS) | own.to_bits() << at;
        }
        (Self(next), step)
    }

    /// Whether an answer of a kind known in this tick adds nothing, as most do of a caller who comes again: the
    /// short way of [`after`](Self::after).
    fn has_said_all(self, now: &Now, answer: &Answer, happened: Events) -> bool {
        let is_asked = matches!(answer, Answer::Good { slow: Some(_), .. });
        let says_nothing = |(slot, generation): (usize, &u8)| {
            let own = self.slot(slot);
            *generation == 0
                || own.generation == *generation
                    && happened.0 & !own.had == 0
                    && (own.answers >= ANSWER_THAT_COUNTS || !is_asked)
        };
        self.0 & SEEN != 0 && now.generations.iter().enumerate().all(says_nothing)
    }

    /// The word without the numbers that are about to be used again.
    pub const fn cleared(self, clearing: Clearing) -> Self {
        let mut bits = self.0;
        if clearing.stamps {
            bits &= !mask(0, SLOTS_AT);
        }
        let mut slot = 0;
        while slot < SLOTS {
            if clearing.slots[slot] {
                bits &= !mask(SLOT_AT[slot], SLOT_BITS);
            }
            slot += 1;
        }
        Self(bits)
    }

    const fn stamp(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    const fn kinds(self) -> u8 {
        (self.0 >> STAMP_BITS).to_le_bytes()[0] & 0b111
    }

    const fn slot(self, slot: usize) -> Slot {
        let bits = self.0 >> SLOT_AT[slot];
        Slot {
            generation: bits.to_le_bytes()[0],
            had: (bits >> GENERATION_BITS).to_le_bytes()[0] & 0b1111,
            answers: bits >> (GENERATION_BITS + EVENT_BITS) & 0b11,
        }
    }
}

impl Slot {
    /// Takes in an answer by which these of the first events happened; `firsts` are those that the caller
    /// is now at risk of and was not yet in this tick, if it has not had them.
    fn take(&mut self, answer: Answer, firsts: Events, happened: Events) -> (Events, Events) {
        let mut trials = Events(firsts.0 & !self.had);
        let mut events = Events(happened.0 & !self.had);
        self.had |= events.0;
        if matches!(answer, Answer::Good { slow: Some(_), .. }) && self.answers < ANSWER_THAT_COUNTS
        {
            self.answers += 1;
            if self.answers == ANSWER_THAT_COUNTS {
                for (event, is_so) in answer.asked_once() {
                    trials.add_if(is_so.is_some(), event);
                    events.add_if(is_so == Some(true), event);
                }
            }
        }
        (trials, events)
    }

    fn to_bits(self) -> u64 {
        u64::from(self.generation)
            | u64::from(self.had) << GENERATION_BITS
            | self.answers << (GENERATION_BITS + EVENT_BITS)
    }
}

/// So many ones from a bit on.
const fn mask(at: u32, bits: u32) -> u64 {
    ((1 << bits) - 1) << at
}
