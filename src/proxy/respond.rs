//! Answers that Serin gives itself, as problem details (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::proxy::download::ResponseBody;
use crate::proxy::error::ProxyError;
use crate::proxy::identity::jwt::TokenRefusal;
use crate::runtime::apps::Denial;

/// The largest body that is taken and thrown away, so that the connection can go on.
const DISCARDED_BYTES_MAX: u64 = 64 * 1024;

/// How long it may take to come: what is sent with its head is there.
const DISCARDED_WITHIN: Duration = Duration::from_millis(50);

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

/// Takes a body that nobody wants, if it is small and there, or says that the connection ends: it could not go on, and a
/// client that is not told would lose its next request.
pub(crate) async fn discard_or_close(
    request: &mut Request<Incoming>,
    answer: &mut Response<ResponseBody>,
) {
    if request.version() == Version::HTTP_2 || request.body().is_end_stream() {
        return;
    }
    // Whoever waits to be asked for its body is not asked.
    let is_kept = request.headers().contains_key(header::EXPECT);
    let most = request.body().size_hint().upper();
    let is_small = most.is_some_and(|bytes| bytes <= DISCARDED_BYTES_MAX);
    let body = request.body_mut();
    let discard = async { while let Some(Ok(_)) = body.frame().await {} };
    if is_kept || !is_small || timeout(DISCARDED_WITHIN, discard).await.is_err() {
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
