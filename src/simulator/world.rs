//! What is so in a synthetic world: who calls, how both arms answer, and what becomes worse when.

use std::ops::Range;

use crate::domain::ids::GroupName;
use crate::domain::variant::{PerVariant, Variant};
use crate::domain::weight::Weight;
use crate::simulator::behaviour::Behaviour;
use crate::simulator::crowd::Crowd;

/// A world, as parameters. Seconds are counted from 1, the first one.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Who calls.
    pub crowd: Crowd,
    /// The groups that callers are in: a caller is in the first one whose share it falls into.
    pub groups: Vec<GroupShare>,
    /// How the backends behave while nothing is wrong with them.
    pub arms: PerVariant<Behaviour>,
    /// What is wrong with them, and when. Of two at a time, the later one in the list says how
    /// many requests fail; what they do to latency adds up.
    pub regressions: Vec<Regression>,
}

/// A group, and how many callers are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupShare {
    /// The group.
    pub group: GroupName,
    /// Its share of all callers.
    pub share: Weight,
}

/// Something that goes wrong for some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// In which seconds.
    pub seconds: Range<u64>,
    /// Which arms it strikes.
    pub strikes: PerVariant<bool>,
    /// The share of requests that fail meanwhile, 0 to 1; `None` leaves it as it is.
    pub failures: Option<f64>,
    /// How many times as long every answer takes.
    pub latency_factor: f64,
    /// How many times as long the slowest twentieth takes on top, and with it the p99.
    pub p99_factor: f64,
}

impl Regression {
    /// Nothing wrong yet with canary from a second on; to be filled in.
    pub const fn of_canary(from_second: u64) -> Self {
        Self {
            seconds: from_second..u64::MAX,
            strikes: PerVariant {
                stable: false,
                canary: true,
            },
            failures: None,
            latency_factor: 1.0,
            p99_factor: 1.0,
        }
    }
}

impl World {
    /// How an arm behaves in a second.
    pub fn behaviour(&self, variant: Variant, second: u64) -> Behaviour {
        let mut behaviour = *self.arms.get(variant);
        let on = |regression: &&Regression| {
            *regression.strikes.get(variant) && regression.seconds.contains(&second)
        };
        for regression in self.regressions.iter().filter(on) {
            behaviour.failures = regression.failures.unwrap_or(behaviour.failures);
            behaviour.median = behaviour.median.mul_f64(regression.latency_factor);
            behaviour.tail_factor *= regression.p99_factor;
        }
        behaviour
    }
}
