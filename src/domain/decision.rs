//! What was decided for one request, and why.

use std::fmt;

use crate::domain::bucket::Bucket;
use crate::domain::ids::{FlagIndex, GroupIndex};
use crate::domain::variant::Variant;
use crate::domain::weight::Weight;

/// The rule that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The flag's kill switch is thrown: everyone gets stable.
    Disabled,
    /// The caller is an app that is suspended or revoked: it gets stable, or off.
    Barred,
    /// The rollout was rolled back: everyone gets stable.
    RolledBack,
    /// Another flag gives the caller something else than this one needs: the caller gets stable, or off.
    Prerequisite {
        /// The other.
        flag: FlagIndex,
    },
    /// The request asked for this variant and its caller may.
    Forced {
        /// The group that allows it.
        group: GroupIndex,
    },
    /// The caller is in a group that the flag names.
    Group {
        /// The first such group, in the file's order.
        group: GroupIndex,
        /// Its weight.
        weight: Weight,
    },
    /// The caller is in none of the flag's groups.
    Default {
        /// The weight for everyone else.
        weight: Weight,
    },
}

impl Reason {
    /// The reason in OpenFeature's terms (specification 0.8, "resolution reason"), where weights decided for
    /// something that is drawn, or for everybody alike.
    pub const fn openfeature(self, is_drawn: bool) -> &'static str {
        match self {
            Self::Group { .. } | Self::Default { .. } if is_drawn => "SPLIT",
            Self::Disabled => "DISABLED",
            Self::RolledBack => "STATIC",
            Self::Forced { .. } | Self::Group { .. } => "TARGETING_MATCH",
            Self::Default { .. } | Self::Prerequisite { .. } | Self::Barred => "DEFAULT",
        }
    }

    /// The same as one word of our own, for logs and listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Barred => "barred",
            Self::RolledBack => "rolled_back",
            Self::Prerequisite { .. } => "prerequisite",
            Self::Forced { .. } => "forced",
            Self::Group { .. } => "group",
            Self::Default { .. } => "default",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the counts of a request belong, as a place among one flag's strata.
///
/// Groups come first, in the flag's order; then everyone else; then, apart from all others, those
/// who chose their variant or could get but one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StratumIndex(pub usize);

/// The variant that serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Stable or canary.
    pub variant: Variant,
    /// The rule that decided.
    pub reason: Reason,
    /// Which of the flag's strata the request belongs to.
    pub stratum: StratumIndex,
    /// The hash of the caller's key under the flag's salt, or the request's random draw.
    pub hash: u32,
    /// Whether it is the hash of a key, so that the caller is known again and stays in its arm.
    pub is_keyed: bool,
}

impl Decision {
    /// The caller's place, 0 to 9,999.
    pub const fn bucket(self) -> Bucket {
        Bucket::of_hash(self.hash)
    }

    /// Whether the caller was not drawn into its arm, so that what happens to it says nothing about the arms:
    /// it chose the variant, or was kept out by another flag or as an app that may not pass.
    pub const fn is_apart(self) -> bool {
        matches!(
            self.reason,
            Reason::Forced { .. } | Reason::Prerequisite { .. } | Reason::Barred
        )
    }
}
