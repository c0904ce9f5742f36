//! What happens to a request, phase by phase.

use std::net::IpAddr;
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;

use crate::domain::caller::RequestFacts;
use crate::domain::decision::Decision;
use crate::domain::identity::IdentitySource;
use crate::domain::ids::{BackendIndex, FlagIndex, RouteIndex};
use crate::domain::route::RouteTarget;
use crate::domain::variant::Variant;
use crate::proxy::connection::Client;
use crate::proxy::error::ProxyError;
use crate::proxy::forward::{Answer, Parcel, Unanswered, forward};
use crate::proxy::headers::{self, SERIN_FLAGS};
use crate::proxy::identity::identify;
use crate::proxy::observe::{Observation, ResponseBody};
use crate::proxy::upload::Upload;
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::proxy::{respond, trace};
use crate::runtime::inbox::Message;

/// Where a request goes.
struct Destination {
    backend: BackendIndex,
    /// The flag that decided, if one did.
    flag: Option<(FlagIndex, Decision)>,
    /// A cookie for a caller that was not known.
    set_cookie: Option<HeaderValue>,
}

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
    let is_trusted = view.routing().trusted.contains(client.ip);
    headers::remove_forged(request.headers_mut(), is_trusted, |name| {
        is_guarded(&view, name)
    });
    let destination = match route(&view, &mut request) {
        Ok((route, host)) => {
            observation.routed(route);
            let destination = decide(&worker, &view, &client, &request, route, &host);
            prepare(&worker, &view, &client, &mut request, is_trusted, &host);
            destination
        }
        Err(error) => {
            let class = error.class();
            observation.answered(error.status(), class);
            return respond::problem(&error, None);
        }
    };
    if let Some((flag, decision)) = destination.flag {
        observation.decided(flag, decision);
    }
    let request_id = request.headers().get(trace::REQUEST_ID).cloned();
    match send(&worker, &view, &destination, request, &mut observation).await {
        Ok(answer) => pass_back(answer, observation, version, destination.set_cookie),
        Err(error) => {
            tracing::debug!(client = %client.ip, %error, "request not answered by a backend");
            let class = error.class();
            observation.answered(error.status(), class);
            respond::problem(&error, request_id.as_ref())
        }
    }
}

/// Whether a header says who the caller is, so that only trusted peers may send it.
fn is_guarded(view: &View, name: &HeaderName) -> bool {
    let is_source = |source: &IdentitySource| match source {
        IdentitySource::Header(source) => source == name,
        IdentitySource::Cookie(_)
        | IdentitySource::AssignedCookie(_)
        | IdentitySource::ClientIp => false,
    };
    view.routing().identity.iter().any(is_source)
}

/// Finds the route of a request, and the host it asks for.
fn route(
    view: &View,
    request: &mut Request<Incoming>,
) -> Result<(RouteIndex, HeaderValue), ProxyError> {
    if request.method() == Method::CONNECT {
        return Err(ProxyError::Tunnel);
    }
    let host = headers::settle_host(request).ok_or(ProxyError::NoHost)?;
    let (name, path) = (headers::host_name(&host), request.uri().path());
    let routes = &view.routing().routes;
    let found = routes.find(name, request.method(), path, request.headers());
    Ok((found.ok_or(ProxyError::NoRoute)?, host))
}

/// Decides which backend serves a request.
fn decide(
    worker: &Worker,
    view: &View,
    client: &Client,
    request: &Request<Incoming>,
    route: RouteIndex,
    host: &HeaderValue,
) -> Destination {
    let routing = view.routing();
    let flag = match routing.routes.get(route).target {
        RouteTarget::Backend(backend) => {
            return Destination {
                backend,
                flag: None,
                set_cookie: None,
            };
        }
        RouteTarget::Flag(flag) => flag,
    };
    let client_ip: IpAddr = headers::client_ip(request.headers(), client.ip, &routing.trusted);
    let identity = identify(&routing.identity, request.headers(), client_ip, || {
        worker.random()
    });
    let caller = identity.caller();
    let assigned = worker.assigned_groups(routing, caller);
    let facts = RequestFacts {
        method: request.method(),
        host: headers::host_name(host),
        path: request.uri().path(),
        headers: request.headers(),
        client_ip,
        caller,
        assigned: &assigned,
        draw: worker.random(),
    };
    let decision = routing.decide(flag, &facts);
    let backend = *routing.flag(flag).backends.get(decision.variant);
    Destination {
        backend,
        flag: Some((flag, decision)),
        set_cookie: identity.set_cookie,
    }
}

/// Makes a request's head the one that a backend is to see.
fn prepare(
    worker: &Worker,
    view: &View,
    client: &Client,
    request: &mut Request<Incoming>,
    is_trusted: bool,
    host: &HeaderValue,
) {
    let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
    let fields = request.headers_mut();
    headers::remove_hop_by_hop(fields);
    for force in view
        .routing()
        .flags
        .iter()
        .filter_map(|flag| flag.force.as_ref())
    {
        fields.remove(&force.header);
    }
    headers::set_forwarding(fields, client, host);
    headers::add_via(fields, version);
    worker.with_random(|random| {
        trace::set_request_id(fields, is_trusted, random);
        trace::set_traceparent(fields, random);
    });
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
