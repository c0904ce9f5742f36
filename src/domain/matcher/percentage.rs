//! Matches a fixed share of all callers.

use crate::domain::bucket::Bucket;
use crate::domain::caller::RequestFacts;
use crate::domain::ids::GroupName;
use crate::domain::matcher::Matches;
use crate::domain::weight::Weight;

/// The caller falls into a share of all callers, the same callers each time.
///
/// The salt is the group's name, never a flag's: the two draws must not depend on each other, or
/// the group's first callers would all be one variant's. A caller without a key is in no share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PercentageMatcher {
    /// The group this matcher defines.
    pub salt: GroupName,
    /// The share of callers in it.
    pub share: Weight,
}

impl Matches for PercentageMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        facts
            .bucketing_key()
            .is_some_and(|key| Bucket::of(self.salt.as_str(), key).is_within(self.share))
    }
}
