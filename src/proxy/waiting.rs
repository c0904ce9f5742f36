//! Requests that wait for the head of their answer, looked at while they do.
//!
//! A canary that hangs would show only when clients give up or the time is over. So each worker looks once
//! a second at its requests under way, and one that has waited longer than nearly all of stable's answers took
//! counts as slow from then on. Only those are kept here that a rollout watches and a chance decided.
//!
//! What comes later of such a request adds up with that as follows. A head adds nothing to the latency
//! that is judged. A failure counts as a failure as well. A client that leaves adds nothing, unless the
//! backend has kept it waiting for so long that leaving is the backend's fault (see
//! [`Observation`](crate::proxy::observe::Observation)): that is a failure, and it comes later than this, for the
//! cut is a matter of what stable takes and that patience one of what a backend may take at most.

use std::cell::RefCell;
use std::rc::Rc;

use slab::Slab;
use tokio::time::Instant;

use crate::domain::decision::Decision;
use crate::domain::evidence::LatencyHistogram;
use crate::domain::ids::FlagIndex;
use crate::proxy::upload::UploadProgress;
use crate::proxy::view::View;
use crate::runtime::watch::Watched;

/// A request that waits.
pub(crate) struct Waiting {
    pub(crate) view: Rc<View>,
    pub(crate) flag: FlagIndex,
    pub(crate) decision: Decision,
    pub(crate) started: Instant,
    pub(crate) upload: Option<Rc<UploadProgress>>,
}

/// A place in the waiting room.
#[derive(Debug)]
pub(crate) struct Ticket(usize);

/// The requests of one worker that wait: at most one for each of its connections of HTTP/1, and 128 for
/// each of HTTP/2.
#[derive(Default)]
pub(crate) struct WaitingRoom {
    places: RefCell<Slab<Place>>,
}

struct Place {
    request: Waiting,
    is_counted: bool,
}

impl WaitingRoom {
    /// Lets a request in.
    pub(crate) fn enter(&self, request: Waiting) -> Ticket {
        let place = Place {
            request,
            is_counted: false,
        };
        Ticket(self.places.borrow_mut().insert(place))
    }

    /// Lets a request out; tells whether it was counted as slow meanwhile.
    pub(crate) fn leave(&self, ticket: Ticket) -> bool {
        let place = self.places.borrow_mut().try_remove(ticket.0);
        place.is_some_and(|place| place.is_counted)
    }

    /// Counts those who have crossed the cuts by now, each once.
    pub(crate) fn look(&self, now: Instant) {
        let mut places = self.places.borrow_mut();
        let not_counted = places.iter_mut().map(|(_, place)| place);
        for place in not_counted.filter(|place| !place.is_counted) {
            place.is_counted = place.request.count_if_slow(now);
        }
    }
}

impl Waiting {
    fn count_if_slow(&self, now: Instant) -> bool {
        let upload = self.upload.as_deref();
        // While the request is still being sent it is not the backend that is waited for.
        if !UploadProgress::is_whole(upload) {
            return false;
        }
        let waited =
            now.saturating_duration_since(UploadProgress::backends_turn(upload, self.started));
        let (meters, decision) = (self.view.meters(), self.decision);
        let Some(watch) = meters.watch(self.flag) else {
            return false;
        };
        let bucket = LatencyHistogram::bucket_of(waited);
        let slow = watch.sight.cuts(decision.variant).slow(bucket);
        if !slow.is_some_and(|slow| slow.p50 && slow.p90 && slow.p99) {
            return false;
        }
        let arm = meters.arm(self.flag, decision);
        arm.record_waiting(waited);
        let request = Watched {
            decision,
            epoch: self.view.epoch(self.flag),
            was_waiting: false,
        };
        watch.count_waiting(&request, &arm.cells);
        true
    }
}
