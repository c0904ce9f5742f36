//! What is written of where callers' keys come from.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::identity::SameSite;

use crate::config::document::jwt::JwtDocument;
use crate::config::text::{CookieName, NonEmpty, OwnHeader, Span};
use crate::config::written::{Placed, Switch, Written};

/// Where a caller's key comes from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum IdentityDocument {
    /// The API key of an app; the caller's key is the app's id.
    ApiKey(ApiKeyDocument),
    /// This header, believed from trusted proxies only and removed when anyone else sends it.
    Header(Written<OwnHeader>),
    /// This cookie, set by your application.
    Cookie(Written<CookieName>),
    /// A claim of a JSON Web Token that is verified.
    Jwt(Placed<Box<JwtDocument>>),
    /// This name in the certificate that the client has shown, which a listener with `client_ca` asks
    /// for.
    Certificate(CertificateNameDocument),
    /// A cookie given by Serin to browsers that have no key yet.
    AssignedCookie(Box<AssignedCookieDocument>),
    /// The client's address, which is always there: nothing can come after it.
    ClientIp,
}

/// Where requests bring keys of apps: in a header or in the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ header: x-api-key }`"
)]
pub(in crate::config) struct ApiKeyDocument {
    /// The header.
    pub(in crate::config) header: Option<Written<OwnHeader>>,
    /// The parameter of the query.
    pub(in crate::config) query: Option<Written<NonEmpty>>,
    /// Whether the backend sees the key. A key in the query is never passed on.
    pub(in crate::config) forward: Option<Switch>,
}

/// A name in a certificate; of several the first.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum CertificateNameDocument {
    /// The subject alternative name that is a URI, such as a SPIFFE ID.
    SanUri,
    /// The subject alternative name that is a DNS name.
    SanDns,
    /// The subject's common name.
    SubjectCn,
}

/// A cookie that Serin gives.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ name: serin, max_age: 30d }`"
)]
pub(in crate::config) struct AssignedCookieDocument {
    /// The name of the cookie.
    pub(in crate::config) name: Option<Written<CookieName>>,
    /// How long a browser keeps it.
    pub(in crate::config) max_age: Option<Written<Span>>,
    /// A file with the key by which a cookie is known to be Serin's, at least 32 bytes; the same on all edges that
    /// share browsers. Without it, one is drawn and kept with the state.
    pub(in crate::config) key_file: Option<Written<NonEmpty>>,
    /// Whether browsers send it over TLS only. Without it, whether all listeners speak TLS.
    pub(in crate::config) secure: Option<Switch>,
    /// When browsers send it with requests that other sites bring about: `strict`, never; `lax`, when somebody
    /// follows a link; `none`, always, and over TLS only.
    pub(in crate::config) same_site: Option<Written<SameSite>>,
    /// Whether a browser that has one keeps its variants when an earlier source knows the caller from then on.
    pub(in crate::config) link: Option<Switch>,
}
