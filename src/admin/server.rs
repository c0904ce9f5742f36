//! Serves the admin API.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::admin::auth::Gate;
use crate::admin::limits::{
    CONNECTION_AGE_MAX, CONNECTION_LINGER, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT,
};
use crate::admin::routes;
use crate::admin::sse::Streams;
use crate::control::commands::CommandSender;
use crate::control::ports::StateReader;
use crate::control::recording::Recordings;
use crate::control::reload::{ReloadSender, ReloadStatus};
use crate::control::status::Status;
use crate::domain::cookie_key::CookieKey;
use crate::proxy::Tail;
use crate::runtime::apps::AppRegistry;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::bind::BindError;
use crate::runtime::caller_book::CallerBookReader;
use crate::runtime::clock::Clock;
use crate::runtime::feedback::FeedbackDesk;
use crate::runtime::key_ring::{KeyRingReader, KeySourceStatus};
use crate::runtime::pseudonyms::SharedPseudonyms;
use crate::runtime::published::Subscriber;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::snapshot::SnapshotReader;
use crate::telemetry::Exporter;

/// How long to wait before accepting again when the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What the API reads, and what it commands.
#[derive(Clone)]
pub struct AdminState {
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// Where rollouts are.
    pub status: SnapshotReader<Status>,
    /// What requests are decided by.
    pub published: Subscriber,
    /// Takes operators' commands to the controller.
    pub commands: CommandSender,
    /// Reads the journal and the history.
    pub reader: Arc<dyn StateReader>,
    /// What the judges were told.
    pub recordings: Recordings,
    /// Asks for the configuration to be read again.
    pub reload: ReloadSender,
    /// What came of reading it last; none where it comes from no file.
    pub reloaded: Option<SnapshotReader<ReloadStatus>>,
    /// Callers put into groups at run time.
    pub assignments: Arc<CallerAssignments>,
    /// The apps.
    pub apps: Arc<AppRegistry>,
    /// Where feedback is handed in.
    pub feedback: Arc<FeedbackDesk>,
    /// What requests tell of callers.
    pub callers: CallerBookReader,
    /// Makes pseudonyms of callers.
    pub pseudonyms: Arc<SharedPseudonyms>,
    /// What tokens are verified by.
    pub keys: KeyRingReader,
    /// How it goes with keys that come from elsewhere.
    pub key_sources: SnapshotReader<Vec<KeySourceStatus>>,
    /// The key of the cookies that are given where the configuration has none.
    pub cookie_key: Arc<CookieKey>,
    /// All metrics.
    pub exporter: Exporter,
    /// The clock that assignments expire by.
    pub clock: Clock,
    /// Whether it is time to stop.
    pub shutdown: Shutdown,
    /// Streams of events.
    pub streams: Streams,
    /// Lets look on at requests.
    pub tail: Tail,
}

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The admin listener.
pub struct AdminServer {
    socket: TcpListener,
}

impl AdminServer {
    /// Binds an address; serving begins with [`AdminServer::run`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = TcpListener::bind(address);
        let socket = bound.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        Ok(Self {
            socket: socket.map_err(|source| BindError { address, source })?,
        })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop` is requested, which comes after the data plane has drained, so that
    /// `/readyz` can say for as long that it is time to send requests elsewhere.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub async fn run(self, state: AdminState, mut stop: Shutdown) -> io::Result<()> {
        let socket = tokio::net::TcpListener::from_std(self.socket)?;
        tokio::select! {
            () = accept(socket, routes::router(state)) => Ok(()),
            () = stop.requested() => Ok(()),
        }
    }
}

/// Accepts connections for ever, as many at a time as there are places.
async fn accept(socket: tokio::net::TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match socket.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve(stream, Peer(peer), router).await;
                    drop(place);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "admin API cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Serves one connection until it ends or is too old.
async fn serve(stream: TcpStream, peer: Peer, router: Router) {
    // Best effort: it makes small answers faster.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        TowerToHyperService::new(router.clone()).call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // What goes wrong with a client's connection is the client's business.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(CONNECTION_AGE_MAX) => connection.as_mut().graceful_shutdown(),
    }
    let _ = timeout(CONNECTION_LINGER, connection).await;
}
