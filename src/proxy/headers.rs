//! What is taken out of a head and what is put in, on its way through.
//!
//! Heads are changed in place. Fields that belong to one connection only are removed (RFC 9110,
//! section 7.6.1), framing is left to hyper, and what we say about a request ourselves cannot be
//! said by anyone we do not trust.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use smallvec::SmallVec;

use crate::domain::matcher::address::AddressMatcher;
use crate::proxy::connection::{Client, Scheme};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Tells the backend what was decided.
pub(crate) const SERIN_FLAGS: HeaderName = HeaderName::from_static("serin-flags");

/// Removes what only we, or those we trust, may say: every `serin-…` field, and from an untrusted
/// peer the `guarded` ones, from which callers are known, and all that speaks of forwarding.
///
/// An underscore counts as a hyphen: gateways behind us make the same variable of both.
pub(crate) fn remove_forged(
    headers: &mut HeaderMap,
    is_trusted: bool,
    guarded: impl Fn(&str) -> bool,
) {
    let is_forged = |name: &str| {
        let is_of_others =
            || name.starts_with("x-forwarded-") || name == FORWARDED.as_str() || guarded(name);
        name.starts_with("serin-") || !is_trusted && is_of_others()
    };
    let is_removed = |name: &&HeaderName| match name.as_str() {
        text if text.contains('_') => is_forged(&text.replace('_', "-")),
        text => is_forged(text),
    };
    let forged: SmallVec<[HeaderName; 4]> = headers.keys().filter(is_removed).cloned().collect();
    forged.iter().for_each(|name| drop(headers.remove(name)));
}

/// Removes the fields that concern one connection only, and those that `Connection` names.
///
/// Framing goes with them: hyper frames each message by the body it carries.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let is_fixed = |name: &&HeaderName| {
        [
            header::CONNECTION,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
            header::TE,
            KEEP_ALIVE,
            PROXY_CONNECTION,
            header::PROXY_AUTHORIZATION,
            header::PROXY_AUTHENTICATE,
        ]
        .contains(name)
    };
    let mut removed: SmallVec<[HeaderName; 4]> = headers.keys().filter(is_fixed).cloned().collect();
    if removed.is_empty() {
        return;
    }
    for field in headers.get_all(header::CONNECTION) {
        let named = field.as_bytes().split(|byte| *byte == b',');
        removed.extend(named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()));
    }
    let keeps_trailers = headers.get_all(header::TE).iter().any(|field| {
        field
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    if removed.contains(&header::TRANSFER_ENCODING) {
        // A length beside it is not the body's (RFC 9112, section 6.3), and must not frame it.
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in removed {
        // Whoever names these in `Connection` wants to hide from the backend what we say to it.
        if name != header::HOST && name != header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
    if keeps_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Makes a request's target relative and its `Host` the one it asks for, as an origin wants it.
///
/// Returns the host as it goes upstream, or `None` where there is not exactly one.
pub(crate) fn settle_host<B>(request: &mut Request<B>) -> Option<HeaderValue> {
    let is_about_all = request.uri().path() == "*";
    if is_about_all && request.method() != Method::OPTIONS {
        return None;
    }
    if let Some(authority) = request.uri().authority() {
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
            return None;
        }
        let host = HeaderValue::from_str(authority.as_str()).ok()?;
        let target = request.uri().path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let root = if target.starts_with('?') { "/" } else { "" };
        *request.uri_mut() = format!("{root}{target}").parse::<Uri>().ok()?;
        request.headers_mut().insert(header::HOST, host);
    }
    let mut fields = request.headers().get_all(header::HOST).iter();
    let host = fields.next().filter(|host| is_host(host.as_bytes()))?;
    fields.next().is_none().then(|| host.clone())
}

/// Whether a value is a name or an address, and perhaps a port: no user, no path, no list.
fn is_host(value: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(byte);
    let name_end = match value.iter().rposition(|byte| *byte == b']') {
        Some(bracket) => bracket + 1,
        None => value
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(value.len()),
    };
    let (name, port) = value.split_at(name_end);
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !name.is_empty() && name.iter().all(is_part) && is_port
}

/// The name in a `Host` value: without its port, without a final dot.
pub(crate) fn host_name(host: &HeaderValue) -> &str {
    let text = host.to_str().unwrap_or_default();
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => text,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// The address of the client behind trusted proxies.
///
/// `X-Forwarded-For` is read from right to left: each entry was written by the peer to its right,
/// so it counts only as far as these are trusted.
pub(crate) fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted: &AddressMatcher) -> IpAddr {
    if !trusted.contains(peer) {
        return peer;
    }
    let mut client = peer;
    for field in headers.get_all(&X_FORWARDED_FOR).iter().rev() {
        for entry in field.to_str().unwrap_or_default().rsplit(',') {
            let Some(address) = forwarded_ip(entry.trim()) else {
                return client;
            };
            client = address.to_canonical();
            if !trusted.contains(client) {
                return client;
            }
        }
    }
    client
}

/// An address, of which some proxies write the port as well.
fn forwarded_ip(entry: &str) -> Option<IpAddr> {
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    entry.parse().ok().or_else(with_port)
}

/// Says by what way a request came. What a trusted peer has said is kept and added to.
pub(crate) fn set_forwarding(headers: &mut HeaderMap, client: &Client, host: &HeaderValue) {
    let for_value = match joined(headers, &X_FORWARDED_FOR) {
        Some(known) => append(&known, &client.ip_value),
        None => client.ip_value.clone(),
    };
    headers.insert(X_FORWARDED_FOR, for_value);
    let element = forwarded_element(client, host);
    let forwarded = match joined(headers, &FORWARDED) {
        Some(known) => append(&known, &element),
        None => element,
    };
    headers.insert(FORWARDED, forwarded);
    headers
        .entry(X_FORWARDED_HOST)
        .or_insert_with(|| host.clone());
    headers
        .entry(X_FORWARDED_PROTO)
        .or_insert(HeaderValue::from_static(client.scheme.as_str()));
}

/// All values of a field as one list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.clone();
    Some(values.fold(first, |list, value| append(&list, value)))
}

fn append(list: &HeaderValue, value: &HeaderValue) -> HeaderValue {
    let bytes = [list.as_bytes(), b", ", value.as_bytes()].concat();
    // Two header values joined by a comma are one again.
    HeaderValue::try_from(bytes).unwrap_or_else(|_| value.clone())
}

/// `for=…;host=…;proto=…` (RFC 7239), kept for the next request of the same client.
fn forwarded_element(client: &Client, host: &HeaderValue) -> HeaderValue {
    if let Some((known, element)) = &*client.forwarded.borrow()
        && known == host
    {
        return element.clone();
    }
    let element = make_forwarded_element(client.ip, client.scheme, host);
    *client.forwarded.borrow_mut() = Some((host.clone(), element.clone()));
    element
}

fn make_forwarded_element(ip: IpAddr, scheme: Scheme, host: &HeaderValue) -> HeaderValue {
    let mut text = match ip {
        IpAddr::V4(ip) => format!("for={ip}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
    };
    // Quoted unless it is a token, as a port's colon is not; a quote cannot be in a host.
    let host = host.to_str().unwrap_or_default().replace(['"', '\\'], "");
    let is_token = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    let quote = if is_token { "" } else { "\"" };
    // Writing to a string cannot fail.
    let proto = scheme.as_str();
    let _ = write!(text, ";host={quote}{host}{quote};proto={proto}");
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("for=unknown"))
}

/// Adds us to the proxies a message has passed, with the version it came in.
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    let own = HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 serin",
        Version::HTTP_2 => "2 serin",
        _ => "1.1 serin",
    });
    let via = match joined(headers, &header::VIA) {
        Some(known) => append(&known, &own),
        None => own,
    };
    headers.insert(header::VIA, via);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn nobody_speaks_for_us_and_only_the_trusted_for_others() {
        let fields = [
            ("serin-flags", "orders=canary"),
            ("serin_flags", "orders=canary"),
            ("x-user-id", "admin"),
            ("x_user_id", "admin"),
            ("x_forwarded_for", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=192.0.2.1"),
            ("accept", "*/*"),
        ];
        let remaining = |is_trusted| {
            let mut headers = map(&fields);
            remove_forged(&mut headers, is_trusted, |name| name == "x-user-id");
            names(&headers).join(" ")
        };
        assert_eq!(remaining(false), "accept");
        assert_eq!(
            remaining(true),
            "accept forwarded x-forwarded-for x-forwarded-proto x-user-id x_forwarded_for x_user_id"
        );
    }

    #[test]
    fn what_concerns_one_connection_stays_on_it() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "keep-alive, host"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("te", "gzip, Trailers"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("proxy-connection", "close"),
            ("content-length", "5"),
            ("host", "example.com"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["accept", "host", "te"]);
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn a_client_is_looked_up_behind_trusted_proxies_only() {
        let trusted = AddressMatcher {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
        };
        let client = |peer: &str, chain: &[(&str, &str)]| {
            client_ip(&map(chain), peer.parse().unwrap(), &trusted).to_string()
        };
        let chain = [("x-forwarded-for", "198.51.100.7, 203.0.113.5, 10.0.0.2")];
        assert_eq!(client("10.0.0.1", &chain), "203.0.113.5");
        assert_eq!(client("192.0.2.1", &chain), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        let two = [
            ("x-forwarded-for", "203.0.113.5"),
            ("x-forwarded-for", "10.0.0.3"),
        ];
        assert_eq!(client("10.0.0.1", &two), "203.0.113.5");
        let with_port = [("x-forwarded-for", "198.51.100.7, 203.0.113.5:4711")];
        assert_eq!(client("10.0.0.1", &with_port), "203.0.113.5");
        let broken = [("x-forwarded-for", "203.0.113.5, unknown, 10.0.0.2")];
        assert_eq!(client("10.0.0.1", &broken), "10.0.0.2");
    }

    #[test]
    fn the_way_of_a_request_is_told_and_added_to() {
        let now = crate::runtime::clock::monotonic();
        let peer = "[::ffff:192.0.2.1]:7".parse().unwrap();
        let client = Client::new(peer, Scheme::Http, now);
        let host = HeaderValue::from_static("example.com:8080");
        let mut headers = HeaderMap::new();
        set_forwarding(&mut headers, &client, &host);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-host"], "example.com:8080");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(
            headers["forwarded"],
            "for=192.0.2.1;host=\"example.com:8080\";proto=http"
        );

        let mut headers = map(&[
            ("x-forwarded-for", "203.0.113.5"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=203.0.113.5"),
        ]);
        set_forwarding(
            &mut headers,
            &client,
            &HeaderValue::from_static("example.com"),
        );
        assert_eq!(headers["x-forwarded-for"], "203.0.113.5, 192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(
            headers["forwarded"],
            "for=203.0.113.5, for=192.0.2.1;host=example.com;proto=http"
        );
    }

    #[test]
    fn an_absolute_target_replaces_the_host() {
        let mut request = Request::get("http://api.example.com:81/orders?x=1")
            .header("host", "other.example.com")
            .body(())
            .unwrap();
        let host = settle_host(&mut request).unwrap();
        assert_eq!(request.uri(), "/orders?x=1");
        assert_eq!(request.headers()["host"], "api.example.com:81");
        assert_eq!(host_name(&host), "api.example.com");
        assert_eq!(
            host_name(&HeaderValue::from_static("[2001:db8::1]:80")),
            "[2001:db8::1]"
        );
        assert_eq!(
            host_name(&HeaderValue::from_static("example.com.")),
            "example.com"
        );
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        let host = |fields: &[(&str, &str)], target: &str| {
            let mut request = Request::get(target).body(()).unwrap();
            *request.headers_mut() = map(fields);
            settle_host(&mut request).map(|host| host.to_str().unwrap().to_owned())
        };
        for good in [
            "a",
            "a.example.com:8080",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "a_b",
            "a:",
        ] {
            assert_eq!(host(&[("host", good)], "/").unwrap(), good);
        }
        for bad in [
            "", "a b", "u@h", "a/b", "a,b", "a:80x", "a:1:2", "a#b", "[::1]x",
        ] {
            assert_eq!(host(&[("host", bad)], "/"), None, "{bad}");
        }
        assert_eq!(host(&[], "/"), None);
        assert_eq!(host(&[("host", "a"), ("host", "a")], "/"), None);
        assert_eq!(host(&[("host", "a")], "http://user:secret@h/"), None);
        assert_eq!(host(&[("host", "a")], "ftp://h/x"), None);
        assert_eq!(host(&[("host", "a")], "h:80"), None);
        assert_eq!(host(&[("host", "a")], "*"), None);
        assert_eq!(host(&[("host", "a")], "http://h?q").unwrap(), "h");
    }

    #[test]
    fn via_names_every_proxy_in_turn() {
        let mut headers = map(&[("via", "1.0 fred"), ("via", "1.1 p.example.net")]);
        add_via(&mut headers, Version::HTTP_11);
        assert_eq!(headers["via"], "1.0 fred, 1.1 p.example.net, 1.1 serin");
    }
}
