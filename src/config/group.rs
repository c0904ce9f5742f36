//! The groups of callers.

use std::io;
use std::path::Path;

use http::{HeaderName, Method};

use crate::domain::app::AppStatus;
use crate::domain::caller::CALLER_KEY_BYTES_MAX;
use crate::domain::group::{Group, GroupTable, Membership};
use crate::domain::identity::CertificateName;
use crate::domain::ids::{GroupIndex, GroupName};
use crate::domain::matcher::Matcher;
use crate::domain::matcher::address::AddressMatcher;
use crate::domain::matcher::app::AppMatcher;
use crate::domain::matcher::callers::CallersMatcher;
use crate::domain::matcher::certificate::CertificateMatcher;
use crate::domain::matcher::claim::ClaimMatcher;
use crate::domain::matcher::cookie::CookieMatcher;
use crate::domain::matcher::header::HeaderMatcher;
use crate::domain::matcher::method::MethodMatcher;
use crate::domain::matcher::path::PathMatcher;
use crate::domain::matcher::percentage::PercentageMatcher;
use crate::domain::matcher::query::QueryMatcher;
use crate::domain::matcher::text::TextPattern;

use crate::config::document::{MembershipDocument, TextDocument, TextPatternDocument};
use crate::config::names::Names;
use crate::config::report::{AS_WRITTEN, Problem, Report};
use crate::config::route;
use crate::config::segment::SegmentReader;
use crate::config::suggest;
use crate::config::text::NonEmpty;
use crate::config::tree::Place;
use crate::config::written::{Named, NamedEntry, Placed, ShortOr, Written};

/// Names by which metrics call callers who are in none of a flag's groups, and those who chose
/// their variant.
const RESERVED: [(&str, &str); 2] = [
    ("default", "everyone who is in no group"),
    ("forced", "callers who chose their variant"),
];

/// Reads a file that the configuration names.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// What a group may depend on.
pub(super) struct GroupReader<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) read_file: ReadFile<'a>,
    /// Whether a listener asks clients for certificates.
    pub(super) asks_for_certificates: bool,
    pub(super) segments: SegmentReader<'a>,
    pub(super) report: &'a Report,
}

impl GroupReader<'_> {
    /// Understands `groups`; one with a problem is a group of nobody, so that circles among the
    /// others are found.
    pub(super) fn groups(
        &self,
        section: &Named<GroupName, Placed<MembershipDocument>>,
    ) -> GroupTable {
        let groups = section.0.iter().map(|entry| self.group(entry));
        GroupTable::new(groups.collect()).unwrap_or_else(|circle| {
            let first = circle.path.first();
            let entry = section
                .0
                .iter()
                .find(|entry| Some(&entry.name.value) == first);
            let place = entry.map_or(Place::ROOT, |entry| entry.name.place);
            let problem = Problem::new(circle.to_string());
            self.report
                .add(place, problem.hint("take one of these references out"));
            GroupTable::default()
        })
    }

    fn group(&self, entry: &NamedEntry<GroupName, Placed<MembershipDocument>>) -> Group {
        let name = &entry.name.value;
        let reserved = RESERVED.iter().find(|(word, _)| *word == name.as_str());
        if let Some((word, whose)) = reserved {
            let problem = format!("`{word}` is reserved for {whose}");
            self.report.add(
                entry.name.place,
                Problem::new(problem).hint("choose another name"),
            );
        }
        let written = entry.value.as_ref();
        let membership = written.and_then(|written| self.membership(&written.value, name));
        Group {
            name: name.clone(),
            membership: membership.unwrap_or_else(|| Membership::Any(Vec::new())),
        }
    }

    fn membership(&self, document: &MembershipDocument, group: &GroupName) -> Option<Membership> {
        let matcher = match document {
            MembershipDocument::Header(one) => {
                Matcher::Header(header(self.only(one)?, self.report)?)
            }
            MembershipDocument::Cookie(one) => {
                let entry = self.only(one)?;
                Matcher::Cookie(CookieMatcher {
                    name: entry.name.value.0.clone(),
                    value: text_pattern(entry.value.as_ref()?, self.report)?,
                })
            }
            MembershipDocument::Query(one) => {
                let (name, value) = self.named(one)?;
                Matcher::Query(QueryMatcher { name, value })
            }
            MembershipDocument::Path(path) => Matcher::Path(PathMatcher {
                path: route::path(path, self.report)?,
            }),
            MembershipDocument::Method(methods) => Matcher::Method(self.methods(methods)),
            MembershipDocument::Certificate(one) => Matcher::Certificate(self.certificate(one)?),
            MembershipDocument::App(one) => {
                let (attribute, value) = self.named(one)?;
                self.check_app_status((&attribute, &value), one.place);
                Matcher::App(AppMatcher { attribute, value })
            }
            MembershipDocument::Claim(one) => {
                let (name, value) = self.named(one)?;
                Matcher::Claim(ClaimMatcher { name, value })
            }
            MembershipDocument::Ip(networks) => {
                self.some_of(networks);
                let networks = networks.value.iter().map(|network| network.value).collect();
                Matcher::Address(AddressMatcher { networks })
            }
            MembershipDocument::Callers(keys) => Matcher::Callers(self.callers(keys)?),
            MembershipDocument::CallersFile(path) => Matcher::Callers(self.callers_file(path)?),
            MembershipDocument::Segment(segment) => {
                Matcher::Segment(self.segments.matcher(segment)?)
            }
            MembershipDocument::Percentage(share) => Matcher::Percentage(PercentageMatcher {
                salt: group.clone(),
                share: share.value,
            }),
            MembershipDocument::Group(name) => {
                let place = self.names.resolve(name, self.report)?;
                return Some(Membership::Group(GroupIndex(place)));
            }
            MembershipDocument::Any(parts) => {
                return self.memberships(parts, group).map(Membership::Any);
            }
            MembershipDocument::All(parts) => {
                return self.memberships(parts, group).map(Membership::All);
            }
            MembershipDocument::Not(part) => {
                let part = self.membership(part, group)?;
                return Some(Membership::Not(Box::new(part)));
            }
        };
        Some(Membership::Matcher(matcher))
    }

    /// A name, and what its value must be.
    fn named(
        &self,
        one: &Placed<Named<NonEmpty, TextDocument>>,
    ) -> Option<(Box<str>, TextPattern)> {
        let entry = self.only(one)?;
        let value = text_pattern(entry.value.as_ref()?, self.report)?;
        Some((entry.name.value.0.as_str().into(), value))
    }

    /// A status that no app can have fits nobody.
    fn check_app_status(&self, (attribute, value): (&str, &TextPattern), place: Place) {
        let statuses = AppStatus::ALL.map(AppStatus::as_str);
        let written = match value {
            TextPattern::Exact(text) if attribute == "status" => text,
            _ => return,
        };
        if !statuses.contains(&&**written) {
            let problem = Problem::new(format!("no app has the status `{written}`"));
            let hint = suggest::hint_with_all(written, statuses);
            self.report
                .add(place, problem.hint(hint.unwrap_or_default()));
        }
    }

    fn methods(&self, methods: &Placed<Vec<Written<Method>>>) -> MethodMatcher {
        self.some_of(methods);
        let methods = methods.value.iter().map(|method| method.value.clone());
        MethodMatcher {
            methods: methods.collect(),
        }
    }

    fn certificate(
        &self,
        one: &Placed<Named<CertificateName, TextDocument>>,
    ) -> Option<CertificateMatcher> {
        let entry = self.only(one)?;
        if !self.asks_for_certificates {
            let problem = Problem::new("no listener asks clients for a certificate");
            let hint = "add `client_ca:` to `tls` of a listener";
            self.report.add(one.place, problem.hint(hint));
        }
        Some(CertificateMatcher {
            kind: entry.name.value,
            value: text_pattern(entry.value.as_ref()?, self.report)?,
        })
    }

    /// All parts are read, even after one with a problem.
    fn memberships(
        &self,
        parts: &Placed<Vec<MembershipDocument>>,
        group: &GroupName,
    ) -> Option<Vec<Membership>> {
        self.some_of(parts);
        let parts = parts.value.iter().map(|part| self.membership(part, group));
        parts.collect::<Vec<_>>().into_iter().collect()
    }

    fn some_of<T>(&self, list: &Placed<Vec<T>>) {
        if list.value.is_empty() && !self.report.has_problem_within(list.place) {
            let problem = Problem::new("is an empty list, which fits nobody or everybody");
            self.report
                .add(list.place, problem.hint("write at least one item"));
        }
    }

    /// The one entry of a map such as `{ x-employee: "true" }`.
    fn only<'d, K, T>(&self, map: &'d Placed<Named<K, T>>) -> Option<&'d NamedEntry<K, T>> {
        match &map.value.0[..] {
            [only] => Some(only),
            _ if self.report.has_problem_within(map.place) && map.value.0.is_empty() => None,
            entries => {
                let problem = format!("expected one name with its value, found {}", entries.len());
                let hint = "combine several with `all: [{…}, {…}]` or `any: [{…}, {…}]`";
                self.report.add(map.place, Problem::new(problem).hint(hint));
                None
            }
        }
    }

    fn callers(&self, keys: &[Written<NonEmpty>]) -> Option<CallersMatcher> {
        for key in keys
            .iter()
            .filter(|key| key.value.0.len() > CALLER_KEY_BYTES_MAX)
        {
            let problem = format!("is longer than {CALLER_KEY_BYTES_MAX} bytes, the longest key");
            self.report.add(
                key.place,
                Problem::new(problem).hint("no caller can have it"),
            );
        }
        let callers = CallersMatcher::new(keys.iter().map(|key| &*key.value.0));
        if let (Err(error), Some(first)) = (&callers, keys.first()) {
            self.report
                .add(first.place, Problem::new(error.to_string()));
        }
        callers.ok()
    }

    fn callers_file(&self, path: &Written<NonEmpty>) -> Option<CallersMatcher> {
        let name = &path.value.0;
        let refuse = |problem: String, hint: &str| {
            self.report
                .add(path.place, Problem::new(problem).hint(hint));
            None
        };
        let text = match (self.read_file)(Path::new(name)) {
            Ok(text) => text,
            Err(error) => {
                let problem = Problem::new(format!("cannot read `{AS_WRITTEN}`: {error}"));
                let hint = "write a path that is absolute or starts at this file";
                self.report
                    .add(path.place, problem.hint(hint).without_value());
                return None;
            }
        };
        let Ok(callers) = CallersMatcher::from_lines(&text) else {
            let problem = format!("`{name}` has more than 4 GiB of keys");
            return refuse(problem, "name fewer callers");
        };
        if callers
            .keys
            .iter()
            .any(|key| key.len() > CALLER_KEY_BYTES_MAX)
        {
            let problem = format!(
                "`{name}` has a line of more than {CALLER_KEY_BYTES_MAX} bytes, the longest key"
            );
            return refuse(problem, "write one key a line");
        }
        Some(callers)
    }
}

/// Understands a condition on a header.
pub(super) fn header(
    entry: &NamedEntry<HeaderName, TextDocument>,
    report: &Report,
) -> Option<HeaderMatcher> {
    Some(HeaderMatcher {
        name: entry.name.value.clone(),
        value: text_pattern(entry.value.as_ref()?, report)?,
    })
}

fn text_pattern(document: &TextDocument, report: &Report) -> Option<TextPattern> {
    match document {
        ShortOr::Short(text) => Some(TextPattern::Exact(text.value.as_str().into())),
        ShortOr::Long(TextPatternDocument::Prefix(text)) => {
            Some(TextPattern::Prefix(text.value.0.as_str().into()))
        }
        ShortOr::Long(TextPatternDocument::Present(switch)) if switch.value.0 => {
            Some(TextPattern::Present)
        }
        ShortOr::Long(TextPatternDocument::Present(switch)) => {
            let problem = Problem::new("`present: false` is not supported");
            let hint = "in a group write `not: { header: { name: { present: true } } }`";
            report.add(switch.place, problem.hint(hint));
            None
        }
    }
}
