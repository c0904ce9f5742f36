//! What a request of a caller came to, and which events it is an outcome of.

/// How many kinds of trial there are.
pub(super) const KIND_BITS: u32 = 3;
/// How many events a caller can have once in a start.
pub(super) const EVENT_BITS: u32 = 4;

/// Kinds of trial.
const REQUEST: u8 = 1;
const ANSWERED: u8 = 1 << 1;
const GOOD: u8 = 1 << 2;

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
pub(super) const FIRSTS_OF_KINDS: [Events; 1 << KIND_BITS] = firsts_of_kinds();

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
pub struct Events(pub(super) u8);

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

    pub(super) const fn add_if(&mut self, is_so: bool, event: Event) {
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
    pub(super) fn kinds(self) -> u8 {
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
    pub(super) fn asked_once(self) -> [(Event, Option<bool>); 3] {
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

    pub(super) fn events(self) -> Events {
        let mut events = Events::default();
        events.add_if(self == Self::Failed, Event::Failure);
        events.add_if(self == Self::ClientError, Event::ClientError);
        events.add_if(self.slow().p90, Event::SlowP90);
        events.add_if(self.slow().p99, Event::SlowP99);
        events
    }
}
