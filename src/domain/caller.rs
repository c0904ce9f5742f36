//! What is known of one request and of whoever sent it, borrowed from the request itself.

use std::net::IpAddr;

use http::{HeaderMap, Method, header};

use crate::domain::app::App;
use crate::domain::certificate::CertificateNames;
use crate::domain::ids::GroupIndex;
use crate::domain::jwt::Claims;

/// The longest caller key that is used, in bytes; a longer one is as good as none.
///
/// Long enough for a subject or a URI of a certificate, short enough to keep a million of them.
pub const CALLER_KEY_BYTES_MAX: usize = 256;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// An identity source found a key: this caller can be known again.
    Known(&'a str),
    /// No key: the request stands for itself and is drawn at random.
    Anonymous,
}

impl<'a> Caller<'a> {
    /// The key, where there is one.
    pub const fn key(self) -> Option<&'a str> {
        match self {
            Self::Known(key) => Some(key),
            Self::Anonymous => None,
        }
    }
}

/// Everything a decision may look at.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The host asked for, without port, in the case it came in.
    pub host: &'a str,
    /// The path, without query; starts with `/`.
    pub path: &'a str,
    /// What follows the path after a `?`, as it is sent.
    pub query: Option<&'a str>,
    /// The head's fields, forged ones already removed.
    pub headers: &'a HeaderMap,
    /// Where the request comes from, looked up behind trusted proxies.
    pub client_ip: IpAddr,
    /// Who sent it.
    pub caller: Caller<'a>,
    /// What the caller is called in tables that were given away; none where no group asks for it, and before
    /// anything was given away.
    pub pseudonym: Option<&'a str>,
    /// The app that sent it, if it brought a key of one.
    pub app: Option<&'a App>,
    /// Whether that app may not pass where something is asked of it, so that it gets no canary.
    pub is_barred: bool,
    /// What the client's certificate calls it, if it has shown one.
    pub certificate: Option<&'a CertificateNames>,
    /// What the caller is bucketed by, where that is another key than its own.
    pub bucketed_by: Option<&'a str>,
    /// What a token says that came with it and was verified.
    pub claims: Option<&'a Claims>,
    /// Groups that an operator put this caller into at run time, in any order.
    pub assigned: &'a [GroupIndex],
    /// This request's own random number, evenly spread: what stands in for the hash of a key where
    /// there is no key, or where every request is to be drawn anew.
    pub draw: u32,
}

impl<'a> RequestFacts<'a> {
    /// The key that the caller's bucket is made from, where there is one.
    pub fn bucketing_key(&self) -> Option<&'a str> {
        self.bucketed_by.or_else(|| self.caller.key())
    }

    /// The value of a cookie; the first one where the name comes several times.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        cookie(self.headers, name)
    }
}

/// Finds a cookie by name in the `Cookie` fields of a head (RFC 6265, section 5.4).
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then(|| value.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_are_found_in_any_field_and_place() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=1; uid=\"u-7\"; uid=late"),
        );
        headers.append(header::COOKIE, HeaderValue::from_static("other=x=y"));
        assert_eq!(cookie(&headers, "a"), Some("1"));
        assert_eq!(cookie(&headers, "uid"), Some("u-7"));
        assert_eq!(cookie(&headers, "other"), Some("x=y"));
        assert_eq!(cookie(&headers, "ui"), None);
    }
}
