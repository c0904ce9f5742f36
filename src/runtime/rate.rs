//! A limit of requests per second that all workers share.
//!
//! The generic cell rate algorithm (ITU-T I.371, as a virtual scheduling algorithm): one number says when the
//! next request would come if all came at the rate. It may lie in the future by as much as the burst allows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::app::RateLimit;
use crate::domain::timestamp::Timestamp;

/// When the next request would come, in nanoseconds on the clock.
#[derive(Debug, Default)]
pub struct RateMeter(AtomicU64);

impl RateMeter {
    /// Takes a request in.
    ///
    /// # Errors
    /// When there are too many: after how long one more is let in.
    pub fn take(&self, limit: RateLimit, now: Timestamp) -> Result<(), Duration> {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(now.elapsed());
        let interval = nanos(Duration::from_secs(1)) / u64::from(limit.requests_per_second.max(1));
        let tolerance = interval.saturating_mul(u64::from(limit.burst.max(1) - 1));
        // What was taken under a limit that was lower is held against one who is given more as a burst is.
        let latest = now.saturating_add(tolerance).saturating_add(interval);
        let next = |due: u64| {
            let due = if due > latest { latest - interval } else { due };
            let is_early = due > now.saturating_add(tolerance);
            (!is_early).then(|| due.max(now).saturating_add(interval))
        };
        let taken = (self.0).fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken
            .map(|_| ())
            .map_err(|due| Duration::from_nanos(due.saturating_sub(tolerance).saturating_sub(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_millis(milliseconds))
    }

    #[test]
    fn who_is_given_more_has_it_at_once() {
        let of = |requests_per_second, burst| RateLimit {
            requests_per_second,
            burst,
        };
        let meter = RateMeter::default();
        while meter.take(of(1, 100), at(1000)).is_ok() {}
        let more = of(50, 50);
        assert_eq!(meter.take(more, at(1000)), Ok(()));
        let wait = meter.take(more, at(1000)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(20));
        assert_eq!(meter.take(more, at(1020)), Ok(()));
        assert!(meter.take(of(1, 100), at(1020)).is_ok());
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limit = RateLimit {
            requests_per_second: 10,
            burst: 3,
        };
        let meter = RateMeter::default();
        for _ in 0..3 {
            assert_eq!(meter.take(limit, at(1000)), Ok(()));
        }
        let wait = meter.take(limit, at(1000)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        // Asking in vain costs nothing.
        assert_eq!(meter.take(limit, at(1099)).unwrap_err().as_millis(), 1);
        assert_eq!(meter.take(limit, at(1100)), Ok(()));
        assert!(meter.take(limit, at(1100)).is_err());
        // After a pause the burst is there again, and no more than it.
        let passed = (0..9).filter(|_| meter.take(limit, at(9000)).is_ok());
        assert_eq!(passed.count(), 3);
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        let limit = RateLimit {
            requests_per_second: 100,
            burst: 1,
        };
        let meter = RateMeter::default();
        let asked = (0..10_000).filter(|millisecond| meter.take(limit, at(*millisecond)).is_ok());
        assert_eq!(asked.count(), 1000);
    }
}
