//! What happens to a request, phase by phase.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body, Incoming};

use crate::domain::ids::FlagIndex;
use crate::domain::routing::RoutingSnapshot;
use crate::domain::variant::Variant;
use crate::proxy::client::Client;
use crate::proxy::download::ResponseBody;
use crate::proxy::error::ProxyError;
use crate::proxy::forward::{Answer, Unanswered, forward};
use crate::proxy::headers::{self, SERIN_FLAGS};
use crate::proxy::interim::Interim;
use crate::proxy::observe::Observation;
use crate::proxy::resolve::{Destination, decide, locate};
use crate::proxy::upgrade::Tunnel;
use crate::proxy::upload::{Upload, UploadProgress};
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::proxy::{respond, trace, upgrade};
use crate::runtime::inbox::Message;

/// A request on its way, with what is known of its body.
struct Parcel {
    request: Request<Upload>,
    progress: Option<Rc<UploadProgress>>,
}

/// An answer, and the request's body that may still be on its way.
struct Received {
    answer: Answer,
    progress: Option<Rc<UploadProgress>>,
}

/// Answers one request.
pub(crate) async fn handle(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let asks_for_switch = request.headers().contains_key(header::UPGRADE);
    let response = answer(worker, Rc::clone(&client), request).await;
    if asks_for_switch && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        client.stay();
    }
    response
}

async fn answer(
    worker: Rc<Worker>,
    client: Rc<Client>,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let view = worker.view();
    let mut observation =
        Observation::begin(Rc::clone(&worker), Rc::clone(&client), Rc::clone(&view));
    let routing = view.routing();
    // Such a one may stand in for one that was not let in, behind others that were.
    let may_stand_in = request.headers().is_empty();
    let located = match locate(routing, client.ip(), &mut request) {
        Ok(located) => located,
        Err(error) => {
            let refusal = client.refusal.get().filter(|_| may_stand_in);
            let error = refusal.map_or(error, ProxyError::Malformed);
            observation.answered(error.status(), error.class());
            return respond::problem(&error, None);
        }
    };
    observation.routed(located.route);
    let destination = decide(routing, client.peer(), &request, &located, &*worker);
    if let Some((flag, decision)) = destination.flag {
        observation.decided(flag, decision);
    }
    let flag = destination.flag.map(|(flag, _)| flag);
    let host = &located.host;
    let wish = upgrade::wish(&request);
    let interim = listen(&client, &mut request).await;
    let request_id = prepare(&worker, routing, &client, &mut request, host, flag);
    if let Some(protocol) = &wish {
        upgrade::put(request.headers_mut(), protocol.clone());
    }
    let (parts, body) = request.into_parts();
    let (upload, progress) = Upload::new(body, interim);
    let timeouts = &routing.backend(destination.backend).timeouts;
    observation.sent(&parts.method, progress.clone(), timeouts);
    let parcel = Parcel {
        request: Request::from_parts(parts, upload),
        progress,
    };
    let sent = send(&worker, &view, &destination, parcel, &mut observation).await;
    if !client.is_flushed.get()
        && let Some(interim) = client.interim.get()
    {
        // The answer goes out right behind what is still to be written.
        interim.take();
    }
    match sent {
        Ok(received) if received.answer.response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            let is_last = worker.is_stopping();
            pass_back(received, observation, destination.set_cookie, is_last)
        }
        Ok(received) if wish.is_some() => switch(received, observation, &client),
        unanswered => {
            let error = unanswered.err().unwrap_or(ProxyError::Switched);
            tracing::debug!(client = %client.ip(), %error, "request not answered by a backend");
            observation.answered(error.status(), error.class());
            respond::problem(&error, Some(&request_id))
        }
    }
}

/// Has the client told what its backend says before it answers, where that can be told. Returns what
/// knows whether the body is wanted, if the client waits for that word.
async fn listen(client: &Client, request: &mut Request<Incoming>) -> Option<Arc<Interim>> {
    if request.version() != Version::HTTP_11 {
        if request.version() == Version::HTTP_10 {
            request.headers_mut().remove(header::EXPECT);
        }
        return None;
    }
    if client.interim.get().is_none() {
        let writer = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let _ = client.interim.set(Arc::new(Interim::new(writer)));
    }
    let interim = client.interim.get()?;
    let expects_continue = !request.body().is_end_stream()
        && request
            .headers()
            .get(header::EXPECT)
            .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    interim.listen(request, expects_continue);
    expects_continue.then(|| Arc::clone(interim))
}

/// Makes a request's head the one that a backend is to see; returns the request's id.
fn prepare(
    worker: &Worker,
    routing: &RoutingSnapshot,
    client: &Client,
    request: &mut Request<Incoming>,
    host: &HeaderValue,
    flag: Option<FlagIndex>,
) -> HeaderValue {
    let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
    let needs_chunks = matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.body().is_end_stream()
        && request.body().size_hint().exact().is_none();
    let fields = request.headers_mut();
    headers::remove_hop_by_hop(fields);
    if let Some(force) = flag.and_then(|flag| routing.flag(flag).force.as_ref()) {
        fields.remove(&force.header);
    }
    if needs_chunks {
        // hyper takes it for granted that these have no body, unless it is told otherwise.
        fields.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    headers::set_forwarding(fields, client, host);
    headers::add_via(fields, version);
    let is_trusted = routing.trusted.contains(client.ip());
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
    parcel: Parcel,
    observation: &mut Observation,
) -> Result<Received, ProxyError> {
    let Parcel {
        mut request,
        progress,
    } = parcel;
    if let Some((flag, decision)) = destination.flag {
        tell_decision(view, flag, decision.variant, request.headers_mut());
    }
    let endpoints = view.endpoints(destination.backend);
    let Unanswered { error, request } = match forward(endpoints, request, progress.as_deref()).await
    {
        Ok(answer) => return Ok(Received { answer, progress }),
        Err(unanswered) => unanswered,
    };
    let was_refused = matches!(error, ProxyError::Refused(_));
    observation.first_attempt_failed(error.class(), was_refused);
    let (Some((flag, decision)), Some(mut unsent)) = (destination.flag, request) else {
        return Err(error);
    };
    if decision.variant != Variant::Canary {
        return Err(error);
    }
    let routing = view.routing();
    if was_refused {
        worker.tell(Message::CanaryRefused(routing.flag(flag).name.clone()));
    }
    tell_decision(view, flag, Variant::Stable, unsent.headers_mut());
    let stable = view.endpoints(routing.flag(flag).backends.stable);
    let rescued = forward(stable, unsent, progress.as_deref()).await;
    let answer = rescued.map_err(|unanswered| unanswered.error)?;
    observation.rescued();
    Ok(Received { answer, progress })
}

fn tell_decision(view: &View, flag: FlagIndex, variant: Variant, headers: &mut HeaderMap) {
    headers.insert(SERIN_FLAGS, view.flag_header(flag, variant).clone());
}

/// Makes the head of an answer the one that the client is to see, and lets the body flow.
fn pass_back(
    received: Received,
    mut observation: Observation,
    set_cookie: Option<HeaderValue>,
    is_last: bool,
) -> Response<ResponseBody> {
    let Received { answer, progress } = received;
    let Answer {
        response,
        lease,
        timeouts,
    } = answer;
    observation.head(response.status(), response.headers());
    if is_stream_of_events(response.headers()) {
        observation.opened();
    }
    let (mut parts, body) = response.into_parts();
    // The server side knows what the client speaks.
    let came_in = std::mem::replace(&mut parts.version, Version::HTTP_11);
    let fields = &mut parts.headers;
    headers::remove_hop_by_hop(fields);
    headers::add_via(fields, came_in);
    if let Some(cookie) = set_cookie {
        fields.append(header::SET_COOKIE, cookie);
    }
    if is_last {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let body = ResponseBody::download(body, progress, timeouts.idle, observation, lease);
    Response::from_parts(parts, body)
}

/// Whether an answer goes on for as long as there is news.
fn is_stream_of_events(fields: &HeaderMap) -> bool {
    let media_type = fields.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    media_type.is_some_and(|text| {
        let kind = text.split(|byte| *byte == b';').next().unwrap_or(text);
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// Tells a client that the protocol is switched, and has its bytes go to the backend once it is told.
fn switch(
    received: Received,
    mut observation: Observation,
    client: &Client,
) -> Response<ResponseBody> {
    let Answer {
        mut response,
        lease,
        ..
    } = received.answer;
    observation.head(response.status(), response.headers());
    observation.opened();
    let upstream = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    let came_in = std::mem::replace(&mut parts.version, Version::HTTP_11);
    let fields = &mut parts.headers;
    let protocol = fields.get(header::UPGRADE).cloned();
    headers::remove_hop_by_hop(fields);
    fields.remove(header::CONTENT_LENGTH);
    headers::add_via(fields, came_in);
    if let Some(protocol) = protocol {
        upgrade::put(fields, protocol);
    }
    let tunnel = Tunnel::new(upstream, observation, lease);
    client.tunnel.replace(Some(tunnel));
    Response::from_parts(parts, ResponseBody::empty())
}
