//! Sends a request to a backend once more after it has failed.
//!
//! What was certainly never sent goes to the next endpoint in any case, and what met a closed connection
//! to a new one (see [`forward`](crate::proxy::forward)). This is about what `retries` of a backend allow besides: another
//! round where no endpoint takes a connection, and what may have reached a server, if asking twice does
//! the same as asking once and there is no body that would have to be kept. It comes before the client
//! has got a byte of an answer, and the first attempt is what counts.

use std::rc::Rc;
use std::sync::Arc;

use http::Request;

use crate::domain::evidence::OutcomeClass;
use crate::domain::ids::BackendIndex;
use crate::proxy::discard::discard;
use crate::proxy::endpoints::Tried;
use crate::proxy::error::ProxyError;
use crate::proxy::forward::{Answer, Errand, Unanswered, forward, is_idempotent};
use crate::proxy::observe::Observation;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::pool::Pool;
use crate::proxy::view::View;

/// What is left of an attempt.
type Attempt = Result<Answer, Unanswered>;

/// Asks a backend for an answer until it gives one, or has had as many attempts as it may.
pub(crate) async fn insist(
    view: &View,
    backend: BackendIndex,
    request: Box<Request<Upload>>,
    errand: &Errand,
    observation: &mut Observation,
) -> Attempt {
    let (endpoints, retries) = (
        view.endpoints(backend),
        &view.routing().backend(backend).retries,
    );
    let budget = endpoints.retry_budget();
    budget.count_request(observation.coarse_now());
    let may_repeat = is_idempotent(request.method()) && retries.follow_what_was_sent();
    let keep = |request: &Request<Upload>| may_repeat.then(|| copy(request, errand)).flatten();
    let mut spare = keep(&request);
    let mut tried = Tried::default();
    let entry = observation.entry.heads_for(backend);
    let mut asked = forward(endpoints, request, errand, &mut tried, entry).await;
    for _ in 0..retries.attempts {
        let Some(failure) = Failed::of(&asked).filter(|it| retries.follow(it.class, it.status))
        else {
            break;
        };
        let unsent = match &mut asked {
            Ok(_) => None,
            Err(unanswered) => unanswered.request.take(),
        };
        let Some(request) = unsent.or_else(|| spare.take()) else {
            break;
        };
        let is_granted = budget.take(retries.budget, observation.coarse_now());
        if let Some(pool) = &failure.by {
            pool.count_retry(is_granted);
        }
        if !is_granted {
            put_back(&mut asked, request);
            break;
        }
        observation.first_attempt_failed(failure.class, failure.was_refused);
        spare = keep(&request);
        let way = observation.entry.way();
        let entry = observation.entry.heads_for(backend);
        entry.retried();
        let next = forward(endpoints, request, errand, &mut tried, entry);
        let next = Box::pin(next).await;
        asked = match (asked, next) {
            (Ok(before), Ok(next)) => {
                discard(before);
                Ok(next)
            }
            // A failure in a backend's own words says more than ours.
            (Ok(before), Err(_)) => {
                observation.entry.went(way);
                Ok(before)
            }
            (Err(_), next) => next,
        };
    }
    asked
}

/// How an attempt failed, and by whom.
struct Failed {
    class: OutcomeClass,
    status: Option<http::StatusCode>,
    was_refused: bool,
    by: Option<Rc<Pool>>,
}

impl Failed {
    /// None where it did not, or where another attempt would ask nobody or make it worse.
    fn of(asked: &Attempt) -> Option<Self> {
        match asked {
            Ok(answer) => {
                let status = answer.response.status();
                let class = OutcomeClass::of_status(status);
                class.is_failure().then(|| Self {
                    class,
                    status: Some(status),
                    was_refused: false,
                    by: Some(Rc::clone(answer.lease.pool())),
                })
            }
            Err(Unanswered {
                error:
                    ProxyError::Busy
                    | ProxyError::NoneFree
                    | ProxyError::NoneHealthy
                    | ProxyError::Switched,
                ..
            }) => None,
            Err(Unanswered { error, by, .. }) => Some(Self {
                class: error.class(),
                status: None,
                was_refused: error.is_refusal(),
                by: by.clone(),
            }),
        }
    }
}

/// An unsent request stays what stable may be asked in canary's place.
fn put_back(asked: &mut Attempt, request: Box<Request<Upload>>) {
    if let Err(unanswered) = asked {
        unanswered.request = Some(request);
    }
}

/// A copy of a request to be sent once more; none of one with a body, or that asks for another protocol.
pub(crate) fn copy(request: &Request<Upload>, errand: &Errand) -> Option<Box<Request<Upload>>> {
    if errand.progress.is_some() || errand.is_switch {
        return None;
    }
    let mut copy = Request::new(Upload::none(request.body().interim().map(Arc::clone)));
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    *copy.version_mut() = request.version();
    request.headers().clone_into(copy.headers_mut());
    copy.body_mut().postscript = request.body().postscript.clone();
    Some(Box::new(copy))
}
