//! A group that canary was taken back from, while the rollout goes on with the others.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::GroupName;

/// A group that canary was taken back from. It stays at weight 0 whatever stages say, until the release is
/// tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupTakenBack {
    /// The group.
    pub group: GroupName,
    /// Why.
    pub reason: String,
}
