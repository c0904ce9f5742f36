//! Parts of long lists: `limit` says how many, `after` the last that is known, and `next` in the answer is the
//! `after` of the next part.

use crate::admin::api::query::{Parameters, Written};
use crate::admin::error::ApiError;
use crate::domain::ids::FlagName;

/// The most entries of one answer, and as many as it has unless said otherwise: nearly everybody has fewer
/// flags.
const ENTRIES_MAX: u64 = 1000;

/// The part of a list that is asked for, and the name of its last entry if there are more.
pub(super) fn page<T: Clone>(
    all: &[T],
    written: Written,
    name: impl Fn(&T) -> &FlagName,
) -> Result<(Vec<T>, Option<FlagName>), ApiError> {
    let parameters = Parameters::read(written, &["limit", "after"])?;
    let limit = parameters.number("limit", 1..=ENTRIES_MAX)?;
    let limit = usize::try_from(limit.unwrap_or(ENTRIES_MAX)).unwrap_or(usize::MAX);
    let begin = match parameters.flag("after")? {
        None => 0,
        Some(after) => {
            let place = all.iter().position(|entry| *name(entry) == after);
            let gone = || {
                let problem =
                    format!("parameter `after`: `{after}` is not in the list; begin anew");
                ApiError::BadRequest(problem)
            };
            place.ok_or_else(gone)? + 1
        }
    };
    let (_, rest) = all.split_at(begin);
    let part: Vec<T> = rest.iter().take(limit).cloned().collect();
    let has_more = rest.len() > part.len();
    let next = part
        .last()
        .filter(|_| has_more)
        .map(|last| name(last).clone());
    Ok((part, next))
}
