//! Points of history: how they are gathered and made coarser.
//!
//! A point is the sum of what was counted in a span of time; two of them add up to a point of a
//! longer one, in any order. Points of different stages are never added, so a chart shows
//! exactly where one ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::control::ports::HistoryPoint;
use crate::domain::ids::FlagName;

use super::limits::{HISTORY_FLAGS_MAX, POINTS_WAITING_MAX, millis};

/// How fine points are, and how long they stay so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grade {
    /// The time that one point stands for, in milliseconds.
    pub(super) slot_ms: u64,
    /// How old it gets, in milliseconds, before it is merged into the next grade, or forgotten.
    pub(super) kept_ms: u64,
}

/// The grades, finest first.
///
/// Ten seconds show how a breach came about while people still ask; minutes show a week of
/// releases; ten minutes show a quarter's. A flag has 25,200 points at most when it never stops.
pub(super) const GRADES: [Grade; 3] = [
    grade(Duration::from_secs(10), Duration::from_secs(6 * 3_600)),
    grade(Duration::from_secs(60), Duration::from_secs(7 * 86_400)),
    grade(Duration::from_secs(600), Duration::from_secs(90 * 86_400)),
];

const fn grade(slot: Duration, kept: Duration) -> Grade {
    Grade {
        slot_ms: millis(slot),
        kept_ms: millis(kept),
    }
}

/// The number of the slot that a moment falls into; a moment ends its span, so the end of a slot
/// is still in it.
pub(super) const fn slot_of(at_unix_ms: u64, slot_ms: u64) -> u64 {
    at_unix_ms.saturating_sub(1) / slot_ms
}

/// Whether two points are of the same stage of the same flag, and fall into the same slot.
pub(super) fn belong_together(a: &HistoryPoint, b: &HistoryPoint, slot_ms: u64) -> bool {
    a.stage == b.stage
        && a.phase == b.phase
        && a.flag == b.flag
        && slot_of(a.at_unix_ms, slot_ms) == slot_of(b.at_unix_ms, slot_ms)
}

/// Adds a point to another.
pub(super) fn absorb(point: &mut HistoryPoint, more: &HistoryPoint) {
    point.at_unix_ms = point.at_unix_ms.max(more.at_unix_ms);
    point.span_seconds = point.span_seconds.saturating_add(more.span_seconds);
    point.counts.merge(&more.counts);
}

/// Adds a point to the last of a list where the two belong together, else to its end.
pub(super) fn append(points: &mut Vec<HistoryPoint>, more: HistoryPoint, slot_ms: u64) {
    match points.last_mut() {
        Some(last) if belong_together(last, &more, slot_ms) => absorb(last, &more),
        _ => points.push(more),
    }
}

/// Makes points of one flag, oldest first, coarser until there are at most so many. What changes
/// its stage more often than that loses its oldest points.
pub(super) fn thinned(mut points: Vec<HistoryPoint>, max: usize) -> Vec<HistoryPoint> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return points;
    };
    let window_ms = last.at_unix_ms.saturating_sub(first.at_unix_ms);
    let mut slot_ms = GRADES[0].slot_ms;
    while points.len() > max && slot_ms < window_ms.saturating_mul(2) {
        slot_ms = slot_ms.saturating_mul(2);
        let finer = std::mem::take(&mut points);
        for point in finer {
            append(&mut points, point, slot_ms);
        }
    }
    let excess = points.len().saturating_sub(max);
    points.drain(..excess);
    points
}

/// Gathers the points of each second into those of the finest grade.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Oldest first.
    points: BTreeMap<FlagName, Vec<HistoryPoint>>,
    /// Those that are being written; seen until they can be seen in the file.
    writing: Arc<Vec<HistoryPoint>>,
    /// The phase and stage last seen of each flag.
    places: BTreeMap<FlagName, (String, usize)>,
}

impl Collector {
    /// Adds a point; says how many were dropped for it, 0 or 1.
    ///
    /// Silence is no point of its own, unless it is the first that is heard of a stage.
    pub(super) fn add(&mut self, mut point: HistoryPoint) -> u64 {
        let is_known = self.places.contains_key(&point.flag);
        if !is_known && self.places.len() >= HISTORY_FLAGS_MAX {
            return 1;
        }
        let place = (point.phase.clone(), point.stage);
        let before = self.places.insert(point.flag.clone(), place.clone());
        let is_same_place = before.is_some_and(|before| before == place);
        let slot_ms = GRADES[0].slot_ms;
        let waiting = self.points.entry(point.flag.clone()).or_default();
        point.counts = point.counts.without_callers();
        let has_company = waiting
            .last()
            .is_some_and(|last| belong_together(last, &point, slot_ms));
        if point.counts.is_empty() && is_same_place && !has_company {
            return 0;
        }
        append(waiting, point, slot_ms);
        if waiting.len() > POINTS_WAITING_MAX {
            waiting.remove(0);
            return 1;
        }
        0
    }

    /// Takes all points to be written, those of a flag oldest first; until [`settle`](Self::settle)
    /// says how that went, they are seen as before.
    pub(super) fn take(&mut self) -> Arc<Vec<HistoryPoint>> {
        let points = std::mem::take(&mut self.points);
        self.writing = Arc::new(points.into_values().flatten().collect());
        Arc::clone(&self.writing)
    }

    /// Forgets the points taken when they were written, else puts them back; says how many were
    /// dropped.
    pub(super) fn settle(&mut self, were_written: bool) -> u64 {
        let taken = std::mem::take(&mut self.writing);
        if were_written {
            return 0;
        }
        let newer = std::mem::take(&mut self.points);
        for point in taken.iter().cloned().chain(newer.into_values().flatten()) {
            let waiting = self.points.entry(point.flag.clone()).or_default();
            append(waiting, point, GRADES[0].slot_ms);
        }
        let mut dropped = 0;
        for waiting in self.points.values_mut() {
            let excess = waiting.len().saturating_sub(POINTS_WAITING_MAX);
            waiting.drain(..excess);
            dropped += excess as u64;
        }
        dropped
    }

    /// The points of a flag that are not in the file yet, oldest first.
    pub(super) fn of(&self, flag: &FlagName) -> Vec<HistoryPoint> {
        let writing = self.writing.iter().filter(|point| point.flag == *flag);
        let waiting = self.points.get(flag).into_iter().flatten();
        writing.chain(waiting).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::store::samples::busy_point;

    #[test]
    fn points_are_thinned_to_a_number_and_add_up_to_the_same() {
        let points = (1..=5_000).map(|at| busy_point("orders", at * 10_000, 100));
        for max in [1, 2, 100, 4_999, 5_000, 9_000] {
            let thin = thinned(points.clone().collect(), max);
            assert!((max / 2..=max).contains(&thin.len()) || thin.len() == 5_000);
            let stable = thin.iter().map(|point| point.counts.requests().stable);
            assert_eq!(stable.sum::<u64>(), 5_000 * 95);
            assert!(thin.is_sorted_by_key(|point| point.at_unix_ms));
        }
        assert!(thinned(Vec::new(), 5).is_empty());
    }

    #[test]
    fn what_changes_its_stage_all_the_time_loses_its_oldest_points() {
        let points = (1..=100_u64).map(|at| {
            let mut point = busy_point("orders", at * 10_000, 100);
            point.stage = usize::from(at % 2 == 0);
            point
        });
        let thin = thinned(points.collect(), 10);
        assert_eq!(thin.len(), 10);
        assert_eq!(thin[9].at_unix_ms, 1_000_000);
    }

    #[test]
    fn points_that_could_not_be_written_are_put_back_and_bounded() {
        let mut collector = Collector::default();
        let flag = "orders".parse().unwrap();
        assert_eq!(collector.add(busy_point("orders", 1_000, 100)), 0);
        assert_eq!(collector.take().len(), 1);
        assert_eq!(collector.add(busy_point("orders", 2_000, 100)), 0);
        assert_eq!(collector.of(&flag).len(), 2, "seen while it is written");
        assert_eq!(collector.settle(false), 0);
        let waiting = collector.of(&flag);
        assert_eq!((waiting.len(), waiting[0].span_seconds), (1, 2));

        let many = POINTS_WAITING_MAX as u64 + 5;
        let added = (1..=many).map(|at| collector.add(busy_point("orders", at * 10_000, 100)));
        assert_eq!(added.sum::<u64>(), 5);
        assert_eq!(collector.of(&flag).len(), POINTS_WAITING_MAX);
        let flags = (0..HISTORY_FLAGS_MAX).map(|flag| {
            let flag = format!("flag-{flag}");
            collector.add(busy_point(&flag, 1_000, 100))
        });
        assert_eq!(flags.sum::<u64>(), 1, "there are enough flags");
        collector.take();
        assert_eq!(collector.settle(true), 0);
        assert!(collector.of(&flag).is_empty());
    }
}
