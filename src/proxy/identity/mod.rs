//! Finds out who sent a request.
//!
//! Sources are asked in the file's order, and the first that yields a key wins. Each is one file.

pub(crate) mod api_key;
pub(crate) mod assigned_cookie;
pub(crate) mod certificate;
pub(crate) mod client_ip;
pub(crate) mod cookie;
pub(crate) mod header;

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

use crate::domain::app::App;
use crate::domain::caller::{CALLER_KEY_BYTES_MAX, Caller};
use crate::domain::certificate::CertificateNames;
use crate::domain::identity::IdentitySource;

/// Who is at the other end of a connection, or behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer<'a> {
    pub(crate) ip: IpAddr,
    /// What was shown in the handshake and found to be good.
    pub(crate) certificate: Option<&'a CertificateNames>,
    /// The app whose key the request brings.
    pub(crate) app: Option<&'a App>,
}

/// Who sent a request.
#[derive(Debug, Default)]
pub(crate) struct Identity<'a> {
    key: Option<Cow<'a, str>>,
    /// A cookie to be given to a caller that could not be known.
    pub(crate) set_cookie: Option<HeaderValue>,
}

impl Identity<'_> {
    /// The caller, as decisions see it.
    pub(crate) fn caller(&self) -> Caller<'_> {
        self.key.as_deref().map_or(Caller::Anonymous, Caller::Known)
    }
}

/// Asks the sources for a caller's key; `draw` makes the value of a cookie to be assigned.
pub(crate) fn identify<'a>(
    sources: &[IdentitySource],
    headers: &'a HeaderMap,
    client: Peer<'a>,
    draw: impl FnOnce() -> u128,
) -> Identity<'a> {
    let mut draw = Some(draw);
    for source in sources {
        let key = match source {
            IdentitySource::Header(name) => header::key(headers, name).map(Cow::Borrowed),
            IdentitySource::Cookie(name) => cookie::key(headers, name).map(Cow::Borrowed),
            IdentitySource::ClientIp => Some(Cow::Owned(client_ip::key(client.ip))),
            // Keys of apps were read before; the id stays where a key is rotated, and is no secret.
            IdentitySource::ApiKey(_) => client.app.map(|app| Cow::Borrowed(app.id.as_str())),
            IdentitySource::Certificate(name) => {
                let key = client.certificate.and_then(|shown| shown.name(*name));
                key.map(Cow::Borrowed)
            }
            IdentitySource::AssignedCookie(cookie) => {
                if let Some(key) = assigned_cookie::key(headers, cookie) {
                    Some(Cow::Borrowed(key))
                } else if let Some(draw) = draw.take() {
                    // Nobody knows yet whether the browser keeps it. The value decides this
                    // request as well, so that the next one meets the same variant.
                    let value = assigned_cookie::value(draw());
                    let set_cookie = assigned_cookie::set(cookie, &value);
                    return Identity {
                        key: Some(Cow::Owned(value)),
                        set_cookie: Some(set_cookie),
                    };
                } else {
                    None
                }
            }
        };
        if let Some(key) = key.filter(|key| is_key(key)) {
            return Identity {
                key: Some(key),
                set_cookie: None,
            };
        }
    }
    Identity::default()
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= CALLER_KEY_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::domain::identity::AssignedCookie;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        fields.iter().map(pair).collect()
    }

    fn peer() -> Peer<'static> {
        Peer {
            ip: "192.0.2.9".parse().unwrap(),
            certificate: None,
            app: None,
        }
    }

    fn key(sources: &[IdentitySource], fields: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers(fields);
        identify(sources, &headers, peer(), || 7)
            .key
            .map(Cow::into_owned)
    }

    #[test]
    fn the_first_source_that_yields_a_key_wins() {
        let sources = [
            IdentitySource::Header(HeaderName::from_static("x-user-id")),
            IdentitySource::Cookie("uid".into()),
            IdentitySource::ClientIp,
        ];
        let both = [("x-user-id", "ann"), ("cookie", "uid=bob")];
        assert_eq!(key(&sources, &both).unwrap(), "ann");
        assert_eq!(key(&sources, &both[1..]).unwrap(), "bob");
        assert_eq!(key(&sources, &[]).unwrap(), "192.0.2.9");
        assert_eq!(key(&sources[..2], &[]), None);
    }

    #[test]
    fn an_empty_or_endless_key_is_none() {
        let sources = [IdentitySource::Header(HeaderName::from_static("x-user-id"))];
        assert_eq!(key(&sources, &[("x-user-id", "")]), None);
        let endless = "x".repeat(CALLER_KEY_BYTES_MAX + 1);
        assert_eq!(key(&sources, &[("x-user-id", &endless)]), None);
    }

    #[test]
    fn an_unknown_browser_is_given_a_cookie_that_makes_it_known() {
        let cookie = AssignedCookie {
            name: "serin".into(),
            max_age: Duration::from_secs(60),
        };
        let sources = [IdentitySource::AssignedCookie(cookie)];
        let none = HeaderMap::new();
        let first = identify(&sources, &none, peer(), || 0xabc);
        let given = first.set_cookie.unwrap();
        assert_eq!(
            given,
            "serin=00000000000000000000000000000abc; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"
        );
        let value = given
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let returning = headers(&[("cookie", &value)]);
        let second = identify(&sources, &returning, peer(), || {
            unreachable!("it has a cookie")
        });
        assert_eq!(second.key, first.key);
        assert!(second.set_cookie.is_none());

        let forged = headers(&[("cookie", "serin=admin")]);
        assert!(
            identify(&sources, &forged, peer(), || 1)
                .set_cookie
                .is_some()
        );
    }
}
