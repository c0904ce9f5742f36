//! What a caller says of a release, and what becomes of it.

use std::collections::BTreeSet;

use crate::domain::feedback::Shown;
use crate::domain::rating::Rating;

/// What a caller says, with what is known of it.
#[derive(Clone, Debug)]
pub struct Ballot {
    /// What it makes of it.
    pub rating: Rating,
    /// What it was shown.
    pub shown: Shown,
    /// Its pseudonym.
    pub caller: Box<str>,
    /// Where it came from, if callers from there can be made up.
    pub source: Option<u16>,
    /// What it says besides.
    pub comment: Option<String>,
    /// Who passed it on; `None` for the caller itself.
    pub by: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// What became of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It is the caller's first on this release.
    Recorded,
    /// It takes the place of another of the same caller.
    Changed,
    /// The caller had said just that.
    Unchanged,
}

/// Why a vote was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    /// As many callers from the same source have rated this arm as may, for what its others are.
    Source,
    /// It would take the place of somebody else's, or of one whose identity was vouched for.
    Foreign,
    /// There is no room for more.
    Full,
}

/// What has come in since it was told last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// First votes.
    pub recorded: u64,
    /// Votes that were changed.
    pub changed: u64,
    /// By whom they were passed on.
    pub by: BTreeSet<String>,
    /// Whether some came from callers themselves.
    pub from_callers: bool,
}
