//! What happens to a request, phase by phase.

use std::cell::LazyCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body, Incoming};
use rand::RngExt;

use crate::domain::backend::Protocol;
use crate::domain::bucket::murmur3_x86_32;
use crate::domain::decision::Decision;
use crate::domain::evidence::OutcomeClass;
use crate::domain::ids::FlagIndex;
use crate::domain::routing::RoutingSnapshot;
use crate::proxy::access::Entry;
use crate::proxy::admission::{Presented, present};
use crate::proxy::balance::Chance;
use crate::proxy::client::Client;
use crate::proxy::dispatch::dispatch;
use crate::proxy::download::ResponseBody;
use crate::proxy::error::ProxyError;
use crate::proxy::forward::Errand;
use crate::proxy::framing::Refusal;
use crate::proxy::identity::Peer;
use crate::proxy::interim::Interim;
use crate::proxy::observe::Observation;
use crate::proxy::pass_back::{pass_back, refuse, switch};
use crate::proxy::postscript::{Draft, Own, Postscript};
use crate::proxy::resolve::{self, Destination, Found, Located, decide, identity, locate};
use crate::proxy::upgrade::Wish;
use crate::proxy::upload::{Sender, Upload};
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::proxy::{feedback, forwarded, headers, respond, trace};

/// A request on its way to its answer. On the heap, so that a connection without a request keeps no room for one, and
/// each kind has the size that it needs.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;

/// Answers one request. What needs no waiting is done at once, so that little has to be kept while it waits: in the
/// connection's own task, which a panic would end.
pub(crate) fn handle(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    mut request: Request<Incoming>,
) -> Answering {
    let view = worker.view();
    let mut observation =
        Observation::begin(Rc::clone(worker), Rc::clone(client), Rc::clone(&view));
    let wish = Wish::of(&request, client);
    let routing = view.routing();
    // Before the request is logged, for a key may be in its query.
    let presented = presented(worker, routing, &mut request);
    observation.log(&request);
    if feedback::is_meant(client, &request) {
        let (worker, client) = (Rc::clone(worker), Rc::clone(client));
        let rated = (request, observation);
        return Box::pin(async move { rate((&worker, &view), &client, &presented, rated).await });
    }
    let entered = (&mut request, &mut *observation);
    let located = match enter((worker, routing), client, &presented, entered) {
        Ok(located) => located,
        Err(error) => return Box::pin(refuse_unread(observation, error, request)),
    };
    let peer = presented.peer(client.peer());
    let met = (&request, &mut *observation);
    let (destination, chance) = choose((worker, &view), peer, &located, met);
    let flag = note_decision(&mut observation, destination.flag);
    let expectation = expectation(client, &mut request);
    let (known, entry) = ((&presented, &located.host, flag), &mut observation.entry);
    let (request_id, postscript) = prepare((worker, routing), client, &mut request, known, entry);
    let backend = routing.backend(destination.backend);
    let wish = wish.filter(|_| backend.protocol != Protocol::Http2);
    if let Some(wish) = &wish {
        wish.put(request.headers_mut());
    }
    let (parts, body) = request.into_parts();
    let sender = || Sender::new(client, &view);
    let (mut upload, progress) =
        Upload::new(body, sender, expectation.interim, expectation.of_continue);
    upload.postscript = postscript;
    observation.sent(&parts.method, progress.clone(), &backend.timeouts);
    let request = Box::new(Request::from_parts(parts, upload));
    let errand = Errand {
        progress,
        is_switch: wish.is_some(),
        chance,
    };
    let departure = Departure {
        worker: Rc::clone(worker),
        client: Rc::clone(client),
        view,
        destination,
        errand,
        wish,
        request_id,
        observation,
    };
    Box::pin(pass_on(departure, request))
}

/// What is known of a request that goes on its way.
struct Departure {
    worker: Rc<Worker>,
    client: Rc<Client>,
    view: Rc<View>,
    destination: Destination,
    errand: Errand,
    wish: Option<Wish>,
    request_id: HeaderValue,
    observation: Box<Observation>,
}

/// Has a request answered, and passes the answer back.
#[expect(
    clippy::manual_async_fn,
    reason = "what an async fn is given has its place in it twice"
)]
fn pass_on(
    mut it: Departure,
    request: Box<Request<Upload>>,
) -> impl Future<Output = Response<ResponseBody>> {
    async move {
        let sent = (request, &mut it.errand);
        let sent = dispatch(
            &it.worker,
            &it.view,
            &it.destination,
            sent,
            &mut it.observation,
        );
        let answered = sent.await;
        let client = &it.client;
        client.stop_interim();
        match answered {
            Ok(answer) => {
                let is_switch = answer.response.status() == StatusCode::SWITCHING_PROTOCOLS;
                let answer = (answer, it.errand.progress);
                if is_switch {
                    return switch(answer, it.observation, client, it.wish, &it.request_id);
                }
                let is_last = it.worker.is_stopping();
                pass_back(answer, it.observation, it.destination.set_cookie, is_last)
            }
            Err(error) => {
                tracing::debug!(client = %client.ip(), %error, "request not answered by a backend");
                refuse(it.observation, &error, Some(&it.request_id))
            }
        }
    }
}

/// Reads the keys and tokens that a request brings.
fn presented(
    worker: &Worker,
    routing: &RoutingSnapshot,
    request: &mut Request<Incoming>,
) -> Presented {
    let presented = present(routing, &worker.apps, request, || worker.now());
    presented.with(worker.tokens.present(routing, request.headers()))
}

/// Answers whoever rates, by the rules of any route that is not public.
async fn rate(
    (worker, view): (&Rc<Worker>, &View),
    client: &Client,
    presented: &Presented,
    (request, observation): (Request<Incoming>, Box<Observation>),
) -> Response<ResponseBody> {
    let admitted = presented.admit(view.routing(), false, &worker.apps, || worker.now());
    if let Err(error) = admitted.and_then(|()| within_limits(client, &request)) {
        return refuse_unread(observation, error, request).await;
    }
    let answer = feedback::answer((worker, view), client, presented, request).await;
    observation.answered(&answer, OutcomeClass::of_status(answer.status()));
    answer
}

/// Decides where a request goes; whoever sent it is looked for once, and only where somebody asks.
fn choose(
    (worker, view): (&Worker, &View),
    peer: Peer<'_>,
    located: &Located,
    (request, observation): (&Request<Incoming>, &mut Observation),
) -> (Destination, Chance) {
    let routing = view.routing();
    let sender = LazyCell::new(|| identity(routing, peer, request, worker));
    observation.sees(&sender, request);
    let destination = decide(routing, &sender, request, located, worker);
    (destination, chance(worker, view, &sender))
}

fn note_decision(
    observation: &mut Observation,
    decided: Option<(FlagIndex, Decision)>,
) -> Option<FlagIndex> {
    let (flag, decision) = decided?;
    observation.decided(flag, decision);
    Some(flag)
}

/// Where a request goes, if it may come in.
fn admit(
    routing: &RoutingSnapshot,
    client: &Client,
    request: &mut Request<Incoming>,
) -> Result<Located, ProxyError> {
    // Such a one may stand in for one that was not let in, behind others that were.
    let may_stand_in = request.headers().is_empty();
    let located = locate(routing, client.ip(), request);
    let admitted = located.and_then(|it| within_limits(client, request).map(|()| it));
    admitted.map_err(|error| {
        let refusal = client.refusal.get().filter(|_| may_stand_in);
        refusal.map_or(error, ProxyError::Malformed)
    })
}

/// Where a request goes, if it and its sender may come in.
fn enter(
    (worker, routing): (&Worker, &RoutingSnapshot),
    client: &Client,
    presented: &Presented,
    (request, observation): (&mut Request<Incoming>, &mut Observation),
) -> Result<Located, ProxyError> {
    let located = admit(routing, client, request)?;
    observation.routed(located.route);
    let is_public = routing.routes.get(located.route).is_public;
    presented.admit(routing, is_public, &worker.apps, || worker.now())?;
    Ok(located)
}

/// Tells the backend which app it is, if it may pass.
fn name_app(presented: &Presented, routing: &RoutingSnapshot, postscript: &mut Postscript) {
    if let Some(id) = presented.named(routing) {
        postscript.set(Own::SerinApp, id.clone());
    }
}

/// Whether a head has no more fields than it may, cookies as one; over HTTP/1 that is known by now.
fn within_limits(client: &Client, request: &Request<Incoming>) -> Result<(), ProxyError> {
    let is_over =
        request.version() == Version::HTTP_2 && request.headers().len() > client.limits.headers;
    let refusal = is_over.then_some(Refusal::TooManyFields);
    refusal.map_or(Ok(()), |refusal| Err(ProxyError::Malformed(refusal)))
}

/// The same for one of which nothing but the head was looked at.
async fn refuse_unread(
    observation: Box<Observation>,
    error: ProxyError,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let mut answer = refuse(observation, &error, None);
    respond::discard_or_close(&mut request, &mut answer).await;
    answer
}

/// What an endpoint is picked by, besides the endpoints.
fn chance<'a>(
    worker: &Worker,
    view: &View,
    sender: &resolve::Sender<'a, impl FnOnce() -> Found<'a>>,
) -> Chance {
    let caller = view.balances_by_caller().then(|| {
        let (_, identity) = &**sender;
        let key = identity.caller().key()?;
        Some(murmur3_x86_32(b"", key.as_bytes()))
    });
    Chance {
        draw: worker.with_random(|random| random.random()),
        caller: caller.flatten(),
    }
}

/// What a client expects before its answer.
struct Expectation {
    /// Where that is told, if it can be.
    interim: Option<Arc<Interim>>,
    /// Whether it keeps its body until it is asked for it.
    of_continue: bool,
}

fn expectation(client: &Client, request: &mut Request<Incoming>) -> Expectation {
    let interim = match request.version() {
        Version::HTTP_11 => client.interim.get(),
        // HTTP/1.0 does not know what that is (RFC 9110, section 10.1.1), and clients of HTTP/2 cannot be
        // told: one that waits a while and then sends its body all the same does not wait for the backend.
        _ => {
            request.headers_mut().remove(header::EXPECT);
            None
        }
    };
    let of_continue = interim.is_some() && !request.body().is_end_stream() && {
        let expected = request.headers().get(header::EXPECT);
        expected.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    };
    if let Some(interim) = interim {
        interim.begin(of_continue);
    }
    Expectation {
        interim: interim.cloned(),
        of_continue,
    }
}

/// Makes a request's head the one that a backend is to see; returns the request's id, and what is said behind the
/// client's fields.
fn prepare(
    (worker, routing): (&Worker, &RoutingSnapshot),
    client: &Client,
    request: &mut Request<Incoming>,
    (presented, host, flag): (&Presented, &HeaderValue, Option<FlagIndex>),
    entry: &mut Entry,
) -> (HeaderValue, Postscript) {
    let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
    let needs_chunks = matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.body().is_end_stream()
        && request.body().size_hint().exact().is_none();
    let fields = request.headers_mut();
    headers::remove_hop_by_hop(fields);
    if let Some(force) = flag.and_then(|flag| routing.flag(flag).force.as_ref()) {
        headers::remove_alike(fields, &force.header);
    }
    if needs_chunks {
        // hyper takes it for granted that these have no body, unless it is told otherwise.
        fields.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    let mut draft = Draft::of(fields);
    forwarded::set_forwarding(&mut draft, client, host);
    headers::say_via(&mut draft, version);
    let is_trusted = routing.trusted.contains(client.ip());
    let request_id = worker.with_random(|random| {
        trace::set_traceparent(&mut draft, random);
        trace::set_request_id(&mut draft, is_trusted, random)
    });
    entry.marked(&request_id, &draft);
    let mut postscript = draft.finish();
    name_app(presented, routing, &mut postscript);
    (request_id, postscript)
}
