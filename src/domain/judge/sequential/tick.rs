//! What a sequential judge is told of one tick.
//!
//! All numbers are increments, so that what several workers or edges saw adds up field by field.

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::check::Check;
use crate::domain::stats::intervals::Share;
use crate::domain::variant::PerVariant;

/// The evidence of one tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// The tick's number, or any other name in rising order.
    pub number: i64,
    /// The index of the rollout's stage it belongs to. Never guessed from a weight.
    pub stage: i64,
    /// The share of all callers that is exposed to canary now, 0 to 1.
    pub exposed: f64,
    /// The same at the next stage; `None` if there is none.
    pub exposed_next: Option<f64>,
    /// Whether canary is still cold: what it does is no evidence yet, and of stable only its past is kept.
    pub is_warm_up: bool,
    /// Requests of canary that the stage takes at least; `None` for what the settings say.
    pub requests_min: Option<u64>,
    /// Callers as the unit: the starts that are alive, in the order of [`ArmTick::firsts`].
    pub starts: Vec<CallerStart>,
    /// The groups that canary was taken back from, by their indexes in the plan: they have left the rollout.
    pub left: Vec<usize>,
    /// One entry for each group of callers and epoch of weights, and edge if not added up.
    pub strata: Vec<StratumTick>,
}

/// A fresh look at callers: they have had no event since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerStart {
    /// The start's number, counted from 1 over the whole rollout.
    pub number: u64,
    /// The slot whose bits it uses: 0 lives as long as the stage, the others take turns.
    pub slot: usize,
}

/// What was seen of both arms for one group at one weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StratumTick {
    /// The group's index in the plan.
    pub group: usize,
    /// The share of its callers, 0 to 1, that gets the canary.
    pub weight: f64,
    /// The counts of each arm.
    pub arms: PerVariant<ArmTick>,
}

impl StratumTick {
    /// Whether chance decided between the arms, so that one can be compared with the other.
    pub fn has_control(&self) -> bool {
        0.0 < self.weight && self.weight < 1.0
    }

    /// Whether anybody of the group gets the canary.
    pub fn is_exposed(&self) -> bool {
        self.weight > 0.0
    }
}

/// What was seen of one arm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArmTick {
    /// Requests that ended and are evidence.
    pub requests: u64,
    /// Those of them that failed by the backend's fault.
    pub failures: u64,
    /// Answers 4xx except 429.
    pub client_errors: u64,
    /// Latency of good answers: bucket `i` holds `2^(i/16)` up to `2^((i+1)/16)` milliseconds.
    pub latency: Vec<(i32, u64)>,
    /// Size of good answers plus one: bucket `i` holds `2^(i/4)` up to `2^((i+1)/4)` bytes.
    pub sizes: Vec<(i32, u64)>,
    /// Content types of good answers, by numbers that mean the same in every tick.
    pub content_types: Vec<(i32, u64)>,
    /// How many rated 1, 2, 3, 4 and 5.
    pub ratings: [u64; 5],
    /// How many more and fewer of each there are because callers who had rated before think otherwise now.
    /// That is no further evidence, but it counts in means.
    pub ratings_changed: [i64; 5],
    /// Callers never seen before in this rollout.
    pub new_callers: u64,
    /// Callers not seen before in this stage.
    pub stage_callers: u64,
    /// Callers at risk and their first events, for each start.
    pub firsts: Vec<FirstEvents>,
}

impl ArmTick {
    /// How many ratings there are.
    pub fn ratings_total(&self) -> u64 {
        self.ratings.iter().sum()
    }

    /// How many of them are 1 or 2.
    pub const fn bad_ratings(&self) -> u64 {
        self.ratings[0] + self.ratings[1]
    }
}

/// Callers at risk in this tick, and those who had the event for the first time in a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstEvents([Share; Check::COMPARED_COUNT]);

impl FirstEvents {
    /// The counts of a check; none for a check that does not compare.
    pub fn of(&self, check: Check) -> Share {
        place(check).map_or_else(Share::default, |place| self.0[place])
    }

    /// The counts of a check that compares, to be changed.
    pub fn of_mut(&mut self, check: Check) -> Option<&mut Share> {
        place(check).map(|place| &mut self.0[place])
    }
}

/// The place of a check among those that compare.
pub(super) fn place(check: Check) -> Option<usize> {
    Check::COMPARED.iter().position(|other| *other == check)
}
