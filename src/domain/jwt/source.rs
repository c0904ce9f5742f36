//! Where tokens come from in requests, and where the keys that they are verified by.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};
use jsonwebtoken::Algorithm;

use super::keys::KeySet;
use super::token::TokenPolicy;

/// Tokens as a source of callers' keys.
#[derive(Clone, Debug)]
pub struct JwtSource {
    /// Where a request brings one.
    pub place: TokenPlace,
    /// What they are verified by.
    pub keys: KeySource,
    /// What they have to be.
    pub policy: TokenPolicy,
    /// Whether no request passes without a token that is believed.
    pub required: bool,
}

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// A header: `Bearer` and the token, or, unless it is `Authorization`, the token alone.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
}

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// From the configuration or a file of it.
    Fixed(Arc<KeySet>),
    /// From a URL, again and again.
    Remote(Arc<RemoteKeys>),
}

/// A set of keys at a URL.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteKeys {
    /// The URL: absolute, of https, or of http on this machine.
    pub url: Uri,
    /// The algorithms that keys are wanted for.
    pub algorithms: Box<[Algorithm]>,
    /// How often they are asked for.
    pub refresh: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Certificates (DER) of authorities that are believed beside the system's.
    pub authorities: Vec<Arc<[u8]>>,
}

impl RemoteKeys {
    /// The URL as far as it may be shown, without a query.
    pub fn name(&self) -> String {
        let (scheme, authority) = (self.url.scheme_str(), self.url.authority());
        let authority = authority.map_or("", |authority| authority.as_str());
        format!(
            "{}://{authority}{}",
            scheme.unwrap_or_default(),
            self.url.path()
        )
    }
}

impl std::fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteKeys({})", self.name())
    }
}

impl PartialEq for JwtSource {
    /// Whether they take the same tokens from the same place. Keys that were read are never the same.
    fn eq(&self, other: &Self) -> bool {
        let has_same_keys = match (&self.keys, &other.keys) {
            (KeySource::Remote(own), KeySource::Remote(other)) => own == other,
            (KeySource::Fixed(own), KeySource::Fixed(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        has_same_keys && self.place == other.place && self.policy == other.policy
    }
}

impl Eq for JwtSource {}
