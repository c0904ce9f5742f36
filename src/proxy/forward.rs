//! Sends a request to one backend and waits for the head of its answer.
//!
//! What was certainly never sent, or refused unread, is tried again: on the next endpoint when one
//! accepts no connection, on another connection when a kept one turned out to be closed.
//!
//! A backend may close a kept connection while a request is on its way to it. Nobody can tell whether it
//! was read, and it is nobody's fault (RFC 9112, section 9.3.1). If asking twice does the same as asking
//! once, it is sent once more, on a new connection; what becomes of that is what counts.

use std::rc::Rc;
use std::time::Duration;

use http::{Method, Request, Response, header};
use tokio::time::Instant;

use crate::domain::evidence::{Failure, OutcomeClass};
use crate::proxy::access::Entry;
use crate::proxy::balance::Chance;
use crate::proxy::endpoints::{Endpoints, Tried};
use crate::proxy::error::ProxyError;
use crate::proxy::observe::patience;
use crate::proxy::upload::{Upload, UploadProgress};
use crate::proxy::upstream::answer::AnswerBody;
use crate::proxy::upstream::lease::{Failed, Lease, Left};
use crate::proxy::upstream::pool::{InFlight, Pool};
use crate::runtime::clock;

/// A backend's answer, and the connection it is read from.
pub(crate) struct Answer {
    pub(crate) response: Response<AnswerBody>,
    pub(crate) lease: Lease,
    /// Counts the exchange as under way at its endpoint.
    pub(crate) in_flight: InFlight,
    /// How long it may say nothing.
    pub(crate) idle_limit: Duration,
}

/// What is known of a request on its way.
pub(crate) struct Errand {
    /// How far its body has come, if it has one.
    pub(crate) progress: Option<Rc<UploadProgress>>,
    /// Whether it asks for another protocol, for which it needs a connection of its own.
    pub(crate) is_switch: bool,
    /// What its endpoint is picked by, besides the endpoints.
    pub(crate) chance: Chance,
}

impl Errand {
    /// Whether a request may be sent once more though somebody may have read it. There is no body that
    /// would have to be kept then, nor a wish for another protocol.
    fn may_repeat(&self, request: &Request<Upload>) -> bool {
        self.progress.is_none() && !self.is_switch && is_idempotent(request.method())
    }

    /// Goes on without the wish for another protocol.
    pub(crate) fn give_up_switch(&mut self, request: &mut Request<Upload>) {
        if std::mem::replace(&mut self.is_switch, false) {
            let fields = request.headers_mut();
            fields.remove(header::UPGRADE);
            fields.remove(header::CONNECTION);
        }
    }
}

/// A request that was not answered; it comes back if the endpoint has certainly done nothing, or there was
/// nothing to do.
pub(crate) struct Unanswered {
    pub(crate) error: ProxyError,
    pub(crate) request: Option<Box<Request<Upload>>>,
    /// The endpoint that was tried last.
    pub(crate) by: Option<Rc<Pool>>,
}

/// Sends a request to the endpoints of a backend, until one takes it: each at most once, and those that it
/// has tried before only where there are no others.
pub(crate) async fn forward(
    endpoints: &Endpoints,
    mut request: Box<Request<Upload>>,
    errand: &Errand,
    tried: &mut Tried,
    entry: &mut Entry,
) -> Result<Answer, Unanswered> {
    let (mut last, mut by) = (None, None);
    if endpoints.has_tried_all(tried) {
        *tried = Tried::default();
    }
    while let Some(pool) = endpoints.pick(tried, errand.chance) {
        entry.tries(pool.endpoint());
        let sent = send(pool, request, errand, entry).await;
        if let Some(failed) = failure(&sent, errand) {
            pool.note_outcome(failed);
        }
        match sent {
            Err(Unanswered {
                error,
                request: Some(unsent),
                by: passed_over,
                // Whoever has waited for a connection in vain has waited long enough.
            }) if !matches!(error, ProxyError::NoneFree) => {
                tracing::debug!(endpoint = %pool.endpoint(), %error, "endpoint passed over");
                request = unsent;
                last = Some(keep_gravest(last, error));
                by = passed_over;
            }
            done => return done,
        }
    }
    let error = last.unwrap_or(ProxyError::NoneHealthy);
    let request = Some(request);
    Err(Unanswered { error, request, by })
}

/// How an endpoint has failed a request, as far as that is known by the head of its answer.
fn failure(sent: &Result<Answer, Unanswered>, errand: &Errand) -> Option<OutcomeClass> {
    match sent {
        Ok(answer) => {
            let class = OutcomeClass::of_status(answer.response.status());
            class.is_failure().then_some(class)
        }
        Err(Unanswered {
            error: ProxyError::Handshake(_),
            ..
            // It may not speak HTTP/1.1, which only the client's wish requires.
        }) if errand.is_switch => None,
        Err(Unanswered { error, .. }) => error.endpoint_failure(),
    }
}

/// `Refused` stands for "all refused", so any other error outranks it.
fn keep_gravest(last: Option<ProxyError>, next: ProxyError) -> ProxyError {
    match (last, next) {
        (Some(other), ProxyError::Refused(_)) => other,
        (_, next) => next,
    }
}

/// How often a request that a shared connection did not take is sent to the same endpoint again. An
/// endpoint that refuses a third time means it.
const REFUSALS_MAX: usize = 2;

/// How often a request that met a closed connection is sent to the same endpoint again. Only where there is
/// room for no new connection may it meet another such one.
const REPEATS_MAX: usize = 2;

/// How long after a request a kept connection may end and still have been closed before the request came:
/// what crosses it on the way is here within a round trip. A backend that takes longer was at work on it.
const CROSSING_MAX: Duration = Duration::from_secs(1);

/// Sends a request to one endpoint: on a kept connection, or on a new one when there is none or
/// those kept were closed under our hands.
async fn send(
    pool: &Rc<Pool>,
    mut request: Box<Request<Upload>>,
    errand: &Errand,
    entry: &mut Entry,
) -> Result<Answer, Unanswered> {
    let (mut refusals, mut repeats) = (0, 0);
    let mut in_flight = InFlight::at(pool);
    loop {
        let now = clock::monotonic();
        let kept = (repeats == 0).then(|| pool.reuse(errand.is_switch, now));
        let (lease, is_new, begun) = match kept.flatten() {
            Some(lease) => (lease, false, now),
            None => match pool.connect(errand.is_switch).await {
                Ok(lent) => (lent.lease, lent.is_new, clock::monotonic()),
                Err(error) => {
                    // What may have been read is done by nobody else, unless there is nothing to do.
                    let may_pass_on = repeats == 0 || is_safe(request.method());
                    let request = may_pass_on.then_some(request);
                    let by = Some(Rc::clone(pool));
                    return Err(Unanswered { error, request, by });
                }
            },
        };
        let is_shared = lease.is_shared();
        let may_repeat = !is_new && repeats < REPEATS_MAX && errand.may_repeat(&request);
        let sent = exchange(
            pool,
            (lease, in_flight, begun),
            request,
            (errand, may_repeat),
        )
        .await;
        let Failed { error, left } = match sent {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        in_flight = InFlight::at(pool);
        request = match left {
            // A kept one is used up by the attempt, so there is an end to them.
            Left::Unsent(unsent) if !is_shared && !is_new => unsent,
            Left::Unsent(unsent) if is_shared && refusals < REFUSALS_MAX => {
                refusals += 1;
                unsent
            }
            Left::Unheard(again) => {
                tracing::debug!(endpoint = %pool.endpoint(), %error, "sent once more");
                repeats += 1;
                pool.count_repeat();
                entry.retried();
                again
            }
            left => {
                let request = left.unsent();
                let by = Some(Rc::clone(pool));
                return Err(Unanswered { error, request, by });
            }
        };
    }
}

async fn exchange(
    pool: &Rc<Pool>,
    (mut lease, in_flight, begun): (Lease, InFlight, Instant),
    request: Box<Request<Upload>>,
    (errand, may_repeat): (&Errand, bool),
) -> Result<Answer, Failed> {
    let progress = errand.progress.as_deref();
    let timeouts = pool.timeouts();
    let mut pending = Pending {
        pool,
        begun,
        progress,
        is_over: false,
    };
    let answered = tokio::select! {
        biased;
        answered = lease.send(request, may_repeat) => answered,
        error = expire(pool, begun, progress) => {
            pending.is_over = true;
            lease.distrust();
            return Err(Failed { error, left: Left::Nothing });
        }
    };
    pending.is_over = true;
    let Failed { error, mut left } = match answered {
        Ok(response) => {
            return Ok(Answer {
                response,
                lease,
                in_flight,
                idle_limit: timeouts.idle,
            });
        }
        Err(failed) => failed,
    };
    if matches!(left, Left::Unheard(_)) && begun.elapsed() > CROSSING_MAX {
        left = Left::Nothing;
    }
    let is_clients = progress.is_some_and(|progress| progress.broken.get());
    let error = if let Some(refusal) = progress.and_then(|progress| progress.refusal.get()) {
        ProxyError::Malformed(refusal)
    } else if is_clients {
        ProxyError::UploadBroken
    } else {
        if matches!(left, Left::Nothing) || error.cure().is_some() {
            pool.note_break(&error);
        }
        error
    };
    Err(Failed { error, left })
}

/// Whether asking twice does the same as asking once (RFC 9110, section 9.2.2).
pub(crate) const fn is_idempotent(method: &Method) -> bool {
    is_safe(method) || matches!(*method, Method::PUT | Method::DELETE)
}

/// Whether a request asks for nothing to be done (RFC 9110, section 9.2.1).
pub(crate) const fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

/// An exchange without an answer yet. That the client leaves it is the endpoint's failure if it was kept
/// waiting for long.
struct Pending<'a> {
    pool: &'a Rc<Pool>,
    begun: Instant,
    progress: Option<&'a UploadProgress>,
    is_over: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.is_over || !UploadProgress::is_whole(self.progress) {
            return;
        }
        let since = UploadProgress::backends_turn(self.progress, self.begun);
        if clock::monotonic() - since > patience(self.pool.timeouts()) {
            let failed = OutcomeClass::BackendFailure(Failure::Timeout);
            self.pool.note_outcome(failed);
        }
    }
}

/// Waits until an answer is overdue, and says whose fault that is.
///
/// The backend has its time from the end of the upload on. During the upload either side may
/// pause for the idle time; a longer pause is the fault of the side that was waited for.
async fn expire(pool: &Pool, begun: Instant, progress: Option<&UploadProgress>) -> ProxyError {
    let (timeouts, alarms) = (pool.timeouts(), pool.alarms());
    let Some(progress) = progress else {
        alarms.sleep_until(begun + timeouts.response).await;
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
        alarms.sleep_until(deadline.min(latest)).await;
    }
}
