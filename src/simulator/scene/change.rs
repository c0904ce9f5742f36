//! What becomes otherwise in a scene, and when.

use crate::domain::variant::PerVariant;

/// Something that is otherwise for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// When it begins.
    pub begins: Begins,
    /// How many seconds it lasts; infinity for ever.
    pub seconds: f64,
    /// Which arms it strikes.
    pub strikes: PerVariant<bool>,
    /// What it is.
    pub harm: Harm,
}

/// When something begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Begins {
    /// So many seconds after the rollout.
    AtSecond(f64),
    /// With a stage of the plan, counted from 0.
    AtStage(usize),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harm {
    /// This share of the requests that would not have failed fails as well.
    Fails(f64),
    /// Whoever fails does so this many times as often; the others stay as they are.
    FailsTimes(f64),
    /// This share of the requests that would have been answered well is answered 4xx.
    Refuses(f64),
    /// Each answer takes this many times as long.
    Slower(f64),
    /// The 99th percentile is this many times as long, and the 90th stays: the slowest tenth is
    /// stretched, the more the slower.
    TailSlower(f64),
    /// This share of good answers is empty.
    Empty(f64),
}

impl Change {
    /// Canary is otherwise from a moment on, for ever.
    pub const fn of_canary(harm: Harm, begins: Begins) -> Self {
        Self {
            begins,
            seconds: f64::INFINITY,
            strikes: PerVariant {
                stable: false,
                canary: true,
            },
            harm,
        }
    }

    /// Stable alone is otherwise for so many seconds from one on.
    pub const fn of_stable(harm: Harm, from_second: f64, seconds: f64) -> Self {
        Self {
            begins: Begins::AtSecond(from_second),
            seconds,
            strikes: PerVariant {
                stable: true,
                canary: false,
            },
            harm,
        }
    }

    /// Both arms are otherwise for so many seconds from one on.
    pub const fn of_both(harm: Harm, from_second: f64, seconds: f64) -> Self {
        Self {
            strikes: PerVariant {
                stable: true,
                canary: true,
            },
            ..Self::of_stable(harm, from_second, seconds)
        }
    }

    /// Whether it is so at a second, in a stage that was entered at another.
    pub(super) fn is_on(&self, second: f64, stage: usize) -> bool {
        match self.begins {
            Begins::AtSecond(begin) => begin <= second && second < begin + self.seconds,
            Begins::AtStage(from) => stage >= from,
        }
    }
}
