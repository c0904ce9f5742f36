//! Finds out where a request goes: which route, which caller, which variant.
//!
//! The one sequence for every request, and for explaining one.

use std::cell::LazyCell;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use smallvec::SmallVec;

use crate::domain::caller::{Caller, RequestFacts};
use crate::domain::cookie_key::CookieKey;
use crate::domain::decision::Decision;
use crate::domain::identity::IdentitySource;
use crate::domain::ids::{BackendIndex, FlagIndex, GroupIndex, RouteIndex};
use crate::domain::prerequisite::Decisions;
use crate::domain::route::RouteTarget;
use crate::domain::routing::RoutingSnapshot;
use crate::proxy::error::ProxyError;
use crate::proxy::framing::{METHOD_BYTES_MAX, Refusal, TARGET_BYTES_MAX};
use crate::proxy::identity::jwt::PresentedToken;
use crate::proxy::identity::{Cookies, Identity, Peer, identify};
use crate::proxy::{forwarded, headers, target};
use crate::runtime::pseudonyms::Pseudonym;

/// What a decision needs besides the request and the snapshot.
pub(crate) trait Surroundings {
    /// An evenly spread random number for one request.
    fn draw(&self) -> u32;
    /// A random number for a caller that is to be known from now on.
    fn new_caller(&self) -> u128;
    /// The key of cookies that are given where the configuration has none.
    fn cookie_key(&self) -> &CookieKey;
    /// The groups that an operator has put a caller into.
    fn assigned_groups(
        &self,
        routing: &RoutingSnapshot,
        caller: Caller<'_>,
    ) -> SmallVec<[GroupIndex; 4]>;
    /// What a caller is called, where a group looks callers up by that.
    fn pseudonym(&self, routing: &RoutingSnapshot, caller: Caller<'_>) -> Option<Pseudonym>;
}

/// What is known of the client behind trusted proxies, and who sent the request.
pub(crate) type Found<'a> = (Peer<'a>, Identity<'a>);

/// The same, looked for when it is asked for first: not every request needs it, and none needs it twice.
pub(crate) type Sender<'a, F> = LazyCell<Found<'a>, F>;

/// The route of a request, and the host it asks for.
pub(crate) struct Located {
    pub(crate) route: RouteIndex,
    pub(crate) host: HeaderValue,
}

/// Where a request goes.
pub(crate) struct Destination {
    pub(crate) backend: BackendIndex,
    /// Who may stand in for it: stable, where a flag decides.
    pub(crate) stand_in: BackendIndex,
    /// The flag that decided, if one did.
    pub(crate) flag: Option<(FlagIndex, Decision)>,
    /// What the backend is told of further flags.
    pub(crate) further: Option<HeaderValue>,
    /// A cookie for a caller that was not known.
    pub(crate) set_cookie: Option<HeaderValue>,
}

/// Removes what the peer may not say and finds the route; the target becomes relative.
pub(crate) fn locate<B>(
    routing: &RoutingSnapshot,
    peer: IpAddr,
    request: &mut Request<B>,
) -> Result<Located, ProxyError> {
    clean(routing, peer, request)?;
    if request.method() == Method::CONNECT {
        return Err(ProxyError::Tunnel);
    }
    let host = target::settle(request)?;
    let (name, path) = (target::host_name(&host), routed_path(request));
    let found = routing
        .routes
        .find(name, request.method(), path, request.headers());
    Ok(Located {
        route: found.ok_or(ProxyError::NoRoute)?,
        host,
    })
}

/// Removes what the peer may not say.
pub(crate) fn clean<B>(
    routing: &RoutingSnapshot,
    peer: IpAddr,
    request: &mut Request<B>,
) -> Result<(), ProxyError> {
    let is_trusted = routing.trusted.contains(peer);
    let guarded = |name: &str| is_guarded(routing, name);
    headers::remove_forged(request.headers_mut(), is_trusted, guarded);
    if request.version() == Version::HTTP_2 {
        headers::join_cookies(request.headers_mut());
        check_http2(request).map_err(ProxyError::Malformed)?;
    }
    Ok(())
}

/// Holds a request of HTTP/2 to what those of HTTP/1 are held to before they are read.
fn check_http2<B>(request: &Request<B>) -> Result<(), Refusal> {
    let lengths = request.headers().get_all(header::CONTENT_LENGTH);
    if lengths.iter().nth(1).is_some() {
        return Err(Refusal::BadLength);
    }
    if request.method().as_str().len() > METHOD_BYTES_MAX {
        return Err(Refusal::MethodTooLong);
    }
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return Err(Refusal::TargetTooLong);
    }
    Ok(())
}

/// Removes from what comes behind a body what the peer may not say, and what nobody may there.
pub(crate) fn clean_trailers(routing: &RoutingSnapshot, peer: IpAddr, trailers: &mut HeaderMap) {
    headers::remove_of_heads(trailers);
    let guarded = |name: &str| is_guarded(routing, name);
    headers::remove_forged(trailers, routing.trusted.contains(peer), guarded);
}

/// The path that routes are asked for. `OPTIONS *` is about the host as a whole.
fn routed_path<B>(request: &Request<B>) -> &str {
    match request.uri().path() {
        "*" => "/",
        path => path,
    }
}

/// What decisions look at in a request.
pub(crate) fn facts<'a, B>(
    routing: &RoutingSnapshot,
    (request, located): (&'a Request<B>, &'a Located),
    (client, identity): (Peer<'a>, &'a Identity<'a>),
    assigned: &'a [GroupIndex],
) -> RequestFacts<'a> {
    RequestFacts {
        method: request.method(),
        host: target::host_name(&located.host),
        path: routed_path(request),
        query: request.uri().query(),
        headers: request.headers(),
        client_ip: client.ip,
        caller: identity.caller(),
        pseudonym: None,
        app: client.app,
        is_barred: client
            .app
            .is_some_and(|app| !routing.admission.lets_in(app.status)),
        certificate: client.certificate,
        bucketed_by: identity.bucketed_by,
        claims: client.token.and_then(PresentedToken::claims),
        assigned,
        draw: 0,
    }
}

/// Whether a header says who the caller is or what it is like, so that only trusted peers may send it.
fn is_guarded(routing: &RoutingSnapshot, name: &str) -> bool {
    let is_source = |source: &IdentitySource| match source {
        IdentitySource::Header(source) => headers::is_alike(source.as_str(), name),
        IdentitySource::ApiKey(_)
        | IdentitySource::Jwt(_)
        | IdentitySource::Certificate(_)
        | IdentitySource::Cookie(_)
        | IdentitySource::AssignedCookie(_)
        | IdentitySource::ClientIp => false,
    };
    let features = routing.groups.feature_headers();
    let is_feature = |feature: &HeaderName| headers::is_alike(feature.as_str(), name);
    routing.identity.iter().any(is_source) || features.iter().any(is_feature)
}

/// Finds out who sent a request.
pub(crate) fn identity<'a, B>(
    routing: &RoutingSnapshot,
    peer: Peer<'a>,
    request: &'a Request<B>,
    surroundings: &impl Surroundings,
) -> Found<'a> {
    let ip = forwarded::client_ip(request.headers(), peer.ip, &routing.trusted);
    let client = Peer { ip, ..peer };
    let cookies = Cookies {
        key: surroundings.cookie_key(),
        draw: || surroundings.new_caller(),
    };
    (
        client,
        identify(&routing.identity, request.headers(), client, cookies),
    )
}

/// Decides which backend serves a request.
pub(crate) fn decide<'a, B>(
    routing: &RoutingSnapshot,
    sender: &Sender<'a, impl FnOnce() -> Found<'a>>,
    request: &Request<B>,
    located: &Located,
    surroundings: &impl Surroundings,
) -> Destination {
    let route = routing.routes.get(located.route);
    if let (RouteTarget::Backend(backend), true) = (route.target, route.send.is_empty()) {
        return Destination {
            backend,
            stand_in: backend,
            flag: None,
            further: None,
            set_cookie: None,
        };
    }
    let (client, identity) = &**sender;
    let caller = identity.caller();
    let assigned = surroundings.assigned_groups(routing, caller);
    let pseudonym = surroundings.pseudonym(routing, caller);
    let facts = RequestFacts {
        draw: surroundings.draw(),
        pseudonym: pseudonym.as_deref(),
        ..facts(routing, (request, located), (*client, identity), &assigned)
    };
    let (decided, further) = if route.send.is_empty() {
        (
            decided(route.target, |flag| routing.decide(flag, &facts)),
            None,
        )
    } else {
        let mut decisions = routing.decisions(facts);
        let decided = decided(route.target, |flag| decisions.of(flag));
        (decided, further(routing, &route.send, &mut decisions))
    };
    let (backend, stand_in, flag) = decided;
    Destination {
        backend,
        stand_in,
        flag,
        further,
        set_cookie: identity.set_cookie.clone(),
    }
}

/// Which backend serves, which may stand in for it, and the flag's decision, where one decides.
fn decided(
    target: RouteTarget,
    decide: impl FnOnce(FlagIndex) -> Decision,
) -> (BackendIndex, BackendIndex, Option<(FlagIndex, Decision)>) {
    match target {
        RouteTarget::Backend(backend) => (backend, backend, None),
        RouteTarget::Flag { flag, backends } => {
            let decision = decide(flag);
            let backend = *backends.get(decision.variant);
            (backend, backends.stable, Some((flag, decision)))
        }
    }
}

/// Says what flags give the caller: `dark-mode=on, banner=sale`.
fn further(
    routing: &RoutingSnapshot,
    flags: &[FlagIndex],
    decisions: &mut Decisions<'_>,
) -> Option<HeaderValue> {
    let said = flags.iter().map(|index| {
        let flag = routing.flag(*index);
        let chosen = flag.variants.get(flag.chosen(decisions.of(*index)));
        format!("{}={}", flag.name, chosen.name)
    });
    // Names are plain ASCII, which is always a header value.
    HeaderValue::try_from(said.collect::<Vec<_>>().join(", ")).ok()
}
