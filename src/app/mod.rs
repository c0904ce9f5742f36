//! How the parts are wired, and in which order they start and stop.
//!
//! Everything that can be refused, above all the listening sockets, is claimed before anything is
//! started, so that a start either happens as a whole or not at all. Stopping goes the other way
//! round: no new connections, requests under way end, and only then the control plane goes.

pub(crate) mod access_log;
mod callers;
mod claimed;
mod cookie_key;
pub mod demo;
mod huge_pages;
mod initial;
mod open_files;
mod refusal;
mod reload;
mod samples;
mod state;
mod telling;
mod threads;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;

use crate::adapters::config_file::Source;
use crate::adapters::evidence::local::LocalEvidence;
use crate::adapters::gate::HttpHooks;
use crate::adapters::http_client::HttpClients;
use crate::adapters::key_fetcher::KeyFetcher;
use crate::adapters::metric::HttpMetrics;
use crate::adapters::notify::log::LogNotifier;
use crate::adapters::system_trust;
use crate::admin::{AdminServer, AdminState, Gate, Streams, Tokens};
use crate::app::callers::Callers;
use crate::app::claimed::{Claimed, ClaimedListener};
use crate::app::refusal::refused_flags;
use crate::app::reload::{Fixed, Reloader, Replaceable};
use crate::app::telling::Telling;
use crate::app::threads::{Stops, Threads};
use crate::app::tls::TlsListeners;
use crate::config::Config;
use crate::control::commands::CommandSender;
use crate::control::installation::NewConfiguration;
use crate::control::ports::StateReader;
use crate::control::reload::{self as reloading, ReloadSender};
use crate::control::status::Status;
use crate::control::{Controller, Parts, commands};
use crate::domain::backend::{Backend, Der};
use crate::domain::cookie_key::CookieKey;
use crate::domain::routing::RoutingSnapshot;
use crate::proxy::{AccessLogReader, HealthContext, Socket, Tail, WorkerContext};
use crate::runtime::apps::AppRegistry;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::caller_book::CallerBookReader;
use crate::runtime::clock::Clock;
use crate::runtime::connections::ConnectionCounters;
use crate::runtime::delivery::DeliveryStatus;
use crate::runtime::feedback::FeedbackDesk;
use crate::runtime::inbox::{self, Inbox, InboxSender};
use crate::runtime::key_ring::{KeyRingReader, KeySourceStatus, TokenCounters};
use crate::runtime::ledger::Ledger;
use crate::runtime::pseudonyms::SharedPseudonyms;
use crate::runtime::published::{Published, Publisher, Subscriber};
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};
use crate::runtime::trays::Tally;

pub use self::initial::{Initial, initial, initial_routing};

/// A running Serin.
pub struct App {
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
    status: SnapshotReader<Status>,
    reload: ReloadSender,
    threads: Threads,
}

/// What the threads share.
struct Shared {
    ledger: Arc<Ledger>,
    assignments: Arc<CallerAssignments>,
    apps: Arc<AppRegistry>,
    feedback: Arc<FeedbackDesk>,
    /// What tokens are verified by, and what became of them, one set of counts for each worker.
    keys: KeyRingReader,
    cookie_key: Arc<CookieKey>,
    key_sources: SnapshotReader<Vec<KeySourceStatus>>,
    tokens: Vec<Arc<TokenCounters>>,
    subscriber: Subscriber,
    clock: Clock,
    inbox: InboxSender,
    gate: Arc<Gate>,
    /// Where connections are counted, one for each worker.
    connections: Vec<Arc<ConnectionCounters>>,
    /// How the delivery of messages goes.
    deliveries: SnapshotReader<DeliveryStatus>,
    /// What is logged of requests, and what became of the lines.
    access_log: (AccessLogReader, Arc<Tally>),
    /// Where others look on at requests.
    tail: Tail,
    /// What is known of callers.
    callers: CallerBookReader,
    /// Makes pseudonyms of them.
    pseudonyms: Arc<SharedPseudonyms>,
    /// Tells everything to stop.
    stops: Stops,
    /// Connections of clients that there may be, of all workers together.
    connections_max: usize,
}

impl Shared {
    /// What the threads share, and the ends of it that are the controller's alone.
    fn new(
        claimed: &Claimed,
        clock: Clock,
        gate: Arc<Gate>,
        deliveries: SnapshotReader<DeliveryStatus>,
        (callers, keys, cookie_key): (CallerBookReader, &KeyFetcher, Arc<CookieKey>),
    ) -> (Self, Publisher, Inbox) {
        let workers = claimed.workers;
        let ledger = Arc::new(Ledger::new(workers));
        let publisher = Publisher::new(Published::new(RoutingSnapshot::default(), &ledger));
        let (inbox, messages) = inbox::inbox();
        let shared = Self {
            ledger,
            assignments: Arc::default(),
            apps: Arc::default(),
            feedback: Arc::default(),
            cookie_key,
            keys: keys.reader(),
            key_sources: keys.status(),
            tokens: (0..workers).map(|_| Arc::default()).collect(),
            subscriber: publisher.reader(),
            clock,
            inbox,
            gate,
            connections: (0..workers).map(|_| Arc::default()).collect(),
            deliveries,
            access_log: (claimed.log.reader(), Arc::clone(claimed.log.tally())),
            tail: Tail::new(workers),
            callers,
            pseudonyms: Arc::default(),
            stops: Stops::new(claimed.shutdown),
            connections_max: claimed.connections_max,
        };
        (shared, publisher, messages)
    }
}

impl App {
    /// Claims all sockets and starts all threads. `source` is the file that the configuration was
    /// read from, to be read again; none for one that nobody can change.
    ///
    /// # Errors
    /// When a socket cannot be had, a thread not be started, or the configuration contradicts
    /// where rollouts are; nothing runs then.
    pub fn start(config: Config, source: Option<Source>) -> Result<Self> {
        huge_pages::do_without();
        let claimed = Claimed::all(&config, source.as_ref())?;
        let (fixed, clock) = (Fixed::of(&config), Clock::start());
        let state = state::open(&config.state, source.as_ref())?;
        let telling = Telling::start(&config.notify, state.outbox, clock)?;
        let (tokens, gate) = gate(&config, &claimed.admin)?;
        let (callers, keys, cookie_key) = known(&config, clock, source.as_ref());
        let known = (callers.reader(), &keys, cookie_key);
        let (shared, publisher, messages) =
            Shared::new(&claimed, clock, gate, telling.status(), known);
        let (commands, orders) = commands::channel();
        let controller = Controller::new(Parts {
            configuration: routing(config),
            publisher,
            ledger: Arc::clone(&shared.ledger),
            evidence: Box::new(LocalEvidence::new(Arc::clone(&shared.ledger))),
            writer: state.writer,
            reader: Arc::clone(&state.reader),
            saved: state.saved,
            notifiers: vec![Box::new(LogNotifier), Box::new(telling.waker())],
            metrics: Arc::new(HttpMetrics::new(HttpClients::new().plain())),
            hooks: Arc::new(HttpHooks::default()),
            commands: orders,
            inbox: messages,
            apps: Arc::clone(&shared.apps),
            assignments: Arc::clone(&shared.assignments),
            feedback: Arc::clone(&shared.feedback),
            callers: shared.callers.clone(),
            pseudonyms: Arc::clone(&shared.pseudonyms),
            clock: shared.clock,
        })
        .map_err(|refusals| refused_flags(&refusals, source.as_ref()))?;
        let status = controller.status();
        let ((reload, requests), (deliverer, recipients)) = (reloading::channel(), telling.split());
        let (listeners, admin) = (claimed.listeners(), claimed.admin.address()?);
        let contexts = contexts(&shared, claimed.listeners, &claimed.tls);
        let others = Replaceable::new(tokens, recipients, claimed.tls, claimed.log, callers);
        let reloader = source.map(|from| Reloader::new((from, fixed), &commands, requests, others));
        let state = admin_state(
            &shared,
            &controller,
            (commands, state.reader),
            (&reload, reloader.as_ref()),
        )?;
        let control = threads::Control {
            controller,
            reloader,
            deliverer,
            keys: keys.following(shared.subscriber.clone()),
            admin: claimed.admin,
            state,
            health: HealthContext::new(&shared.subscriber, shared.ledger.alarm()),
        };
        Ok(Self {
            listeners,
            admin,
            status,
            reload,
            threads: Threads::start(contexts, shared.stops, control, claimed.last_lines)?,
        })
    }

    /// Asks for the configuration to be read again.
    pub const fn reload(&self) -> &ReloadSender {
        &self.reload
    }

    /// The addresses that are listened on, in the file's order.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The address of the admin API.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where rollouts are.
    pub fn status(&self) -> Arc<Status> {
        self.status.load()
    }

    /// Waits until a thread ends that should not; for as long as all is well, it does not return.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn failed(&mut self) -> Result<()> {
        self.threads.failed().await
    }

    /// Stops: no new connections, requests under way end, then everything else.
    ///
    /// # Errors
    /// When a thread had failed.
    pub fn stop(self) -> Result<()> {
        self.threads.stop()
    }
}

/// By what callers are known, and what is known of them.
fn known(
    config: &Config,
    clock: Clock,
    source: Option<&Source>,
) -> (Callers, KeyFetcher, Arc<CookieKey>) {
    (
        Callers::start(config.caller_features, clock),
        KeyFetcher::start(&config.identity),
        cookie_key::of(&config.state, source),
    )
}

/// What the admin API reads and commands.
fn admin_state(
    shared: &Shared,
    controller: &Controller,
    (commands, reader): (CommandSender, Arc<dyn StateReader>),
    (reload, reloader): (&ReloadSender, Option<&Reloader>),
) -> Result<AdminState> {
    let status = controller.status();
    Ok(AdminState {
        commands,
        reader,
        recordings: controller.recordings(),
        reload: reload.clone(),
        reloaded: reloader.map(Reloader::status),
        exporter: samples::exporter(shared, status.clone(), reloader)?,
        status,
        gate: Arc::clone(&shared.gate),
        published: shared.subscriber.clone(),
        assignments: Arc::clone(&shared.assignments),
        apps: Arc::clone(&shared.apps),
        feedback: Arc::clone(&shared.feedback),
        callers: shared.callers.clone(),
        pseudonyms: Arc::clone(&shared.pseudonyms),
        keys: shared.keys.clone(),
        cookie_key: Arc::clone(&shared.cookie_key),
        key_sources: shared.key_sources.clone(),
        clock: shared.clock,
        shutdown: shared.stops.readiness.listener(),
        streams: Streams::new(shared.stops.readiness.listener()),
        tail: shared.tail.clone(),
    })
}

/// What requests are decided by at the start, and what is to be rolled out.
fn routing(config: Config) -> NewConfiguration {
    let routing = RoutingSnapshot {
        routes: Arc::new(config.routes),
        groups: Arc::new(config.groups),
        flags: Vec::new(),
        system_authorities: system_authorities(&config.backends),
        backends: config.backends.into(),
        identity: config.identity.into(),
        admission: config.apps.admission,
        trusted: Arc::new(config.trusted),
    };
    let mut configuration = NewConfiguration {
        routing,
        planned: Vec::new(),
        targets: config.notify,
        apps: config.apps.declared,
        definitions: config.definitions,
    };
    for flag in config.flags {
        configuration.add(flag);
    }
    configuration
}

/// What the system trusts, if some backend is to be known by it.
fn system_authorities(backends: &[Backend]) -> Arc<[Der]> {
    let mut tls = backends.iter().filter_map(|backend| backend.tls.as_ref());
    if tls.all(|tls| tls.authorities.is_some()) {
        return Arc::default();
    }
    let found = system_trust::authorities();
    found.iter().map(|der| Der::from(&**der)).collect()
}

/// Who is let into the admin API, and the means to change that.
fn gate(config: &Config, admin: &AdminServer) -> Result<(SnapshotWriter<Tokens>, Arc<Gate>)> {
    let tokens = SnapshotWriter::new(Tokens::new(&config.admin.tokens));
    let is_loopback = admin.address()?.ip().to_canonical().is_loopback();
    let gate = Arc::new(Gate::new(tokens.reader(), is_loopback));
    Ok((tokens, gate))
}

/// Deals the sockets out: each worker gets one of each listener.
fn contexts(
    shared: &Shared,
    listeners: Vec<ClaimedListener>,
    tls: &TlsListeners,
) -> Vec<WorkerContext> {
    let workers = shared.connections.len();
    let mut sockets: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for (listener, tls) in listeners.into_iter().zip(tls.readers()) {
        for (own, socket) in sockets.iter_mut().zip(listener.bound.sockets) {
            own.push(Socket {
                socket,
                tls: tls.clone(),
                proxy_protocol: listener.proxy_protocol,
                feedback: listener.feedback,
                limits: listener.limits.of_one_of(workers),
            });
        }
    }
    let context = |(index, sockets)| WorkerContext {
        index,
        connections_max: shared.connections_max.div_ceil(workers),
        sockets,
        subscriber: shared.subscriber.clone(),
        assignments: Arc::clone(&shared.assignments),
        apps: Arc::clone(&shared.apps),
        feedback: Arc::clone(&shared.feedback),
        keys: shared.keys.clone(),
        cookie_key: Arc::clone(&shared.cookie_key),
        tokens: Arc::clone(&shared.tokens[index]),
        clock: shared.clock,
        connections: Arc::clone(&shared.connections[index]),
        inbox: shared.inbox.clone(),
        access_log: shared.access_log.0.clone(),
        tail: shared.tail.clone(),
        callers: shared.callers.clone(),
        pseudonyms: Arc::clone(&shared.pseudonyms),
        shutdown: shared.stops.workers.listener(),
        drain_deadline: shared.stops.times.deadline,
    };
    sockets.into_iter().enumerate().map(context).collect()
}
