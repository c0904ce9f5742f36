//! Why a given request would go where it would go.
//!
//! Runs the very sequence that requests go through, on a request that somebody describes.

use std::cell::LazyCell;
use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderValue, Request, header};
use smallvec::SmallVec;

use crate::domain::app::App;
use crate::domain::caller::{Caller, RequestFacts};
use crate::domain::cookie_key::CookieKey;
use crate::domain::decision::{Decision, Reason};
use crate::domain::flag::Stickiness;
use crate::domain::ids::{BackendIndex, FlagIndex, GroupIndex, RouteIndex};
use crate::domain::jwt::TokenFault;
use crate::domain::matcher::segment::SegmentStory;
use crate::domain::routing::RoutingSnapshot;
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;
use crate::proxy::admission;
use crate::proxy::error::ProxyError;
use crate::proxy::identity::Peer;
use crate::proxy::identity::jwt::present_once;
use crate::proxy::resolve::{self, Surroundings};
use crate::runtime::apps::AppRegistry;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::key_ring::KeyRing;
use crate::runtime::pseudonyms::{Pseudonym, SharedPseudonyms};

/// Where a request would go, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The route that fits best.
    pub route: RouteIndex,
    /// The caller's key, if an identity source yields one.
    pub caller: Option<String>,
    /// The app that sends it, if it brings a key of one.
    pub app: Option<Arc<App>>,
    /// Whether it brings a token that is believed, or why not; none where it brings none.
    pub token: Option<Result<(), TokenFault>>,
    /// The client's address behind trusted proxies.
    pub client_ip: IpAddr,
    /// The groups the caller is in, in the file's order.
    pub groups: Vec<GroupIndex>,
    /// The learned segments it is in, and why; one for each model and source of features.
    pub segments: Vec<SegmentStory>,
    /// The flag and its decision, where a flag decides.
    pub flag: Option<(FlagIndex, Decision)>,
    /// The flag whose variant is drawn anew for each such request and decides about it: the one above, or one
    /// that it needs.
    pub drawn_by: Option<FlagIndex>,
    /// The backend that would be asked.
    pub backend: BackendIndex,
    /// The backend of each variant, where a flag decides.
    pub backends: Option<PerVariant<BackendIndex>>,
}

/// Why a request would not be sent on: no route fits, it names no host, its app may not pass, or it lacks a token that
/// is asked for.
#[derive(Debug, thiserror::Error)]
#[error("{reason} (answered with {status})")]
pub struct NotRouted {
    /// What is wrong, in words.
    pub reason: String,
    /// The status that the client would be told.
    pub status: u16,
}

/// What is known of callers beside the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Who was put into groups.
    pub assignments: &'a CallerAssignments,
    /// The apps, with their keys.
    pub apps: &'a AppRegistry,
    /// What makes pseudonyms.
    pub pseudonyms: &'a SharedPseudonyms,
    /// By which both end.
    pub now: Timestamp,
    /// The keys that tokens are verified by.
    pub keys: &'a KeyRing,
    /// The time that tokens expire by, in seconds since 1970.
    pub wall_seconds: u64,
    /// The key of cookies where the configuration has none.
    pub cookie_key: &'a CookieKey,
}

/// Explains a request that comes from `peer` without a certificate.
///
/// # Errors
/// When no route fits, the request names no host, its app may not pass, or it lacks a token that is asked for.
pub fn explain<B>(
    routing: &RoutingSnapshot,
    peer: IpAddr,
    mut request: Request<B>,
    known: Known<'_>,
) -> Result<Explanation, NotRouted> {
    let surroundings = Described(known);
    name_host(&mut request);
    let presented = admission::present(routing, known.apps, &mut request, || known.now);
    let (sources, headers) = (&routing.identity, request.headers());
    let presented = presented.with(present_once(
        sources,
        headers,
        known.keys,
        known.wall_seconds,
    ));
    let refused = |error: &ProxyError| NotRouted {
        reason: error.to_string(),
        status: error.status().as_u16(),
    };
    let located = resolve::locate(routing, peer, &mut request).map_err(|error| refused(&error))?;
    let checked = presented.check(routing, routing.routes.get(located.route).is_public);
    checked.map_err(|error| refused(&error))?;
    let peer = presented.peer(Peer {
        ip: peer,
        certificate: None,
        app: None,
        token: None,
    });
    let sender = LazyCell::new(|| resolve::identity(routing, peer, &request, &surroundings));
    let (client, identity) = &*sender;
    let caller = identity.caller();
    let assigned = surroundings.assigned_groups(routing, caller);
    let pseudonym = surroundings.pseudonym(routing, caller);
    let met = (&request, &located);
    let facts = RequestFacts {
        pseudonym: pseudonym.as_deref(),
        ..resolve::facts(routing, met, (*client, identity), &assigned)
    };
    let members = routing.groups.iter().map(|(place, _)| place);
    let groups = members
        .filter(|place| routing.groups.contains(*place, &facts))
        .collect();
    let segments = segments(routing, &facts);
    let destination = resolve::decide(routing, &sender, &request, &located, &surroundings);
    // A key that was made up just now makes nobody known.
    let key = caller.key().filter(|_| identity.set_cookie.is_none());
    let drawn_by = destination
        .flag
        .and_then(|(flag, _)| routing.decisions(facts).drawn_by(flag, key.is_some()));
    Ok(Explanation {
        route: located.route,
        caller: key.map(str::to_owned),
        app: presented.shared(),
        token: presented.token().outcome(),
        drawn_by,
        client_ip: client.ip,
        groups,
        segments,
        backends: destination
            .flag
            .and_then(|(flag, _)| routing.flag(flag).backends),
        flag: destination.flag,
        backend: destination.backend,
    })
}

/// Where each learned model puts the caller.
fn segments(routing: &RoutingSnapshot, facts: &RequestFacts<'_>) -> Vec<SegmentStory> {
    let mut segments = Vec::new();
    for segment in routing.groups.segments() {
        let story = segment.story(facts);
        // Groups of one model tell the same.
        if !segments.contains(&story) {
            segments.push(story);
        }
    }
    segments
}

/// Has a request say twice which host it asks for, as a client must that names it in the target.
fn name_host<B>(request: &mut Request<B>) {
    let host = request.uri().authority().map(Authority::as_str);
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
}

impl Explanation {
    /// Whether another flag, which this one needs, leaves the variant to chance.
    pub fn drawn_elsewhere(&self) -> Option<FlagIndex> {
        let own = self.flag.map(|(flag, _)| flag);
        self.drawn_by.filter(|drawn| Some(*drawn) != own)
    }

    /// Whether the variant is drawn at random.
    pub fn is_random(&self, routing: &RoutingSnapshot) -> bool {
        self.drawn_by.is_some() || self.is_weighed_at_random(routing)
    }

    /// Whether the flag itself draws, for want of a key or because it is to draw each time.
    pub fn is_weighed_at_random(&self, routing: &RoutingSnapshot) -> bool {
        self.flag.is_some_and(|(flag, decision)| {
            let by_request = routing.flag(flag).stickiness == Stickiness::Request;
            let is_weighed = matches!(
                decision.reason,
                Reason::Group { .. } | Reason::Default { .. }
            );
            is_weighed && (by_request || self.caller.is_none())
        })
    }
}

/// Nothing is drawn for a request that nobody sends.
struct Described<'a>(Known<'a>);

impl Surroundings for Described<'_> {
    fn draw(&self) -> u32 {
        0
    }

    fn new_caller(&self) -> u128 {
        0
    }

    fn cookie_key(&self) -> &CookieKey {
        self.0.cookie_key
    }

    fn assigned_groups(
        &self,
        routing: &RoutingSnapshot,
        caller: Caller<'_>,
    ) -> SmallVec<[GroupIndex; 4]> {
        let mut groups = SmallVec::new();
        if let Some(key) = caller.key() {
            self.0.assignments.groups_of(key, self.0.now, |name| {
                groups.extend(routing.groups.index_of(name.as_str()));
            });
        }
        groups
    }

    fn pseudonym(&self, routing: &RoutingSnapshot, caller: Caller<'_>) -> Option<Pseudonym> {
        self.0.pseudonyms.for_groups(&routing.groups, caller)
    }
}
