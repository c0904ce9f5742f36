//! What a user makes of what it was shown.

use serde::{Deserialize, Serialize};

/// A rating, 1 (bad) to 5 (good).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Rating(u8);

/// Why a number is no rating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no rating, expected 1 to 5")]
pub struct InvalidRating(u8);

impl Rating {
    /// Its place among the five, from 0.
    pub const fn place(self) -> usize {
        self.0 as usize - 1
    }
}

impl From<Rating> for u8 {
    fn from(rating: Rating) -> Self {
        rating.0
    }
}

impl TryFrom<u8> for Rating {
    type Error = InvalidRating;

    fn try_from(number: u8) -> Result<Self, InvalidRating> {
        match number {
            1..=5 => Ok(Self(number)),
            _ => Err(InvalidRating(number)),
        }
    }
}

/// The mean of ratings by how often there is each; `None` where there is none.
#[allow(
    clippy::cast_precision_loss,
    reason = "there are fewer than a double can count"
)]
pub fn mean(ratings: &[u64; 5]) -> Option<f64> {
    let raters: u64 = ratings.iter().sum();
    let stars: u64 = (1..).zip(ratings).map(|(star, n)| star * n).sum();
    (raters > 0).then(|| stars as f64 / raters as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_are_one_to_five() {
        let places = [1, 5].map(|number| Rating::try_from(number).unwrap().place());
        assert_eq!(places, [0, 4]);
        for number in [0, 6, 255] {
            let error = Rating::try_from(number).unwrap_err().to_string();
            assert_eq!(error, format!("{number} is no rating, expected 1 to 5"));
        }
        assert_eq!(serde_json::from_str::<Rating>("4").unwrap().place(), 3);
        assert!(serde_json::from_str::<Rating>("4.5").is_err());
    }

    #[test]
    fn the_mean_is_of_those_that_there_are() {
        assert_eq!(mean(&[0; 5]), None);
        assert_eq!(mean(&[1, 0, 0, 0, 3]), Some(4.0));
    }
}
