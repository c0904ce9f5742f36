//! Single callers, put into groups at run time: written down first, then in force.
//!
//! The journal and the log call a caller by its pseudonym: a key may be somebody's name or address, or
//! a session's secret, and both are kept for long and seen by many.

use std::time::Duration;

use crate::control::controller::Controller;
use crate::control::perform::{Unwritten, line_about, not_done, now_unix_ms};
use crate::control::ports::{JournalLine, Subject, Transition};
use crate::domain::assignment::{AssignmentChange, Membership};
use crate::domain::ids::GroupName;
use crate::domain::rollout::{Author, JournalEntry};
use crate::domain::timestamp::Timestamp;
use crate::runtime::assignments::{Assignment, AssignmentsFull};

/// What an operator wants of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentOrder {
    /// To be in a group for so long; for good, if `None`.
    Assign(Option<Duration>),
    /// To be in it no more.
    Remove,
}

/// Why a caller was not put into a group, or not taken out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    /// There is no such group.
    #[error("no group `{0}`, there are: {1}")]
    NoGroup(String, String),
    /// It was not in it, as far as anybody has put it there.
    #[error("caller `{key}` was not assigned to group `{group}`")]
    NotAssigned {
        /// The caller's key.
        key: String,
        /// The group.
        group: String,
    },
    /// There is no room for one more.
    #[error(transparent)]
    Full(#[from] AssignmentsFull),
    /// It could not be written down, so it was not done.
    #[error("not done, for it could not be written down: {0}")]
    NotWritten(String),
    /// Serin is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

/// How long a caller is to be in a group, as it is written: `30m`.
///
/// # Errors
/// When it is no span of time, or none at all, with what would have been right.
pub fn lasting(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(format!(
            "`{text}` ends at once; give a span such as `30m`, or take the caller out"
        )),
        Ok(lasting) => Ok(lasting),
        Err(_) => Err(format!(
            "`{text}` is not a span of time such as `30m` or `2h 30m`"
        )),
    }
}

impl Controller {
    /// Takes up the assignments that were written down.
    pub(super) fn take_up_assignments(
        &self,
        saved: impl IntoIterator<Item = ((GroupName, Box<str>), Membership)>,
    ) {
        let (now, wall) = (self.clock.now(), now_unix_ms());
        let mut left_out = 0_u64;
        for ((group, key), membership) in saved {
            // One that has ended holds no more, and goes with the next that end.
            let expires = membership.left(wall).map(|left| now + left);
            let taken = self.assignments.assign(&key, Assignment { group, expires });
            left_out += u64::from(taken.is_err());
        }
        if left_out > 0 {
            tracing::error!(left_out, "more callers are assigned than there may be");
        }
    }

    /// Puts a caller into a group or takes it out; the next request is decided by it.
    pub(super) fn assign(
        &mut self,
        group: &str,
        key: &str,
        order: AssignmentOrder,
        by: &Author,
    ) -> Result<(), AssignmentError> {
        let now = self.clock.now();
        let name = self.assignable(group, key, order)?;
        let current = self.assignments.find(key, &name, now);
        let wanted = match order {
            AssignmentOrder::Assign(lasting) => Some(Assignment {
                group: name.clone(),
                expires: lasting.map(|lasting| now + lasting),
            }),
            AssignmentOrder::Remove => None,
        };
        match (&current, &wanted) {
            (None, None) => {
                return Err(AssignmentError::NotAssigned {
                    key: key.to_owned(),
                    group: group.to_owned(),
                });
            }
            // One that ends is put off, so it is another.
            (Some(current), Some(wanted)) if current == wanted && wanted.expires.is_none() => {
                return Ok(());
            }
            _ => {}
        }
        self.write_assignment((&name, key), current.as_ref(), order, by)?;
        match wanted {
            Some(assignment) => self.assignments.assign(key, assignment)?,
            None => {
                self.assignments.remove(key, &name);
            }
        }
        Ok(())
    }

    /// The group, if a caller can be put into it or taken out.
    fn assignable(
        &self,
        group: &str,
        key: &str,
        order: AssignmentOrder,
    ) -> Result<GroupName, AssignmentError> {
        let groups = &self.performer.routing.groups;
        let known = groups
            .index_of(group)
            .map(|place| groups.name(place).clone());
        let name = match (known, order) {
            (Some(name), _) => name,
            // A group that the configuration has no more may still have callers to be taken out.
            (None, AssignmentOrder::Remove) if let Ok(name) = group.parse() => name,
            (None, _) => {
                let known = groups.iter().map(|(_, group)| group.name.as_str());
                let known = known.collect::<Vec<_>>().join(", ");
                return Err(AssignmentError::NoGroup(group.to_owned(), known));
            }
        };
        if matches!(order, AssignmentOrder::Assign(_)) {
            self.assignments.has_room_for(key)?;
        }
        Ok(name)
    }

    /// Writes down what is to become of a caller.
    fn write_assignment(
        &mut self,
        (group, key): (&GroupName, &str),
        current: Option<&Assignment>,
        order: AssignmentOrder,
        by: &Author,
    ) -> Result<(), AssignmentError> {
        let (now, wall) = (self.clock.now(), now_unix_ms());
        let change = |membership| AssignmentChange {
            group: group.clone(),
            key: key.into(),
            membership,
        };
        let membership = |expires: Option<Timestamp>| {
            let left = expires.map(|end| end - now);
            Membership::lasting(left, wall)
        };
        let caller = self.performer.name_of(key);
        let (what, wanted) = match order {
            AssignmentOrder::Assign(lasting) => {
                let span = lasting.map_or_else(
                    || "for good".to_owned(),
                    |lasting| format!("for {}", humantime::format_duration(lasting)),
                );
                let wanted = Membership::lasting(lasting, wall);
                (format!("caller {caller} put into it {span}"), Some(wanted))
            }
            AssignmentOrder::Remove => (format!("caller {caller} taken out of it"), None),
        };
        let entry = JournalEntry {
            who: by.who.clone(),
            what,
            why: by.why.clone(),
            findings: Vec::new(),
        };
        let transition = Transition {
            assignments: vec![change(wanted)],
            lines: vec![line_about(Subject::Group(group.clone()), entry.clone())],
            ..Transition::default()
        };
        let lines = transition.lines.clone();
        // Whether a group gives or takes is up to each flag, so neither is done unwritten.
        let saved = self.performer.save(transition, Unwritten::Refused);
        let Err(error) = saved else {
            tracing::info!(%group, who = entry.who, why = entry.why, "{}", entry.what);
            return Ok(());
        };
        if self.performer.is_in_doubt {
            let holds = current.map(|current| membership(current.expires));
            self.performer.restore(still(change(holds), lines));
        }
        Err(AssignmentError::NotWritten(error.to_string()))
    }

    /// Forgets assignments that have ended. They hold no longer than they should in any case; this
    /// only makes room. What cannot be written now is forgotten by a later start.
    pub(super) fn expire_assignments(&mut self, now: Timestamp) {
        let ended = self.assignments.expire(now);
        if ended.is_empty() {
            return;
        }
        let gone = ended.into_iter().map(|(group, key)| AssignmentChange {
            group,
            key,
            membership: None,
        });
        let transition = Transition {
            assignments: gone.collect(),
            ..Transition::default()
        };
        if let Err(error) = self.performer.save(transition, Unwritten::Refused) {
            tracing::debug!(%error, "assignments that have ended are not forgotten yet");
        }
    }
}

/// What holds when a change was refused, as `refused` would have told.
fn still(holds: AssignmentChange, refused: Vec<JournalLine>) -> Transition {
    Transition {
        assignments: vec![holds],
        lines: not_done(refused),
        ..Transition::default()
    }
}
