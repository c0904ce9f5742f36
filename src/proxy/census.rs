//! One worker's part in what is known of callers: it looks once a second whether anything is wanted, so that a
//! request pays for a look at a pointer and nothing else where that is not so.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::domain::timestamp::Timestamp;
use crate::runtime::caller_book::{CallerBook, CallerBookReader};
use crate::runtime::clock::Clock;

/// Where a worker's requests are told of.
pub(crate) struct Census {
    reader: RefCell<CallerBookReader>,
    book: RefCell<Option<Arc<CallerBook>>>,
    clock: Clock,
    /// The time to the second, which is as fine as callers are watched.
    now: Cell<Timestamp>,
}

impl Census {
    pub(crate) fn new(reader: CallerBookReader, clock: Clock) -> Self {
        let census = Self {
            reader: RefCell::new(reader),
            book: RefCell::default(),
            clock,
            now: Cell::new(clock.now()),
        };
        census.look();
        census
    }

    /// Looks whether callers are to be watched.
    pub(crate) fn look(&self) {
        self.now.set(self.clock.now());
        if let Some(book) = self.reader.borrow_mut().refresh() {
            self.book.borrow_mut().clone_from(&book);
        }
    }

    /// Whether they are.
    pub(crate) fn is_on(&self) -> bool {
        self.book.borrow().is_some()
    }

    /// Does something with the book, if there is one.
    pub(crate) fn with_book(&self, with: impl FnOnce(&CallerBook, Timestamp)) {
        if let Some(book) = &*self.book.borrow() {
            with(book, self.now.get());
        }
    }
}
