//! A single caller's membership in a group, as it outlives the process.
//!
//! While a process lives, its monotonic clock says when a membership ends, and a wall clock that is
//! set makes none longer or shorter. Between two processes only the wall clock goes on; one that was
//! set back meanwhile makes none longer than it was when it was written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::ids::GroupName;

/// That a caller is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// When it ends; never, if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<End>,
}

/// When something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    /// In milliseconds since 1970.
    at_unix_ms: u64,
    /// How long it was to last when it was written, in milliseconds.
    span_ms: u64,
}

impl Membership {
    /// One that lasts so long from a moment on, in milliseconds since 1970; for good, if `None`.
    pub fn lasting(span: Option<Duration>, now_unix_ms: u64) -> Self {
        let until = span.map(|span| {
            let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            End {
                at_unix_ms: now_unix_ms.saturating_add(span_ms),
                span_ms,
            }
        });
        Self { until }
    }

    /// For how much longer it lasts, nothing if it has ended; `None` where it lasts for good.
    pub fn left(&self, now_unix_ms: u64) -> Option<Duration> {
        let End {
            at_unix_ms,
            span_ms,
        } = self.until?;
        let left = at_unix_ms.saturating_sub(now_unix_ms);
        Some(Duration::from_millis(left.min(span_ms)))
    }
}

/// That a caller is in a group from now on, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentChange {
    /// The group.
    pub group: GroupName,
    /// The caller's key.
    pub key: Box<str>,
    /// `None` to take it out.
    pub membership: Option<Membership>,
}

impl AssignmentChange {
    /// Whether it is about the same caller and group.
    pub fn is_of_same(&self, other: &Self) -> bool {
        self.group == other.group && self.key == other.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_ends_by_the_wall_clock_and_is_never_longer_than_it_was() {
        let minute = Membership::lasting(Some(Duration::from_secs(60)), 1_000_000);
        let left = |now| minute.left(now).unwrap().as_secs();
        assert_eq!((left(1_000_000), left(1_020_000)), (60, 40));
        assert_eq!((left(1_060_000), left(u64::MAX)), (0, 0));
        // A clock that is set back by a day gives nobody a day.
        assert_eq!(left(0), 60);
        assert_eq!(Membership::lasting(None, 5).left(u64::MAX), None);
        let endless = Membership::lasting(Some(Duration::MAX), 5);
        assert!(endless.left(6) > Some(Duration::from_secs(1 << 40)));
    }

    #[test]
    fn a_membership_is_read_as_it_was_written() {
        for span in [None, Some(Duration::from_secs(3))] {
            let membership = Membership::lasting(span, 7);
            let text = serde_json::to_string(&membership).unwrap();
            assert_eq!(
                serde_json::from_str::<Membership>(&text).unwrap(),
                membership
            );
        }
    }
}
