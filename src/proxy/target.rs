//! What a request asks for: one host, and a target on it.

use http::uri::{Parts, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};

use crate::proxy::error::ProxyError;

/// Makes a request's target relative and its `Host` the one it asks for, as an origin wants it.
///
/// A host in the target is the one that counts (RFC 9112, section 3.2.2), but the field must be there and
/// be one all the same (section 3.2). In HTTP/2 a `Host` beside it must be the same (RFC 9113, section
/// 8.3.1). Returns the host as it goes upstream.
///
/// # Errors
/// [`ProxyError::BadHost`] where there is not exactly one, [`ProxyError::BadTarget`] where the target is
/// not one of a server.
pub(crate) fn settle<B>(request: &mut Request<B>) -> Result<HeaderValue, ProxyError> {
    let is_about_all = request.uri().path() == "*";
    if is_about_all && request.method() != Method::OPTIONS {
        return Err(ProxyError::BadTarget);
    }
    if let Some(authority) = request.uri().authority() {
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
            return Err(ProxyError::BadTarget);
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| ProxyError::BadHost)?;
        if !may_stand_beside(request, &host) {
            return Err(ProxyError::BadHost);
        }
        let relative = relative(request.uri()).ok_or(ProxyError::BadTarget)?;
        *request.uri_mut() = relative;
        request.headers_mut().insert(header::HOST, host);
    } else if !is_about_all && !request.uri().path().starts_with('/') {
        return Err(ProxyError::BadTarget);
    }
    let host = the_host(request.headers());
    host.cloned().ok_or(ProxyError::BadHost)
}

/// The field `Host`, if it is there once and names one.
fn the_host(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut fields = headers.get_all(header::HOST).iter();
    let host = fields.next().filter(|host| is_host(host.as_bytes()))?;
    fields.next().is_none().then_some(host)
}

/// Whether what `Host` says, or that it is not there, fits a target that names this host.
fn may_stand_beside<B>(request: &Request<B>, host: &HeaderValue) -> bool {
    let headers = request.headers();
    let mut fields = headers.get_all(header::HOST).iter();
    match request.version() {
        Version::HTTP_2 => {
            fields.all(|field| field.as_bytes().eq_ignore_ascii_case(host.as_bytes()))
        }
        Version::HTTP_10 if fields.next().is_none() => true,
        _ => the_host(headers).is_some(),
    }
}

/// The part of a target that an origin is asked for.
fn relative(uri: &Uri) -> Option<Uri> {
    let target = uri.path_and_query();
    match target.map_or("/", PathAndQuery::as_str) {
        "/" => Some(Uri::default()),
        "*" => Some(Uri::from_static("*")),
        text if text.starts_with('?') => format!("/{text}").parse().ok(),
        text if text.starts_with('/') => {
            // As it is: every request over HTTP/2 comes here.
            let mut parts = Parts::default();
            parts.path_and_query = target.cloned();
            Uri::from_parts(parts).ok()
        }
        _ => None,
    }
}

/// Whether a value is a name or an address, and perhaps a port: no user, no path, no list.
fn is_host(value: &[u8]) -> bool {
    let end_of = |end: u8| value.iter().position(|byte| *byte == end);
    // An address with colons has brackets around it.
    let is_bracketed = value.first() == Some(&b'[');
    let name_end = if is_bracketed {
        end_of(b']').map_or(0, |bracket| bracket + 1)
    } else {
        end_of(b':').unwrap_or(value.len())
    };
    let (name, port) = value.split_at(name_end);
    let is_part = |byte: &u8| OF_NAMES[usize::from(*byte)];
    let is_name = if is_bracketed {
        let name = name.get(1..name_end.max(2) - 1).unwrap_or(&[]);
        !name.is_empty() && name.iter().all(|byte| is_part(byte) || *byte == b':')
    } else {
        !name.is_empty() && name.iter().all(is_part)
    };
    let has_good_port = match port {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    is_name && has_good_port
}

/// Whether a byte may be in a name or an address without brackets, by its value: each request asks this of each byte.
const OF_NAMES: [bool; 256] = {
    let mut of_names = [false; 256];
    let mut byte = 0_u8;
    loop {
        of_names[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
        if byte == u8::MAX {
            break of_names;
        }
        byte += 1;
    }
};

/// Digits up to 65,535. None at all are the port of the scheme (RFC 3986, section 3.2.3).
fn is_port(digits: &[u8]) -> bool {
    let value = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u16>().ok();
    digits.is_empty() || digits.iter().all(u8::is_ascii_digit) && value(digits).is_some()
}

/// The name in a `Host` value: without its port, without a final dot.
pub(crate) fn host_name(host: &HeaderValue) -> &str {
    let text = host.to_str().unwrap_or_default();
    // From the end, for a port is short: a search for the colon would begin with its own set-up.
    let port = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    let name = &text[..text.len() - port];
    let name = name.strip_suffix(':').unwrap_or(text);
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::get(target).body(()).unwrap();
        for host in hosts {
            let host = HeaderValue::from_str(host).unwrap();
            request.headers_mut().append(header::HOST, host);
        }
        request
    }

    fn host(target: &str, hosts: &[&str]) -> Option<String> {
        let host = settle(&mut request(target, hosts)).ok()?;
        Some(host.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_absolute_target_replaces_the_host() {
        let mut request = request(
            "http://api.example.com:81/orders?x=1",
            &["other.example.com"],
        );
        let host = settle(&mut request).unwrap();
        assert_eq!(request.uri(), "/orders?x=1");
        assert_eq!(request.headers()["host"], "api.example.com:81");
        assert_eq!(host_name(&host), "api.example.com");
    }

    #[test]
    fn of_an_absolute_target_the_origin_is_asked_for_the_rest() {
        for (target, rest) in [
            ("http://a", "/"),
            ("http://a/", "/"),
            ("http://a?x=1", "/?x=1"),
            ("http://a/?x", "/?x"),
            ("http://a//b/../c;d?e=/f?g", "//b/../c;d?e=/f?g"),
        ] {
            let rest_of = relative(&target.parse().unwrap()).unwrap();
            assert_eq!(rest_of, rest.parse::<Uri>().unwrap(), "{target}");
            assert_eq!(rest_of.to_string(), rest, "{target}");
            assert_eq!(rest_of.path_and_query().unwrap(), rest, "{target}");
            assert_eq!(rest_of.path(), rest.split('?').next().unwrap());
        }
    }

    #[test]
    fn in_http_2_the_two_must_agree() {
        let agrees = |target: &str, hosts: &[&str]| {
            let mut request = request(target, hosts);
            *request.version_mut() = Version::HTTP_2;
            settle(&mut request).is_ok()
        };
        assert!(agrees("https://api.example.com/", &[]));
        assert!(agrees("https://api.example.com/", &["API.example.com"]));
        assert!(!agrees("https://api.example.com/", &["other.example.com"]));
        assert!(!agrees(
            "https://api.example.com/",
            &["api.example.com", "other"]
        ));
        assert!(agrees("/", &["api.example.com"]));
    }

    #[test]
    fn a_name_has_no_port_and_no_final_dot() {
        let name = |host: &'static str| host_name(&HeaderValue::from_static(host)).to_owned();
        assert_eq!(name("[2001:db8::1]:80"), "[2001:db8::1]");
        assert_eq!(name("example.com."), "example.com");
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        for good in [
            "a",
            "a.example.com:8080",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "a_b",
            "a:",
            "a:65535",
        ] {
            assert_eq!(host("/", &[good]).unwrap(), good);
        }
        for bad in [
            "", "a b", "u@h", "a/b", "a,b", "a:80x", "a:1:2", "a#b", "[::1]x", "a:65536", "a:+80",
        ] {
            assert_eq!(host("/", &[bad]), None, "{bad}");
        }
        assert_eq!(host("/", &[]), None);
        assert_eq!(host("/", &["a", "a"]), None);
        for bad in ["::1]", "[]", "[::1", "[::1]80", "[a]b]", "a[", "a]"] {
            assert_eq!(host("/", &[bad]), None, "{bad}");
        }
        assert_eq!(host("http://h/", &[]), None);
        assert_eq!(host("http://h/", &["a", "a"]), None);
        assert_eq!(host("http://h/", &["a/b"]), None);
        assert_eq!(host("http://user:secret@h/", &["a"]), None);
        assert_eq!(host("ftp://h/x", &["a"]), None);
        assert_eq!(host("h:80", &["a"]), None);
        assert_eq!(host("*", &["a"]), None);
        assert_eq!(host("http://h?q", &["a"]).unwrap(), "h");
    }

    /// Pieces of targets and hosts, right and wrong.
    const PIECES: &[&str] = &[
        "http://", "https://", "ftp://", "//", "/", "*", "?", "#", "@", ":", ",", ".", "[", "]",
        "a", "b.test", "80", "65536", "%41", "[::1]", "u:p@", " ", "a:80",
    ];

    fn text() -> impl Strategy<Value = String> {
        let pieces = proptest::collection::vec(proptest::sample::select(PIECES), 0..5);
        pieces.prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_settled_names_one_host_and_a_target_on_it(
            target in text(),
            hosts in proptest::collection::vec(text(), 0..3),
            version in proptest::sample::select(&[
                Version::HTTP_10, Version::HTTP_11, Version::HTTP_2,
            ][..]),
        ) {
            let Ok(uri) = target.parse::<Uri>() else {
                return Ok(());
            };
            let authority = uri.authority().map(ToString::to_string);
            let mut request = Request::builder().uri(uri).version(version).body(()).unwrap();
            for host in &hosts {
                let host = HeaderValue::from_str(host).unwrap();
                request.headers_mut().append(header::HOST, host);
            }
            if let Ok(host) = settle(&mut request) {
                let fields: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
                prop_assert_eq!(fields, [&host]);
                let host = host.to_str().unwrap();
                prop_assert!(!host.is_empty() && !host.contains(['@', '/', '#', '?', ',', ' ']));
                prop_assert!(authority.is_none_or(|authority| authority == host));
                prop_assert!(hosts.len() == 1 || version != Version::HTTP_11);
                let uri = request.uri().to_string();
                prop_assert!(uri.starts_with('/'), "{uri}");
            }
        }
    }
}
