//! Sends a request to one backend and waits for the head of its answer.
//!
//! Only what was certainly never sent is tried again: on the next endpoint when one accepts no
//! connection, on a new connection when a kept one turned out to be closed.

use std::rc::Rc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use crate::domain::backend::Timeouts;
use crate::proxy::access::Entry;
use crate::proxy::error::ProxyError;
use crate::proxy::upload::{Upload, UploadProgress};
use crate::proxy::upstream::pool::{Lease, Pool};
use crate::proxy::view::Endpoints;
use crate::runtime::clock;

/// A backend's answer, and the connection it is read from.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    pub(crate) timeouts: Timeouts,
}

/// A request that was not answered; it comes back if no byte of it was sent.
pub(crate) struct Unanswered {
    pub(crate) error: ProxyError,
    pub(crate) request: Option<Request<Upload>>,
}

/// Sends a request to the endpoints of a backend in turn, until one takes it.
pub(crate) async fn forward(
    endpoints: &Endpoints,
    mut request: Request<Upload>,
    progress: Option<&UploadProgress>,
    entry: &mut Entry,
) -> Result<Answer, Unanswered> {
    let mut last = None;
    for pool in endpoints.in_turn() {
        entry.tries(pool.endpoint());
        match send(pool, request, progress).await {
            Err(Unanswered {
                error,
                request: Some(unsent),
            }) => {
                tracing::debug!(endpoint = %pool.endpoint(), %error, "endpoint passed over");
                request = unsent;
                last = Some(keep_gravest(last, error));
            }
            done => return done,
        }
    }
    // A backend has at least one endpoint, so there is an error by now.
    let error = last.unwrap_or(ProxyError::Busy);
    let request = Some(request);
    Err(Unanswered { error, request })
}

/// `Refused` stands for "all refused", so any other error outranks it.
fn keep_gravest(last: Option<ProxyError>, next: ProxyError) -> ProxyError {
    match (last, next) {
        (Some(other), ProxyError::Refused(_)) => other,
        (_, next) => next,
    }
}

/// Sends a request to one endpoint: on a kept connection, or on a new one when there is none or
/// those kept were closed under our hands.
async fn send(
    pool: &Rc<Pool>,
    mut request: Request<Upload>,
    progress: Option<&UploadProgress>,
) -> Result<Answer, Unanswered> {
    while let Some(lease) = pool.reuse() {
        match exchange(pool, lease, request, progress).await {
            Err(Unanswered {
                request: Some(unsent),
                ..
            }) => request = unsent,
            done => return done,
        }
    }
    match pool.connect().await {
        Ok(lease) => exchange(pool, lease, request, progress).await,
        Err(error) => {
            let request = Some(request);
            Err(Unanswered { error, request })
        }
    }
}

async fn exchange(
    pool: &Rc<Pool>,
    mut lease: Lease,
    request: Request<Upload>,
    progress: Option<&UploadProgress>,
) -> Result<Answer, Unanswered> {
    let timeouts = *pool.timeouts();
    let begun = clock::monotonic();
    let answered = tokio::select! {
        biased;
        answered = lease.send(request) => answered,
        error = expire(&timeouts, begun, progress) => {
            return Err(Unanswered { error, request: None });
        }
    };
    match answered {
        // Nobody asks for an upgrade here, so there is nothing to switch to.
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Err(Unanswered {
            error: ProxyError::Switched,
            request: None,
        }),
        Ok(response) => Ok(Answer {
            response,
            lease,
            timeouts,
        }),
        Err(mut failed) => {
            let request = failed.take_message();
            let is_clients = progress.is_some_and(|progress| progress.broken.get());
            let error = if is_clients {
                ProxyError::UploadBroken
            } else {
                ProxyError::Broken(failed.into_error())
            };
            Err(Unanswered { error, request })
        }
    }
}

/// Waits until an answer is overdue, and says whose fault that is.
///
/// The backend has its time from the end of the upload on. During the upload either side may
/// pause for the idle time; a longer pause is the fault of the side that was waited for.
async fn expire(
    timeouts: &Timeouts,
    begun: Instant,
    progress: Option<&UploadProgress>,
) -> ProxyError {
    let Some(progress) = progress else {
        sleep_until(begun + timeouts.response).await;
        return ProxyError::ResponseTimeout;
    };
    loop {
        let limit = if progress.ended.get() {
            timeouts.response
        } else {
            timeouts.idle
        };
        // The upload may have begun long ago, on the way to an endpoint that took nothing.
        let deadline = progress.moved.get().max(begun) + limit;
        if clock::monotonic() >= deadline {
            return if progress.is_clients_turn() {
                ProxyError::UploadBroken
            } else {
                ProxyError::ResponseTimeout
            };
        }
        // The upload may end while this sleeps; then the shorter limit must be seen in time.
        let latest = clock::monotonic() + timeouts.response.min(timeouts.idle);
        sleep_until(deadline.min(latest)).await;
    }
}
