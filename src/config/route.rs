//! Which requests go where.

use std::collections::HashSet;

use http::Method;

use crate::domain::ids::{BackendIndex, FlagIndex, FlagName};
use crate::domain::matcher::header::HeaderMatcher;
use crate::domain::route::{HostPattern, PathPattern, Route, RouteTable, RouteTarget};
use crate::domain::variant::PerVariant;

use crate::config::document::{FlagDocument, PathDocument, RouteDocument};
use crate::config::group;
use crate::config::names::Names;
use crate::config::report::{Problem, Report};
use crate::config::written::{Named, Placed, ShortOr, Written};

/// The longest name of a route: it stands in every metric of it.
const NAME_BYTES_MAX: usize = 128;

/// What a route may depend on.
pub(super) struct RouteReader<'a> {
    /// The flags' names, and what is written of them.
    pub(super) flags: (&'a Names<'a>, &'a Named<FlagName, FlagDocument>),
    pub(super) backends: &'a Names<'a>,
    pub(super) report: &'a Report,
}

impl RouteReader<'_> {
    /// Understands `routes`: at least one, each of which some request can reach.
    pub(super) fn routes(
        &self,
        section: Option<&Placed<Vec<Placed<RouteDocument>>>>,
    ) -> RouteTable {
        let Some(section) = section else {
            return RouteTable::default();
        };
        if section.value.is_empty() && !self.report.has_problem_within(section.place) {
            let problem = Problem::new("there must be at least one route");
            self.report
                .add(section.place, problem.hint("add `- { path: /, flag: … }`"));
        }
        let mut labels = self.given_names(&section.value);
        let mut routes: Vec<Route> = Vec::new();
        for document in &section.value {
            let Some(mut route) = self.route(document) else {
                continue;
            };
            let is_in_doubt = self.report.has_problem_within(document.place);
            let other = routes.iter().find(|other| is_same(other, &route));
            if let (Some(other), false) = (other, is_in_doubt) {
                let problem = format!("is never reached: route `{}` takes the same", other.label);
                let hint =
                    "remove one of the two, or tell them apart by host, path, method or header";
                self.report
                    .add(document.place, Problem::new(problem).hint(hint));
            }
            if document.value.name.is_none() {
                route.label = unique(&route.label, &mut labels);
            }
            if !is_in_doubt {
                routes.push(route);
            }
        }
        RouteTable::new(routes)
    }

    /// The names that are written, which no label made by us may take.
    fn given_names(&self, documents: &[Placed<RouteDocument>]) -> HashSet<Box<str>> {
        let mut names = HashSet::new();
        for name in documents
            .iter()
            .filter_map(|document| document.value.name.as_ref())
        {
            let text = &*name.value.0;
            if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
                let problem = format!("a name has at most {NAME_BYTES_MAX} printable characters");
                self.report.add(
                    name.place,
                    Problem::new(problem).hint("choose a shorter one"),
                );
            } else if !names.insert(text.into()) {
                let problem = format!("another route is named `{text}`");
                self.report.add(
                    name.place,
                    Problem::new(problem).hint("choose another name"),
                );
            }
        }
        names
    }

    fn route(&self, document: &Placed<RouteDocument>) -> Option<Route> {
        let RouteDocument {
            name,
            host,
            path,
            methods,
            headers,
            ..
        } = &document.value;
        let target = self.target(document);
        let path = path.as_ref().map_or_else(
            || Some(PathPattern::prefix("/")),
            |document| self::path(document, self.report),
        );
        let methods = self.methods(methods.as_ref());
        let conditions = headers
            .0
            .iter()
            .map(|entry| group::header(entry, self.report));
        let conditions: Vec<_> = conditions.collect();
        let mut route = Route {
            label: name.as_ref().map_or("", |name| &name.value.0).into(),
            host: host
                .as_ref()
                .map_or(HostPattern::Any, |host| host.value.clone()),
            path: path?,
            methods,
            headers: conditions.into_iter().collect::<Option<_>>()?,
            target: target?,
            send: self.send(&document.value),
            is_public: document.value.public.is_some_and(|switch| switch.0),
        };
        if name.is_none() {
            route.label = label(&route).into();
        }
        Some(route)
    }

    /// The flags that a route's backend is told of besides the one that decides.
    fn send(&self, document: &RouteDocument) -> Box<[FlagIndex]> {
        let own = document.flag.as_ref().map(|flag| flag.value.as_str());
        let mut sent = document.send.iter();
        if let Some(name) = sent.find(|name| own == Some(name.value.as_str())) {
            let problem = format!("flag `{}` decides here, so it is sent anyway", name.value);
            let hint = "remove it";
            self.report
                .add(name.place, Problem::new(problem).hint(hint));
        }
        let flags = self.flags.0.resolve_each(&document.send, self.report);
        flags.into_iter().map(FlagIndex).collect()
    }

    fn target(&self, document: &Placed<RouteDocument>) -> Option<RouteTarget> {
        let flag = |name| {
            let flag = self.flags.0.resolve(name, self.report)?;
            let backends = self.backends_of(flag, name)?;
            let flag = FlagIndex(flag);
            Some(RouteTarget::Flag { flag, backends })
        };
        let backend = |name| {
            let backend = self.backends.resolve(name, self.report)?;
            Some(RouteTarget::Backend(BackendIndex(backend)))
        };
        match (&document.value.flag, &document.value.backend) {
            (Some(name), None) => flag(name),
            (None, Some(name)) => backend(name),
            (Some(flag), Some(name)) if self.flags.0.is_written(&flag.value) => {
                let problem = Problem::new("`backend` beside `flag`");
                self.report
                    .add(name.place, problem.hint("remove one of the two"));
                None
            }
            // A flag that may be created at run time, and what is done while it is not.
            (Some(created), Some(name)) => {
                let backend = backend(name)?;
                match self.flags.0.place_of(&created.value) {
                    None => Some(backend),
                    Some(_) => flag(created),
                }
            }
            (None, None) if self.report.has_problem_within(document.place) => None,
            (None, None) => {
                let problem = Problem::new("a route needs a target");
                self.report.add(
                    document.place,
                    problem.hint("add `flag: …` or `backend: …`"),
                );
                None
            }
        }
    }

    /// The backends of a flag that a route names.
    fn backends_of(&self, flag: usize, name: &Written<String>) -> Option<PerVariant<BackendIndex>> {
        let document = self.flags.1.0.get(flag)?.value.as_ref()?;
        if document.variants.is_some() {
            let problem = format!("flag `{}` has no backends", name.value);
            let hint = "name one with `stable` and `canary`, or a `backend`";
            self.report
                .add(name.place, Problem::new(problem).hint(hint));
            return None;
        }
        let place = |name: &Option<Written<String>>| {
            let place = self.backends.place_of(&name.as_ref()?.value);
            place.map(BackendIndex)
        };
        Some(PerVariant {
            stable: place(&document.stable)?,
            canary: place(&document.canary)?,
        })
    }

    fn methods(&self, section: Option<&Placed<Vec<Written<Method>>>>) -> Vec<Method> {
        let Some(section) = section else {
            return Vec::new();
        };
        if section.value.is_empty() && !self.report.has_problem_within(section.place) {
            let problem = Problem::new("a route for no method is never reached");
            self.report.add(
                section.place,
                problem.hint("remove `methods` for all of them"),
            );
        }
        let mut methods = Vec::new();
        for method in &section.value {
            if methods.contains(&method.value) {
                let problem = Problem::new(format!("`{}` is listed twice", method.value));
                self.report
                    .add(method.place, problem.hint("remove one of the two"));
            } else {
                methods.push(method.value.clone());
            }
        }
        methods
    }
}

/// Understands which paths are meant.
pub(super) fn path(
    document: &ShortOr<Written<String>, PathDocument>,
    report: &Report,
) -> Option<PathPattern> {
    let (text, pattern): (_, fn(&str) -> PathPattern) = match document {
        ShortOr::Short(text) | ShortOr::Long(PathDocument::Prefix(text)) => {
            (text, PathPattern::prefix)
        }
        ShortOr::Long(PathDocument::Exact(text)) => (text, |path| PathPattern::Exact(path.into())),
    };
    let path = &*text.value;
    let refuse = |problem: String, hint: String| {
        report.add(text.place, Problem::new(problem).hint(hint));
        None
    };
    if !path.starts_with('/') {
        return refuse(
            format!("`{path}` does not start with `/`"),
            format!("write `/{path}`"),
        );
    }
    let stray = |c: char| matches!(c, '?' | '#' | '*') || !c.is_ascii_graphic();
    if let Some(stray) = path.chars().find(|c| stray(*c)) {
        let hint = "a path is compared as it is sent: percent-encoded, without query; \
                    a prefix needs no `*`";
        return refuse(format!("`{path}` has a `{stray}`"), hint.to_owned());
    }
    Some(pattern(path))
}

/// Whether two routes fit the very same requests.
fn is_same(a: &Route, b: &Route) -> bool {
    fn has_each<T: PartialEq>(all: &[T], each: &[T]) -> bool {
        each.iter().all(|item| all.contains(item))
    }
    let has_headers = |a: &[HeaderMatcher], b: &[HeaderMatcher]| has_each(a, b) && has_each(b, a);
    a.host == b.host
        && a.path == b.path
        && has_each(&a.methods, &b.methods)
        && has_each(&b.methods, &a.methods)
        && has_headers(&a.headers, &b.headers)
}

/// What a route without a name is called: `GET,POST api.example.com/orders`, `=/exact`, `/`.
fn label(route: &Route) -> String {
    let methods: Vec<_> = route.methods.iter().map(Method::as_str).collect();
    let gap = if methods.is_empty() { "" } else { " " };
    let host = match &route.host {
        HostPattern::Any => String::new(),
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
    };
    let path = match &route.path {
        PathPattern::Exact(path) => format!("={path}"),
        PathPattern::Prefix(prefix) if prefix.is_empty() => "/".to_owned(),
        PathPattern::Prefix(prefix) => prefix.to_string(),
    };
    format!("{}{gap}{host}{path}", methods.join(","))
}

/// The label itself, or the first of `label#2`, `label#3`, ... that is not taken.
fn unique(label: &str, taken: &mut HashSet<Box<str>>) -> Box<str> {
    let numbered = (2..).map(|number| format!("{label}#{number}").into());
    let mut choices = std::iter::once(Box::from(label)).chain(numbered);
    let free: Option<Box<str>> = choices.find(|choice| !taken.contains(choice));
    let free = free.unwrap_or_else(|| label.into());
    taken.insert(free.clone());
    free
}
