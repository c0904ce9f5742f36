//! How each single value is written as text, and what to say where it is not.
//!
//! Messages have the form `problem; hint`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, Method};

use crate::domain::backend::Endpoint;
use crate::domain::ids::{
    AppId, BackendName, CustomCheckName, FlagName, GroupName, InvalidName, TargetName, TokenName,
    VariantName,
};
use crate::domain::route::HostPattern;
use crate::domain::weight::Weight;

use crate::config::schema::Shape;
use crate::config::written::FromText;

/// The longest host name (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

impl FromText for String {
    const EXPECTED: &'static str = "text";
    const INSTEAD_OF_NUMBER: &'static str = "put it in quotes: `\"\0\"`";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

/// A text of at least one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NonEmpty(pub(super) String);

impl FromText for NonEmpty {
    const EXPECTED: &'static str = "text";
    const INSTEAD_OF_NUMBER: &'static str = String::INSTEAD_OF_NUMBER;
    const SHAPE: Shape = Shape::NOT_BLANK;

    fn from_text(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty; write at least one character".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! names {
    ($($name:ident: $expected:literal),*) => {$(
        impl FromText for $name {
            const EXPECTED: &'static str = $expected;
            const INSTEAD_OF_NUMBER: &'static str = String::INSTEAD_OF_NUMBER;
            const SHAPE: Shape = Shape::NAME;

            fn from_text(text: &str) -> Result<Self, String> {
                text.parse().map_err(|error: InvalidName| error.to_string())
            }
        }
    )*};
}

names! {
    FlagName: "the name of a flag",
    GroupName: "the name of a group",
    BackendName: "the name of a backend",
    CustomCheckName: "the name of a custom check",
    TargetName: "the name of a target",
    TokenName: "the name of a token",
    VariantName: "the name of a variant",
    AppId: "the id of an app"
}

impl FromText for Weight {
    const EXPECTED: &'static str = "a percentage such as `25%`";
    const INSTEAD_OF_NUMBER: &'static str = "write `\0%`";
    const SHAPE: Shape = Shape::of(r"[0-9]+(?:\.[0-9]+)?\s*%", &["1%", "0.5%", "100%"]);

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }
}

/// How much more than something else, as a ratio: `+25%` is 0.25; more than 100 % is possible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Increase(pub(super) f64);

impl FromText for Increase {
    const EXPECTED: &'static str = "a percentage such as `25%` or `+25%`";
    const INSTEAD_OF_NUMBER: &'static str = "write `\0%`";
    const SHAPE: Shape = Shape::of(r"\+?[0-9][0-9.]*\s*%", &["25%", "+25%"]);

    fn from_text(text: &str) -> Result<Self, String> {
        /// A hundredfold: whoever tolerates more than that tolerates everything.
        const PERCENT_MAX: f64 = 10_000.0;
        let number = text.strip_suffix('%').map(str::trim_end);
        let number = number.map(|number| number.strip_prefix('+').unwrap_or(number));
        let is_digit = |c: char| c.is_ascii_digit() || c == '.';
        let percent: Option<f64> = number
            .filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
            .filter(|number| number.chars().all(is_digit))
            .and_then(|number| number.parse().ok());
        match percent {
            None => Err(format!("`{text}` is not {}", Self::EXPECTED)),
            Some(percent) if percent > PERCENT_MAX => {
                Err(format!("`{text}` is above {PERCENT_MAX}%"))
            }
            Some(percent) => Ok(Self(percent / 100.0)),
        }
    }
}

/// A duration that may be zero.
impl FromText for Duration {
    const EXPECTED: &'static str = "a duration such as `30s` or `5m`";
    const INSTEAD_OF_NUMBER: &'static str = "add a unit: `\0s`";
    const SHAPE: Shape = Shape::DURATION;

    fn from_text(text: &str) -> Result<Self, String> {
        /// A century: no clock that the sum could overrun is near.
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
        let units = "units are `ms`, `s`, `m`, `h`, `d`, as in `1h30m`";
        let duration = humantime::parse_duration(text)
            .map_err(|_| format!("`{text}` is not {}; {units}", Self::EXPECTED))?;
        if duration > LONGEST {
            return Err(format!("`{text}` is longer than a century"));
        }
        Ok(duration)
    }
}

/// A duration above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl FromText for Span {
    const EXPECTED: &'static str = Duration::EXPECTED;
    const INSTEAD_OF_NUMBER: &'static str = Duration::INSTEAD_OF_NUMBER;
    const SHAPE: Shape = Shape::DURATION;

    fn from_text(text: &str) -> Result<Self, String> {
        let duration = Duration::from_text(text)?;
        if duration.is_zero() {
            return Err(format!("`{text}` is no time at all; write at least `1ms`"));
        }
        Ok(Self(duration))
    }
}

impl FromText for HeaderName {
    const EXPECTED: &'static str = "the name of a header";
    const INSTEAD_OF_NUMBER: &'static str = String::INSTEAD_OF_NUMBER;
    const SHAPE: Shape = Shape::TOKEN;

    fn from_text(text: &str) -> Result<Self, String> {
        let name = Self::from_str(text).map_err(|_| {
            format!("`{text}` is not the name of a header; write it without `:` and spaces")
        })?;
        if name.as_str().starts_with("serin-") {
            return Err(format!(
                "`{text}` is removed from every request, for `serin-` is how our own headers \
                 begin; choose another name"
            ));
        }
        Ok(name)
    }
}

/// A header that means nothing but what the configuration gives it: it can be taken out of a
/// request without a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnHeader(pub(super) HeaderName);

impl FromText for OwnHeader {
    const EXPECTED: &'static str = HeaderName::EXPECTED;
    const INSTEAD_OF_NUMBER: &'static str = HeaderName::INSTEAD_OF_NUMBER;
    const SHAPE: Shape = Shape::TOKEN.such_as(&["x-user-id"]);

    fn from_text(text: &str) -> Result<Self, String> {
        let name = HeaderName::from_text(text)?;
        let is_taken =
            TAKEN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-");
        if is_taken {
            return Err(format!(
                "`{text}` has a meaning of its own, and would be lost; choose another header"
            ));
        }
        Ok(Self(name))
    }
}

/// Headers that requests cannot do without.
const TAKEN_HEADERS: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// The name of a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CookieName(pub(super) Box<str>);

impl FromText for CookieName {
    const EXPECTED: &'static str = "the name of a cookie";
    const INSTEAD_OF_NUMBER: &'static str = String::INSTEAD_OF_NUMBER;
    const SHAPE: Shape = Shape::TOKEN;

    fn from_text(text: &str) -> Result<Self, String> {
        // A cookie's name and a method are both a `token` (RFC 6265, section 4.1.1).
        match Method::from_bytes(text.as_bytes()) {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(format!(
                "`{text}` is not the name of a cookie; write letters, digits, `-` and `_`"
            )),
        }
    }
}

impl FromText for Method {
    const EXPECTED: &'static str = "a method such as `GET`";
    const SHAPE: Shape = Shape::of("[^a-z\\s]+", &["GET", "POST", "PUT", "PATCH", "DELETE"]);

    fn from_text(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        if upper != text {
            return Err(format!("`{text}` is not in upper case; write `{upper}`"));
        }
        Self::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a method"))
    }
}

impl FromText for HostPattern {
    const EXPECTED: &'static str = "a host such as `api.example.com` or `*.example.com`";
    const SHAPE: Shape = Shape::of(
        r"(?:\*\.)?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]",
        &["api.example.com", "*.example.com"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        let host = text.to_ascii_lowercase();
        if let Some((name, _port)) = host.rsplit_once(':')
            && host.parse::<Ipv6Addr>().is_err()
            && !host.ends_with(']')
        {
            return Err(format!(
                "`{text}` has a port; write `{name}`, which fits on any port"
            ));
        }
        if let Some(suffix) = host.strip_prefix('*') {
            return match suffix.strip_prefix('.') {
                Some(domain) if is_host_name(domain) => Ok(Self::Wildcard(suffix.into())),
                _ => Err(format!(
                    "`{text}` is not a host; a wildcard is `*.example.com`"
                )),
            };
        }
        if is_host_name(&host) || is_bracketed_ipv6(&host) {
            Ok(Self::Exact(host.into()))
        } else {
            Err(format!(
                "`{text}` is not a host; write `api.example.com` or `*.example.com`"
            ))
        }
    }
}

fn is_host_name(host: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_letter);
    host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label)
}

fn is_bracketed_ipv6(host: &str) -> bool {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Where one server listens, and whether over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndpointUrl {
    pub(super) is_tls: bool,
    pub(super) endpoint: Endpoint,
}

impl FromText for EndpointUrl {
    const EXPECTED: &'static str = "a URL such as `http://10.0.0.1:8000`";
    const SHAPE: Shape = Shape::of(
        r"[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+/?",
        &["http://10.0.0.1:8000", "https://orders.internal"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| format!("`{text}` has no scheme; write `http://{text}`"))?;
        let (is_tls, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err(format!("unknown scheme `{scheme}`; write `http://{rest}`")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if !matches!(tail, "" | "/") {
            let hint = "a request keeps its own path; choose paths under `routes`";
            return Err(format!(
                "`{text}` has more than host and port (`{tail}`); {hint}"
            ));
        }
        if authority.contains('@') {
            let hint = "send credentials in a header of the request";
            return Err(format!(
                "a URL with user and password is not supported; {hint}"
            ));
        }
        let endpoint = endpoint(authority, default_port);
        let endpoint = endpoint.map_err(|problem| format!("`{text}` {problem}"))?;
        Ok(Self { is_tls, endpoint })
    }
}

/// Reads `host`, `host:port` or `[ipv6]:port`.
pub(super) fn endpoint(authority: &str, default_port: u16) -> Result<Endpoint, String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("has no closing `]`")?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(format!("has no IPv6 address in its brackets (`{host}`)"));
            }
            (host, port)
        }
        None if authority.parse::<Ipv6Addr>().is_ok() => {
            return Err(format!("lacks brackets; write `http://[{authority}]`"));
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            if !is_host_name(host) || (is_numeric && host.parse::<Ipv4Addr>().is_err()) {
                return Err(format!(
                    "has no valid host (`{host}`); write `http://10.0.0.1:8000`"
                ));
            }
            (host, port)
        }
    };
    let port = match port {
        "" => default_port,
        _ => port
            .strip_prefix(':')
            .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("has no valid port (`{port}`); write 1 to 65535"))?,
    };
    let host = host.to_ascii_lowercase().into();
    Ok(Endpoint { host, port })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use ipnet::IpNet;

    use super::*;

    fn read<T: FromText + std::fmt::Debug>(text: &str) -> Result<T, String> {
        T::from_text(text)
    }

    #[test]
    fn a_backend_url_is_host_and_port() {
        let endpoint = |text: &str| read::<EndpointUrl>(text).map(|url| url.endpoint.to_string());
        for (url, shown) in [
            ("http://10.0.0.1:8000", "10.0.0.1:8000"),
            ("http://orders", "orders:80"),
            ("HTTP://Orders.Internal:81/", "orders.internal:81"),
            ("http://[2001:db8::1]", "[2001:db8::1]:80"),
            ("http://[::1]:9000", "[::1]:9000"),
            ("https://orders", "orders:443"),
            ("HTTPS://[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(endpoint(url).as_deref(), Ok(shown), "{url}");
        }
        for (url, part) in [
            ("", "has no scheme"),
            ("10.0.0.1:8000", "write `http://10.0.0.1:8000`"),
            ("ftp://x", "unknown scheme `ftp`"),
            ("http://", "no valid host"),
            ("http://:80", "no valid host"),
            ("http://a/b", "more than host and port (`/b`)"),
            ("http://a?b", "more than host and port (`?b`)"),
            ("http://u:p@a", "user and password"),
            ("http://a:0", "no valid port"),
            ("http://a:65536", "no valid port"),
            ("http://a:1:2", "no valid port"),
            ("http://a:+1", "no valid port"),
            ("http://::1", "lacks brackets; write `http://[::1]`"),
            ("http://[::1", "no closing `]`"),
            ("http://[x]", "no IPv6 address"),
            ("http://10.0.0", "no valid host"),
            ("http://a b", "no valid host"),
        ] {
            let problem = endpoint(url).unwrap_err();
            assert!(problem.contains(part), "{url}: {problem}");
        }
    }

    #[test]
    fn hosts_are_names_or_wildcards_without_port() {
        assert_eq!(
            read("API.example.com"),
            Ok(HostPattern::Exact("api.example.com".into()))
        );
        assert_eq!(
            read("*.example.com"),
            Ok(HostPattern::Wildcard(".example.com".into()))
        );
        assert_eq!(read("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
        for bad in [
            "",
            "*",
            "*example.com",
            "a.*.b",
            "a:80",
            "[::1]:80",
            "a..b",
            "::1",
            "a/b",
        ] {
            assert!(read::<HostPattern>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_increase_may_exceed_the_whole_but_not_be_negative() {
        assert_eq!(read("25%"), Ok(Increase(0.25)));
        assert_eq!(read("+250 %"), Ok(Increase(2.5)));
        for bad in [
            "", "%", "25", "-5%", "++5%", "1e3%", "inf%", "1.2.3%", "99999%",
        ] {
            assert!(read::<Increase>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn listener_addresses_come_with_a_hint() {
        for (text, hint) in [
            (":8080", "write `0.0.0.0:8080`"),
            ("::", "add a port: `[::]:8080`"),
            ("localhost:80", "write `127.0.0.1:80`"),
            ("example.com:80", "host names are not looked up"),
        ] {
            let problem = read::<SocketAddr>(text).unwrap_err();
            assert!(problem.contains(hint), "{problem}");
        }
    }

    #[test]
    fn networks_have_no_stray_bits() {
        assert_eq!(
            read("::ffff:192.0.2.1"),
            Ok(IpNet::from(IpAddr::from([192, 0, 2, 1])))
        );
        assert!(
            read::<IpNet>("10.1.0.0/8")
                .unwrap_err()
                .contains("`10.0.0.0/8`")
        );
        assert!(read::<IpNet>("10.0.0.0/33").is_err());
    }
}
