//! What has to be had before anything starts: sockets, certificates, the access log's file.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use anyhow::Result;

use crate::adapters::config_file::Source;
use crate::admin::AdminServer;
use crate::app::access_log::{AccessLog, LastLines};
use crate::app::open_files;
use crate::app::refusal::refused;
use crate::app::tls::{self, TlsListeners};
use crate::config::{Config, ListenerLimits, ProxyProtocol, ShutdownConfig};
use crate::proxy::{BoundListener, bind};
use crate::runtime::bind::BindError;
use crate::runtime::clock;

/// A listener whose sockets are had.
pub(super) struct ClaimedListener {
    pub(super) bound: BoundListener,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    pub(super) feedback: bool,
    pub(super) limits: ListenerLimits,
}

/// What has to be had before anything starts.
pub(super) struct Claimed {
    pub(super) workers: usize,
    /// Connections of clients that there may be, of all workers and listeners together.
    pub(super) connections_max: usize,
    pub(super) listeners: Vec<ClaimedListener>,
    pub(super) tls: TlsListeners,
    pub(super) admin: AdminServer,
    pub(super) shutdown: ShutdownConfig,
    pub(super) log: AccessLog,
    pub(super) last_lines: LastLines,
}

impl Claimed {
    /// The addresses that are listened on, in the file's order.
    pub(super) fn listeners(&self) -> Vec<SocketAddr> {
        let listeners = self.listeners.iter();
        listeners.map(|listener| listener.bound.address).collect()
    }

    pub(super) fn all(config: &Config, source: Option<&Source>) -> Result<Self> {
        let workers = config.workers.or_else(|| available_parallelism().ok());
        let workers = workers.map_or(1, NonZeroUsize::get);
        let listeners = config.listeners.iter().map(|listener| {
            let bound = bind(listener.address, workers)?;
            Ok::<_, BindError>(ClaimedListener {
                bound,
                proxy_protocol: listener.proxy_protocol,
                feedback: listener.feedback,
                limits: listener.limits,
            })
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let admin = AdminServer::bind(config.admin.address)?;
        let tls = TlsListeners::start(&config.listeners)?;
        tls::warn_of(&tls::lapsed(config, clock::wall()));
        let log = AccessLog::start(config.access_log.as_ref(), source, workers);
        let (log, last_lines) = log.map_err(|objection| refused(&[objection], source))?;
        // Last of all, for it may have to be told, and not beside why nothing starts.
        let wanted = listeners.iter().map(|listener| listener.limits.connections);
        let connections_max = open_files::room(wanted.max().unwrap_or_default());
        Ok(Self {
            workers,
            connections_max,
            listeners,
            tls,
            admin,
            shutdown: config.shutdown,
            log,
            last_lines,
        })
    }
}
