//! What is taken out of a head and what is put in, on its way through.
//!
//! Heads are changed in place. Fields that belong to one connection only are removed (RFC 9110,
//! section 7.6.1), framing is left to who writes them, and what we say about a request ourselves cannot be
//! said by anyone we do not trust.

use http::header::{self, Entry, HeaderName};
use http::{HeaderMap, HeaderValue, Version};
use smallvec::SmallVec;

use crate::proxy::postscript::{Draft, Own};
use crate::proxy::trace;

/// The way of a request in the words of RFC 7239.
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static(Own::Forwarded.as_str());
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Removes what only we, or those we trust, may say: every `serin-…` field, and from an untrusted
/// peer the `guarded` ones, from which callers are known, and all that speaks of forwarding.
///
/// An underscore counts as a hyphen; `guarded` is asked with hyphens only.
pub(crate) fn remove_forged(
    headers: &mut HeaderMap,
    is_trusted: bool,
    guarded: impl Fn(&str) -> bool,
) {
    let is_forged = |name: &str| {
        let is_of_others = || {
            name.starts_with("x-forwarded-")
                || name == FORWARDED.as_str()
                || name == X_REAL_IP.as_str()
                || guarded(name)
        };
        name.starts_with("serin-") || !is_trusted && is_of_others()
    };
    let is_removed = |name: &&HeaderName| match name.as_str() {
        text if text.contains('_') => is_forged(&text.replace('_', "-")),
        text => is_forged(text),
    };
    // Hardly any request has one, and to collect none costs as well.
    if !headers.keys().any(|name| is_removed(&name)) {
        return;
    }
    let forged: SmallVec<[HeaderName; 4]> = headers.keys().filter(is_removed).cloned().collect();
    forged.iter().for_each(|name| drop(headers.remove(name)));
}

/// Whether two names are one to a gateway behind us: many make the same variable of an underscore and a
/// hyphen.
pub(crate) fn is_alike(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Removes a field in whichever spelling.
pub(crate) fn remove_alike(headers: &mut HeaderMap, name: &HeaderName) {
    let is_alike = |known: &&HeaderName| is_alike(known.as_str(), name.as_str());
    let alike: SmallVec<[HeaderName; 2]> = headers.keys().filter(is_alike).cloned().collect();
    alike.iter().for_each(|name| drop(headers.remove(name)));
}

/// Removes the fields that concern one connection only, and those that `Connection` names.
///
/// Framing goes with them: who writes a message frames it by the body it carries.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    let fixed = headers.keys().filter(|name| is_hop_by_hop(name));
    let mut removed: SmallVec<[HeaderName; 4]> = fixed.cloned().collect();
    if removed.contains(&header::CONNECTION) {
        for field in headers.get_all(header::CONNECTION) {
            let named = field.as_bytes().split(|byte| *byte == b',');
            let named = named.map(<[u8]>::trim_ascii).filter(|name| !is_own(name));
            removed.extend(named.filter_map(|name| HeaderName::from_bytes(name).ok()));
        }
    }
    let keeps_trailers = removed.contains(&header::TE)
        && headers.get_all(header::TE).iter().any(|field| {
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

/// Whether a field concerns one connection only, named or not. Texts are compared: names of all kinds take their length
/// first so, where [`HeaderName`]s are compared one by one.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "transfer-encoding"
            | "upgrade"
            | "te"
            | "keep-alive"
            | "proxy-connection"
            // What `Upgrade: h2c` comes with.
            | "http2-settings"
            | "proxy-authorization"
            | "proxy-authenticate"
    )
}

/// Whether a word of `Connection` is about the connection itself; no field has to go for it that does not go anyhow.
fn is_own(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"keep-alive") || word.eq_ignore_ascii_case(b"close")
}

/// Removes what must not stand behind a body, since whoever merges it with the head would be framed, routed
/// or persuaded by it (RFC 9110, section 6.5.1).
pub(crate) fn remove_of_heads(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    for name in OF_HEADS {
        trailers.remove(name);
    }
}

/// Framing, routing, authentication, what modifies a request, and how its content is to be read.
const OF_HEADS: [HeaderName; 19] = [
    header::CONTENT_LENGTH,
    header::TRAILER,
    header::HOST,
    header::AUTHORIZATION,
    header::COOKIE,
    header::CACHE_CONTROL,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::RANGE,
    header::TE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    trace::REQUEST_ID,
];

/// Makes one field of cookies that came in several, as HTTP/2 lets them (RFC 9113, section 8.2.3);
/// nothing else understands them so.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(_)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut cookies = first.as_bytes().to_vec();
    for crumb in headers.get_all(header::COOKIE).iter().skip(1) {
        cookies.extend_from_slice(b"; ");
        cookies.extend_from_slice(crumb.as_bytes());
    }
    // Header values with a semicolon between them are one again.
    if let Ok(cookies) = HeaderValue::try_from(cookies) {
        headers.insert(header::COOKIE, cookies);
    }
}

/// Adds us to the proxies a message has passed, with the version it came in.
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    add_to_list(headers, header::VIA, via(version));
}

/// The same of a request, to be told its backend.
pub(crate) fn say_via(draft: &mut Draft<'_>, version: Version) {
    say_in_list(draft, Own::Via, via(version));
}

/// Who we are, and by which version a message came.
const fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 serin",
        Version::HTTP_2 => "2 serin",
        _ => "1.1 serin",
    })
}

/// Adds a value to a field of ours that is a list.
pub(crate) fn say_in_list(draft: &mut Draft<'_>, own: Own, value: HeaderValue) {
    if draft.brings(own) {
        add_to_list(draft.fields(), HeaderName::from_static(own.as_str()), value);
    } else {
        draft.set(own, value);
    }
}

/// Adds a value to a field that is a list, which becomes one line.
fn add_to_list(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(place) => drop(place.insert(value)),
        Entry::Occupied(mut place) => {
            let mut values = place.iter();
            let first = values.next().cloned();
            let known = values.fold(first, |list, next| list.map(|list| append(&list, next)));
            let list = known.map_or_else(|| value.clone(), |known| append(&known, &value));
            place.insert(list);
        }
    }
}

/// A list with one more value at its end.
pub(crate) fn append(list: &HeaderValue, value: &HeaderValue) -> HeaderValue {
    let bytes = [list.as_bytes(), b", ", value.as_bytes()].concat();
    // Two header values joined by a comma are one again.
    HeaderValue::try_from(bytes).unwrap_or_else(|_| value.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fields by name and value, in order.
    pub(crate) fn map(fields: &[(&str, &str)]) -> HeaderMap {
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
    fn an_underscore_is_a_hyphen_and_nothing_else() {
        assert!(is_alike("x_user-id", "x-user_id") && is_alike("a", "a"));
        for other in ["x_user", "x-user-ids", "xyuser-id", "x-user.id"] {
            assert!(!is_alike("x-user-id", other), "{other}");
        }
        let fields = [("x_force", "a"), ("x-force", "b"), ("x-forced", "c")];
        for name in ["x_force", "x-force"] {
            let mut headers = map(&fields);
            remove_alike(&mut headers, &HeaderName::from_static(name));
            assert_eq!(names(&headers), ["x-forced"]);
        }
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
            ("http2-settings", "AAMAAABk"),
            ("content-length", "5"),
            ("host", "example.com"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["accept", "host", "te"]);
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn what_makes_a_head_does_not_come_behind_the_body() {
        let mut trailers = map(&[
            ("x-sum", "1"),
            ("grpc-status", "0"),
            ("host", "evil.test"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-named"),
            ("x-named", "1"),
            ("te", "trailers"),
            ("authorization", "Basic YTpi"),
            ("cookie", "a=1"),
            ("trailer", "x-sum"),
            ("x-request-id", "mine"),
        ]);
        remove_of_heads(&mut trailers);
        assert_eq!(names(&trailers), ["grpc-status", "x-sum"]);
    }

    #[test]
    fn crumbs_of_cookies_become_one_field() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]);
        join_cookies(&mut headers);
        let all: Vec<_> = headers.get_all("cookie").iter().collect();
        assert_eq!(all, ["a=1; b=2; c=3; d=4"]);
        for few in [&[][..], &[("cookie", "a=1")]] {
            let mut headers = map(few);
            join_cookies(&mut headers);
            assert_eq!(headers, map(few));
        }
    }

    #[test]
    fn via_names_every_proxy_in_turn() {
        let mut headers = map(&[("via", "1.0 fred"), ("via", "1.1 p.example.net")]);
        add_via(&mut headers, Version::HTTP_11);
        assert_eq!(headers["via"], "1.0 fred, 1.1 p.example.net, 1.1 serin");
    }

    const NAMES: &[&str] = &[
        "connection",
        "Keep-Alive",
        "te",
        "upgrade",
        "transfer-encoding",
        "proxy-connection",
        "http2-settings",
        "proxy-authorization",
        "host",
        "content-length",
        "x-a",
        "x-b",
        "cookie",
        "serin-flags",
        "serin_flags",
        "x-forwarded-for",
        "X_Forwarded-Proto",
        "forwarded",
        "x-real-ip",
    ];

    /// What `Connection` and others may say.
    fn value() -> impl Strategy<Value = String> {
        let word = proptest::sample::select(NAMES);
        let noise =
            proptest::sample::select(&["", " ", "\t", ", ", ",,", ";", "close", "\u{e9}"][..]);
        let words = proptest::collection::vec((word, noise), 0..4);
        words.prop_map(|words| {
            let text = |(word, noise): &(&str, &str)| format!("{noise}{word}{noise}");
            words.iter().map(text).collect::<Vec<_>>().join(",")
        })
    }

    fn fields() -> impl Strategy<Value = HeaderMap> {
        let field = (proptest::sample::select(NAMES), value());
        let fields = proptest::collection::vec(field, 0..12);
        fields.prop_map(|fields| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            headers
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whatever_connection_says_nothing_of_one_connection_goes_on(headers in fields()) {
            let mut named = vec![
                "connection", "keep-alive", "upgrade", "transfer-encoding", "proxy-connection",
                "http2-settings", "proxy-authorization",
            ];
            let said: Vec<_> = headers.get_all("connection").iter().collect();
            let said: Vec<_> = said.iter().filter_map(|value| value.to_str().ok()).collect();
            let said: Vec<_> = said.iter().map(|value| value.to_ascii_lowercase()).collect();
            named.extend(said.iter().flat_map(|value| value.split(',')).map(str::trim));
            named.retain(|name| !matches!(*name, "host" | "content-length" | "te"));
            let hosts = headers.get_all("host").iter().count();
            let mut after = headers.clone();
            remove_hop_by_hop(&mut after);
            for name in named.iter().filter(|name| !name.is_empty()) {
                prop_assert!(!after.contains_key(*name), "{name}");
            }
            prop_assert_eq!(after.get_all("host").iter().count(), hosts);
            prop_assert!(after.get_all("te").iter().all(|value| value == "trailers"));
            // Nothing comes in that was not there.
            prop_assert!(after.keys().all(|name| headers.contains_key(name)));
        }

        #[test]
        fn whatever_is_said_nobody_speaks_for_us(headers in fields(), is_trusted: bool) {
            let mut after = headers.clone();
            remove_forged(&mut after, is_trusted, |name| name == "x-a");
            for name in after.keys() {
                let name = name.as_str().replace('_', "-");
                let is_of_others = name.starts_with("x-forwarded") || name == "forwarded";
                prop_assert!(!name.starts_with("serin-"), "{name}");
                prop_assert!(is_trusted || !(is_of_others || name == "x-real-ip" || name == "x-a"));
            }
            prop_assert!(after.contains_key("x-b") == headers.contains_key("x-b"));
        }
    }
}
