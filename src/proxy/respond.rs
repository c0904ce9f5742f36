//! Answers that Serin gives itself, as problem details (RFC 9457).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Body;

use crate::proxy::download::ResponseBody;
use crate::proxy::error::ProxyError;
use crate::proxy::identity::jwt::TokenRefusal;
use crate::runtime::apps::Denial;

/// The answer to a request that no backend answered.
pub(crate) fn problem(
    error: &ProxyError,
    request_id: Option<&HeaderValue>,
) -> Response<ResponseBody> {
    let status = error.status();
    let title = status.canonical_reason().unwrap_or("Error");
    let instance = request_id
        .and_then(|id| id.to_str().ok())
        .map(|id| format!(r#","request_id":"{id}""#))
        .unwrap_or_default();
    // No part of it needs escaping: fixed words, a number, and an id of letters and digits.
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{error}"{instance}}}"#,
        status.as_u16()
    );
    let mut response = Response::new(ResponseBody::full(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let ProxyError::Denied(denial) = error {
        tell_denied(*denial, status, headers);
    }
    if let ProxyError::Token(refusal) = error
        && status == StatusCode::UNAUTHORIZED
    {
        headers.insert(header::WWW_AUTHENTICATE, challenge(*refusal));
    }
    if error.ends_connection() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(id) = request_id {
        headers.insert("x-request-id", id.clone());
    }
    response
}

/// Says that the connection ends where something of the request is still to come: it is not waited for, and a
/// client that is not told would lose its next request.
pub(crate) fn close_unread<B: Body>(request: &Request<B>, answer: &mut Response<ResponseBody>) {
    if request.version() < Version::HTTP_2 && !request.body().is_end_stream() {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
}

/// What else a client is told that was not let in (RFC 9110, sections 10.2.3 and 15.5.2).
fn tell_denied(denial: Denial, status: StatusCode, headers: &mut HeaderMap) {
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    if let Denial::TooMany {
        retry_after_seconds,
    } = denial
    {
        headers.insert(header::RETRY_AFTER, retry_after_seconds.into());
    }
}

/// No registered scheme is about keys in headers of one's own choice; this is what most call it.
const CHALLENGE: HeaderValue = HeaderValue::from_static("ApiKey realm=\"serin\"");

/// What a client is to bring (RFC 6750, section 3); who brought nothing is told of no error.
fn challenge(refusal: TokenRefusal) -> HeaderValue {
    let plain = HeaderValue::from_static("Bearer");
    match refusal {
        TokenRefusal::Missing => plain,
        TokenRefusal::Bad(fault) => {
            let text = format!("Bearer error=\"invalid_token\", error_description=\"{fault}\"");
            HeaderValue::try_from(text).unwrap_or(plain)
        }
    }
}
