//! What happens to a request, phase by phase.

use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;

use crate::domain::ids::FlagIndex;
use crate::domain::routing::RoutingSnapshot;
use crate::domain::variant::Variant;
use crate::proxy::connection::Client;
use crate::proxy::error::ProxyError;
use crate::proxy::forward::{Answer, Parcel, Unanswered, forward};
use crate::proxy::headers::{self, SERIN_FLAGS};
use crate::proxy::observe::{Observation, ResponseBody};
use crate::proxy::resolve::{Destination, decide, locate};
use crate::proxy::upload::Upload;
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::proxy::{respond, trace};
use crate::runtime::inbox::Message;

/// Answers one request.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    client: Rc<Client>,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let view = worker.view();
    let version = request.version();
    let mut observation =
        Observation::begin(Rc::clone(&worker), Rc::clone(&client), Rc::clone(&view));
    let routing = view.routing();
    let located = match locate(routing, client.ip, &mut request) {
        Ok(located) => located,
        Err(error) => {
            observation.answered(error.status(), error.class());
            return respond::problem(&error, None);
        }
    };
    observation.routed(located.route);
    let destination = decide(routing, client.ip, &request, &located, &*worker);
    if let Some((flag, decision)) = destination.flag {
        observation.decided(flag, decision);
    }
    let request_id = prepare(&worker, routing, &client, &mut request, &located.host);
    match send(&worker, &view, &destination, request, &mut observation).await {
        Ok(answer) => pass_back(answer, observation, version, destination.set_cookie),
        Err(error) => {
            tracing::debug!(client = %client.ip, %error, "request not answered by a backend");
            observation.answered(error.status(), error.class());
            respond::problem(&error, Some(&request_id))
        }
    }
}

/// Makes a request's head the one that a backend is to see; returns the request's id.
fn prepare(
    worker: &Worker,
    routing: &RoutingSnapshot,
    client: &Client,
    request: &mut Request<Incoming>,
    host: &HeaderValue,
) -> HeaderValue {
    let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
    let fields = request.headers_mut();
    headers::remove_hop_by_hop(fields);
    for force in routing.flags.iter().filter_map(|flag| flag.force.as_ref()) {
        fields.remove(&force.header);
    }
    headers::set_forwarding(fields, client, host);
    headers::add_via(fields, version);
    let is_trusted = routing.trusted.contains(client.ip);
    worker.with_random(|random| {
        trace::set_traceparent(fields, random);
        trace::set_request_id(fields, is_trusted, random)
    })
}

/// Sends a request to where it was decided to go. A canary that takes no connection costs the
/// caller nothing: stable answers, and the failure still counts as the canary's.
async fn send(
    worker: &Worker,
    view: &View,
    destination: &Destination,
    request: Request<Incoming>,
    observation: &mut Observation,
) -> Result<Answer, ProxyError> {
    let (parts, body) = request.into_parts();
    let (upload, progress) = Upload::new(body);
    let mut request = Request::from_parts(parts, upload);
    if let Some((flag, decision)) = destination.flag {
        tell_decision(view, flag, decision.variant, request.headers_mut());
    }
    let parcel = Parcel {
        request,
        progress: progress.clone(),
    };
    let Unanswered { error, request } =
        match forward(view.servers(destination.backend), parcel).await {
            Ok(answer) => return Ok(answer),
            Err(unanswered) => unanswered,
        };
    let was_refused = matches!(error, ProxyError::Refused(_));
    observation.first_attempt_failed(error.class(), was_refused);
    let (Some((flag, decision)), Some(mut request)) = (destination.flag, request) else {
        return Err(error);
    };
    if decision.variant != Variant::Canary || !error.is_unsent() {
        return Err(error);
    }
    let routing = view.routing();
    if was_refused {
        worker.tell(Message::CanaryRefused(routing.flag(flag).name.clone()));
    }
    tell_decision(view, flag, Variant::Stable, request.headers_mut());
    let stable = view.servers(routing.flag(flag).backends.stable);
    let rescued = forward(stable, Parcel { request, progress }).await;
    rescued
        .inspect(|_| observation.rescued())
        .map_err(|unanswered| unanswered.error)
}

fn tell_decision(view: &View, flag: FlagIndex, variant: Variant, headers: &mut HeaderMap) {
    headers.insert(SERIN_FLAGS, view.flag_header(flag, variant).clone());
}

/// Makes the head of an answer the one that the client is to see, and lets the body flow.
fn pass_back(
    answer: Answer,
    mut observation: Observation,
    version: Version,
    set_cookie: Option<HeaderValue>,
) -> Response<ResponseBody> {
    let Answer {
        response,
        lease,
        timeouts,
    } = answer;
    observation.head(response.status());
    let (mut parts, body) = response.into_parts();
    let came_in = std::mem::replace(&mut parts.version, version);
    headers::remove_hop_by_hop(&mut parts.headers);
    headers::add_via(&mut parts.headers, came_in);
    if let Some(cookie) = set_cookie {
        parts.headers.append(header::SET_COOKIE, cookie);
    }
    let body = ResponseBody::download(body, timeouts.idle, observation, lease);
    Response::from_parts(parts, body)
}
