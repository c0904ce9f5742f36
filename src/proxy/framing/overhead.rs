//! What a client of HTTP/2 may ask for beside whole requests, connection by connection.
//!
//! A reset costs a client a few bytes; others it costs a request that was begun for nothing, and it makes
//! room for the next at once, so that the limit of streams is none ("rapid reset", CVE-2023-44487). Pings
//! and settings have to be answered. So each has a price in time, and who is too far behind with paying asks
//! for too much. Time pays, and so do requests, by a little: where many are made, more are given up.

use std::time::Duration;

use tokio::time::Instant;

/// What a stream costs that is given up, and settings: a hundred a second come for free.
pub(super) const RESET: Duration = Duration::from_millis(10);

/// What frames cost that are small work: ten thousand a second come for free. Clients of gRPC send a ping in
/// each round trip to measure the line.
pub(super) const TRIFLE: Duration = Duration::from_micros(100);

/// What a request pays: a tenth of all may be given up, however many there are.
const REQUEST: Duration = Duration::from_millis(1);

/// How far a client may be behind: 250 resets, as when a browser leaves two pages full of images.
const BEHIND_MAX: Duration = Duration::from_millis(2_500);

/// What one client owes.
#[derive(Debug)]
pub(super) struct Overhead {
    /// What has come since it was settled the last time.
    new: Duration,
    /// Requests that have come since.
    requests: u32,
    /// When all that was settled will be paid.
    paid_at: Option<Instant>,
}

impl Overhead {
    pub(super) const fn new() -> Self {
        Self {
            new: Duration::ZERO,
            requests: 0,
            paid_at: None,
        }
    }

    pub(super) fn owe(&mut self, price: Duration) {
        self.new += price;
    }

    pub(super) const fn pay_by_request(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// Whether the client has asked for too much; `now` is asked for only where something is owed.
    pub(super) fn is_excessive(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let (new, requests) = (
            std::mem::take(&mut self.new),
            std::mem::take(&mut self.requests),
        );
        if self.paid_at.is_none() && new.is_zero() {
            return false;
        }
        let paid = REQUEST * requests;
        let paid_at = self.paid_at.take().and_then(|at| at.checked_sub(paid));
        if new.is_zero() {
            self.paid_at = paid_at;
            return false;
        }
        let now = now();
        let paid_at = paid_at.map_or(now, |at| at.max(now)) + new;
        self.paid_at = Some(paid_at);
        paid_at - now > BEHIND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client may go on with for a minute, whole requests and resets in each tick of a hundredth
    /// of a second: how many resets until it is too much, or none.
    fn lasts(requests: u32, resets: u32) -> Option<u32> {
        let (mut overhead, begun) = (Overhead::new(), Instant::now());
        for tick in 0..6_000 {
            (0..requests).for_each(|_| overhead.pay_by_request());
            (0..resets).for_each(|_| overhead.owe(RESET));
            if overhead.is_excessive(|| begun + Duration::from_millis(10) * tick) {
                return Some((tick + 1) * resets);
            }
        }
        None
    }

    #[test]
    fn who_gives_up_a_few_may_go_on_for_ever() {
        assert_eq!(lasts(0, 0), None);
        assert_eq!(lasts(1, 1), None);
        assert_eq!(lasts(100, 10), None);
        assert_eq!(lasts(1_000, 100), None);
    }

    #[test]
    fn who_gives_up_all_is_stopped_soon() {
        assert_eq!(lasts(0, 251), Some(251));
        assert_eq!(lasts(251, 251), Some(251));
        assert!(lasts(10, 10).is_some_and(|resets| resets < 350));
        // A tenth and no more, beside a hundred a second.
        assert!(lasts(100, 20).is_some());
    }

    #[test]
    fn rest_pays_and_cannot_be_saved_up() {
        let (mut overhead, mut now) = (Overhead::new(), Instant::now());
        (0..250).for_each(|_| overhead.owe(RESET));
        assert!(!overhead.is_excessive(|| now));
        (0..10_000).for_each(|_| overhead.pay_by_request());
        assert!(!overhead.is_excessive(|| now));
        (0..250).for_each(|_| overhead.owe(RESET));
        assert!(!overhead.is_excessive(|| now));
        now += Duration::from_secs(3_600);
        (0..250).for_each(|_| overhead.owe(RESET));
        assert!(!overhead.is_excessive(|| now));
        overhead.owe(RESET);
        assert!(overhead.is_excessive(|| now));
    }
}
