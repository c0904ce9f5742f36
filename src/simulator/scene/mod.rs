//! A world that is counted and not acted out: for many rollouts, and for the callers in them.
//!
//! [`Scene`] says what is so, [`Tally`] draws from a seed what a proxy in it would count in each tick. Where
//! callers are the unit, each request is drawn and taken in by the very cells that the data plane counts
//! callers with; where each request is drawn anew, a tick's counts are drawn as numbers.

mod by_caller;
mod by_request;
mod change;
mod conduct;
mod people;
mod tally;

use crate::domain::judge::sequential::Unit;
use crate::simulator::crowd::{Activity, Crowd};
use crate::simulator::world::GroupShare;

pub use change::{Begins, Change, Harm};
pub use conduct::Service;
pub use tally::{Look, Tally};

/// A world, as parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Who calls, and how often.
    pub crowd: Crowd,
    /// Whether callers are known again and stay in their arm, or each request is drawn anew.
    pub unit: Unit,
    /// The groups that callers are in: a caller is in the first one whose share it falls into.
    pub groups: Vec<GroupShare>,
    /// How both arms answer while nothing is wrong.
    pub service: Service,
    /// How callers differ from each other.
    pub callers: Differences,
    /// How steadily requests come.
    pub load: Load,
    /// What is otherwise, and when. Several at a time add up.
    pub changes: Vec<Change>,
}

/// How callers differ; of no effect where each request is drawn anew.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Differences {
    /// The shape of the gamma distribution that each caller's failure rate comes from; `None` for
    /// equal rates. At 0.1 a tenth of the callers bears four fifths of all failures.
    pub failures_shape: Option<f64>,
    /// The standard deviation of the logarithm of each caller's own latency.
    pub latency_sigma: f64,
}

impl Differences {
    /// As usual: failures are borne by few, and everybody's requests are a little faster or slower than others'.
    pub const USUAL: Self = Self {
        failures_shape: Some(0.1),
        latency_sigma: 0.25,
    };
}

/// How steadily requests come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// Independently of each other, at the same rate all the time.
    #[default]
    Steady,
    /// At a rate that wanders: its logarithm is an autoregression with a standard deviation of 0.5 that
    /// forgets with a time constant of a minute.
    Wandering,
}

impl Scene {
    /// A healthy service with so many requests a second, each drawn anew.
    pub const fn of_requests(rate: f64) -> Self {
        Self {
            crowd: Crowd {
                callers: 1,
                rate,
                activity: Activity::Equal,
            },
            unit: Unit::Request,
            groups: Vec::new(),
            service: Service::HEALTHY,
            callers: Differences {
                failures_shape: None,
                latency_sigma: 0.0,
            },
            load: Load::Steady,
            changes: Vec::new(),
        }
    }

    /// The same with callers who stay in their arm, and differ as usual.
    pub fn of_callers(crowd: Crowd) -> Self {
        Self {
            crowd,
            unit: Unit::Caller,
            callers: Differences::USUAL,
            ..Self::of_requests(0.0)
        }
    }
}

#[cfg(test)]
mod tests;
