//! How many connections one worker may have to an endpoint, and who waits until one is free.

use std::cell::Cell;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::domain::backend::Limits;
use crate::proxy::error::ProxyError;
use crate::runtime::recorder::EndpointCounters;

/// Room for connections, and for requests that wait for one.
pub(super) struct Room {
    /// This worker's part.
    limits: Cell<Limits>,
    /// Connections that exist or are being made.
    open: Cell<usize>,
    waiting: Cell<usize>,
    freed: Notify,
    counters: Arc<EndpointCounters>,
}

impl Room {
    pub(super) fn new(limits: Limits, counters: Arc<EndpointCounters>) -> Self {
        Self {
            limits: Cell::new(limits),
            open: Cell::new(0),
            waiting: Cell::new(0),
            freed: Notify::new(),
            counters,
        }
    }

    /// Sets how much there is. What is there already stays.
    pub(super) fn resize(&self, limits: Limits) {
        if self.limits.replace(limits) != limits {
            self.freed.notify_waiters();
        }
    }

    /// Whether there are as many connections as there may be.
    pub(super) const fn is_full(&self) -> bool {
        self.open.get() >= self.limits.get().connections
    }

    /// Whether somebody waits, and is to be served before those who come now.
    pub(super) const fn is_waited_for(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Counts one connection more.
    pub(super) fn take(&self) {
        self.open.set(self.open.get() + 1);
        self.counters.connections.add(1);
    }

    /// Counts one connection less.
    pub(super) fn give_back(&self) {
        self.open.set(self.open.get() - 1);
        self.counters.connections.subtract(1);
        self.has_freed_one();
    }

    /// Says that there is something to be had for the one that has waited longest.
    pub(super) fn has_freed_one(&self) {
        if self.is_waited_for() {
            self.freed.notify_one();
        }
    }

    /// Says the same to all who wait.
    pub(super) fn has_freed_many(&self) {
        self.freed.notify_waiters();
    }

    /// Waits until there may be something to be had. Who comes first is served first.
    ///
    /// # Errors
    /// [`ProxyError::Busy`] where as many wait as may, [`ProxyError::NoneFree`] after the deadline.
    pub(super) async fn wait(&self, deadline: Instant) -> Result<(), ProxyError> {
        let place = self.queue();
        let result = match &place {
            Some(_) => timeout_at(deadline, self.freed.notified())
                .await
                .map_err(|_| ProxyError::NoneFree),
            None => Err(ProxyError::Busy),
        };
        self.counters.overflows.add(u64::from(result.is_err()));
        result
    }

    fn queue(&self) -> Option<Queued<'_>> {
        let has_place = self.waiting.get() < self.limits.get().pending;
        has_place.then(|| {
            self.waiting.set(self.waiting.get() + 1);
            self.counters.pending.add(1);
            Queued(self)
        })
    }
}

/// A place among those who wait.
struct Queued<'a>(&'a Room);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let room = self.0;
        room.waiting.set(room.waiting.get() - 1);
        room.counters.pending.subtract(1);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use crate::runtime::clock;

    fn room(connections: usize, pending: usize) -> Room {
        let limits = Limits {
            connections,
            pending,
        };
        Room::new(limits, Arc::default())
    }

    /// What a future has come to, without waiting for it.
    fn look<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_first_is_served_first_and_one_too_many_is_not() {
        let room = room(1, 2);
        room.take();
        assert!(room.is_full() && !room.is_waited_for());
        let deadline = clock::monotonic() + Duration::from_secs(1);
        let (mut one, mut two) = (pin!(room.wait(deadline)), pin!(room.wait(deadline)));
        assert!(look(one.as_mut()).is_none());
        assert!(look(two.as_mut()).is_none());
        let three = look(pin!(room.wait(deadline)));
        assert!(matches!(three, Some(Err(ProxyError::Busy))));
        assert_eq!(room.counters.read().pending, 2);
        room.give_back();
        assert!(look(two.as_mut()).is_none());
        assert!(matches!(look(one.as_mut()), Some(Ok(()))));
        assert!(!room.is_full());
        assert!(matches!(two.await, Err(ProxyError::NoneFree)));
        let reading = room.counters.read();
        assert_eq!((reading.pending, reading.overflows), (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn more_room_is_news_and_the_same_is_not() {
        let room = room(1, 1);
        room.take();
        let mut one = pin!(room.wait(clock::monotonic() + Duration::from_secs(1)));
        assert!(look(one.as_mut()).is_none());
        room.resize(room.limits.get());
        assert!(look(one.as_mut()).is_none());
        room.resize(Limits {
            connections: 2,
            pending: 1,
        });
        assert!(matches!(look(one.as_mut()), Some(Ok(()))));
        assert!(!room.is_full());
    }
}
