//! How an answer gets to the client: a backend's, with a head that the client is to see, or one of our own.

use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Response, Version, header};

use crate::proxy::client::Client;
use crate::proxy::download::ResponseBody;
use crate::proxy::error::ProxyError;
use crate::proxy::forward::Answer;
use crate::proxy::observe::Observation;
use crate::proxy::upgrade::{Tunnel, Wish};
use crate::proxy::upload::UploadProgress;
use crate::proxy::{headers, respond};

/// Answers a request ourselves.
pub(crate) fn refuse(
    observation: Box<Observation>,
    error: &ProxyError,
    request_id: Option<&HeaderValue>,
) -> Response<ResponseBody> {
    let answer = respond::problem(error, request_id);
    observation.answered(&answer, error.class());
    answer
}

/// Makes the head of an answer the one that the client is to see, and lets the body flow.
pub(crate) fn pass_back(
    (answer, progress): (Answer, Option<Rc<UploadProgress>>),
    mut observation: Box<Observation>,
    set_cookie: Option<HeaderValue>,
    is_last: bool,
) -> Response<ResponseBody> {
    let Answer {
        response,
        lease,
        in_flight,
        idle_limit,
    } = answer;
    observation.answered_at(in_flight);
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
    let body = ResponseBody::download(body, progress, idle_limit, observation, lease);
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
pub(crate) fn switch(
    (answer, progress): (Answer, Option<Rc<UploadProgress>>),
    mut observation: Box<Observation>,
    client: &Client,
    wish: Option<Wish>,
    request_id: &HeaderValue,
) -> Response<ResponseBody> {
    if !UploadProgress::is_whole(progress.as_deref()) {
        // There is more of the request to come, and nobody could tell it from what follows it.
        return refuse(observation, &ProxyError::UploadBroken, Some(request_id));
    }
    let Answer {
        mut response,
        lease,
        in_flight,
        ..
    } = answer;
    observation.answered_at(in_flight);
    let upstream = lease.upgrade(&mut response);
    let (mut parts, _) = response.into_parts();
    let came_in = std::mem::replace(&mut parts.version, Version::HTTP_11);
    let fields = &mut parts.headers;
    let named = fields.get(header::UPGRADE).cloned();
    headers::remove_hop_by_hop(fields);
    fields.remove(header::CONTENT_LENGTH);
    headers::add_via(fields, came_in);
    if !wish.is_some_and(|wish| wish.grant(fields, named.as_ref())) {
        return refuse(observation, &ProxyError::Switched, Some(request_id));
    }
    observation.head(parts.status, fields);
    observation.opened();
    let tunnel = Tunnel::new(upstream, observation, lease);
    client.tunnel.replace(Some(tunnel));
    Response::from_parts(parts, ResponseBody::empty())
}
