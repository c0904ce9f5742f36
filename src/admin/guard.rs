//! Keeps browsers from being used against the admin API.
//!
//! A page from anywhere can make a browser send requests to a loopback address, and a name under
//! its control can be made to point there. The first shows in `Origin`, the second in `Host`.
//!
//! Where a token is needed, any name will do as `Host`: a browser does not know the token, and
//! adds none by itself, so a name that is made to point here opens nothing. Such a listener has
//! names of its own, and often a proxy with TLS in front of it. `Origin` is looked at in any case.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::admin::AdminState;
use crate::admin::error::ApiError;

pub(crate) async fn guard(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    let hosts = if state.gate.needs_token() {
        Hosts::Any
    } else {
        Hosts::Local
    };
    match check(request.method(), request.headers(), hosts) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Which hosts may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hosts {
    /// Addresses and `localhost`.
    Local,
    /// All.
    Any,
}

fn check(method: &Method, headers: &HeaderMap, hosts: Hosts) -> Result<(), ApiError> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let host = text(header::HOST).unwrap_or_default();
    if hosts == Hosts::Local && !is_local(host) {
        let reason =
            format!("host `{host}` is neither `localhost` nor an address, and there are no tokens");
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
        is_let_in_among(Hosts::Local, method, host, origin)
    }

    fn is_let_in_among(hosts: Hosts, method: &Method, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        check(method, &headers, hosts).is_ok()
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

    #[test]
    fn where_a_token_is_needed_any_host_will_do_but_only_pages_of_its_own() {
        let post = |host, origin| is_let_in_among(Hosts::Any, &Method::POST, host, origin);
        assert!(post("edge.example:9901", None));
        assert!(post("edge.example", Some("https://edge.example")));
        assert!(!post("edge.example", Some("https://evil.example")));
        assert!(!post("edge.example", Some("null")));
    }
}
