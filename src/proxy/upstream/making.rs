//! Connections that are being made, and who waits to share them.

use std::cell::Cell;

use tokio::sync::Notify;

use crate::proxy::upstream::http2::STREAMS_MAX;

/// The connections that are being made and may be shared.
pub(super) struct Making {
    count: Cell<usize>,
    waiting: Cell<usize>,
    /// How many exchanges the next connection will take, as the last one did.
    room: Cell<usize>,
    /// Whether the attempt that ended last made a connection to share.
    was_made: Cell<bool>,
    ended: Notify,
}

impl Default for Making {
    fn default() -> Self {
        Self {
            count: Cell::new(0),
            waiting: Cell::new(0),
            room: Cell::new(STREAMS_MAX),
            was_made: Cell::new(false),
            ended: Notify::new(),
        }
    }
}

impl Making {
    /// Whether one that is being made will have room for another exchange, beside its maker's and
    /// those of all who wait.
    pub(super) const fn promises_room(&self) -> bool {
        self.waiting.get() + self.count.get() < self.count.get() * self.room.get()
    }

    /// Waits until an attempt has ended; tells whether it made a connection to share.
    pub(super) async fn wait(&self) -> bool {
        let _waiting = Counted::one_more(&self.waiting);
        self.ended.notified().await;
        self.was_made.get()
    }

    /// Begins an attempt, which ends when what this returns is dropped.
    pub(super) fn begin(&self) -> Attempt<'_> {
        Attempt {
            making: self,
            _counted: Counted::one_more(&self.count),
            was_made: false,
        }
    }
}

/// An attempt to make a connection.
pub(super) struct Attempt<'a> {
    making: &'a Making,
    _counted: Counted<'a>,
    was_made: bool,
}

impl Attempt<'_> {
    /// Says that there is a connection, and how many exchanges it takes.
    pub(super) fn done(&mut self, room: usize) {
        self.making.room.set(room);
        self.was_made = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.making.was_made.set(self.was_made);
        self.making.ended.notify_waiters();
    }
}

struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    fn one_more(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
