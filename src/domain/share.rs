//! The share of a group's callers that get something else than they had.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{InvalidName, VariantName};
use crate::domain::weight::{InvalidWeight, Weight};

/// Who gets which variant, of the callers of one group or of everyone else. The rest has `off`, or stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Share {
    /// So many get canary, or the one variant that there is beside `off`.
    Of(Weight),
    /// So many get each of these.
    Split(BTreeMap<VariantName, Weight>),
}

impl Share {
    /// Everybody has `off`, or stable.
    pub const NOBODY: Self = Self::Of(Weight::ZERO);

    /// Whether everybody has `off`, or stable.
    pub fn is_of_nobody(&self) -> bool {
        match self {
            Self::Of(weight) => *weight == Weight::ZERO,
            Self::Split(parts) => parts.values().all(|weight| *weight == Weight::ZERO),
        }
    }

    /// Whether by this nobody gets something that they do not get by the other. Of several variants, one that
    /// grows moves callers of the others, so there it takes that they are the same, or nobody's.
    pub fn is_at_most(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Of(own), Self::Of(others)) => own <= others,
            _ => self == other || self.is_of_nobody(),
        }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::NOBODY
    }
}

impl From<Weight> for Share {
    fn from(weight: Weight) -> Self {
        Self::Of(weight)
    }
}

/// `20%`, or `blue=30%,on=20%`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(weight) => weight.fmt(f),
            Self::Split(parts) if parts.is_empty() => Weight::ZERO.fmt(f),
            Self::Split(parts) => {
                let parts: Vec<_> = parts
                    .iter()
                    .map(|(variant, weight)| format!("{variant}={weight}"))
                    .collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

/// Why a text is not a share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadShare {
    /// A weight is none.
    #[error(transparent)]
    Weight(#[from] InvalidWeight),
    /// A variant's name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A variant is named twice.
    #[error("`{0}` is named twice")]
    Twice(VariantName),
}

impl FromStr for Share {
    type Err = UnreadShare;

    fn from_str(text: &str) -> Result<Self, UnreadShare> {
        if !text.contains('=') {
            return Ok(Self::Of(text.parse()?));
        }
        let mut parts = BTreeMap::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, ""));
            let name: VariantName = name.trim().parse()?;
            if parts.insert(name.clone(), weight.trim().parse()?).is_some() {
                return Err(UnreadShare::Twice(name));
            }
        }
        Ok(Self::Split(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::percent;

    #[test]
    fn a_share_is_read_and_written_without_loss() {
        for text in ["0%", "12.5%", "blue=30%,on=20%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for (text, problem) in [
            ("5", "`5` is not a percentage; write `5%`"),
            ("on=5", "`5` is not a percentage; write `5%`"),
            (
                "on=5%,blue",
                "`` is not a percentage such as `25%` or `0.5%`",
            ),
            ("on=5%,on=6%", "`on` is named twice"),
        ] {
            assert_eq!(text.parse::<Share>().unwrap_err().to_string(), problem);
        }
        assert!("-=5%".parse::<Share>().is_err());
    }

    #[test]
    fn weights_are_stored_as_they_were_before_there_were_others() {
        let store = |share: &Share| serde_json::to_string(share).unwrap();
        let split: Share = "blue=30%,on=20%".parse().unwrap();
        assert_eq!(store(&percent(20).into()), "2000");
        assert_eq!(store(&split), r#"{"blue":3000,"on":2000}"#);
        for share in [percent(20).into(), split] {
            assert_eq!(
                serde_json::from_str::<Share>(&store(&share)).unwrap(),
                share
            );
        }
    }

    #[test]
    fn what_moves_callers_between_variants_is_not_less() {
        let share = |text: &str| text.parse::<Share>().unwrap();
        for (own, other, is_at_most) in [
            ("5%", "5%", true),
            ("6%", "5%", false),
            ("on=5%,blue=5%", "on=5%,blue=5%", true),
            ("on=4%,blue=5%", "on=5%,blue=5%", false),
            ("on=0%", "on=5%,blue=5%", true),
            ("0%", "on=5%,blue=5%", true),
        ] {
            assert_eq!(
                share(own).is_at_most(&share(other)),
                is_at_most,
                "{own} {other}"
            );
        }
    }
}
