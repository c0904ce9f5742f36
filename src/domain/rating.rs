//! What a user makes of what it was shown.

/// A rating, 1 (bad) to 5 (good).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl TryFrom<u8> for Rating {
    type Error = InvalidRating;

    fn try_from(number: u8) -> Result<Self, InvalidRating> {
        match number {
            1..=5 => Ok(Self(number)),
            _ => Err(InvalidRating(number)),
        }
    }
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
    }
}
