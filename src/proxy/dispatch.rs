//! Gets a request answered: by the backend that was decided, or by stable where canary fails it.
//!
//! A canary that takes no connection costs the caller nothing, whatever was asked: nothing was sent. With
//! `shield` neither does one that answers a safe request with a failure, too late, or not at all. All of
//! this comes before the client has got a byte of an answer, and whoever answers in the end, it was
//! canary that failed.

use http::{HeaderValue, Request};

use crate::domain::backend::Protocol;
use crate::domain::evidence::OutcomeClass;
use crate::domain::ids::{BackendIndex, FlagIndex};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::variant::Variant;
use crate::proxy::discard::discard;
use crate::proxy::endpoints::Tried;
use crate::proxy::error::ProxyError;
use crate::proxy::forward::{Answer, Errand, Unanswered, forward, is_safe};
use crate::proxy::headers::append;
use crate::proxy::observe::Observation;
use crate::proxy::postscript::Own;
use crate::proxy::resolve::Destination;
use crate::proxy::retry::{copy, insist};
use crate::proxy::upload::Upload;
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::runtime::inbox::Message;

/// Sends a request to where it was decided to go, and to stable where that may stand in.
///
/// # Errors
/// Why the last who was asked has given no answer.
pub(crate) async fn dispatch(
    worker: &Worker,
    view: &View,
    destination: &Destination,
    (mut request, errand): (Box<Request<Upload>>, &mut Errand),
    observation: &mut Observation,
) -> Result<Answer, ProxyError> {
    let decided = destination.flag;
    let decided = decided.map(|(flag, decision)| view.flag_header(flag, decision.variant));
    tell(decided, destination, &mut request);
    let spare = if is_shielded(view.routing(), destination) && is_safe(request.method()) {
        copy(&request, errand)
    } else {
        None
    };
    let failed = match ask(view, destination.backend, request, errand, observation).await {
        Ok(answer) if spare.is_none() || !class_of(&answer).is_failure() => return Ok(answer),
        failed => failed,
    };
    let failed = (failed, spare);
    // On the heap, so that those that are answered do not make room for it.
    let by = (worker, view, destination);
    Box::pin(recover(by, failed, errand, observation)).await
}

/// Has stable answer where canary has failed and stable may stand in; `spare` is the request as it can be sent again.
async fn recover(
    (worker, view, destination): (&Worker, &View, &Destination),
    (failed, spare): (Result<Answer, Unanswered>, Option<Box<Request<Upload>>>),
    errand: &mut Errand,
    observation: &mut Observation,
) -> Result<Answer, ProxyError> {
    let (failed, unanswered) = match failed {
        Ok(answer) => {
            observation.first_attempt_failed(class_of(&answer), false);
            (Ok(answer), spare)
        }
        Err(Unanswered { error, request, .. }) => {
            let was_refused = error.is_refusal();
            observation.first_attempt_failed(error.class(), was_refused);
            if was_refused {
                tell_refused(worker, view.routing(), destination);
            }
            let spare = spare.filter(|_| error.class().is_failure());
            (Err(error), request.or(spare))
        }
    };
    match (destination.flag, unanswered) {
        (Some((flag, decision)), Some(request)) if decision.variant == Variant::Canary => {
            let failed = (failed, request);
            rescue(view, (flag, destination), failed, errand, observation).await
        }
        _ => failed,
    }
}

/// Has stable answer in canary's place. What canary has answered serves where stable gives no answer at
/// all.
async fn rescue(
    view: &View,
    (flag, destination): (FlagIndex, &Destination),
    (failed, mut request): (Result<Answer, ProxyError>, Box<Request<Upload>>),
    errand: &mut Errand,
    observation: &mut Observation,
) -> Result<Answer, ProxyError> {
    let routing = view.routing();
    let decided = Some(view.flag_header(flag, Variant::Stable));
    // Whoever was asked before may have put it among the others.
    request.headers_mut().remove(Own::SerinFlags.as_str());
    tell(decided, destination, &mut request);
    let stable = destination.stand_in;
    if routing.backend(stable).protocol == Protocol::Http2 {
        errand.give_up_switch(&mut request);
    }
    let way = observation.entry.way();
    match (
        ask(view, stable, request, errand, observation).await,
        failed,
    ) {
        (Ok(answer), failed) => {
            if let Ok(failed) = failed {
                discard(failed);
            }
            observation.rescued();
            Ok(answer)
        }
        (Err(_), Ok(failed)) => {
            observation.entry.went(way);
            Ok(failed)
        }
        (Err(unanswered), Err(_)) => Err(unanswered.error),
    }
}

/// Asks a backend for an answer, as often as it may be asked.
async fn ask(
    view: &View,
    backend: BackendIndex,
    request: Box<Request<Upload>>,
    errand: &mut Errand,
    observation: &mut Observation,
) -> Result<Answer, Unanswered> {
    if view.routing().backend(backend).retries.attempts > 0 && !errand.is_switch {
        return Box::pin(insist(view, backend, request, errand, observation)).await;
    }
    let endpoints = view.endpoints(backend);
    let entry = observation.entry.heads_for(backend);
    let mut unsent = match forward(endpoints, request, errand, &mut Tried::default(), entry).await {
        Err(Unanswered {
            error: ProxyError::Handshake(_),
            request: Some(unsent),
            ..
        }) if errand.is_switch => unsent,
        answered => return answered,
    };
    // It may not speak HTTP/1.1 at all. Whether a wish is granted is up to us, too.
    errand.give_up_switch(&mut unsent);
    let entry = observation.entry.heads_for(backend);
    Box::pin(forward(
        endpoints,
        unsent,
        errand,
        &mut Tried::default(),
        entry,
    ))
    .await
}

/// Whether stable answers what canary fails.
fn is_shielded(routing: &RoutingSnapshot, destination: &Destination) -> bool {
    destination.flag.is_some_and(|(flag, decision)| {
        decision.variant == Variant::Canary && routing.flag(flag).shield
    })
}

fn class_of(answer: &Answer) -> OutcomeClass {
    OutcomeClass::of_status(answer.response.status())
}

/// Tells the control plane that no endpoint of canary takes a connection.
fn tell_refused(worker: &Worker, routing: &RoutingSnapshot, destination: &Destination) {
    if let Some((flag, decision)) = destination.flag
        && decision.variant == Variant::Canary
    {
        worker.tell(Message::CanaryRefused(routing.flag(flag).name.clone()));
    }
}

/// Tells the backend what was decided: of the flag that led there, and of further ones.
fn tell(decided: Option<&HeaderValue>, destination: &Destination, request: &mut Request<Upload>) {
    let said = match (decided, &destination.further) {
        (Some(decided), None) => decided.clone(),
        (Some(decided), Some(further)) => append(decided, further),
        (None, Some(further)) => further.clone(),
        (None, None) => return,
    };
    request.body_mut().postscript.set(Own::SerinFlags, said);
}
