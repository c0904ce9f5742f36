//! By what way a request came: what proxies before us say of it, as far as they are trusted, and what
//! we say to the backend.

mod element;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::domain::matcher::address::AddressMatcher;
use crate::proxy::client::Client;
use crate::proxy::headers::{FORWARDED, append, say_in_list};
use crate::proxy::postscript::{Draft, Own};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static(Own::XForwardedFor.as_str());

/// What an element of `Forwarded` takes about, in bytes.
const ELEMENT_BYTES: usize = 96;

/// The address of the client behind trusted proxies.
///
/// The chain is read from right to left: each entry was written by the peer to its right, so it counts
/// only as far as these are trusted. `X-Forwarded-For` is the one that counts where it is there, for it
/// is what nearly all proxies write; `Forwarded` beside it may have passed one that does not know it.
pub(crate) fn client_ip(headers: &HeaderMap, peer: IpAddr, trusted: &AddressMatcher) -> IpAddr {
    if !trusted.contains(peer) {
        return peer;
    }
    if headers.contains_key(&X_FORWARDED_FOR) {
        let fields = headers.get_all(&X_FORWARDED_FOR).iter().rev();
        let entries = fields.flat_map(|field| field.to_str().unwrap_or_default().rsplit(','));
        walk(peer, entries.map(|entry| entry_ip(entry.trim())), trusted)
    } else {
        let fields = headers.get_all(&FORWARDED).iter().rev();
        let addresses = fields.flat_map(|field| element::addresses(field.as_bytes()));
        walk(peer, addresses, trusted)
    }
}

/// Goes back from a trusted peer to the first address that is not, or the last that is known.
fn walk(
    peer: IpAddr,
    chain: impl Iterator<Item = Option<IpAddr>>,
    trusted: &AddressMatcher,
) -> IpAddr {
    let mut client = peer;
    for address in chain {
        let Some(address) = address else {
            break;
        };
        client = address.to_canonical();
        if !trusted.contains(client) {
            break;
        }
    }
    client
}

/// An address, of which some proxies write the port as well.
fn entry_ip(entry: &str) -> Option<IpAddr> {
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    entry.parse().ok().or_else(with_port)
}

/// Says by what way a request came. What a trusted peer has said is kept and added to.
pub(crate) fn set_forwarding(draft: &mut Draft<'_>, client: &Client, host: &HeaderValue) {
    let ip = client.ip_value();
    if draft.brings(Own::Forwarded)
        && !draft.brings(Own::XForwardedFor)
        && let Some(chain) = chain_of_forwarded(draft.fields())
    {
        draft.set(Own::XForwardedFor, append(&chain, ip));
    } else {
        say_in_list(draft, Own::XForwardedFor, ip.clone());
    }
    say_in_list(draft, Own::Forwarded, forwarded_element(client, host));
    draft.set_default(Own::XForwardedHost, || host.clone());
    let scheme = || HeaderValue::from_static(client.scheme.as_str());
    draft.set_default(Own::XForwardedProto, scheme);
}

/// What `Forwarded` says, in the words of `X-Forwarded-For`, from where it can be read on: whoever reads
/// that field behind us is not to take the peer for the first of the chain.
fn chain_of_forwarded(headers: &HeaderMap) -> Option<HeaderValue> {
    let fields = headers.get_all(&FORWARDED).iter().rev();
    let mut chain = VecDeque::new();
    for address in fields.flat_map(|field| element::addresses(field.as_bytes())) {
        let Some(address) = address else {
            chain.push_front("unknown".to_owned());
            break;
        };
        chain.push_front(address.to_canonical().to_string());
    }
    let chain = chain.make_contiguous().join(", ");
    // Addresses in digits are always a header value.
    (!chain.is_empty()).then(|| HeaderValue::try_from(chain).ok())?
}

/// `for=…;host=…;proto=…` (RFC 7239), kept for the next request of the same client.
fn forwarded_element(client: &Client, host: &HeaderValue) -> HeaderValue {
    if let Some((known, element)) = &*client.forwarded.borrow()
        && known == host
    {
        return element.clone();
    }
    let element = make_forwarded_element(client, host);
    // A copy, for a value of a request is a part of the buffer that its head was read into, and would keep that.
    if let Ok(host) = HeaderValue::from_bytes(host.as_bytes()) {
        *client.forwarded.borrow_mut() = Some((host, element.clone()));
    }
    element
}

fn make_forwarded_element(client: &Client, host: &HeaderValue) -> HeaderValue {
    let ip = client.ip_value().as_bytes();
    let host = host.as_bytes();
    // Quoted unless it is a token, as a port's colon is not. A quote cannot be in a host, so one is left out.
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_token = host.iter().all(is_token);
    let quote: &[u8] = if is_token { b"" } else { b"\"" };
    let (before, after): (&[u8], &[u8]) = match client.ip() {
        IpAddr::V4(_) => (b"for=", b""),
        IpAddr::V6(_) => (b"for=\"[", b"]\""),
    };
    let mut text = Vec::with_capacity(ELEMENT_BYTES);
    for part in [before, ip, after, b";host=", quote] {
        text.extend_from_slice(part);
    }
    if is_token {
        text.extend_from_slice(host);
    } else {
        text.extend(host.iter().filter(|byte| !matches!(byte, b'"' | b'\\')));
    }
    for part in [quote, b";proto=", client.scheme.as_str().as_bytes()] {
        text.extend_from_slice(part);
    }
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("for=unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::client::Scheme;
    use crate::proxy::headers::tests::map;

    /// Makes a head the one that a backend gets to see.
    fn tell(headers: &mut HeaderMap, client: &Client, host: &HeaderValue) {
        let mut draft = Draft::of(headers);
        set_forwarding(&mut draft, client, host);
        draft.finish().put(headers);
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
    fn where_the_one_field_is_not_there_the_other_counts() {
        let trusted = AddressMatcher {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
        };
        let client = |peer: &str, chain: &[(&str, &str)]| {
            client_ip(&map(chain), peer.parse().unwrap(), &trusted).to_string()
        };
        let chain = [
            ("forwarded", "for=198.51.100.7, for=\"[2001:db8::7]:4711\""),
            ("forwarded", "for=10.0.0.3;proto=http, for=\"10.0.0.2\""),
        ];
        assert_eq!(client("10.0.0.1", &chain), "2001:db8::7");
        assert_eq!(client("192.0.2.1", &chain), "192.0.2.1");
        let mapped = [("forwarded", "for=\"[::ffff:10.0.0.2]\"")];
        assert_eq!(client("10.0.0.1", &mapped), "10.0.0.2");
        for end in ["unknown", "_hidden", "\"", "203.0.113.5:80", ""] {
            let field = format!("for=198.51.100.7, for={end}, for=10.0.0.2");
            let hidden = [("forwarded", &*field)];
            assert_eq!(client("10.0.0.1", &hidden), "10.0.0.2", "{field}");
        }
        let both = [
            ("forwarded", "for=198.51.100.7"),
            ("x-forwarded-for", "203.0.113.5"),
        ];
        assert_eq!(client("10.0.0.1", &both), "203.0.113.5");
        let both = [("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "")];
        assert_eq!(client("10.0.0.1", &both), "10.0.0.1");
    }

    #[test]
    fn a_chain_that_one_field_tells_goes_on_in_both() {
        let now = crate::runtime::clock::monotonic();
        let client = Client::new("192.0.2.1:7".parse().unwrap(), Scheme::Http, now);
        let host = HeaderValue::from_static("example.com");
        for (fields, chain) in [
            (&["for=203.0.113.5"][..], "203.0.113.5, 192.0.2.1"),
            (
                &["for=203.0.113.5, for=\"[2001:db8::1]:80\"", "for=10.0.0.2"],
                "203.0.113.5, 2001:db8::1, 10.0.0.2, 192.0.2.1",
            ),
            (
                &["for=203.0.113.5, for=_hidden, for=10.0.0.2"],
                "unknown, 10.0.0.2, 192.0.2.1",
            ),
            (&[",,,,"], "unknown, 192.0.2.1"),
        ] {
            let fields: Vec<_> = fields.iter().map(|field| ("forwarded", *field)).collect();
            let mut headers = map(&fields);
            tell(&mut headers, &client, &host);
            assert_eq!(headers["x-forwarded-for"], chain, "{fields:?}");
        }
    }

    #[test]
    fn the_way_of_a_request_is_told_and_added_to() {
        let now = crate::runtime::clock::monotonic();
        let peer = "[::ffff:192.0.2.1]:7".parse().unwrap();
        let client = Client::new(peer, Scheme::Http, now);
        let host = HeaderValue::from_static("example.com:8080");
        let mut headers = HeaderMap::new();
        tell(&mut headers, &client, &host);
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
        tell(
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
}
