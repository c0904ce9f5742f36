//! Answers that Serin gives itself, as problem details (RFC 9457).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::proxy::download::ResponseBody;
use crate::proxy::error::ProxyError;

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
    if error.ends_connection() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(id) = request_id {
        headers.insert("x-request-id", id.clone());
    }
    response
}
