//! Counts ratings with the evidence of the arm that was rated.

use crate::domain::ids::{FlagName, GroupName};
use crate::domain::rating::Rating;
use crate::domain::variant::Variant;
use crate::runtime::arm_entry::{ArmEntry, ArmKey};
use crate::runtime::ledger::{Books, Ledger};
use crate::runtime::series::StratumName;

impl Ledger {
    /// Counts how a caller of a group, or of none, rated the variant it was shown, under the weights that hold
    /// now; tells whether there is such an arm. Whether the caller may rate, and has not done so before, is
    /// for whoever calls to know.
    pub fn rate(
        &self,
        flag: &FlagName,
        group: Option<&GroupName>,
        variant: Variant,
        rating: Rating,
    ) -> bool {
        let mut books = self.books();
        let current = books.current_arm((flag, group, variant));
        current.is_some_and(|entry| {
            entry.ratings[rating.place()] += 1;
            true
        })
    }

    /// Counts that so many more (or fewer) callers rate an arm so, who had been counted with another rating.
    pub fn change_ratings(
        &self,
        flag: &FlagName,
        group: Option<&GroupName>,
        variant: Variant,
        (rating, by): (Rating, i64),
    ) {
        let mut books = self.books();
        if let Some(entry) = books.current_arm((flag, group, variant)) {
            entry.ratings_changed[rating.place()] += by;
        }
    }
}

impl Books {
    /// Where callers of a group, or of none, are counted whom an arm is shown to under the weights that hold now.
    fn current_arm(
        &mut self,
        (flag, group, variant): (&FlagName, Option<&GroupName>, Variant),
    ) -> Option<&mut ArmEntry> {
        let stratum = match group {
            Some(group) => StratumName::Group(group.clone()),
            None => StratumName::Default,
        };
        let is_of = |key: &ArmKey| {
            let arm = &key.arm;
            key.is_keyed && arm.variant == variant && arm.flag == *flag && arm.stratum == stratum
        };
        // Epochs only grow, and so does the weight of a release that waits in its first one.
        let arms = self.arms.iter_mut().filter(|(key, _)| is_of(key));
        let current = arms.max_by_key(|(key, _)| (key.epoch, key.weight));
        current.map(|(_, entry)| entry)
    }
}
