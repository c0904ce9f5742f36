//! Tokens as a source of callers' keys.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{Uri, header};

use crate::domain::jwt::{
    Algorithm, AlgorithmFamily, JwtSource, KeySet, KeySetFault, KeySource, RemoteKeys, TokenPlace,
    TokenPolicy,
};

use crate::config::defaults::{
    JWKS_REFRESH, JWKS_REFRESH_MIN, JWKS_TIMEOUT, JWKS_TIMEOUT_MAX, JWT_ALGORITHMS, JWT_CLAIM,
    JWT_LEEWAY, JWT_LEEWAY_MAX,
};
use crate::config::document::JwtDocument;
use crate::config::group::ReadFile;
use crate::config::report::{AS_WRITTEN, Problem, Report};
use crate::config::schema::Shape;
use crate::config::secret::{SecretSource, unreadable};
use crate::config::text::{self, NonEmpty};
use crate::config::tls::pem::{PemFiles, authorities};
use crate::config::tree::Place;
use crate::config::written::{FromText, Placed, Written};

/// Names of all algorithms, for whoever writes one wrong.
const ALGORITHMS: &str =
    "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";

impl FromText for Algorithm {
    const EXPECTED: &'static str = "an algorithm such as `RS256`";
    const SHAPE: Shape = Shape::of(
        "HS256|HS384|HS512|RS256|RS384|RS512|PS256|PS384|PS512|ES256|ES384|EdDSA",
        &["RS256", "ES256", "EdDSA"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        let unknown = |_| {
            format!("`{text}` is no algorithm that tokens may be signed by; there are {ALGORITHMS}")
        };
        text.parse().map_err(unknown)
    }
}

/// The URL of a set of keys. Whoever can change what comes from there can say who anybody is, so it is not
/// read over a network in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct KeysUrl(pub(in crate::config) Uri);

impl FromText for KeysUrl {
    const EXPECTED: &'static str = "a URL such as `https://id.example.com/jwks.json`";
    const SHAPE: Shape = Shape::of(
        r"[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+(?:[/?][^#\s]*)?",
        &["https://id.example.com/.well-known/jwks.json"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        let no_url = || format!("`{text}` is not {}", Self::EXPECTED);
        if text.contains('#') {
            return Err(format!(
                "`{text}` has a `#`, and what follows it is asked of nobody"
            ));
        }
        let url: Uri = text.parse().map_err(|_| no_url())?;
        let authority = url.authority().ok_or_else(no_url)?.as_str();
        if authority.contains('@') {
            return Err(
                "a URL with user and password is not supported; key sets are public".to_owned(),
            );
        }
        text::endpoint(authority, 443).map_err(|problem| format!("the URL {problem}"))?;
        if url.scheme() == Some(&Scheme::HTTP) && !is_this_machine(url.host().unwrap_or_default()) {
            return Err(
                "keys that come over http can be changed on their way; write `https://`, with `ca` for an \
                 authority of your own"
                    .to_owned(),
            );
        }
        match url.scheme() {
            Some(scheme) if [Scheme::HTTP, Scheme::HTTPS].contains(scheme) => Ok(Self(url)),
            _ => Err(no_url()),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// What tokens may depend on.
#[derive(Clone, Copy)]
pub(super) struct JwtReader<'a> {
    pub(super) read_file: ReadFile<'a>,
    pub(super) report: &'a Report,
}

impl JwtReader<'_> {
    /// Understands a source of tokens; `None` where it has no keys, which is reported.
    pub(super) fn source(&self, place: Place, document: &JwtDocument) -> Option<JwtSource> {
        if let (Some(_), Some(cookie)) = (&document.header, &document.cookie) {
            let hint = "remove one of the two, or list two sources";
            self.add(cookie.place, "`cookie` beside `header`".to_owned(), hint);
        }
        let algorithms = self.algorithms(document);
        if algorithms.is_empty() {
            // Said already.
            return None;
        }
        let keys = self.keys(place, document, &algorithms);
        let texts = |section: &Placed<Vec<Written<NonEmpty>>>| -> Box<[Box<str>]> {
            section
                .value
                .iter()
                .map(|text| text.value.0.as_str().into())
                .collect()
        };
        if let Some(audience) = &document.audience
            && audience.value.is_empty()
            && !self.report.has_problem_within(audience.place)
        {
            let hint = "remove it, so that tokens for anyone are good";
            self.add(
                audience.place,
                "is an empty list, for which no token is".to_owned(),
                hint,
            );
        }
        let claim = document.claim.as_ref();
        Some(JwtSource {
            place: match (&document.cookie, &document.header) {
                (Some(cookie), _) => TokenPlace::Cookie(cookie.value.0.clone()),
                (None, Some(name)) => TokenPlace::Header(name.value.clone()),
                (None, None) => TokenPlace::Header(header::AUTHORIZATION),
            },
            keys: keys?,
            policy: TokenPolicy {
                algorithms,
                issuers: document
                    .issuer
                    .iter()
                    .map(|text| text.value.0.as_str().into())
                    .collect(),
                audiences: document.audience.as_ref().map(texts).unwrap_or_default(),
                leeway: self.time(document.leeway.as_ref(), JWT_LEEWAY, JWT_LEEWAY_MAX),
                claim: claim.map_or(JWT_CLAIM, |claim| &claim.value.0).into(),
            },
            required: document.required.is_some_and(|switch| switch.0),
        })
    }

    /// The algorithms allowed: all with secrets, or none.
    fn algorithms(&self, document: &JwtDocument) -> Box<[Algorithm]> {
        let Some(section) = &document.algorithms else {
            return JWT_ALGORITHMS.into();
        };
        let is_secret =
            |written: &Written<Algorithm>| written.value.family() == AlgorithmFamily::Hmac;
        let secret = section.value.iter().find(|written| is_secret(written));
        let public = section.value.iter().find(|written| !is_secret(written));
        if let (Some(secret), Some(_)) = (secret, public) {
            let problem =
                "an algorithm of secrets beside one of public keys, which everybody knows";
            self.add(
                secret.place,
                problem.to_owned(),
                "list two sources, each with its own keys",
            );
        }
        if section.value.is_empty() && !self.report.has_problem_within(section.place) {
            let problem = "is an empty list, by which no token is good".to_owned();
            self.add(section.place, problem, "write `[RS256]`, say");
        }
        section.value.iter().map(|written| written.value).collect()
    }

    fn keys(
        &self,
        place: Place,
        document: &JwtDocument,
        algorithms: &[Algorithm],
    ) -> Option<KeySource> {
        let JwtDocument {
            jwks_file,
            jwks_url,
            key,
            key_file,
            ..
        } = document;
        let written = [
            jwks_file.as_ref().map(|written| written.place),
            jwks_url.as_ref().map(|written| written.place),
            key.as_ref().map(|written| written.place),
            key_file.as_ref().map(|written| written.place),
        ];
        let mut written = written.into_iter().flatten();
        match (written.next(), written.next()) {
            (Some(_), Some(second)) => {
                let problem = Problem::new("keys from two places")
                    .hint("leave one of `jwks_file`, `jwks_url`, `key` and `key_file`");
                self.report.add(second, problem.without_value());
                return None;
            }
            (None, _) => {
                if !self.report.has_problem_within(place) {
                    let hint = "add `jwks_url`, `jwks_file`, `key_file` or `key`";
                    self.add(place, "has no keys to verify tokens by".to_owned(), hint);
                }
                return None;
            }
            (Some(_), None) => {}
        }
        if let Some(url) = jwks_url {
            return self.remote(url, document, algorithms);
        }
        self.refuse_beside_file(document);
        if let Some(file) = jwks_file {
            return self.of_file(file, algorithms);
        }
        let source = SecretSource {
            place,
            key: "key",
            text: key.as_ref(),
            file: key_file.as_ref(),
        };
        let secret = source.read(self.read_file, self.report)?;
        let is_secret = algorithms
            .iter()
            .any(|one| one.family() == AlgorithmFamily::Hmac);
        let keys = if is_secret {
            KeySet::from_secret(secret.reveal().as_bytes(), algorithms)
        } else {
            KeySet::from_pem(secret.reveal(), algorithms)
        };
        let place = key.as_ref().map(|written| written.place);
        let place = place.or_else(|| key_file.as_ref().map(|written| written.place))?;
        self.taken(place, "the key", keys)
    }

    fn of_file(&self, file: &Written<NonEmpty>, algorithms: &[Algorithm]) -> Option<KeySource> {
        match (self.read_file)(Path::new(&file.value.0)) {
            Ok(text) => {
                let keys = KeySet::from_jwks(text.as_bytes(), algorithms);
                self.taken(file.place, &format!("`{AS_WRITTEN}`"), keys)
            }
            Err(error) => {
                let problem = format!("cannot read `{AS_WRITTEN}`: {}", unreadable(&error));
                let hint = "write a path that is absolute or starts at this file";
                self.report
                    .add(file.place, Problem::new(problem).hint(hint).without_value());
                None
            }
        }
    }

    fn taken(
        &self,
        place: Place,
        what: &str,
        keys: Result<KeySet, KeySetFault>,
    ) -> Option<KeySource> {
        let hint = match &keys {
            Ok(_) => "",
            Err(KeySetFault::NotASet | KeySetFault::TooLong | KeySetFault::TooMany) => {
                "give what your issuer shows at its `jwks_uri`"
            }
            Err(KeySetFault::NoneFits(_)) => "say by `algorithms` how your tokens are signed",
            Err(KeySetFault::NotAKey) => {
                "begin it with `-----BEGIN PUBLIC KEY-----`; a secret needs `algorithms: [HS256]`"
            }
            Err(KeySetFault::Private) => "give the public one: `openssl pkey -pubout`",
            Err(KeySetFault::Short(_)) => "draw one by chance: `openssl rand -base64 64`",
        };
        match keys {
            Ok(keys) => Some(KeySource::Fixed(Arc::new(keys))),
            Err(fault) => {
                let problem = Problem::new(format!("{what} {fault}")).hint(hint);
                self.report.add(place, problem.without_value());
                None
            }
        }
    }

    fn remote(
        &self,
        url: &Written<KeysUrl>,
        document: &JwtDocument,
        algorithms: &[Algorithm],
    ) -> Option<KeySource> {
        let secret = algorithms
            .iter()
            .find(|one| one.family() == AlgorithmFamily::Hmac);
        if let Some(secret) = secret {
            let problem = format!("{secret:?} takes a secret, which is at no URL");
            self.add(url.place, problem, "give it as `key_file`");
            return None;
        }
        let refresh = document.refresh.as_ref();
        let every = refresh.map_or(JWKS_REFRESH, |written| written.value.0);
        if let Some(written) = refresh.filter(|_| every < JWKS_REFRESH_MIN) {
            let problem = "that often is more than issuers like".to_owned();
            self.add(written.place, problem, "write `1s` or more");
        }
        let timeout = document.timeout.as_ref();
        let answer = timeout.map_or(JWKS_TIMEOUT, |written| written.value.0);
        if let Some(written) = timeout.filter(|_| answer > JWKS_TIMEOUT_MAX) {
            let problem = "that is longer than a minute".to_owned();
            self.add(written.place, problem, "write `1m` or less");
        }
        let files = PemFiles {
            read_file: self.read_file,
            report: self.report,
        };
        let ca = document.ca.as_ref();
        let authorities = ca.and_then(|ca| authorities(ca, files)).unwrap_or_default();
        Some(KeySource::Remote(Arc::new(RemoteKeys {
            url: url.value.0.clone(),
            algorithms: algorithms.into(),
            refresh: every,
            timeout: answer,
            authorities: authorities
                .iter()
                .map(|der| Arc::from(der.as_ref()))
                .collect(),
        })))
    }

    /// What is about a URL stands beside one.
    fn refuse_beside_file(&self, document: &JwtDocument) {
        let written = [
            (
                "refresh",
                document.refresh.as_ref().map(|written| written.place),
            ),
            (
                "timeout",
                document.timeout.as_ref().map(|written| written.place),
            ),
            ("ca", document.ca.as_ref().map(|written| written.place)),
        ];
        for (key, place) in written {
            if let Some(place) = place {
                let problem = format!("`{key}` without `jwks_url`, and nobody is asked");
                self.add(place, problem, "remove it");
            }
        }
    }

    /// A time, up to a limit.
    fn time(
        &self,
        written: Option<&Written<Duration>>,
        default: Duration,
        longest: Duration,
    ) -> Duration {
        let time = written.map_or(default, |written| written.value);
        if let Some(written) = written.filter(|_| time > longest) {
            let problem = "tokens would be good long after their time".to_owned();
            self.add(written.place, problem, "write `5m` or less");
        }
        time
    }

    fn add(&self, place: Place, problem: String, hint: &str) {
        self.report.add(place, Problem::new(problem).hint(hint));
    }
}

#[cfg(test)]
mod tests;
