//! What counters are called where they are exported and drained.

use crate::domain::flag::{Flag, Stratum};
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::variant::{PerVariant, Variant};

/// Who is counted together: a group, everyone else, or those who chose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StratumName {
    /// Callers in this group.
    Group(GroupName),
    /// Callers in none of the flag's groups.
    Default,
    /// Callers who chose their variant.
    Forced,
}

impl StratumName {
    /// The word used as metric label. Configuration reserves `default` and `forced`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Group(name) => name.as_str(),
            Self::Default => "default",
            Self::Forced => "forced",
        }
    }
}

/// An arm as exported: a variant of a flag, for one stratum.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArmName {
    /// The flag.
    pub flag: FlagName,
    /// Who.
    pub stratum: StratumName,
    /// Which variant was decided.
    pub variant: Variant,
}

/// One series of requests by code: a route, and the arm where a flag decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestSeries {
    /// The route's label.
    pub route: Box<str>,
    /// The arm; `None` on a route to a plain backend.
    pub arm: Option<ArmName>,
}

/// The names of a flag's arms, by stratum.
pub(super) fn arm_names(routing: &RoutingSnapshot, flag: &Flag) -> Vec<PerVariant<ArmName>> {
    let names = flag.weights.strata().map(|stratum| {
        let stratum = match stratum {
            Stratum::Group(entry) => StratumName::Group(routing.groups.name(entry.group).clone()),
            Stratum::Default(_) => StratumName::Default,
            Stratum::Forced => StratumName::Forced,
        };
        PerVariant::from_fn(|variant| ArmName {
            flag: flag.name.clone(),
            stratum: stratum.clone(),
            variant,
        })
    });
    names.collect()
}
