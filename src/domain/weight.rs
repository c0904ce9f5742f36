//! The share of a group's callers that get the canary.
//!
//! Basis points inside, percent outside: the only unit of traffic share in the crate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A share of traffic from nobody to everybody, in steps of a hundredth of a percent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Weight(u16);

impl Weight {
    /// Basis points in the whole.
    pub const WHOLE: u16 = 10_000;
    /// Nobody gets the canary.
    pub const ZERO: Self = Self(0);
    /// Everybody gets the canary.
    pub const FULL: Self = Self(Self::WHOLE);

    /// A weight of 0 to 10,000 basis points; `None` above.
    pub const fn from_basis_points(basis_points: u16) -> Option<Self> {
        if basis_points <= Self::WHOLE {
            Some(Self(basis_points))
        } else {
            None
        }
    }

    /// The weight in basis points, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// The weight as a ratio, 0 to 1.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// The share that is left: 100 % less this weight.
    pub const fn complement(self) -> Self {
        Self(Self::WHOLE - self.0)
    }
}

/// Written as percent with as few digits as it takes: `25%`, `0.5%`, `99.99%`.
impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{percent}%"),
            _ if rest % 10 == 0 => write!(f, "{percent}.{}%", rest / 10),
            _ => write!(f, "{percent}.{rest:02}%"),
        }
    }
}

/// Why a text is not a weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWeight {
    /// Not a number followed by a percent sign.
    #[error("`{0}` is not a percentage{hint}", hint = suggestion(.0))]
    NotAPercentage(String),
    /// Below 0 % or above 100 %.
    #[error("`{0}` is outside 0% to 100%")]
    OutOfRange(String),
    /// Finer than a hundredth of a percent.
    #[error("`{0}` is finer than 0.01%, the smallest step")]
    TooFine(String),
}

/// What may have been meant by what is not a percentage.
fn suggestion(text: &str) -> String {
    let meant = format!("{text}%");
    match meant.parse::<Weight>() {
        Ok(_) => format!("; write `{meant}`"),
        Err(_) => " such as `25%` or `0.5%`".to_owned(),
    }
}

impl FromStr for Weight {
    type Err = InvalidWeight;

    fn from_str(text: &str) -> Result<Self, InvalidWeight> {
        let malformed = || InvalidWeight::NotAPercentage(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(malformed)?.trim_end();
        let (negative, digits) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) {
            return Err(malformed());
        }
        if negative {
            return Err(InvalidWeight::OutOfRange(text.to_owned()));
        }
        let significant = fraction.trim_end_matches('0');
        if significant.len() > 2 {
            return Err(InvalidWeight::TooFine(text.to_owned()));
        }
        let hundredths: u16 = format!("{significant:0<2}")
            .parse()
            .map_err(|_| malformed())?;
        whole
            .parse::<u16>()
            .ok()
            .filter(|percent| *percent <= 100)
            .and_then(|percent| Self::from_basis_points(percent * 100 + hundredths))
            .ok_or_else(|| InvalidWeight::OutOfRange(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_read_and_written_without_loss() {
        for basis_points in 0..=Weight::WHOLE {
            let weight = Weight::from_basis_points(basis_points).unwrap();
            assert_eq!(weight.to_string().parse(), Ok(weight));
        }
        assert_eq!("0.5%".parse(), Ok(Weight(50)));
        assert_eq!("25.00 %".parse(), Ok(Weight(2500)));
    }

    #[test]
    fn what_is_not_a_share_is_refused_with_its_reason() {
        let error = |text: &str| text.parse::<Weight>().unwrap_err().to_string();
        assert!(error("101%").contains("outside 0% to 100%"));
        assert!(error("100.01%").contains("outside"));
        assert!(error("-1%").contains("outside"));
        assert!(error("70000%").contains("outside"));
        assert!(error("0.005%").contains("finer than 0.01%"));
        for malformed in ["", "%", "5", "five%", "1.%", ".5%", "1e1%"] {
            assert!(error(malformed).contains("not a percentage"), "{malformed}");
        }
        assert!(error("30").ends_with("write `30%`"));
        assert!(error("300").ends_with("such as `25%` or `0.5%`"));
    }
}
