//! Sends a request to one backend and waits for the head of its answer.
//!
//! Only what was certainly never sent is tried again: on the next server when one accepts no
//! connection, on a new connection when a kept one turned out to be closed.

use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use crate::domain::backend::Timeouts;
use crate::proxy::error::ProxyError;
use crate::proxy::upload::{Upload, UploadProgress};
use crate::proxy::upstream::pool::{Lease, Pool};
use crate::proxy::view::Servers;
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

/// A request on its way, with what is known of its body.
pub(crate) struct Parcel {
    pub(crate) request: Request<Upload>,
    pub(crate) progress: Option<Rc<UploadProgress>>,
}

/// Sends a request to the servers of a backend in turn, until one takes it.
pub(crate) async fn forward(servers: &Servers, parcel: Parcel) -> Result<Answer, Unanswered> {
    let Parcel {
        mut request,
        progress,
    } = parcel;
    let mut last = None;
    for pool in servers.in_turn() {
        match send(pool, request, progress.as_deref()).await {
            Err(Unanswered {
                error,
                request: Some(unsent),
            }) => {
                tracing::debug!(endpoint = %pool.endpoint(), %error, "server passed over");
                request = unsent;
                last = Some(keep_gravest(last, error));
            }
            done => return done,
        }
    }
    // A backend has at least one server, so there is an error by now.
    let error = last.unwrap_or(ProxyError::Busy);
    Err(Unanswered {
        error,
        request: Some(request),
    })
}

/// `Refused` stands for "all refused", so any other error outranks it.
fn keep_gravest(last: Option<ProxyError>, next: ProxyError) -> ProxyError {
    match (last, next) {
        (Some(other), ProxyError::Refused(_)) => other,
        (_, next) => next,
    }
}

/// Sends a request to one server: on a kept connection, or on a new one when there is none or it
/// was closed under our hands.
async fn send(
    pool: &Rc<Pool>,
    mut request: Request<Upload>,
    progress: Option<&UploadProgress>,
) -> Result<Answer, Unanswered> {
    if let Some(lease) = pool.reuse() {
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
        Err(error) => Err(Unanswered {
            error,
            request: Some(request),
        }),
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
    let sent = lease.sender.try_send_request(request);
    let expired = expire(&timeouts, begun, progress);
    let outcome = tokio::select! {
        biased;
        answered = sent => answered,
        error = expired => return Err(Unanswered { error, request: None }),
    };
    match outcome {
        Ok(response) => {
            lease.count_request();
            Ok(Answer {
                response,
                lease,
                timeouts,
            })
        }
        Err(mut failed) => {
            let request = failed.take_message();
            let is_clients = progress.is_some_and(|progress| progress.broken.get());
            let error = match failed.into_error() {
                _ if is_clients => ProxyError::UploadBroken,
                error => ProxyError::Broken(error),
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
        let deadline = progress.moved.get() + limit;
        if clock::monotonic() >= deadline {
            let awaits_client = !progress.ended.get() && progress.awaits_client.get();
            return if awaits_client {
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
