//! How one request ended, and whose fault it was.
//!
//! Only what the backend answers for is evidence about it: a client that hangs up, or a mistake
//! of our own, says nothing about the version behind us and is counted against nobody.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::domain::evidence::answers::ContentTypeIndex;

/// How a backend failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It answered with a 5xx status.
    Status,
    /// No connection could be made, no endpoint was healthy, or its pool was full.
    Connect,
    /// No response head came in time.
    Timeout,
    /// The connection broke before the response head.
    Reset,
    /// The body broke off before its end.
    CutBody,
}

impl Failure {
    /// Every kind of failure, in the order of their counters.
    pub const ALL: [Self; 5] = [
        Self::Status,
        Self::Connect,
        Self::Timeout,
        Self::Reset,
        Self::CutBody,
    ];

    /// The word used in metric labels, logs and findings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::CutBody => "cut_body",
        }
    }
}

/// Who is to blame for how a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody: it went well.
    None,
    /// The client: it asked for something wrong, too often, or went away.
    Client,
    /// The backend of the arm.
    Backend,
    /// This proxy.
    Proxy,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OutcomeClass {
    /// A complete answer below 400.
    #[default]
    Success,
    /// A 4xx other than 429.
    ClientError,
    /// 429: the caller asked too often.
    TooManyRequests,
    /// The backend failed.
    BackendFailure(Failure),
    /// The client went away before the end.
    ClientAborted,
    /// This proxy failed.
    ProxyFault,
}

impl Fault {
    /// The word used in metric labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Proxy => "proxy",
        }
    }
}

impl OutcomeClass {
    /// The class of a complete response by its status.
    ///
    /// A status above 599 is treated as a server error, as RFC 9110 (section 15) tells clients.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            429 => Self::TooManyRequests,
            400..=499 => Self::ClientError,
            500.. => Self::BackendFailure(Failure::Status),
            _ => Self::Success,
        }
    }

    /// Who is to blame.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Success => Fault::None,
            Self::ClientError | Self::TooManyRequests | Self::ClientAborted => Fault::Client,
            Self::BackendFailure(_) => Fault::Backend,
            Self::ProxyFault => Fault::Proxy,
        }
    }

    /// Whether the backend failed.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::BackendFailure(_))
    }

    /// Whether the request says anything about the backend.
    ///
    /// A 4xx does (it may be the new version that refuses wrongly); an abort and our own fault
    /// do not.
    pub const fn is_evidence(self) -> bool {
        !matches!(self, Self::ClientAborted | Self::ProxyFault)
    }
}

/// The end of one first attempt on the arm that was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub class: OutcomeClass,
    /// Time to the response head; `None` when no head came, or when it was counted already as the
    /// request crossed the cut.
    pub head_latency: Option<Duration>,
    /// The size of the answer's body; `None` where it is not known, as of an upgrade.
    pub bytes: Option<u64>,
    /// What the answer said it is.
    pub content_type: Option<ContentTypeIndex>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_classed_by_whose_fault_it_is() {
        let class = |code| OutcomeClass::of_status(StatusCode::from_u16(code).unwrap());
        for good in [101, 200, 204, 304, 399] {
            assert_eq!(class(good), OutcomeClass::Success, "{good}");
        }
        for refused in [400, 404, 428, 430, 499] {
            assert_eq!(class(refused).fault(), Fault::Client, "{refused}");
            assert_eq!(class(refused), OutcomeClass::ClientError, "{refused}");
        }
        assert_eq!(class(429), OutcomeClass::TooManyRequests);
        for failed in [500, 503, 599, 999] {
            let expected = OutcomeClass::BackendFailure(Failure::Status);
            assert_eq!(class(failed), expected, "{failed}");
        }
    }

    #[test]
    fn aborts_and_our_own_faults_are_no_evidence() {
        assert!(!OutcomeClass::ClientAborted.is_evidence());
        assert!(!OutcomeClass::ProxyFault.is_evidence());
        assert!(OutcomeClass::ClientError.is_evidence());
        for failure in Failure::ALL {
            let class = OutcomeClass::BackendFailure(failure);
            assert!(class.is_evidence());
            assert_eq!(class.fault(), Fault::Backend);
            let word = serde_json::to_string(&failure).unwrap();
            assert_eq!(word, format!("\"{}\"", failure.as_str()));
        }
    }
}
