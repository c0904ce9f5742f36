//! Ratings and comments of callers, bound to what each was shown.
//!
//! A flag with a rollout has a [`FeedbackBook`]: one vote for each caller who rated this release, and the
//! comments. A caller who rates again changes its vote. What the judge is told of it goes through a
//! [`RatingQueue`], which hands out ratings of both arms together, a few in each tick: the judge compares within a
//! tick, and takes only so much of one tick.
//!
//! Callers are called by a pseudonym, and known by a number that is made from it. Their keys are not here; neither
//! is the hash that decides their variant, which changes with a flag's salt: nobody gets a second vote by that.

mod ballot;
mod book;
#[cfg(test)]
mod book_tests;
mod queue;
mod sources;
mod written;

pub use ballot::{Ballot, Counted, News, NotCounted};
pub use book::FeedbackBook;
pub use queue::RatingQueue;
pub use written::{Handed, WrittenRating, read};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{FlagName, GroupName};
use crate::domain::rating::Rating;
use crate::domain::rollout::Release;
use crate::domain::variant::Variant;

/// The most callers whose votes on one release are counted: enough to tell the smallest harm that ratings can
/// tell, and a few megabytes.
pub const RATERS_MAX: usize = 50_000;

/// The most comments of a flag that are kept; the oldest go first. More than anybody reads.
pub const COMMENTS_MAX: usize = 1_000;

/// The longest comment, in characters: a paragraph or two.
pub const COMMENT_CHARS_MAX: usize = 1_000;

/// The fewest raters of an arm before ratings decide anything that an operator may ask for: what few say is
/// a matter of who they are.
pub const RATINGS_MIN_MIN: u64 = 20;

/// What votes are on: a release, tried for the so-many-th time. A release that is tried again is judged
/// anew, so it is rated anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What is released.
    pub release: Release,
    /// How often it has been tried.
    pub attempt: u32,
}

/// What a caller was shown, and as a member of which group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shown {
    /// The variant.
    pub variant: Variant,
    /// The group whose weight decided; `None` for everyone else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
}

/// One caller's vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Its number among the flag's, growing.
    pub number: u64,
    /// What the caller makes of it.
    pub rating: Rating,
    /// Of what.
    #[serde(flatten)]
    pub shown: Shown,
    /// The caller's pseudonym.
    pub caller: Box<str>,
    /// Where it came from, as one of 65,536 cells: too few to tell an address by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<u16>,
    /// The number of its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<u64>,
    /// Its number among those that the judge was told; `None` before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<u64>,
}

/// What a caller had to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Comment {
    /// Its number, growing.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The revision that was being released.
    pub revision: String,
    /// The caller's pseudonym, as in an export of callers.
    #[schema(value_type = String)]
    pub caller: Box<str>,
    /// The rating that came with it, 1 to 5.
    #[schema(value_type = u8, minimum = 1, maximum = 5)]
    pub rating: Rating,
    /// What the caller was shown.
    #[schema(value_type = String)]
    pub variant: Variant,
    /// The caller's group, where one decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// What it said.
    pub text: String,
}

/// A rating that the judge is told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rated {
    /// Of what.
    pub shown: Shown,
    /// What is made of it.
    pub rating: Rating,
}

/// Something of a flag's feedback that has changed, to be written down.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedbackChange {
    /// The flag.
    pub flag: FlagName,
    /// What.
    pub part: FeedbackPart,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedbackPart {
    /// Votes are on something else from now on; those before are forgotten.
    Began(Tried),
    /// The vote of the caller with this number; `None` to forget it.
    Vote(u64, Option<Vote>),
    /// The comment with this number; `None` to forget it.
    Comment(u64, Option<Comment>),
    /// All of the flag is forgotten.
    Gone,
}

/// What is known of a flag's feedback at a start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedFeedback {
    /// What votes are on.
    pub tried: Option<Tried>,
    /// By the caller's number.
    pub votes: BTreeMap<u64, Vote>,
    /// By number.
    pub comments: BTreeMap<u64, Comment>,
}

impl SavedFeedback {
    /// Takes in a change, as a store in memory does.
    pub fn apply(&mut self, part: FeedbackPart) {
        match part {
            FeedbackPart::Began(tried) => {
                self.tried = Some(tried);
                self.votes.clear();
            }
            FeedbackPart::Vote(voter, Some(vote)) => {
                self.votes.insert(voter, vote);
            }
            FeedbackPart::Vote(voter, None) => {
                self.votes.remove(&voter);
            }
            FeedbackPart::Comment(number, Some(comment)) => {
                self.comments.insert(number, comment);
            }
            FeedbackPart::Comment(number, None) => {
                self.comments.remove(&number);
            }
            FeedbackPart::Gone => *self = Self::default(),
        }
    }
}
