//! What the judge has to know of a stage besides the counts.

use crate::domain::ids::GroupName;
use crate::domain::stage_weights::StageWeights;
use crate::domain::timestamp::Timestamp;

/// What the judge has to know of a stage besides the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageContext {
    /// The epoch of the stage's weights: what was decided under another one is not counted.
    pub epoch: u64,
    /// When canary has warmed up: what ended before is not counted.
    pub counted_from: Timestamp,
    /// Requests of canary that the stage takes at least.
    pub min_requests: u64,
    /// Who gets canary now.
    pub weights: StageWeights,
    /// Who gets it when the stage has passed.
    pub next: StageWeights,
    /// The groups that canary was taken back from, whatever the weights.
    pub left: Vec<GroupName>,
}

impl StageContext {
    /// Whether any exposed group is split between the arms, so that there is a comparison.
    pub fn has_control(&self) -> bool {
        self.weights.has_control()
    }
}
