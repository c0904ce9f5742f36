//! Callers put into groups at run time.
//!
//! Written by operators now and then, looked up by every request while there is any: a map in
//! shards, so that neither waits for the other. Bounded, and says so when it is full.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use smallvec::SmallVec;
use tokio::sync::watch;

use crate::domain::ids::GroupName;
use crate::domain::timestamp::Timestamp;

/// The most callers that may be assigned: each is an order of its own, and longer lists are files. They take
/// some ten megabytes, and a start reads them in a moment.
pub const ASSIGNED_CALLERS_MAX: usize = 100_000;

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
    /// Counts changes, and wakes whoever waits for one.
    changes: watch::Sender<u64>,
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
        self.has_changed();
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
        if removed {
            self.has_changed();
        }
        removed
    }

    /// Forgets what has ended, so that the map does not grow with the past; gives what it was.
    pub fn expire(&self, now: Timestamp) -> Vec<(GroupName, Box<str>)> {
        let mut ended = Vec::new();
        if self.is_empty() {
            return ended;
        }
        self.by_key.retain(|key, assignments| {
            assignments.retain(|assignment| {
                let holds = assignment.holds(now);
                if !holds {
                    ended.push((assignment.group.clone(), key.clone()));
                }
                holds
            });
            let keep = !assignments.is_empty();
            if !keep {
                self.len.fetch_sub(1, Ordering::Relaxed);
            }
            keep
        });
        if !ended.is_empty() {
            self.has_changed();
        }
        ended
    }

    /// Whether a caller could be assigned.
    ///
    /// # Errors
    /// When [`ASSIGNED_CALLERS_MAX`] others are assigned already.
    pub fn has_room_for(&self, key: &str) -> Result<(), AssignmentsFull> {
        if self.len() < ASSIGNED_CALLERS_MAX || self.by_key.contains_key(key) {
            Ok(())
        } else {
            Err(AssignmentsFull)
        }
    }

    /// A caller's membership in a group, if it has one now.
    pub fn find(&self, key: &str, group: &GroupName, now: Timestamp) -> Option<Assignment> {
        let assignments = self.by_key.get(key)?;
        let mut holding = assignments.iter().filter(|known| known.holds(now));
        holding.find(|known| known.group == *group).cloned()
    }

    fn has_changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Says how many changes there were, and wakes whoever waits for the next one.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
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

    /// Every group that a caller is assigned to, or was until a moment ago.
    pub fn all_groups_of(&self, key: &str) -> Vec<GroupName> {
        let assignments = self.by_key.get(key);
        let groups = assignments.iter().flat_map(|known| known.iter());
        groups.map(|assignment| assignment.group.clone()).collect()
    }

    /// The first `limit` callers after a key, in key order, that are assigned to a group now.
    pub fn callers_in(
        &self,
        group: &GroupName,
        now: Timestamp,
        (after, limit): (Option<&str>, usize),
    ) -> Vec<(String, Option<Timestamp>)> {
        let mut first = BTreeMap::new();
        for entry in &self.by_key {
            if after.is_some_and(|after| &**entry.key() <= after) {
                continue;
            }
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

    /// How many callers are assigned to each group now.
    pub fn counts(&self, now: Timestamp) -> BTreeMap<GroupName, usize> {
        let mut counts = BTreeMap::new();
        for entry in &self.by_key {
            for assignment in entry.value().iter().filter(|known| known.holds(now)) {
                *counts.entry(assignment.group.clone()).or_default() += 1;
            }
        }
        counts
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
            assignments.callers_in(&vip, at(0), (None, 9)),
            [("ann".to_owned(), Some(at(10)))]
        );
        assert!(
            assignments
                .callers_in(&vip, at(0), (Some("ann"), 9))
                .is_empty()
        );
        let found = |now| assignments.find("ann", &vip, now).is_some();
        assert_eq!((found(at(9)), found(at(10))), (true, false));
        let counts = |now| assignments.counts(now).into_values().collect::<Vec<_>>();
        assert_eq!((counts(at(9)), counts(at(10))), (vec![1, 1], vec![1]));

        assert!(assignments.remove("ann", &beta));
        assert!(!assignments.remove("ann", &beta));
        assert_eq!(assignments.len(), 1);
        assert_eq!(assignments.expire(at(10)), [(vip, "ann".into())]);
        assert!(assignments.is_empty() && assignments.expire(at(10)).is_empty());
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
