//! What it means that a client has left.

use std::time::Duration;

use crate::domain::backend::Timeouts;
use crate::domain::evidence::{Failure, OutcomeClass};
use crate::proxy::observe::Observation;
use crate::proxy::upload::UploadProgress;
use crate::runtime::clock;

/// A client that leaves after this part of the time a backend has to answer was kept waiting.
///
/// A fifth, three seconds of fifteen: clients give up before proxies do, and a backend that hangs
/// until they do must not look as if nobody had asked it.
const PATIENCE_PARTS: u32 = 5;

/// How long a backend may keep a client waiting before leaving is no longer the client's whim.
pub(crate) fn patience(timeouts: &Timeouts) -> Duration {
    timeouts.response / PATIENCE_PARTS
}

impl Observation {
    /// What it means that the client is gone: once the answer had begun, no more than its status
    /// says; before that nothing. But if the backend had kept it waiting for long, that is why.
    ///
    /// A call of gRPC has no status before its end, and one that watches for news is quiet until there is
    /// some: once it is answered, leaving it says nothing.
    pub(super) fn abandoned(&self) -> OutcomeClass {
        if self.grpc.is_some() {
            return OutcomeClass::ClientAborted;
        }
        let is_uploaded = UploadProgress::is_whole(self.upload.as_deref());
        let waits_since = match self.status {
            Some(_) => self.waits_since,
            None => Some(self.backends_turn()),
        };
        let waited = waits_since.map(|since| clock::monotonic() - since);
        if is_uploaded
            && waited
                .zip(self.patience)
                .is_some_and(|(waited, most)| waited > most)
        {
            return OutcomeClass::BackendFailure(Failure::Timeout);
        }
        let by_status = self.status.map(OutcomeClass::of_status);
        by_status.unwrap_or(OutcomeClass::ClientAborted)
    }
}
