//! Where a caller's key comes from.

use crate::domain::identity::{AssignedCookie, IdentitySource};

use crate::config::defaults;
use crate::config::document::{AssignedCookieDocument, IdentityDocument};
use crate::config::report::{Problem, Report};
use crate::config::tree::Place;
use crate::config::written::Placed;

/// Understands `identity`; `trusts_peers` says whether there are trusted proxies.
pub(super) fn identity(
    section: &[Placed<IdentityDocument>],
    trusts_peers: bool,
    report: &Report,
) -> Vec<IdentitySource> {
    let mut sources = Vec::new();
    for Placed { place, value } in section {
        if sources.last() == Some(&IdentitySource::ClientIp) {
            let problem = Problem::new("is never reached: every request has a client address");
            report.add(*place, problem.hint("move `client_ip` to the end"));
        }
        let source = source(value);
        if let (IdentityDocument::Header(name), false) = (value, trusts_peers) {
            let problem = format!(
                "header `{}` is believed from trusted proxies only, and there are none",
                name.value.0
            );
            let hint = "name your load balancers under `trusted_proxies`";
            report.add(name.place, Problem::new(problem).hint(hint));
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

fn source(document: &IdentityDocument) -> IdentitySource {
    match document {
        IdentityDocument::Header(name) => IdentitySource::Header(name.value.0.clone()),
        IdentityDocument::Cookie(name) => IdentitySource::Cookie(name.value.0.clone()),
        IdentityDocument::AssignedCookie(AssignedCookieDocument { name, max_age }) => {
            let name = name.as_ref().map(|name| name.value.0.clone());
            let max_age = max_age.as_ref().map(|max_age| max_age.value.0);
            IdentitySource::AssignedCookie(AssignedCookie {
                name: name.unwrap_or_else(|| defaults::ASSIGNED_COOKIE_NAME.into()),
                max_age: max_age.unwrap_or(defaults::ASSIGNED_COOKIE_MAX_AGE),
            })
        }
        IdentityDocument::ClientIp => IdentitySource::ClientIp,
    }
}
