//! Points of history in the file: merged as they are written, made coarser as they age.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable, Table};

use crate::adapters::store::limits::HISTORY_FLAGS_MAX;
use crate::adapters::store::points::{
    GRADES, Grade, absorb, append, belong_together, slot_of, thinned,
};
use crate::control::ports::{HISTORY_POINTS_MAX, HistoryPoint};
use crate::domain::ids::FlagName;

use super::codec;
use super::fault::Fault;
use super::schema::{HISTORY, PointKey, point};

type Points<'txn> = Table<'txn, PointKey<'static>, &'static [u8]>;

/// The most points that grow old in one go, so that even a long pause is caught up with in
/// steps of a few milliseconds.
const AGED_MAX: usize = 2_000;

/// Times as many points of a grade as slots of its age: a slot holds more than one where stages
/// change within it, but a clock that leaps about must not fill the disk.
const POINTS_PER_SLOT_MAX: u64 = 2;

/// The numbers of the grades, in the order of their points' age.
const COARSE_TO_FINE: [u8; GRADES.len()] = [2, 1, 0];

/// Writes a point of the finest grade.
pub(super) fn write(points: &mut Points<'_>, point: &HistoryPoint) -> Result<(), Fault> {
    store(points, 0, point.clone())
}

/// Adds a point to the one of the same stage in its slot, where there is one.
fn store(points: &mut Points<'_>, grade: u8, mut point: HistoryPoint) -> Result<(), Fault> {
    let slot_ms = GRADES[usize::from(grade)].slot_ms;
    let slot = slot_of(point.at_unix_ms, slot_ms);
    let flag = point.flag.clone();
    let key = |at_unix_ms| (flag.as_str(), grade, at_unix_ms);
    let mut found = None;
    for entry in points.range(key(slot * slot_ms)..=key((slot + 1).saturating_mul(slot_ms)))? {
        let (stored_key, bytes) = entry?;
        let stored = codec::decode(&flag, stored_key.value().2, bytes.value());
        found = stored.filter(|stored| belong_together(stored, &point, slot_ms));
        if found.is_some() {
            break;
        }
    }
    if let Some(stored) = found {
        points.remove(key(stored.at_unix_ms))?;
        absorb(&mut point, &stored);
    }
    // Two stages may end in the same millisecond.
    while points.get(key(point.at_unix_ms))?.is_some() {
        point.at_unix_ms += 1;
    }
    points.insert(key(point.at_unix_ms), codec::encode(&point).as_slice())?;
    Ok(())
}

/// Makes a flag's points coarser that are old enough at a moment, and forgets the oldest.
pub(super) fn age(points: &mut Points<'_>, flag: &str, now_unix_ms: u64) -> Result<(), Fault> {
    for (grade, Grade { kept_ms, .. }) in (0_u8..).zip(GRADES) {
        let next_slot_ms = GRADES
            .get(usize::from(grade) + 1)
            .map_or(1, |next| next.slot_ms);
        // Whole slots of the next grade only, so that none is begun twice.
        let cutoff = now_unix_ms.saturating_sub(kept_ms) / next_slot_ms * next_slot_ms;
        let end = (flag, grade, cutoff);
        let aged = points.range((flag, grade, 0)..=end)?.take(AGED_MAX);
        let aged = owned(aged)?;
        coarsen(points, flag, grade, aged)?;
    }
    Ok(())
}

/// Keeps even a history whose clock leaps about within bounds: counts all points, and ages the
/// oldest where there are too many; forgets the flags unheard of for longest.
pub(super) fn check_bounds(points: &mut Points<'_>, now_unix_ms: u64) -> Result<(), Fault> {
    let mut last_heard = BTreeMap::new();
    for flag in flags(points)? {
        age(points, &flag, now_unix_ms)?;
        let mut last_unix_ms = 0;
        for (grade, Grade { slot_ms, kept_ms }) in (0_u8..).zip(GRADES) {
            let of_grade = (flag.as_str(), grade, 0)..=(flag.as_str(), grade, u64::MAX);
            let (mut count, mut last) = (0_u64, 0);
            for entry in points.range(of_grade.clone())? {
                count += 1;
                last = entry?.0.value().2;
            }
            last_unix_ms = last_unix_ms.max(last);
            let excess = count.saturating_sub(kept_ms / slot_ms * POINTS_PER_SLOT_MAX);
            let excess = usize::try_from(excess).unwrap_or(usize::MAX);
            let aged = owned(points.range(of_grade)?.take(excess.min(AGED_MAX)))?;
            coarsen(points, &flag, grade, aged)?;
        }
        last_heard.insert((last_unix_ms, flag), ());
    }
    while last_heard.len() > HISTORY_FLAGS_MAX
        && let Some(((_, flag), ())) = last_heard.pop_first()
    {
        let all = (flag.as_str(), 0, 0)..=(flag.as_str(), u8::MAX, u64::MAX);
        points.retain_in(all, |_, _| false)?;
    }
    Ok(())
}

/// A point as it is stored: its moment, and the rest.
type Stored = (u64, Vec<u8>);

fn owned<'a>(
    entries: impl Iterator<
        Item = redb::Result<(
            redb::AccessGuard<'a, PointKey<'static>>,
            redb::AccessGuard<'a, &'static [u8]>,
        )>,
    >,
) -> Result<Vec<Stored>, Fault> {
    let mut found = Vec::new();
    for entry in entries {
        let (key, bytes) = entry?;
        found.push((key.value().2, bytes.value().to_vec()));
    }
    Ok(found)
}

/// Moves points of a grade, oldest first, into the next; those of the last are forgotten.
fn coarsen(points: &mut Points<'_>, flag: &str, grade: u8, aged: Vec<Stored>) -> Result<(), Fault> {
    let next = GRADES.get(usize::from(grade) + 1);
    // One point at a time is unpacked and held, and written once its slot is over.
    let mut open: Option<HistoryPoint> = None;
    for (at_unix_ms, bytes) in aged {
        points.remove((flag, grade, at_unix_ms))?;
        let Some(next) = next else { continue };
        let aged = point(flag, at_unix_ms, &bytes)?;
        match &mut open {
            Some(open) if belong_together(open, &aged, next.slot_ms) => absorb(open, &aged),
            _ => {
                if let Some(closed) = open.replace(aged) {
                    store(points, grade + 1, closed)?;
                }
            }
        }
    }
    match open {
        Some(open) => store(points, grade + 1, open),
        None => Ok(()),
    }
}

/// The names of all flags that have points: one seek for each.
fn flags(points: &Points<'_>) -> Result<Vec<String>, Fault> {
    let mut flags: Vec<String> = Vec::new();
    loop {
        let after = match flags.last() {
            Some(last) => Bound::Excluded((last.as_str(), u8::MAX, u64::MAX)),
            None => Bound::Unbounded,
        };
        let next = match points.range((after, Bound::Unbounded))?.next() {
            Some(entry) => entry?.0.value().0.to_owned(),
            None => return Ok(flags),
        };
        flags.push(next);
    }
}

/// The points of a flag in a window (the first moment included, the last not), oldest first;
/// `waiting` are those that are not in the file yet.
pub(super) fn read(
    transaction: &ReadTransaction,
    flag: &FlagName,
    (from_unix_ms, to_unix_ms): (u64, u64),
    waiting: Vec<HistoryPoint>,
) -> Result<Vec<HistoryPoint>, Fault> {
    let points = transaction.open_table(HISTORY)?;
    let of_grade = |grade| (flag.as_str(), grade, from_unix_ms)..(flag.as_str(), grade, to_unix_ms);
    // Unpacked, a point is ten times as large: what is too much is merged while it is read.
    let (mut count, mut first, mut last) = (0_usize, u64::MAX, 0);
    for grade in COARSE_TO_FINE {
        for entry in points.range(of_grade(grade))? {
            let at_unix_ms = entry?.0.value().2;
            (first, last) = (first.min(at_unix_ms), last.max(at_unix_ms));
            count += 1;
        }
    }
    let mut slot_ms = 1;
    if count > HISTORY_POINTS_MAX {
        slot_ms = last
            .saturating_sub(first)
            .div_ceil(HISTORY_POINTS_MAX as u64 - 1);
    }
    let mut found = Vec::new();
    for grade in COARSE_TO_FINE {
        for entry in points.range(of_grade(grade))? {
            let (key, bytes) = entry?;
            append(
                &mut found,
                point(flag.as_str(), key.value().2, bytes.value())?,
                slot_ms,
            );
        }
    }
    let window = from_unix_ms..to_unix_ms;
    for point in waiting {
        if window.contains(&point.at_unix_ms) {
            append(&mut found, point, slot_ms.max(GRADES[0].slot_ms));
        }
    }
    found.sort_by_key(|point| point.at_unix_ms);
    Ok(thinned(found, HISTORY_POINTS_MAX))
}
