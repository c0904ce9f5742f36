//! What is written down of a rollout, so that it outlives the process.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{BackendName, FlagName};
use crate::domain::rollout::state::RolloutState;
use crate::domain::stage_weights::{StageShape, StageWeights};

/// What is being released, and in place of what.
///
/// Weights belong to a release. A flag whose release is another one starts at weight zero, and
/// one that returns to an earlier release meets what was decided about it then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    /// The revision being released.
    pub revision: String,
    /// The backend that everyone has before.
    pub stable: BackendName,
    /// The backend of the new version.
    pub canary: BackendName,
}

/// Where the rollout of one release is, with the plan that its stage is a place in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// The flag.
    pub flag: FlagName,
    /// The release.
    pub release: Release,
    /// The stages of its plan, in order.
    pub stages: Vec<StageShape>,
    /// Where it is.
    pub state: RolloutState,
    /// The weights that are right there: no start may publish more.
    pub weights: StageWeights,
}

/// An order to promote nothing anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Freeze {
    /// Who gave it.
    pub who: String,
    /// Why; may be empty.
    pub why: String,
    /// When, in milliseconds since 1970; for people, nothing is decided by it.
    pub at_unix_ms: u64,
}
