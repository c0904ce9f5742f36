//! When a connection of HTTP/1 waits for a request with as little as possible.

use std::cell::Cell;

/// How a connection is between requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Something was asked since the worker looked last.
    #[default]
    Busy,
    /// Nothing was.
    Idle,
    /// It may rest, and is not told again until something is asked.
    Allowed,
}

/// Whether a connection may rest: nothing was asked of it between two looks of its worker.
#[derive(Debug, Default)]
pub(crate) struct Rest(Cell<State>);

impl Rest {
    /// Something is asked.
    pub(crate) fn end(&self) {
        self.0.set(State::Busy);
    }

    /// Whether it may rest.
    pub(crate) fn is_allowed(&self) -> bool {
        self.0.get() == State::Allowed
    }

    /// A look of the worker at a connection with or without requests under way; whether it may rest from now on.
    pub(crate) fn look(&self, is_idle: bool) -> bool {
        match self.0.get() {
            State::Busy if is_idle => self.0.set(State::Idle),
            State::Idle => {
                self.0.set(State::Allowed);
                return true;
            }
            State::Busy | State::Allowed => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_rest_once_nothing_was_asked_between_two_looks() {
        let rest = Rest::default();
        assert!(
            !rest.look(false) && !rest.look(false),
            "a request is under way"
        );
        assert!(!rest.look(true) && !rest.is_allowed());
        rest.end();
        assert!(!rest.look(true), "something was asked meanwhile");
        assert!(rest.look(true) && rest.is_allowed());
        assert!(!rest.look(true), "it is told once");
        rest.end();
        assert!(!rest.is_allowed());
    }
}
