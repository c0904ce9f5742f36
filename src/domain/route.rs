//! Which part of the configuration a request belongs to.
//!
//! The precedence is the Gateway API's (HTTPRoute, "matches"): an exact host before a wildcard
//! before none, the longer host first; an exact path before a prefix, the longer prefix first; a
//! route that names methods before one that does not; more header conditions before fewer; and
//! between equals the first in the file.
//!
//! So that a thousand routes cost a request hardly more than ten, those of one host are looked up by it, those of a wildcard
//! by each end of the host that begins with a dot, and where there are many for a host, by each beginning of the path that
//! ends with a segment.

use std::cmp::Reverse;
use std::collections::HashMap;

use http::{HeaderMap, Method};

use crate::domain::ids::{BackendIndex, FlagIndex, RouteIndex};
use crate::domain::matcher::header::HeaderMatcher;
use crate::domain::variant::PerVariant;

/// Which hosts a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// All of them.
    Any,
    /// One name, in lower case.
    Exact(Box<str>),
    /// Every name below a domain: the part after the `*`, with its dot, in lower case.
    Wildcard(Box<str>),
}

impl HostPattern {
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Wildcard(suffix) => (1, suffix.len()),
            Self::Exact(name) => (2, name.len()),
        }
    }
}

/// Which paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// One path.
    Exact(Box<str>),
    /// A path and everything below it, by whole segments: `/orders` and `/orders/7`, but not
    /// `/orders-old`. Kept without its final slash, so `/` is the empty text.
    Prefix(Box<str>),
}

impl PathPattern {
    /// The prefix that a path stands for.
    pub fn prefix(path: &str) -> Self {
        Self::Prefix(path.trim_end_matches('/').into())
    }

    /// Whether a path fits.
    pub fn fits(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => path
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// The path as it is kept, with which every path that fits begins: all of it, or up to a slash.
    fn as_str(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix(path) => path,
        }
    }

    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Prefix(prefix) => (0, prefix.len()),
            Self::Exact(path) => (1, path.len()),
        }
    }
}

/// What serves a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// The backend of the variant that a flag decides.
    Flag {
        /// The flag.
        flag: FlagIndex,
        /// Its backends.
        backends: PerVariant<BackendIndex>,
    },
    /// One backend.
    Backend(BackendIndex),
}

/// One entry of the configuration's `routes`.
#[derive(Clone, Debug)]
pub struct Route {
    /// What metrics and logs call it; unique.
    pub label: Box<str>,
    /// The hosts it is for.
    pub host: HostPattern,
    /// The paths it is for.
    pub path: PathPattern,
    /// The methods it is for; empty for all.
    pub methods: Vec<Method>,
    /// Conditions on the head; all must hold.
    pub headers: Vec<HeaderMatcher>,
    /// What serves it.
    pub target: RouteTarget,
    /// Further flags whose decisions the backend is told.
    pub send: Box<[FlagIndex]>,
    /// Whether anybody may pass, whatever is asked of apps elsewhere.
    pub is_public: bool,
}

impl Route {
    /// Whether all but the host fits.
    fn fits(&self, method: &Method, path: &str, headers: &HeaderMap) -> bool {
        self.path.fits(path)
            && (self.methods.is_empty() || self.methods.contains(method))
            && self.headers.iter().all(|condition| condition.fits(headers))
    }
}

/// Routes by a host or a domain, best first.
type Named = HashMap<Box<str>, Vec<RouteIndex>>;

/// All routes, ready to be searched.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// In the file's order.
    routes: Vec<Route>,
    /// For each host that some route names: the routes that do.
    by_host: HashMap<Box<str>, Candidates>,
    /// For each domain below which some route is for every host: the routes that are, which come after those.
    by_domain: HashMap<Box<str>, Candidates>,
    /// Bytes of the longest domain, so that a request cannot have more looked up.
    longest_domain: usize,
    /// The routes for all hosts, which come last.
    anywhere: Candidates,
}

/// The most routes that are tried one after the other: to look up each beginning of a path costs about as much.
const TRIED_MAX: usize = 24;

/// Routes that a request may go by.
#[derive(Clone, Debug)]
enum Candidates {
    /// Best first.
    Few(Vec<RouteIndex>),
    /// By what they name.
    Many(ByPath),
}

/// Many routes by the path that each names.
#[derive(Clone, Debug, Default)]
struct ByPath {
    /// Each with its place among all of them, best first.
    routes: HashMap<Box<str>, Vec<(usize, RouteIndex)>>,
    /// Bytes of the longest path, so that a request cannot have more looked up.
    longest: usize,
}

impl Default for Candidates {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Candidates {
    /// Takes routes, best first.
    fn new(best_first: Vec<RouteIndex>, routes: &[Route]) -> Self {
        if best_first.len() <= TRIED_MAX {
            return Self::Few(best_first);
        }
        let mut by_path = ByPath::default();
        for ranked in best_first.into_iter().enumerate() {
            let path = routes[ranked.1.0].path.as_str();
            by_path.longest = by_path.longest.max(path.len());
            by_path.routes.entry(path.into()).or_default().push(ranked);
        }
        Self::Many(by_path)
    }

    /// The best one that fits, as `fits` says of each; none does whose path the request's does not begin with.
    fn best(&self, path: &str, fits: impl Fn(RouteIndex) -> bool) -> Option<RouteIndex> {
        match self {
            Self::Few(routes) => routes.iter().copied().find(|place| fits(*place)),
            Self::Many(ByPath { routes, longest }) => {
                let named = beginnings(path, *longest).filter_map(|path| routes.get(path));
                let best = named.filter_map(|all| all.iter().find(|(_, place)| fits(*place)));
                best.min_by_key(|(rank, _)| rank).map(|(_, place)| *place)
            }
        }
    }
}

/// A path, and what of it is before each of its slashes, as far as it has no more than so many bytes.
fn beginnings(path: &str, longest: usize) -> impl Iterator<Item = &str> {
    let whole = (path.len() <= longest).then_some(path);
    let slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
    let before = slashes
        .map(|(slash, _)| slash)
        .take_while(move |slash| *slash <= longest);
    whole.into_iter().chain(before.map(|slash| &path[..slash]))
}

/// The ends of a host that begin with a dot and have something before it, as far as they have no more than so many bytes;
/// longest first.
fn domains(host: &str, longest: usize) -> impl Iterator<Item = &str> {
    let from = host.len().saturating_sub(longest).max(1);
    let bytes = host.bytes().enumerate().skip(from);
    let dots = bytes.filter(|(_, byte)| *byte == b'.');
    dots.map(|(dot, _)| &host[dot..])
}

impl RouteTable {
    /// Takes routes in the file's order.
    pub fn new(routes: Vec<Route>) -> Self {
        let mut best_first: Vec<_> = (0..routes.len()).map(RouteIndex).collect();
        best_first.sort_by_key(|place| {
            let route = &routes[place.0];
            let methods = u8::from(!route.methods.is_empty());
            Reverse((
                route.host.rank(),
                route.path.rank(),
                methods,
                route.headers.len(),
            ))
        });
        let (mut of_hosts, mut of_domains) = (Named::default(), Named::default());
        let mut anywhere = Vec::new();
        for place in best_first {
            match &routes[place.0].host {
                HostPattern::Exact(name) => of_hosts.entry(name.clone()).or_default().push(place),
                HostPattern::Wildcard(domain) => {
                    of_domains.entry(domain.clone()).or_default().push(place);
                }
                HostPattern::Any => anywhere.push(place),
            }
        }
        let candidates = |named: Named| -> HashMap<_, _> {
            let named = named.into_iter();
            let candidates = named.map(|(name, own)| (name, Candidates::new(own, &routes)));
            candidates.collect()
        };
        let longest_domain = of_domains.keys().map(|domain| domain.len()).max();
        Self {
            by_host: candidates(of_hosts),
            by_domain: candidates(of_domains),
            longest_domain: longest_domain.unwrap_or_default(),
            anywhere: Candidates::new(anywhere, &routes),
            routes,
        }
    }

    /// The best route for a request; `host` comes without port, in any case.
    pub fn find(
        &self,
        host: &str,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<RouteIndex> {
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.find(&host.to_ascii_lowercase(), method, path, headers);
        }
        let fits = |place: RouteIndex| self.get(place).fits(method, path, headers);
        let of_domains =
            domains(host, self.longest_domain).filter_map(|domain| self.by_domain.get(domain));
        let own = self.by_host.get(host).into_iter();
        let mut all = own.chain(of_domains).chain([&self.anywhere]);
        all.find_map(|candidates| candidates.best(path, fits))
    }

    /// One route.
    pub fn get(&self, route: RouteIndex) -> &Route {
        &self.routes[route.0]
    }

    /// Whether any route goes by a flag.
    pub fn goes_by(&self, flag: FlagIndex) -> bool {
        let is_of = |target: RouteTarget| matches!(target, RouteTarget::Flag { flag: of, .. } if of == flag);
        self.iter().any(|(_, route)| is_of(route.target))
    }

    /// All routes, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (RouteIndex, &Route)> {
        self.routes
            .iter()
            .enumerate()
            .map(|(place, route)| (RouteIndex(place), route))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::domain::matcher::text::TextPattern;

    fn route(label: &str, host: HostPattern, path: PathPattern) -> Route {
        let target = RouteTarget::Backend(BackendIndex(0));
        Route {
            label: label.into(),
            host,
            path,
            methods: vec![],
            headers: vec![],
            target,
            send: Box::default(),
            is_public: false,
        }
    }

    fn on_host(label: &str, host: &str) -> Route {
        let host = match host.strip_prefix('*') {
            Some(suffix) => HostPattern::Wildcard(suffix.into()),
            None => HostPattern::Exact(host.into()),
        };
        route(label, host, PathPattern::prefix("/"))
    }

    fn on_path(label: &str, path: PathPattern) -> Route {
        route(label, HostPattern::Any, path)
    }

    fn found(table: &RouteTable, host: &str, method: &Method, path: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-tier", HeaderValue::from_static("gold"));
        let place = table.find(host, method, path, &headers)?;
        Some(table.get(place).label.to_string())
    }

    #[test]
    fn an_exact_host_comes_before_the_longest_wildcard_before_none() {
        let table = RouteTable::new(vec![
            route(
                "any",
                HostPattern::Any,
                PathPattern::Exact("/very/long/and/exact".into()),
            ),
            on_host("wide", "*.example.com"),
            on_host("narrow", "*.api.example.com"),
            on_host("exact", "eu.api.example.com"),
        ]);
        let on = |host: &str| found(&table, host, &Method::GET, "/very/long/and/exact");
        assert_eq!(on("eu.api.example.com").unwrap(), "exact");
        assert_eq!(on("EU.API.Example.com").unwrap(), "exact");
        assert_eq!(on("us.api.example.com").unwrap(), "narrow");
        assert_eq!(on("a.b.example.com").unwrap(), "wide");
        assert_eq!(on("example.com").unwrap(), "any");
        assert_eq!(found(&table, "example.org", &Method::GET, "/"), None);
    }

    #[test]
    fn a_host_without_a_fitting_path_falls_back_to_a_wider_route() {
        let mut narrow = on_host("narrow", "api.example.com");
        narrow.path = PathPattern::prefix("/v2");
        let table = RouteTable::new(vec![on_path("rest", PathPattern::prefix("/")), narrow]);
        let at = |path: &str| found(&table, "api.example.com", &Method::GET, path).unwrap();
        assert_eq!(at("/v2/x"), "narrow");
        assert_eq!(at("/v1/x"), "rest");
    }

    #[test]
    fn an_exact_path_comes_before_the_longest_prefix_by_whole_segments() {
        let table = RouteTable::new(vec![
            on_path("root", PathPattern::prefix("/")),
            on_path("orders", PathPattern::prefix("/orders/")),
            on_path("mine", PathPattern::prefix("/orders/mine")),
            on_path("list", PathPattern::Exact("/orders".into())),
        ]);
        let at = |path: &str| found(&table, "h", &Method::GET, path).unwrap();
        assert_eq!(at("/orders"), "list");
        assert_eq!(at("/orders/"), "orders");
        assert_eq!(at("/orders/7"), "orders");
        assert_eq!(at("/orders/mine/7"), "mine");
        assert_eq!(at("/orders/mine7"), "orders");
        assert_eq!(at("/orders-old"), "root");
    }

    #[test]
    fn methods_then_headers_then_the_file_break_a_tie() {
        let gold = HeaderMatcher {
            name: HeaderName::from_static("x-tier"),
            value: TextPattern::Exact("gold".into()),
        };
        let lead = HeaderMatcher {
            value: TextPattern::Exact("lead".into()),
            ..gold.clone()
        };
        let plain = || on_path("first", PathPattern::prefix("/a"));
        let table = RouteTable::new(vec![
            plain(),
            Route {
                label: "second".into(),
                ..plain()
            },
            Route {
                label: "header".into(),
                headers: vec![gold],
                ..plain()
            },
            Route {
                label: "unfit".into(),
                headers: vec![lead.clone(), lead],
                ..plain()
            },
            Route {
                label: "method".into(),
                methods: vec![Method::POST],
                ..plain()
            },
        ]);
        assert_eq!(found(&table, "h", &Method::POST, "/a").unwrap(), "method");
        assert_eq!(found(&table, "h", &Method::GET, "/a").unwrap(), "header");
        let bare = table
            .find("h", &Method::GET, "/a", &HeaderMap::new())
            .unwrap();
        assert_eq!(&*table.get(bare).label, "first");
    }

    fn is_for(pattern: &HostPattern, host: &str) -> bool {
        match pattern {
            HostPattern::Any => true,
            HostPattern::Exact(name) => **name == *host,
            HostPattern::Wildcard(domain) => host.len() > domain.len() && host.ends_with(&**domain),
        }
    }

    /// The best route by the rule, without any look-up.
    fn best_of(routes: &[Route], host: &str, method: &Method, path: &str) -> Option<RouteIndex> {
        let fits = |route: &Route| {
            is_for(&route.host, host) && route.fits(method, path, &HeaderMap::new())
        };
        let fitting = routes.iter().enumerate().filter(|(_, route)| fits(route));
        let best = fitting.min_by_key(|(place, route)| {
            let has_methods = !route.methods.is_empty();
            (
                Reverse((route.host.rank(), route.path.rank(), has_methods)),
                *place,
            )
        });
        best.map(|(place, _)| RouteIndex(place))
    }

    fn any_path() -> impl Strategy<Value = String> {
        let segments = proptest::collection::vec(select(&["a", "b", "ab", ""][..]), 0..4);
        segments.prop_map(|segments| format!("/{}", segments.join("/")))
    }

    fn any_route() -> impl Strategy<Value = Route> {
        let host = select(&["", "*.test", "*.a.test", "a.test", "b.a.test"][..]);
        let methods = select(vec![vec![], vec![Method::GET], vec![Method::POST]]);
        (host, any_path(), any::<bool>(), methods).prop_map(|(host, path, is_exact, methods)| {
            let path = match is_exact {
                true => PathPattern::Exact(path.into()),
                false => PathPattern::prefix(&path),
            };
            let named = match host {
                "" => on_path("", path.clone()),
                host => on_host("", host),
            };
            Route {
                path,
                methods,
                ..named
            }
        })
    }

    const HOSTS: [&str; 10] = [
        "a.test",
        "b.a.test",
        "c.a.test",
        "d.c.a.test",
        "c.test",
        ".test",
        "a..test",
        "test",
        "other",
        "",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn few_or_many_the_best_that_fits_is_found(
            routes in proptest::collection::vec(any_route(), 0..4 * TRIED_MAX),
            host in select(&HOSTS[..]),
            path in any_path(),
            method in select(vec![Method::GET, Method::PUT]),
        ) {
            let table = RouteTable::new(routes.clone());
            let found = table.find(host, &method, &path, &HeaderMap::new());
            prop_assert_eq!(found, best_of(&routes, host, &method, &path));
        }
    }

    #[test]
    fn no_more_of_a_host_is_looked_up_than_routes_name() {
        let of = |host, longest| domains(host, longest).collect::<Vec<_>>();
        assert_eq!(of("a.bc.test", 20), [".bc.test", ".test"]);
        assert_eq!(of("a.bc.test", 8), [".bc.test", ".test"]);
        assert_eq!(of("a.bc.test", 7), [".test"]);
        assert_eq!(of("a.bc.test", 0), [""; 0]);
        assert_eq!(of(".test", 9), [""; 0], "nothing is before it");
        assert_eq!(of("....", 2), ["..", "."]);
    }

    #[test]
    fn no_more_of_a_path_is_looked_up_than_routes_name() {
        let of = |path, longest| beginnings(path, longest).collect::<Vec<_>>();
        assert_eq!(of("/a/bc/", 9), ["/a/bc/", "", "/a", "/a/bc"]);
        assert_eq!(of("/a/bc", 5), ["/a/bc", "", "/a"]);
        assert_eq!(of("/a/bc", 4), ["", "/a"]);
        assert_eq!(of("/a/bc", 1), [""]);
        assert_eq!(of("//////", 2), ["", "/", "//"]);
    }
}
