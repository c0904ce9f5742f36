//! Which requests are sent to a backend once more, as configured.

use http::StatusCode;

use crate::domain::evidence::{Failure, OutcomeClass};
use crate::domain::weight::Weight;

/// Which requests are sent once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// How often at the most; 0 where none is.
    pub attempts: u32,
    /// What an attempt must have failed by; each once.
    pub on: Vec<RetryCause>,
    /// How many there may be of the requests of the last seconds.
    pub budget: Weight,
}

/// What an attempt fails by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCause {
    /// No endpoint takes a connection.
    Connect,
    /// The connection breaks before there is an answer.
    Reset,
    /// There is no answer in time.
    Timeout,
    /// The answer has this status.
    Status(StatusCode),
}

impl Retries {
    /// Whether an attempt that failed so is followed by another, as far as its kind goes.
    pub fn follow(&self, class: OutcomeClass, status: Option<StatusCode>) -> bool {
        let cause = match (status, class) {
            (Some(status), _) => RetryCause::Status(status),
            (None, OutcomeClass::BackendFailure(Failure::Connect)) => RetryCause::Connect,
            (None, OutcomeClass::BackendFailure(Failure::Reset)) => RetryCause::Reset,
            (None, OutcomeClass::BackendFailure(Failure::Timeout)) => RetryCause::Timeout,
            (None, _) => return false,
        };
        self.on.contains(&cause)
    }

    /// Whether any follows an attempt that may have reached a server.
    pub fn follow_what_was_sent(&self) -> bool {
        self.on.iter().any(|cause| *cause != RetryCause::Connect)
    }
}
