//! Where a caller's key comes from.

use crate::domain::cookie_key::{COOKIE_KEY_BYTES_MIN, CookieKey};
use crate::domain::identity::{AssignedCookie, CertificateName, IdentitySource, SameSite};

use crate::config::apps;
use crate::config::defaults;
use crate::config::document::{
    AssignedCookieDocument, CertificateNameDocument, Document, IdentityDocument, ListenerDocument,
};
use crate::config::group::ReadFile;
use crate::config::jwt::JwtReader;
use crate::config::report::{Problem, Report};
use crate::config::schema::Shape;
use crate::config::secret::read_secret_file;
use crate::config::tree::{Node, Place};
use crate::config::written::{FromText, Placed, Written};

/// Who may say who a client is.
pub(super) struct Vouching {
    /// Whether there are trusted proxies.
    pub(super) trusts_peers: bool,
    /// Whether a listener asks clients for certificates.
    pub(super) asks_for_certificates: bool,
    /// Whether all listeners speak TLS.
    pub(super) is_encrypted: bool,
}

impl Vouching {
    /// What is written of it. Where that has a problem, it is not known, and not missed either.
    pub(super) fn of(document: &Document, root: &Node, report: &Report) -> Self {
        let is_unknown = |key: &str| {
            let written = root.get(key);
            written.is_some_and(|written| report.has_problem_within(written.place))
        };
        let mut listeners = document.listeners.iter().flat_map(|section| &section.value);
        let is_encrypted = listeners.clone().all(|listener| listener.tls.is_some());
        let asks = |listener: &ListenerDocument| {
            let tls = listener.tls.as_ref();
            tls.is_some_and(|tls| tls.client_ca.is_some())
        };
        Self {
            is_encrypted,
            trusts_peers: !document.trusted_proxies.is_empty() || is_unknown("trusted_proxies"),
            asks_for_certificates: listeners.any(asks) || is_unknown("listeners"),
        }
    }
}

/// Understands `identity`.
pub(super) fn identity(
    section: &[Placed<IdentityDocument>],
    vouching: &Vouching,
    read_file: ReadFile<'_>,
    report: &Report,
) -> Vec<IdentitySource> {
    let jwt = JwtReader { read_file, report };
    let mut sources = Vec::new();
    for Placed { place, value } in section {
        if sources.last() == Some(&IdentitySource::ClientIp) {
            let problem = Problem::new("is never reached: every request has a client address");
            report.add(*place, problem.hint("move `client_ip` to the end"));
        }
        let Some(source) = source(value, *place, vouching, jwt) else {
            continue;
        };
        if let (IdentityDocument::Header(name), false) = (value, vouching.trusts_peers) {
            let problem = format!(
                "header `{}` is believed from trusted proxies only, and there are none",
                name.value.0
            );
            let hint = "name your load balancers under `trusted_proxies`";
            report.add(name.place, Problem::new(problem).hint(hint));
        }
        if let (IdentityDocument::Certificate(_), false) = (value, vouching.asks_for_certificates) {
            let problem = Problem::new("no listener asks clients for a certificate");
            report.add(
                *place,
                problem.hint("add `client_ca:` to `tls` of a listener"),
            );
        }
        reject_twice(*place, &source, &sources, report);
        sources.push(source);
    }
    sources
}

fn reject_twice(
    place: Place,
    source: &IdentitySource,
    sources: &[IdentitySource],
    report: &Report,
) {
    let is_same = |other: &&IdentitySource| match (source, other) {
        (IdentitySource::AssignedCookie(_), IdentitySource::AssignedCookie(_)) => true,
        _ => source == *other,
    };
    if sources.iter().any(|other| is_same(&other)) {
        let problem = Problem::new("the same source is listed before");
        report.add(place, problem.hint("remove one of the two"));
    }
}

/// None where it is not one, which is reported.
fn source(
    document: &IdentityDocument,
    place: Place,
    vouching: &Vouching,
    jwt: JwtReader<'_>,
) -> Option<IdentitySource> {
    Some(match document {
        IdentityDocument::ApiKey(key) => {
            IdentitySource::ApiKey(apps::source(key, place, jwt.report)?)
        }
        IdentityDocument::Jwt(token) => {
            IdentitySource::Jwt(Box::new(jwt.source(token.place, &token.value)?))
        }
        IdentityDocument::Header(name) => IdentitySource::Header(name.value.0.clone()),
        IdentityDocument::Certificate(name) => IdentitySource::Certificate(match name {
            CertificateNameDocument::SanUri => CertificateName::SanUri,
            CertificateNameDocument::SanDns => CertificateName::SanDns,
            CertificateNameDocument::SubjectCn => CertificateName::SubjectCn,
        }),
        IdentityDocument::Cookie(name) => IdentitySource::Cookie(name.value.0.clone()),
        IdentityDocument::AssignedCookie(cookie) => {
            IdentitySource::AssignedCookie(Box::new(assigned_cookie(cookie, vouching, jwt)))
        }
        IdentityDocument::ClientIp => IdentitySource::ClientIp,
    })
}

fn assigned_cookie(
    document: &AssignedCookieDocument,
    vouching: &Vouching,
    JwtReader { read_file, report }: JwtReader<'_>,
) -> AssignedCookie {
    let key = document.key_file.as_ref().and_then(|file| {
        let secret = read_secret_file(file, read_file, report)?;
        let secret = secret.reveal().as_bytes();
        if secret.len() < COOKIE_KEY_BYTES_MIN {
            let problem = format!("the key has fewer than {COOKIE_KEY_BYTES_MIN} bytes");
            let problem = Problem::new(problem).hint("draw one: `openssl rand -base64 48`");
            report.add(file.place, problem.without_value());
        }
        Some(CookieKey::new(secret))
    });
    let secure = document.secure;
    let secure = secure.map_or(vouching.is_encrypted, |switch| switch.0);
    let same_site = document.same_site.as_ref();
    if let Some(Written { place, .. }) = same_site.filter(|written| written.value == SameSite::None)
        && !secure
    {
        let problem =
            Problem::new("browsers refuse such a cookie, which they would send in the clear");
        report.add(*place, problem.hint("add `secure: true`, or write `lax`"));
    }
    let name = document.name.as_ref().map(|name| name.value.0.clone());
    let max_age = document.max_age.as_ref().map(|max_age| max_age.value.0);
    AssignedCookie {
        name: name.unwrap_or_else(|| defaults::ASSIGNED_COOKIE_NAME.into()),
        max_age: max_age.unwrap_or(defaults::ASSIGNED_COOKIE_MAX_AGE),
        key,
        secure,
        same_site: same_site.map_or(SameSite::Lax, |written| written.value),
        link: document.link.is_some_and(|switch| switch.0),
    }
}

impl FromText for SameSite {
    const EXPECTED: &'static str = "`strict`, `lax` or `none`";
    const SHAPE: Shape = Shape::of("strict|lax|none", &["strict", "lax", "none"]);

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "strict" => Ok(Self::Strict),
            "lax" => Ok(Self::Lax),
            "none" => Ok(Self::None),
            _ => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}
