//! The ticks of the last few seconds.
//!
//! A ring of whole seconds, not a moving average: what leaves the window is gone, and the sum
//! over it is exactly what was counted in it.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use crate::domain::evidence::TickCounts;
use crate::domain::timestamp::Timestamp;

/// The counts of the last so many seconds. Time only comes in as `now`.
#[derive(Clone, Debug)]
pub struct EvidenceWindow {
    seconds: NonZeroU32,
    /// Second since the clock's start and its counts, oldest first; at most `seconds` of them.
    ticks: VecDeque<(u64, TickCounts)>,
}

impl EvidenceWindow {
    /// A window that remembers so many seconds, the current one included.
    pub const fn new(seconds: NonZeroU32) -> Self {
        Self {
            seconds,
            ticks: VecDeque::new(),
        }
    }

    /// Adds the counts of a tick that ended at `now`, and forgets what is too old.
    ///
    /// A `now` before the last one counts as the last one: time does not run backwards here.
    pub fn push(&mut self, tick: TickCounts, now: Timestamp) {
        let second = self.second_of(now);
        match self.ticks.back_mut() {
            Some((last, counts)) if *last == second => counts.merge(&tick),
            _ => self.ticks.push_back((second, tick)),
        }
        let oldest = oldest_of(second, self.seconds.get());
        self.ticks.retain(|(second, _)| *second >= oldest);
    }

    /// The sum over the last so many seconds before `now`, at most the window's length.
    pub fn over_last(&self, seconds: u32, now: Timestamp) -> TickCounts {
        let oldest = oldest_of(self.second_of(now), seconds.min(self.seconds.get()));
        let mut sum = TickCounts::default();
        for (_, tick) in self.ticks.iter().filter(|(second, _)| *second >= oldest) {
            sum.merge(tick);
        }
        sum
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ticks.clear();
    }

    fn second_of(&self, now: Timestamp) -> u64 {
        let last = self.ticks.back().map_or(0, |(second, _)| *second);
        now.elapsed().as_secs().max(last)
    }
}

/// The first second of a span that ends with `second`.
fn oldest_of(second: u64, seconds: u32) -> u64 {
    (second + 1).saturating_sub(u64::from(seconds))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::evidence::Stratum;
    use crate::domain::weight::Weight;

    fn tick(requests: u64) -> TickCounts {
        let mut stratum = Stratum::empty(None, 1, Weight::ZERO);
        stratum.arms.canary.requests = requests;
        TickCounts::from_iter([stratum])
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_millis(ms))
    }

    fn requests(window: &EvidenceWindow, seconds: u32, now: Timestamp) -> u64 {
        window.over_last(seconds, now).requests().canary
    }

    #[test]
    fn old_ticks_leave_the_window() {
        let mut window = EvidenceWindow::new(NonZeroU32::new(2).unwrap());
        window.push(tick(1), at(10_000));
        window.push(tick(10), at(11_000));
        assert_eq!(requests(&window, 2, at(11_000)), 11);
        assert_eq!(requests(&window, 1, at(11_900)), 10);
        window.push(tick(100), at(12_000));
        assert_eq!(requests(&window, 9, at(12_000)), 110);
        assert_eq!(requests(&window, 2, at(13_000)), 100, "silence ages too");
        assert_eq!(requests(&window, 2, at(14_000)), 0);
        window.push(tick(1), at(60_000));
        assert_eq!(window.ticks.len(), 1);
    }

    #[test]
    fn ticks_of_one_second_and_from_the_past_are_added_to_it() {
        let mut window = EvidenceWindow::new(NonZeroU32::new(2).unwrap());
        window.push(tick(1), at(5_000));
        window.push(tick(2), at(5_500));
        window.push(tick(4), at(1_000));
        assert_eq!(window.ticks.len(), 1);
        assert_eq!(requests(&window, 1, at(5_500)), 7);
        window.clear();
        assert_eq!(requests(&window, 2, at(5_500)), 0);
    }
}
