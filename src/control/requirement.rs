//! What a flag needs of another, as it is shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{FlagName, VariantName};
use crate::domain::prerequisite::{NeededVariant, Prerequisite};
use crate::domain::routing::RoutingSnapshot;

/// What a flag needs of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Requirement {
    /// The other.
    pub flag: FlagName,
    /// The variant that it has to give; none where any will do but the one that is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantName>,
}

impl Requirement {
    /// The same by names.
    pub(super) fn of(needed: &Prerequisite, routing: &RoutingSnapshot) -> Self {
        let other = routing.flag(needed.flag);
        Self {
            flag: other.name.clone(),
            variant: match needed.variant {
                NeededVariant::NotOff => None,
                NeededVariant::At(place) => Some(other.variants.get(place).name.clone()),
            },
        }
    }
}
