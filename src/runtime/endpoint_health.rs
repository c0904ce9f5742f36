//! What is known of how endpoints are, beside their counters.
//!
//! Health checks and ejections are the work of one thread, which writes what has come of them, and every
//! worker looks at that before a pick. Workers tell in turn how requests went: by the number of those that
//! an endpoint has failed in a row, which is written where there is something new only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::domain::evidence::Failure;
use crate::runtime::recorder::Counter;

/// Health checks are made.
const CHECKED: u8 = 1;
/// One check has failed after the other.
const UNHEALTHY: u8 = 2;
/// It is ejected where it fails requests.
const WATCHED: u8 = 4;
/// It is ejected now.
const EJECTED: u8 = 8;

/// Nothing speaks for an ejection.
const UNSUSPECTED: u8 = 0;

/// What is known of one endpoint.
#[derive(Debug)]
pub struct EndpointHealth {
    /// What has been found; written by one thread.
    found: AtomicU8,
    /// How many requests it has failed in a row, whichever worker they are of.
    failures: AtomicU32,
    /// By which of [`Failure::ALL`] it has become suspect, counted from 1; stays until it is dealt with.
    suspected: AtomicU8,
    ejections: Counter,
    /// Wakes who ejects.
    alarm: Arc<Notify>,
}

/// What can be told of an endpoint to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthReading {
    /// Whether health checks find it well; none where nobody checks.
    pub is_healthy: Option<bool>,
    /// Whether it is ejected; none where it never is.
    pub is_ejected: Option<bool>,
    /// How often it was.
    pub ejections: u64,
}

impl EndpointHealth {
    /// Of an endpoint of which nothing is known; `alarm` wakes who ejects.
    pub(super) fn new(alarm: &Arc<Notify>) -> Self {
        Self {
            found: AtomicU8::default(),
            failures: AtomicU32::default(),
            suspected: AtomicU8::new(UNSUSPECTED),
            ejections: Counter::default(),
            alarm: Arc::clone(alarm),
        }
    }

    /// Whether it may be asked: it is well until proven otherwise, and not ejected.
    pub fn is_usable(&self) -> bool {
        self.found.load(Ordering::Relaxed) & (UNHEALTHY | EJECTED) == 0
    }

    /// Whether health checks find it well, or nobody checks. It may be ejected.
    pub fn is_healthy(&self) -> bool {
        self.found.load(Ordering::Relaxed) & UNHEALTHY == 0
    }

    /// Says that a request to it went well, or went wrong by the client's fault.
    pub fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Says that it has failed a request; with so many in a row it is suspect, and an alarm is given.
    pub fn failed(&self, failure: Failure, in_a_row: u32) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let is_enough = failures.saturating_add(1) >= in_a_row;
        if is_enough && self.suspected.load(Ordering::Relaxed) == UNSUSPECTED {
            let place = Failure::ALL.iter().position(|known| *known == failure);
            let mark = place.and_then(|place| u8::try_from(place + 1).ok());
            self.suspected
                .store(mark.unwrap_or(UNSUSPECTED), Ordering::Release);
            self.alarm.notify_one();
        }
    }

    /// How many requests it has failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What is known of it now.
    pub fn read(&self) -> HealthReading {
        let found = self.found.load(Ordering::Relaxed);
        HealthReading {
            is_healthy: (found & CHECKED != 0).then_some(found & UNHEALTHY == 0),
            is_ejected: (found & WATCHED != 0).then_some(found & EJECTED != 0),
            ejections: self.ejections.get(),
        }
    }
}

/// For the one thread that checks and ejects.
impl EndpointHealth {
    /// Says what checks have found; none where nobody checks any more.
    pub fn set(&self, is_healthy: Option<bool>) {
        let bits = match is_healthy {
            None => 0,
            Some(true) => CHECKED,
            Some(false) => CHECKED | UNHEALTHY,
        };
        self.put(CHECKED | UNHEALTHY, bits);
    }

    /// Says whether it is ejected; none where it never is any more. One that comes back is not suspected
    /// of anything it did before.
    pub fn eject(&self, is_ejected: Option<bool>) {
        if is_ejected == Some(true) {
            self.ejections.add(1);
            return self.put(WATCHED | EJECTED, WATCHED | EJECTED);
        }
        if self.found.load(Ordering::Relaxed) & EJECTED != 0 || is_ejected.is_none() {
            self.failures.store(0, Ordering::Relaxed);
            self.acquit();
        }
        let bits = if is_ejected.is_some() { WATCHED } else { 0 };
        self.put(WATCHED | EJECTED, bits);
    }

    /// By what kind of failure it has become suspect, if it is.
    pub fn suspected(&self) -> Option<Failure> {
        let mark = usize::from(self.suspected.load(Ordering::Acquire));
        Failure::ALL.get(mark.checked_sub(1)?).copied()
    }

    /// Drops the suspicion. It takes an alarm to be suspected again.
    pub fn acquit(&self) {
        self.suspected.store(UNSUSPECTED, Ordering::Relaxed);
    }

    fn put(&self, which: u8, bits: u8) {
        let others = self.found.load(Ordering::Relaxed) & !which;
        self.found.store(others | bits, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use proptest::prelude::*;

    use super::*;

    /// Whether an alarm has been given since it was last heard.
    fn is_heard(alarm: &Notify) -> bool {
        let heard = pin!(alarm.notified());
        heard
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn an_endpoint_is_usable_while_it_is_neither_unwell_nor_ejected() {
        let health = EndpointHealth::new(&Arc::default());
        let reading = |is_healthy, is_ejected, ejections| HealthReading {
            is_healthy,
            is_ejected,
            ejections,
        };
        assert_eq!(health.read(), reading(None, None, 0));
        for (is_healthy, is_well) in [(None, true), (Some(true), true), (Some(false), false)] {
            health.set(is_healthy);
            health.eject(Some(false));
            assert_eq!(
                (health.is_usable(), health.is_healthy()),
                (is_well, is_well)
            );
            let ejections = health.read().ejections;
            health.eject(Some(true));
            assert_eq!((health.is_usable(), health.is_healthy()), (false, is_well));
            assert_eq!(
                health.read(),
                reading(is_healthy, Some(true), ejections + 1)
            );
            health.eject(None);
            assert_eq!(health.is_usable(), is_well);
            assert_eq!(health.read(), reading(is_healthy, None, ejections + 1));
        }
    }

    #[test]
    fn an_alarm_is_given_once_and_again_when_it_has_been_dealt_with() {
        let alarm = Arc::<Notify>::default();
        let health = EndpointHealth::new(&alarm);
        health.failed(Failure::Reset, 2);
        assert!(!is_heard(&alarm));
        health.failed(Failure::CutBody, 2);
        assert!(is_heard(&alarm));
        assert_eq!(health.suspected(), Some(Failure::CutBody));
        health.eject(Some(true));
        health.failed(Failure::Status, 2);
        assert!(!is_heard(&alarm));
        health.eject(Some(false));
        assert_eq!((health.suspected(), health.failures()), (None, 0));
        health.failed(Failure::Connect, 1);
        assert!(is_heard(&alarm));
        assert_eq!(health.suspected(), Some(Failure::Connect));
    }

    proptest! {
        #[test]
        fn only_failures_in_a_row_make_suspect(
            went_well in prop::collection::vec(any::<bool>(), 0..40),
            in_a_row in 1_u32..6,
        ) {
            let health = EndpointHealth::new(&Arc::default());
            let mut longest = 0;
            for (place, is_good) in went_well.iter().enumerate() {
                if *is_good {
                    health.succeeded();
                } else {
                    health.failed(Failure::Status, in_a_row);
                }
                let before = went_well[..=place].iter().rev();
                let now = before.take_while(|is_good| !**is_good).count();
                longest = longest.max(now);
                prop_assert_eq!(health.failures() as usize, now);
                let is_suspect = longest >= in_a_row as usize;
                prop_assert_eq!(health.suspected().is_some(), is_suspect);
            }
        }
    }
}
