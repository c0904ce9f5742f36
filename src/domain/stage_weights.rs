//! Who gets canary with what weight, in a stage of a plan and after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::ids::GroupName;
use crate::domain::weight::Weight;

/// One stage of a plan as far as it concerns who gets canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageShape {
    /// Whose weight is raised; empty for everyone.
    pub groups: Vec<GroupName>,
    /// To what.
    pub weight: Weight,
}

/// Who gets canary with what weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageWeights {
    /// The weight of every group the plan names.
    pub groups: BTreeMap<GroupName, Weight>,
    /// The weight of everyone else.
    pub default: Weight,
}

impl StageWeights {
    /// Whether nobody gets canary.
    pub fn is_zero(&self) -> bool {
        self.all().all(|weight| weight == Weight::ZERO)
    }

    /// Whether some callers are split between the arms by chance, so that arms can be compared.
    pub fn has_control(&self) -> bool {
        self.all()
            .any(|weight| weight != Weight::ZERO && weight != Weight::FULL)
    }

    /// Whether nobody has more of canary by these weights than by others.
    pub fn is_at_most(&self, others: &Self) -> bool {
        let named = self.groups.keys().chain(others.groups.keys());
        self.default <= others.default
            && named
                .map(Some)
                .all(|group| self.of(group) <= others.of(group))
    }

    /// The weight of a group, or of everyone else for `None` and for groups not named.
    pub fn of(&self, group: Option<&GroupName>) -> Weight {
        group
            .and_then(|group| self.groups.get(group))
            .copied()
            .unwrap_or(self.default)
    }

    /// The greatest weight that anybody has.
    pub fn greatest(&self) -> Weight {
        self.all().max().unwrap_or_default()
    }

    pub(in crate::domain) fn all(&self) -> impl Iterator<Item = Weight> {
        self.groups.values().copied().chain([self.default])
    }

    pub(in crate::domain) fn raise(&mut self, stage: &StageShape, ceiling: Weight) {
        for group in &stage.groups {
            let weight = self.groups.entry(group.clone()).or_default();
            *weight = stage.weight.max(*weight);
        }
        if stage.groups.is_empty() {
            let raised = stage.weight.min(ceiling);
            self.default = raised.max(self.default);
            for weight in self.groups.values_mut() {
                *weight = raised.max(*weight);
            }
        }
    }
}
