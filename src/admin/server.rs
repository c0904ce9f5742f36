//! Serves the admin API.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::admin::routes;
use crate::control::commands::CommandSender;
use crate::control::ports::StateReader;
use crate::control::reload::{ReloadSender, ReloadStatus};
use crate::control::status::Status;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::bind::BindError;
use crate::runtime::clock::Clock;
use crate::runtime::published::Subscriber;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::snapshot::SnapshotReader;
use crate::telemetry::Exporter;

/// What the API reads, and what it commands.
#[derive(Clone)]
pub struct AdminState {
    /// Where rollouts are.
    pub status: SnapshotReader<Status>,
    /// What requests are decided by.
    pub published: Subscriber,
    /// Takes operators' commands to the controller.
    pub commands: CommandSender,
    /// Reads the journal and the history.
    pub reader: Arc<dyn StateReader>,
    /// Asks for the configuration to be read again.
    pub reload: ReloadSender,
    /// What came of reading it last; none where it comes from no file.
    pub reloaded: Option<SnapshotReader<ReloadStatus>>,
    /// Callers put into groups at run time.
    pub assignments: Arc<CallerAssignments>,
    /// All metrics.
    pub exporter: Exporter,
    /// The clock that assignments expire by.
    pub clock: Clock,
    /// Whether it is time to stop.
    pub shutdown: Shutdown,
}

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
        let served = axum::serve(socket, routes::router(state));
        tokio::select! {
            served = served => served,
            () = stop.requested() => Ok(()),
        }
    }
}
