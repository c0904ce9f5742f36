//! Where a caller's key comes from.
//!
//! Sources are tried in the file's order; the first that yields a key wins.

use std::time::Duration;

use http::HeaderName;

use crate::domain::cookie_key::CookieKey;
use crate::domain::jwt::JwtSource;

/// One place to look for a caller's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// A header that a trusted peer has set; removed when anyone else sends it.
    Header(HeaderName),
    /// The id of the app whose key the request brings.
    ApiKey(ApiKeySource),
    /// A claim of a token that is verified.
    Jwt(Box<JwtSource>),
    /// A name in the certificate that the client has shown in the handshake.
    Certificate(CertificateName),
    /// A cookie that the application sets.
    Cookie(Box<str>),
    /// A cookie that Serin gives to a browser that has none.
    AssignedCookie(Box<AssignedCookie>),
    /// The client's address; of an IPv6 address the /64 network, which is what one site gets.
    ClientIp,
}

/// Where a request brings an app's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeySource {
    /// The place in the request.
    pub place: ApiKeyPlace,
    /// Whether the backend sees the key.
    pub forward: bool,
}

/// A place of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKeyPlace {
    /// A header; the first field of its name.
    Header(HeaderName),
    /// A parameter of the query; the first of its name.
    Query(Box<str>),
}

/// A name in a certificate; of several the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The subject alternative name that is a URI.
    SanUri,
    /// The subject alternative name that is a DNS name.
    SanDns,
    /// The subject's common name.
    SubjectCn,
}

/// A cookie that makes an anonymous browser a caller from its second request on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedCookie {
    /// Its name.
    pub name: Box<str>,
    /// How long a browser keeps it.
    pub max_age: Duration,
    /// The key by which it is known to be ours; without one, that of the state.
    pub key: Option<CookieKey>,
    /// Whether browsers send it over TLS only.
    pub secure: bool,
    /// Whether browsers send it with requests that other sites bring about.
    pub same_site: SameSite,
    /// Whether a browser that has one is bucketed by it, whoever the caller is by an earlier source.
    pub link: bool,
}

/// When browsers send a cookie with requests that other sites bring about (RFC 6265bis, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When somebody follows a link.
    Lax,
    /// Always.
    None,
}

impl SameSite {
    /// As it is written in the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}
