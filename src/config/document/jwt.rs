//! What is written of tokens.

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use std::time::Duration;

use crate::domain::jwt::Algorithm;
use crate::domain::secret::Secret;

use crate::config::jwt::KeysUrl;
use crate::config::text::{CookieName, NonEmpty, Span};
use crate::config::written::{Placed, Switch, Written};

/// JSON Web Tokens: where requests bring them, and what they are verified by: one of `jwks_file`, `jwks_url`,
/// `key` and `key_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ jwks_url: \"https://id.example.com/jwks.json\", issuer: \"https://id.example.com\" }`"
)]
pub(in crate::config) struct JwtDocument {
    /// The header that holds the token, after `Bearer`. Without it and `cookie`, `authorization`.
    pub(in crate::config) header: Option<Written<HeaderName>>,
    /// The cookie that holds the token, in the place of a header.
    pub(in crate::config) cookie: Option<Written<CookieName>>,
    /// A JSON Web Key Set in a file, relative to the configuration; read again when it changes.
    pub(in crate::config) jwks_file: Option<Written<NonEmpty>>,
    /// A JSON Web Key Set at a URL of https, or of http on this machine.
    pub(in crate::config) jwks_url: Option<Written<KeysUrl>>,
    /// How often `jwks_url` is asked.
    pub(in crate::config) refresh: Option<Written<Span>>,
    /// How long it may take to answer.
    pub(in crate::config) timeout: Option<Written<Span>>,
    /// Certificates of authorities that are believed beside the system's when it is asked, in PEM.
    pub(in crate::config) ca: Option<Written<NonEmpty>>,
    /// A public key in PEM, or, with algorithms such as HS256, a secret.
    pub(in crate::config) key: Option<Written<Secret>>,
    /// A file with that.
    pub(in crate::config) key_file: Option<Written<NonEmpty>>,
    /// The algorithms that tokens may be signed by. Those of secrets (HS256) and those of public keys do not mix.
    pub(in crate::config) algorithms: Option<Placed<Vec<Written<Algorithm>>>>,
    /// Who must have issued a token, its `iss`. Without it, whoever has the key.
    pub(in crate::config) issuer: Option<Written<NonEmpty>>,
    /// Whom a token must be for: one of these is in its `aud`. Without it, anyone.
    pub(in crate::config) audience: Option<Placed<Vec<Written<NonEmpty>>>>,
    /// How far clocks may differ.
    pub(in crate::config) leeway: Option<Written<Duration>>,
    /// The claim that is the caller's key.
    pub(in crate::config) claim: Option<Written<NonEmpty>>,
    /// Whether requests without a good token are answered with 401, on routes that are not `public`. Of several
    /// sources of tokens one good token is enough.
    pub(in crate::config) required: Option<Switch>,
}
