//! What is kept of the callers of one cell, in 64 bits, and the step from one answer to the next.

use crate::domain::evidence::cells::{Clearing, SLOTS};

const STAMP_BITS: u32 = 16;
const KIND_BITS: u32 = 3;
const GENERATION_BITS: u32 = 8;
const EVENT_BITS: u32 = 4;
const ANSWER_BITS: u32 = 2;
const SLOT_BITS: u32 = GENERATION_BITS + EVENT_BITS + ANSWER_BITS;
const SLOTS_AT: u32 = STAMP_BITS + KIND_BITS;
/// Where each slot's bits begin.
const SLOT_AT: [u32; SLOTS] = [SLOTS_AT, SLOTS_AT + SLOT_BITS, SLOTS_AT + 2 * SLOT_BITS];
/// Set once a caller was seen in the rollout. The last bit in use.
const SEEN: u64 = 1 << (SLOT_AT[SLOTS - 1] + SLOT_BITS);

/// Kinds of trial.
const REQUEST: u8 = 1;
const ANSWERED: u8 = 1 << 1;
const GOOD: u8 = 1 << 2;

/// The second good answer of a start is the one that counts: whoever has just been moved to canary
/// finds caches and connections cold, and the rule is the same for stable.
const ANSWER_THAT_COUNTS: u64 = 2;

/// What is counted of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// Its first failure by the backend's fault.
    Failure,
    /// Its first 4xx other than 429.
    ClientError,
    /// Its first good answer slower than the cut at the 90th percentile.
    SlowP90,
    /// The same at the 99th percentile.
    SlowP99,
    /// Its second good answer was slower than the cut at the median.
    SlowP50,
    /// Its second good answer had an odd size.
    OddSize,
    /// Its second good answer had an unusual content type.
    UnusualType,
}

impl Event {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// All; the first four are counted once a caller has them, the others by its second good answer.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Failure,
        Self::ClientError,
        Self::SlowP90,
        Self::SlowP99,
        Self::SlowP50,
        Self::OddSize,
        Self::UnusualType,
    ];

    /// Those that a caller can have once in a start, with the kind of trial they are an outcome of.
    const FIRSTS: [(Self, u8); EVENT_BITS as usize] = [
        (Self::Failure, REQUEST),
        (Self::ClientError, ANSWERED),
        (Self::SlowP90, GOOD),
        (Self::SlowP99, GOOD),
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// For each set of kinds of trial, those of the first events that are an outcome of one of them.
const FIRSTS_OF_KINDS: [Events; 1 << KIND_BITS] = firsts_of_kinds();

const fn firsts_of_kinds() -> [Events; 1 << KIND_BITS] {
    let mut firsts = [Events(0); 1 << KIND_BITS];
    let mut kinds = 0;
    while kinds < firsts.len() {
        let mut place = 0;
        while place < Event::FIRSTS.len() {
            let (event, kind) = Event::FIRSTS[place];
            firsts[kinds].add_if(kinds & kind as usize != 0, event);
            place += 1;
        }
        kinds += 1;
    }
    firsts
}

/// A set of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u8);

impl Events {
    /// Whether an event is among them.
    pub const fn has(self, event: Event) -> bool {
        self.0 & event.bit() != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Event> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let event = Event::ALL.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(*event)
        })
    }

    const fn add_if(&mut self, is_so: bool, event: Event) {
        if is_so {
            self.0 |= event.bit();
        }
    }
}

/// What a request of a caller came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It failed by the backend's fault.
    Failed,
    /// It was answered 4xx other than 429.
    ClientError,
    /// It was answered 429, which is neither good nor bad.
    TooManyRequests,
    /// It was answered well.
    Good {
        /// Whether it was slow; `None` while there are no cuts.
        slow: Option<Slow>,
        /// Whether its size was odd; `None` while there are no cuts, or no size.
        odd_size: Option<bool>,
        /// Whether its content type was unusual; `None` while there is nothing to tell it by.
        unusual_type: Option<bool>,
    },
    /// It has not been answered yet and has crossed a cut. It counts now, so that hanging until clients
    /// give up hides nothing; when it ends, that counts as any other answer.
    StillWaiting(Slow),
}

/// Which cuts an answer was slower than.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slow {
    /// The cut at the median.
    pub p50: bool,
    /// The cut at the 90th percentile.
    pub p90: bool,
    /// The cut at the 99th percentile.
    pub p99: bool,
}

impl Answer {
    fn kinds(self) -> u8 {
        match self {
            Self::Failed => REQUEST,
            Self::ClientError | Self::TooManyRequests | Self::Good { slow: None, .. } => {
                REQUEST | ANSWERED
            }
            Self::Good { slow: Some(_), .. } => REQUEST | ANSWERED | GOOD,
            Self::StillWaiting(_) => GOOD,
        }
    }

    fn slow(self) -> Slow {
        match self {
            Self::Good { slow, .. } => slow.unwrap_or_default(),
            Self::StillWaiting(slow) => slow,
            Self::Failed | Self::ClientError | Self::TooManyRequests => Slow::default(),
        }
    }

    /// What is asked once and not until it is so: by one answer, which says it or does not.
    fn asked_once(self) -> [(Event, Option<bool>); 3] {
        let (slow, odd_size, unusual_type) = match self {
            Self::Good {
                slow,
                odd_size,
                unusual_type,
            } => (slow, odd_size, unusual_type),
            Self::StillWaiting(slow) => (Some(slow), None, None),
            Self::Failed | Self::ClientError | Self::TooManyRequests => (None, None, None),
        };
        [
            (Event::SlowP50, slow.map(|slow| slow.p50)),
            (Event::OddSize, odd_size),
            (Event::UnusualType, unusual_type),
        ]
    }

    fn events(self) -> Events {
        let mut events = Events::default();
        events.add_if(self == Self::Failed, Event::Failure);
        events.add_if(self == Self::ClientError, Event::ClientError);
        events.add_if(self.slow().p90, Event::SlowP90);
        events.add_if(self.slow().p99, Event::SlowP99);
        events
    }
}

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
