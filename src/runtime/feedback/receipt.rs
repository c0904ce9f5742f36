//! What callers say, and what becomes of it.

use std::time::Duration;

use crate::domain::feedback::{Counted, Shown};
use crate::domain::rating::Rating;

/// What a caller says.
#[derive(Clone, Debug)]
pub struct Said {
    /// What it makes of it.
    pub rating: Rating,
    /// What it says besides.
    pub comment: Option<String>,
    /// Who passes it on; `None` for the caller itself.
    pub by: Option<String>,
    /// The address it comes from, where callers can be made up.
    pub made_up_at: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How it counts.
    pub counted: Counted,
    /// What the caller was shown.
    pub shown: Shown,
}

/// Why it does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The flag takes no feedback now.
    NotTaken,
    /// The caller was shown nothing of this release, as far as is known.
    NotExposed,
    /// It comes too often: so long to wait.
    TooOften(Duration),
    /// As many callers from the same address have rated this arm as may, for what its others are.
    Source,
    /// There is no room for more.
    Full,
}

/// What became of what was handed in, as a word in metrics.
pub(super) const RESULTS: [&str; 8] = [
    "recorded",
    "changed",
    "unchanged",
    "not_taken",
    "not_exposed",
    "too_often",
    "source",
    "full",
];

/// Its place among these.
pub(super) const fn place(result: &Result<Receipt, Refusal>) -> usize {
    match result {
        Ok(receipt) => match receipt.counted {
            Counted::Recorded => 0,
            Counted::Changed => 1,
            Counted::Unchanged => 2,
        },
        Err(Refusal::NotTaken) => 3,
        Err(Refusal::NotExposed) => 4,
        Err(Refusal::TooOften(_)) => 5,
        Err(Refusal::Source) => 6,
        Err(Refusal::Full) => 7,
    }
}
