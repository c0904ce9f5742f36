//! Timers that are set again and again.
//!
//! Nearly every answer comes in time. A timer of its own would be put among the runtime's timers for each request, and
//! taken out again; one that was there before has nothing done to it but its end moved.

use std::cell::RefCell;
use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// The most timers that are kept; as many as connections are.
const KEPT_MAX: usize = 256;

/// Timers that nobody waits for.
#[derive(Default)]
pub(crate) struct Alarms(RefCell<Vec<Pin<Box<Sleep>>>>);

impl Alarms {
    /// Waits until a time.
    pub(crate) async fn sleep_until(&self, deadline: Instant) {
        let kept = self.0.borrow_mut().pop();
        let sleep = match kept {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            None => Box::pin(sleep_until(deadline)),
        };
        let mut alarm = Alarm {
            alarms: self,
            sleep: Some(sleep),
        };
        if let Some(sleep) = &mut alarm.sleep {
            sleep.await;
        }
    }
}

/// A timer that somebody waits for.
struct Alarm<'a> {
    alarms: &'a Alarms,
    /// None once it is given back.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let mut kept = self.alarms.0.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.extend(self.sleep.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::runtime::clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_that_was_used_before_ends_when_the_new_time_has_come() {
        let alarms = Alarms::default();
        let started = clock::monotonic();
        let given_up = timeout(SECOND, alarms.sleep_until(started + 10 * SECOND)).await;
        assert!(given_up.is_err());
        assert_eq!(alarms.0.borrow().len(), 1);
        // Before the old time, behind it, and once it is over.
        for seconds in [3, 15, 16] {
            let end = started + seconds * SECOND;
            alarms.sleep_until(end).await;
            assert_eq!(clock::monotonic(), end);
        }
        assert_eq!(alarms.0.borrow().len(), 1, "the same one each time");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_may_be() {
        let alarms = Alarms::default();
        let end = clock::monotonic() + SECOND;
        let many = (0..KEPT_MAX + 9).map(|_| Box::pin(alarms.sleep_until(end)));
        let mut many: Vec<_> = many.collect();
        for one in &mut many {
            let begun = poll_fn(|cx| Poll::Ready(one.as_mut().poll(cx)));
            assert!(begun.await.is_pending());
        }
        drop(many);
        assert_eq!(alarms.0.borrow().len(), KEPT_MAX);
    }
}
