//! Keeps browsers from being used against the admin API.
//!
//! A page from anywhere can make a browser send requests to a loopback address, and a name under
//! its control can be made to point there. The first shows in `Origin`, the second in `Host`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::admin::error::ApiError;

pub(crate) async fn guard(request: Request, next: Next) -> Response {
    match check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let host = text(header::HOST).unwrap_or_default();
    if !is_local(host) {
        let reason = format!("host `{host}` is neither `localhost` nor an address");
        return Err(ApiError::Forbidden(reason));
    }
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    if let Some(origin) = text(header::ORIGIN).filter(|_| changes)
        && origin.split_once("://").map(|(_, host)| host) != Some(host)
    {
        let reason = format!("a page of `{origin}` may not change anything here");
        return Err(ApiError::Forbidden(reason));
    }
    Ok(())
}

/// Whether a host is one that no name server can redirect.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_let_in(method: &Method, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        check(method, &headers).is_ok()
    }

    #[test]
    fn only_local_hosts_and_pages_of_our_own_are_let_in() {
        for host in [
            "127.0.0.1:9901",
            "localhost:9901",
            "[::1]:9901",
            "127.0.0.1",
            "LOCALHOST",
        ] {
            assert!(is_let_in(&Method::POST, host, None), "{host}");
        }
        assert!(!is_let_in(&Method::GET, "evil.example:9901", None));
        assert!(!is_let_in(&Method::GET, "", None));
        let own = Some("http://127.0.0.1:9901");
        assert!(is_let_in(&Method::POST, "127.0.0.1:9901", own));
        assert!(!is_let_in(
            &Method::POST,
            "127.0.0.1:9901",
            Some("http://evil.example")
        ));
        assert!(!is_let_in(&Method::PUT, "127.0.0.1:9901", Some("null")));
        assert!(is_let_in(
            &Method::GET,
            "127.0.0.1:9901",
            Some("http://evil.example")
        ));
    }
}
