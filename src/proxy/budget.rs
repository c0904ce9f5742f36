//! How many requests to a backend may be sent once more.
//!
//! Retries help where few requests fail. Where many do they are so much more load on a backend that
//! cannot bear what it has. So they are a share of the requests of the last ten seconds, as in Finagle and
//! Linkerd; each worker keeps to it for itself. A few are granted in any case, as by Envoy's
//! `min_retry_concurrency`, for a share of little traffic is no retry at all.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::weight::Weight;

/// How many seconds are looked back at: a burst of failures shorter than this is made good from what
/// went well before.
const SECONDS: usize = 10;

/// How many retries there may be in that time in any case: one a second.
const RETRIES_MIN: u64 = 10;

/// What one worker has sent to one backend of late.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    begun: Cell<Option<Instant>>,
    slots: RefCell<[Slot; SECONDS]>,
}

/// What was sent in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    second: u64,
    requests: u64,
    retries: u64,
}

impl RetryBudget {
    /// Counts a request that comes from a client.
    pub(crate) fn count_request(&self, now: Instant) {
        self.with_slot(now, |slot| slot.requests += 1);
    }

    /// Takes one retry out of the budget, if there is any left.
    pub(crate) fn take(&self, share: Weight, now: Instant) -> bool {
        let second = self.second(now);
        let slots = *self.slots.borrow();
        let is_recent = |slot: &&Slot| second - slot.second < SECONDS as u64;
        let recent = slots.iter().filter(is_recent);
        let (requests, retries) = recent.fold((0, 0), |(requests, retries), slot| {
            (requests + slot.requests, retries + slot.retries)
        });
        let most = requests * u64::from(share.basis_points()) / u64::from(Weight::WHOLE);
        let is_granted = retries < most.max(RETRIES_MIN);
        if is_granted {
            self.with_slot(now, |slot| slot.retries += 1);
        }
        is_granted
    }

    /// Seconds since the budget was first used; time does not go back, and if it did nothing were lost.
    fn second(&self, now: Instant) -> u64 {
        let begun = self.begun.get().unwrap_or(now);
        self.begun.set(Some(begun));
        let passed: Duration = now.saturating_duration_since(begun);
        // Slots that were never used lie behind all that is looked back at.
        passed.as_secs() + SECONDS as u64
    }

    fn with_slot(&self, now: Instant, with: impl FnOnce(&mut Slot)) {
        let second = self.second(now);
        let mut slots = self.slots.borrow_mut();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the remainder is below ten"
        )]
        let slot = &mut slots[(second % SECONDS as u64) as usize];
        if slot.second != second {
            *slot = Slot {
                second,
                ..Slot::default()
            };
        }
        with(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::percent;
    use crate::runtime::clock;

    /// How many of so many are granted.
    fn granted(budget: &RetryBudget, wanted: usize, now: Instant) -> usize {
        (0..wanted)
            .filter(|_| budget.take(percent(20), now))
            .count()
    }

    #[test]
    fn retries_are_a_share_of_the_requests_of_ten_seconds() {
        let (budget, now) = (RetryBudget::default(), clock::monotonic());
        let at = |seconds| now + Duration::from_secs(seconds);
        for second in 0..10 {
            (0..20).for_each(|_| budget.count_request(at(second)));
        }
        assert_eq!(granted(&budget, 100, at(9)), 40);
        // A second's requests are gone, and no retry yet.
        assert_eq!(granted(&budget, 100, at(10)), 0);
        // All of them are gone, and what was taken with the last.
        assert_eq!(granted(&budget, 100, at(18)), 0);
        assert_eq!(granted(&budget, 100, at(19)), 10);
    }

    #[test]
    fn a_few_are_granted_in_any_case() {
        let (budget, now) = (RetryBudget::default(), clock::monotonic());
        budget.count_request(now);
        assert_eq!(granted(&budget, 100, now), 10);
        assert_eq!(granted(&budget, 100, now + Duration::from_secs(1)), 0);
        assert_eq!(granted(&budget, 100, now + Duration::from_secs(10)), 10);
    }
}
