//! The two arms of a release, and values held once for each.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which arm serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// What everyone had before.
    Stable,
    /// The new version on trial.
    Canary,
}

impl Variant {
    /// Both variants, stable first.
    pub const ALL: [Self; 2] = [Self::Stable, Self::Canary];

    /// The word used in configuration, headers and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }

    /// Reads the word back; `None` for any other text.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|variant| variant.as_str() == word)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each variant, so that nobody swaps two arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PerVariant<T> {
    /// The value for stable.
    pub stable: T,
    /// The value for canary.
    pub canary: T,
}

impl<T> PerVariant<T> {
    /// Makes a value for each variant.
    pub fn from_fn(mut make: impl FnMut(Variant) -> T) -> Self {
        Self {
            stable: make(Variant::Stable),
            canary: make(Variant::Canary),
        }
    }

    /// The value of one variant.
    pub const fn get(&self, variant: Variant) -> &T {
        match variant {
            Variant::Stable => &self.stable,
            Variant::Canary => &self.canary,
        }
    }

    /// The value of one variant, to be changed.
    pub const fn get_mut(&mut self, variant: Variant) -> &mut T {
        match variant {
            Variant::Stable => &mut self.stable,
            Variant::Canary => &mut self.canary,
        }
    }

    /// Turns both values into others.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> PerVariant<U> {
        PerVariant {
            stable: change(self.stable),
            canary: change(self.canary),
        }
    }
}
