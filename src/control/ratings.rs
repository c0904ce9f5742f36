//! How callers rate both arms, for people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::rating::mean;
use crate::domain::variant::PerVariant;

/// How callers rate both arms of a release: of each caller its last word.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FeedbackStatus(pub PerVariant<RatingsStatus>);

/// How callers rate one arm.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RatingsStatus {
    /// How many do.
    pub raters: u64,
    /// Their mean rating, 1 to 5.
    pub mean: Option<f64>,
    /// How many rate it 1, 2, 3, 4 and 5.
    pub ratings: [u64; 5],
}

impl FeedbackStatus {
    /// Sums ratings of both arms up.
    pub fn of(raters: &PerVariant<[u64; 5]>) -> Self {
        Self(PerVariant::from_fn(|variant| {
            RatingsStatus::of(raters.get(variant))
        }))
    }
}

impl RatingsStatus {
    /// Sums ratings up.
    pub fn of(ratings: &[u64; 5]) -> Self {
        Self {
            raters: ratings.iter().sum(),
            mean: mean(ratings),
            ratings: *ratings,
        }
    }
}
