//! The book of callers: begun where the configuration wants one, and anew where it wants another.

use std::sync::Arc;

use crate::config::CallerFeaturesConfig;
use crate::runtime::caller_book::{
    CallerBook, CallerBookReader, CallerBookTerms, CallerBookWriter,
};
use crate::runtime::clock::Clock;

/// The book in use, and the means to change that.
pub(crate) struct Callers {
    books: CallerBookWriter,
    clock: Clock,
}

impl Callers {
    /// Begins the book of a configuration.
    pub(crate) fn start(config: Option<CallerFeaturesConfig>, clock: Clock) -> Self {
        let mut callers = Self {
            books: CallerBookWriter::new(None),
            clock,
        };
        callers.replace(config);
        callers
    }

    /// For those who write into it or read it.
    pub(crate) fn reader(&self) -> CallerBookReader {
        self.books.reader()
    }

    /// Goes on with the same book where nothing else is wanted, and begins an empty one where it is.
    pub(crate) fn replace(&mut self, config: Option<CallerFeaturesConfig>) {
        let terms = config.map(|config| CallerBookTerms {
            callers: config.callers,
            half_life: config.half_life,
        });
        let current = self.books.current();
        if (*current).as_ref().map(|book| book.terms()) != terms {
            let begin = |terms| Arc::new(CallerBook::new(terms, self.clock.now()));
            self.books.publish(terms.map(begin));
        }
    }
}
