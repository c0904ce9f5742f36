//! One thread that serves requests: its runtime, its sockets, its connections, its counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use crate::config::{ListenerLimits, ProxyProtocol};
use crate::domain::cookie_key::CookieKey;
use crate::domain::timestamp::Timestamp;
use crate::proxy::accept;
use crate::proxy::access::Clerk;
use crate::proxy::census::Census;
use crate::proxy::client::{Client, Order, Scheme};
use crate::proxy::connection;
use crate::proxy::context::{Socket, WorkerContext};
use crate::proxy::identity::jwt::TokenDesk;
use crate::proxy::stream::ClientStream;
use crate::proxy::tls::TlsAcceptor;
use crate::proxy::turn::Departures;
use crate::proxy::view::{Pools, View};
use crate::proxy::waiting::WaitingRoom;
use crate::runtime::apps::AppRegistry;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::clock::{self, Clock};
use crate::runtime::connections::{ConnectionCounters, Cut};
use crate::runtime::feedback::FeedbackDesk;
use crate::runtime::inbox::{InboxSender, Message};
use crate::runtime::pseudonyms::SharedPseudonyms;
use crate::runtime::published::Subscriber;
use crate::runtime::shutdown::Shutdown;

/// How often a worker looks after its connections.
pub(crate) const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often it looks which of them wait for a request, to take back what they do not need meanwhile.
const REST_LOOK: Duration = Duration::from_millis(200);

/// How long everything goes on as before once it is time to stop, but for new connections.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// What a connection is welcomed by.
struct Door {
    tls: Option<TlsAcceptor>,
    proxy_protocol: Option<ProxyProtocol>,
    feedback: bool,
    limits: ListenerLimits,
    /// How many connections that came by it are open.
    open: Rc<Cell<usize>>,
}

impl Door {
    /// A socket, and how clients are welcomed there.
    fn of(socket: Socket) -> (TcpListener, Self) {
        let door = Self {
            tls: socket.tls.map(TlsAcceptor::new),
            proxy_protocol: socket.proxy_protocol,
            feedback: socket.feedback,
            limits: socket.limits,
            open: Rc::default(),
        };
        (socket.socket, door)
    }
}

/// What the requests of one worker share.
pub(crate) struct Worker {
    index: usize,
    subscriber: RefCell<Subscriber>,
    view: RefCell<Rc<View>>,
    pools: RefCell<Pools>,
    random: RefCell<SmallRng>,
    /// What leaves at the end of the turn.
    pub(crate) departures: Rc<Departures>,
    /// Who was put into a group at run time.
    pub(crate) assignments: Arc<CallerAssignments>,
    /// The apps and their keys.
    pub(crate) apps: Arc<AppRegistry>,
    /// Where feedback is handed in.
    pub(crate) feedback: Arc<FeedbackDesk>,
    pub(crate) clock: Clock,
    /// Verifies tokens.
    pub(crate) tokens: TokenDesk,
    pub(crate) cookie_key: Arc<CookieKey>,
    connections: Arc<ConnectionCounters>,
    inbox: InboxSender,
    /// Writes down what becomes of requests.
    pub(crate) clerk: Clerk,
    /// Where it is told of callers.
    pub(crate) census: Census,
    /// Makes pseudonyms of callers.
    pub(crate) pseudonyms: Arc<SharedPseudonyms>,
    clients: RefCell<HashMap<u64, Rc<Client>>>,
    connections_max: usize,
    next_client: Cell<u64>,
    /// Connections refused for want of room since the last look.
    turned_away: Cell<u64>,
    /// Requests that wait for their answer where a rollout watches.
    pub(crate) waiting: WaitingRoom,
    now: Cell<Instant>,
    is_stopping: Cell<bool>,
}

/// Serves requests on the calling thread until it is told to stop and all have ended, or the
/// drain deadline has passed.
///
/// # Errors
/// When the runtime cannot be made or a socket cannot be used.
pub fn run_worker(context: WorkerContext) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(context))
}

async fn serve(context: WorkerContext) -> io::Result<()> {
    let mut shutdown = context.shutdown.clone();
    let sockets = open(context.sockets)?;
    let departures = Rc::<Departures>::default();
    let mut pools = Pools::departing_by(&departures);
    let view = View::new(context.subscriber.load(), context.index, &mut pools);
    let worker = Rc::new(Worker {
        index: context.index,
        subscriber: RefCell::new(context.subscriber),
        view: RefCell::new(Rc::new(view)),
        pools: RefCell::new(pools),
        random: RefCell::new(rand::make_rng()),
        departures: Rc::clone(&departures),
        assignments: context.assignments,
        apps: context.apps,
        feedback: context.feedback,
        tokens: TokenDesk::new(context.keys, context.tokens),
        cookie_key: context.cookie_key,
        clock: context.clock,
        connections: context.connections,
        inbox: context.inbox,
        clerk: Clerk::new(context.index, context.access_log, context.tail),
        census: Census::new(context.callers, context.clock),
        pseudonyms: context.pseudonyms,
        clients: RefCell::default(),
        connections_max: context.connections_max,
        next_client: Cell::default(),
        turned_away: Cell::default(),
        waiting: WaitingRoom::default(),
        now: Cell::new(clock::monotonic()),
        is_stopping: Cell::new(false),
    });
    let keeper = Rc::clone(&worker);
    let keeping =
        async move { tokio::join!(Rc::clone(&keeper).keep_house(), keeper.send_to_rest()) };
    let mut housekeeping = spawn_local(keeping);
    let mut departing = spawn_local(async move { departures.run().await });
    let mut accepting = welcome_all(&worker, sockets, &shutdown);
    tokio::select! {
        biased;
        () = shutdown.requested() => {}
        ended = &mut housekeeping => {
            return Err(io::Error::other(format!("housekeeping ended: {ended:?}")));
        }
        ended = &mut departing => {
            return Err(io::Error::other(format!("departures ended: {ended:?}")));
        }
        Some(ended) = accepting.join_next() => {
            return Err(io::Error::other(format!("a listener ended: {ended:?}")));
        }
    }
    let deadline = clock::monotonic() + context.drain_deadline;
    worker.is_stopping.set(true);
    accepting.join_all().await;
    worker.drain(deadline).await;
    housekeeping.abort();
    departing.abort();
    Ok(())
}

/// Takes up the sockets of this worker.
fn open(sockets: Vec<Socket>) -> io::Result<Vec<(tokio::net::TcpListener, Door)>> {
    let opened = sockets.into_iter().map(|socket| {
        let (socket, door) = Door::of(socket);
        Ok((tokio::net::TcpListener::from_std(socket)?, door))
    });
    opened.collect()
}

/// Welcomes whoever comes by any of the sockets, until it is time to stop.
fn welcome_all(
    worker: &Rc<Worker>,
    sockets: Vec<(tokio::net::TcpListener, Door)>,
    shutdown: &Shutdown,
) -> JoinSet<()> {
    let mut accepting = JoinSet::new();
    for (socket, mut door) in sockets {
        let (worker, shutdown) = (Rc::clone(worker), shutdown.clone());
        accepting.spawn_local(async move {
            let welcome = |stream, peer| worker.welcome(stream, peer, &mut door);
            accept::serve(socket, shutdown, welcome).await;
        });
    }
    accepting
}

/// Forgets a connection when it ends, however it ends.
struct Welcomed {
    worker: Rc<Worker>,
    id: u64,
    /// How many came by the same door.
    open: Rc<Cell<usize>>,
}

impl Drop for Welcomed {
    fn drop(&mut self) {
        self.worker.clients.borrow_mut().remove(&self.id);
        self.open.set(self.open.get() - 1);
    }
}

impl Worker {
    /// The snapshot as this worker sees it, the latest one.
    pub(crate) fn view(&self) -> Rc<View> {
        let published = self.subscriber.borrow_mut().refresh();
        if let Some(published) = published {
            let mut pools = self.pools.borrow_mut();
            let view = View::new(published, self.index, &mut pools);
            *self.view.borrow_mut() = Rc::new(view);
        }
        Rc::clone(&self.view.borrow())
    }

    /// The time to the second, without asking for it.
    pub(crate) const fn coarse_now(&self) -> Instant {
        self.now.get()
    }

    /// The time on the clock that keys and assignments expire by.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether it is time to stop, so that answers are the last on their connections.
    pub(crate) const fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// Lends the source of random numbers.
    pub(crate) fn with_random<T>(&self, with: impl FnOnce(&mut SmallRng) -> T) -> T {
        with(&mut self.random.borrow_mut())
    }

    /// Where connections are counted.
    pub(crate) fn connections(&self) -> &ConnectionCounters {
        &self.connections
    }

    /// Leaves a message for the control plane.
    pub(crate) fn tell(&self, message: Message) {
        self.inbox.send(message);
    }

    /// Serves a new connection, unless there are as many as there may be.
    fn welcome(self: &Rc<Self>, socket: TcpStream, peer: SocketAddr, door: &mut Door) {
        let is_full = self.clients.borrow().len() >= self.connections_max;
        if is_full || door.open.get() >= door.limits.connections {
            self.turned_away.set(self.turned_away.get() + 1);
            self.connections.cut(Cut::TooMany);
            return;
        }
        let tls = door.tls.as_mut().map(TlsAcceptor::terms);
        let scheme = match tls {
            Some(_) => Scheme::Https,
            None => Scheme::Http,
        };
        let client = Client::new(peer, scheme, self.coarse_now()).within(door.limits);
        let client = Rc::new(client.rating(door.feedback));
        let id = self.next_client.get();
        self.next_client.set(id + 1);
        self.clients.borrow_mut().insert(id, Rc::clone(&client));
        let worker = Rc::clone(self);
        let welcomed = Welcomed {
            worker: Rc::clone(self),
            id,
            open: Rc::clone(&door.open),
        };
        door.open.set(door.open.get() + 1);
        let may_pass_on = match door.proxy_protocol {
            Some(ProxyProtocol::FromTrusted) => self.view().routing().trusted.contains(client.ip()),
            None => false,
        };
        let stream = ClientStream::new(socket, Rc::clone(&client), Rc::clone(self));
        // Several kinds of tasks, so that a plain connection takes no room for what others need; on the heap, since a
        // task is copied several times from its spawning to its end.
        match tls {
            tls if may_pass_on => spawn_local(Box::pin(async move {
                connection::serve_passed_on(stream, tls, client, worker).await;
                drop(welcomed);
            })),
            None => spawn_local(Box::pin(async move {
                connection::serve(stream, client, worker).await;
                drop(welcomed);
            })),
            Some(terms) => spawn_local(Box::pin(async move {
                connection::serve_tls(stream, terms, client, worker).await;
                drop(welcomed);
            })),
        };
    }

    async fn keep_house(self: Rc<Self>) {
        let mut seconds = interval(HOUSEKEEPING);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            seconds.tick().await;
            let now = clock::monotonic();
            self.now.set(now);
            // A worker without requests lets go of an old snapshot here.
            self.view();
            self.pools
                .borrow()
                .iter()
                .for_each(|pool| pool.close_idle(now));
            let clients = self.clients.borrow();
            let cuts = clients.values().filter_map(|client| client.look(now));
            cuts.for_each(|why| self.connections.cut(why));
            drop(clients);
            self.waiting.look(now);
            self.clerk.look(now);
            self.census.look();
            let turned_away = self.turned_away.take();
            if turned_away > 0 {
                tracing::warn!(turned_away, "too many connections");
            }
        }
    }

    /// Has connections rest that wait for a request.
    async fn send_to_rest(self: Rc<Self>) {
        let mut looks = interval(REST_LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let clients = self.clients.borrow();
            clients.values().for_each(|client| client.look_at_rest());
        }
    }

    async fn drain(&self, deadline: Instant) {
        let all_gone = async {
            // Connections that were just accepted get to say what they came for.
            sleep(DRAIN_GRACE).await;
            let mut looks = interval(Duration::from_millis(10));
            while !self.clients.borrow().is_empty() {
                let now = looks.tick().await;
                for client in self.clients.borrow().values() {
                    if client.has_been_served_for(DRAIN_GRACE, now) {
                        client.tell(Order::Close, now);
                    }
                }
            }
        };
        if timeout_at(deadline, all_gone).await.is_err() {
            let left = self.clients.borrow().len();
            tracing::warn!(left, "connections cut at the drain deadline");
        }
    }
}
