//! Finds out who sent a request.
//!
//! Sources are asked in the file's order, and the first that yields a key wins. Each is one file.

pub(crate) mod api_key;
pub(crate) mod assigned_cookie;
pub(crate) mod certificate;
pub(crate) mod client_ip;
pub(crate) mod cookie;
pub(crate) mod header;
pub(crate) mod jwt;

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

use crate::domain::app::App;
use crate::domain::caller::{CALLER_KEY_BYTES_MAX, Caller};
use crate::domain::certificate::CertificateNames;
use crate::domain::cookie_key::CookieKey;
use crate::domain::identity::IdentitySource;
use crate::proxy::identity::jwt::PresentedToken;

/// Who is at the other end of a connection, or behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer<'a> {
    pub(crate) ip: IpAddr,
    /// What was shown in the handshake and found to be good.
    pub(crate) certificate: Option<&'a CertificateNames>,
    /// The app whose key the request brings.
    pub(crate) app: Option<&'a App>,
    /// What the request says by a token, if it was looked at.
    pub(crate) token: Option<&'a PresentedToken>,
}

/// Who sent a request.
#[derive(Debug, Default)]
pub(crate) struct Identity<'a> {
    key: Option<Cow<'a, str>>,
    /// The source that the key is from, by its place.
    pub(crate) source: Option<usize>,
    /// What the caller is bucketed by, where that is another key.
    pub(crate) bucketed_by: Option<&'a str>,
    /// A cookie to be given to a caller that could not be known.
    pub(crate) set_cookie: Option<HeaderValue>,
}

impl Identity<'_> {
    /// The caller, as decisions see it.
    pub(crate) fn caller(&self) -> Caller<'_> {
        self.key.as_deref().map_or(Caller::Anonymous, Caller::Known)
    }
}

/// How cookies are made and known again.
pub(crate) struct Cookies<'a, D> {
    /// The key of those whose source has none.
    pub(crate) key: &'a CookieKey,
    /// Draws the number of a new one.
    pub(crate) draw: D,
}

/// Asks the sources for a caller's key.
pub(crate) fn identify<'a>(
    sources: &[IdentitySource],
    headers: &'a HeaderMap,
    client: Peer<'a>,
    cookies: Cookies<'_, impl FnOnce() -> u128>,
) -> Identity<'a> {
    let (own, mut draw) = (cookies.key, Some(cookies.draw));
    for (place, source) in sources.iter().enumerate() {
        let key = match source {
            IdentitySource::Header(name) => header::key(headers, name).map(Cow::Borrowed),
            IdentitySource::Cookie(name) => cookie::key(headers, name).map(Cow::Borrowed),
            IdentitySource::ClientIp => Some(Cow::Owned(client_ip::key(client.ip))),
            // Keys of apps were read before; the id stays where a key is rotated, and is no secret.
            IdentitySource::ApiKey(_) => client.app.map(|app| Cow::Borrowed(app.id.as_str())),
            IdentitySource::Jwt(_) => {
                let key = client.token.and_then(|token| token.key(place));
                key.map(Cow::Borrowed)
            }
            IdentitySource::Certificate(name) => {
                let key = client.certificate.and_then(|shown| shown.name(*name));
                key.map(Cow::Borrowed)
            }
            IdentitySource::AssignedCookie(cookie) => {
                if let Some(key) = assigned_cookie::key(headers, cookie, own) {
                    Some(Cow::Borrowed(key))
                } else if let Some(draw) = draw.take() {
                    // Nobody knows yet whether the browser keeps it. The value decides this
                    // request as well, so that the next one meets the same variant.
                    let number = assigned_cookie::number(draw());
                    let set_cookie = assigned_cookie::set(cookie, own, &number);
                    return Identity {
                        key: Some(Cow::Owned(number)),
                        source: Some(place),
                        bucketed_by: None,
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
                source: Some(place),
                bucketed_by: linked(&sources[place + 1..], headers, own),
                set_cookie: None,
            };
        }
    }
    Identity::default()
}

/// The number of a cookie that a caller is bucketed by who is known by an earlier source.
fn linked<'a>(
    later: &[IdentitySource],
    headers: &'a HeaderMap,
    own: &CookieKey,
) -> Option<&'a str> {
    later.iter().find_map(|source| match source {
        IdentitySource::AssignedCookie(cookie) if cookie.link => {
            assigned_cookie::key(headers, cookie, own)
        }
        _ => None,
    })
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= CALLER_KEY_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::domain::identity::{AssignedCookie, SameSite};

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        fields.iter().map(pair).collect()
    }

    fn own() -> CookieKey {
        CookieKey::new(&[7; 32])
    }

    fn identify<'a>(
        sources: &[IdentitySource],
        headers: &'a HeaderMap,
        peer: Peer<'a>,
        draw: impl FnOnce() -> u128,
    ) -> Identity<'a> {
        let key = &own();
        super::identify(sources, headers, peer, Cookies { key, draw })
    }

    fn assigned(link: bool) -> IdentitySource {
        IdentitySource::AssignedCookie(Box::new(AssignedCookie {
            name: "serin".into(),
            max_age: Duration::from_secs(60),
            key: None,
            secure: true,
            same_site: SameSite::Lax,
            link,
        }))
    }

    fn peer() -> Peer<'static> {
        Peer {
            ip: "192.0.2.9".parse().unwrap(),
            certificate: None,
            app: None,
            token: None,
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
        let sources = [assigned(false)];
        let none = HeaderMap::new();
        let first = identify(&sources, &none, peer(), || 0xabc);
        let given = first.set_cookie.unwrap();
        let number = "00000000000000000000000000000abc";
        let cookie = own().value("serin", number);
        assert_eq!(
            given,
            format!("serin={cookie}; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax")
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

        for forged in ["serin=admin".to_owned(), format!("serin={number}")] {
            let forged = headers(&[("cookie", &forged)]);
            let answered = identify(&sources, &forged, peer(), || 1);
            assert!(answered.set_cookie.is_some());
        }
    }

    #[test]
    fn who_logs_in_stays_in_the_bucket_of_the_cookie_where_that_is_wanted() {
        let number = "00000000000000000000000000000abc";
        let cookie = format!("uid=ann; serin={}", own().value("serin", number));
        let (both, unsigned) = (
            headers(&[("cookie", &cookie)]),
            format!("uid=ann; serin={number}"),
        );
        let forged = headers(&[("cookie", &unsigned)]);
        for (link, fields, expected) in [
            (true, &both, Some(number)),
            (false, &both, None),
            (true, &forged, None),
        ] {
            let sources = [IdentitySource::Cookie("uid".into()), assigned(link)];
            let found = identify(&sources, fields, peer(), || unreachable!("she is known"));
            assert_eq!(found.caller().key(), Some("ann"));
            assert_eq!(found.bucketed_by, expected);
        }
    }
}
