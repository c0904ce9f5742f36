//! How much is remembered.

use std::time::Duration;

/// The releases remembered of a flag: a year of weekly ones. The oldest is forgotten first, so a
/// flag that returns to it begins at weight zero like any new one.
pub(super) const RELEASES_MAX: usize = 64;

/// The lines of the journal: months of releases, and read in a moment.
pub(super) const JOURNAL_LINES_MAX: usize = 10_000;

/// How long a line is kept: a quarter of a year, in which what went wrong gets looked into.
pub(super) const JOURNAL_AGE_MAX: Duration = Duration::from_secs(90 * 86_400);

/// The lines that stay however old they seem to be, so that a clock which leaps ahead does not
/// take the journal with it.
pub(super) const JOURNAL_LINES_KEPT: usize = 100;

/// The messages that wait to be delivered: a target that has been away for so many changes is
/// not waiting for the first of them.
pub(super) const OUTBOX_MESSAGES_MAX: usize = 10_000;

/// The flags of which there is a history; more than anybody looks at.
pub(super) const HISTORY_FLAGS_MAX: usize = 256;

/// The points of a flag that wait to be written: an hour of the finest ones, through which a
/// disk may be full without a gap in the charts.
pub(super) const POINTS_WAITING_MAX: usize = 360;

/// The points of a flag kept where there is no file: as fine as a chart can show.
pub(super) const POINTS_IN_MEMORY_MAX: usize = 1_000;

/// The changes of votes and comments that wait to be written: as many as a flag may have votes, twice over. Those that
/// take something out are counted, and never dropped.
pub(super) const FEEDBACK_WAITING_MAX: usize = 100_000;

/// Milliseconds of a duration.
pub(super) const fn millis(duration: Duration) -> u64 {
    // No limit of this file comes near the end of 64 bits.
    duration.as_secs() * 1_000
}
