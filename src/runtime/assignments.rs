//! Callers put into groups at run time.
//!
//! Written by operators now and then, looked up by every request while there is any: a map in
//! shards, so that neither waits for the other. Bounded, and says so when it is full.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use smallvec::SmallVec;

use crate::domain::ids::GroupName;
use crate::domain::timestamp::Timestamp;

/// The most callers that may be assigned: some hundred megabytes of keys.
pub const ASSIGNED_CALLERS_MAX: usize = 1_000_000;

/// Why a caller was not assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ASSIGNED_CALLERS_MAX} callers are assigned already, which is the most there may be")]
pub struct AssignmentsFull;

/// A caller's membership in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The group.
    pub group: GroupName,
    /// When it ends; never, if `None`.
    pub expires: Option<Timestamp>,
}

impl Assignment {
    fn holds(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// All assignments, by the caller's key.
#[derive(Debug, Default)]
pub struct CallerAssignments {
    by_key: DashMap<Box<str>, SmallVec<[Assignment; 1]>>,
    /// How many keys there are, so that a request need not touch a shard while there are none.
    len: AtomicUsize,
}

impl CallerAssignments {
    /// Puts a caller into a group; again for the same group changes when it ends.
    ///
    /// # Errors
    /// When [`ASSIGNED_CALLERS_MAX`] callers are assigned already.
    pub fn assign(&self, key: &str, assignment: Assignment) -> Result<(), AssignmentsFull> {
        match self.by_key.entry(key.into()) {
            Entry::Occupied(mut known) => {
                known
                    .get_mut()
                    .retain(|other| other.group != assignment.group);
                known.get_mut().push(assignment);
            }
            Entry::Vacant(vacant) => {
                if self.len.load(Ordering::Relaxed) >= ASSIGNED_CALLERS_MAX {
                    return Err(AssignmentsFull);
                }
                self.len.fetch_add(1, Ordering::Relaxed);
                vacant.insert(SmallVec::from_elem(assignment, 1));
            }
        }
        Ok(())
    }

    /// Takes a caller out of a group; tells whether it was in it.
    pub fn remove(&self, key: &str, group: &GroupName) -> bool {
        let Entry::Occupied(mut known) = self.by_key.entry(key.into()) else {
            return false;
        };
        let before = known.get().len();
        known
            .get_mut()
            .retain(|assignment| assignment.group != *group);
        let removed = known.get().len() < before;
        if known.get().is_empty() {
            known.remove();
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// Forgets what has ended, so that the map does not grow with the past.
    pub fn expire(&self, now: Timestamp) {
        if self.is_empty() {
            return;
        }
        self.by_key.retain(|_, assignments| {
            assignments.retain(|assignment| assignment.holds(now));
            let keep = !assignments.is_empty();
            if !keep {
                self.len.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
    }

    /// Calls `each` with every group that a caller is assigned to now.
    pub fn groups_of(&self, key: &str, now: Timestamp, mut each: impl FnMut(&GroupName)) {
        if let Some(assignments) = self.by_key.get(key) {
            let holding = assignments
                .iter()
                .filter(|assignment| assignment.holds(now));
            holding.for_each(|assignment| each(&assignment.group));
        }
    }

    /// The first `limit` callers, in key order, that are assigned to a group now.
    pub fn callers_in(
        &self,
        group: &GroupName,
        now: Timestamp,
        limit: usize,
    ) -> Vec<(String, Option<Timestamp>)> {
        let mut first = BTreeMap::new();
        for entry in &self.by_key {
            let mut assignments = entry.value().iter();
            let Some(assignment) = assignments.find(|a| a.group == *group && a.holds(now)) else {
                continue;
            };
            first.insert(entry.key().to_string(), assignment.expires);
            if first.len() > limit {
                first.pop_last();
            }
        }
        first.into_iter().collect()
    }

    /// Whether nobody is assigned to anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many callers are assigned to something.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    fn groups(assignments: &CallerAssignments, key: &str, now: Timestamp) -> Vec<String> {
        let mut found = Vec::new();
        assignments.groups_of(key, now, |group| found.push(group.to_string()));
        found
    }

    #[test]
    fn an_assignment_holds_until_it_ends_or_is_removed() {
        let assignments = CallerAssignments::default();
        let [beta, vip]: [GroupName; 2] = ["beta", "vip"].map(|name| name.parse().unwrap());
        let forever = Assignment {
            group: beta.clone(),
            expires: None,
        };
        assignments.assign("ann", forever).unwrap();
        let short = Assignment {
            group: vip.clone(),
            expires: Some(at(10)),
        };
        assignments.assign("ann", short).unwrap();
        assert_eq!(groups(&assignments, "ann", at(9)), ["beta", "vip"]);
        assert_eq!(groups(&assignments, "ann", at(10)), ["beta"]);
        assert!(groups(&assignments, "bob", at(0)).is_empty());
        assert_eq!(
            assignments.callers_in(&vip, at(0), 9),
            [("ann".to_owned(), Some(at(10)))]
        );

        assert!(assignments.remove("ann", &beta));
        assert!(!assignments.remove("ann", &beta));
        assert_eq!(assignments.len(), 1);
        assignments.expire(at(10));
        assert!(assignments.is_empty());
    }

    #[test]
    fn assigning_again_changes_the_end() {
        let assignments = CallerAssignments::default();
        let group: GroupName = "beta".parse().unwrap();
        for expires in [None, Some(at(5))] {
            assignments
                .assign(
                    "ann",
                    Assignment {
                        group: group.clone(),
                        expires,
                    },
                )
                .unwrap();
        }
        assert_eq!(groups(&assignments, "ann", at(4)), ["beta"]);
        assert!(groups(&assignments, "ann", at(5)).is_empty());
        assert_eq!(assignments.len(), 1);
    }
}
