//! TLS of all listeners: made ready as a whole, then published listener by listener.

use std::time::Duration;

use crate::config::Listener;
use crate::proxy::{TlsError, TlsServer};
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// How each listener serves TLS, and the means to change it; none for those that do not.
#[derive(Debug)]
pub(crate) struct TlsListeners(Vec<Option<SnapshotWriter<TlsServer>>>);

/// What is to be served from now on, for the same listeners.
#[derive(Debug)]
pub(crate) struct PreparedTls(Vec<Option<TlsServer>>);

impl TlsListeners {
    /// Makes what serves the listeners.
    ///
    /// # Errors
    /// When one of them cannot be served.
    pub(crate) fn start(listeners: &[Listener]) -> Result<Self, TlsError> {
        let writer = |listener: &Listener| {
            let server = listener.tls.as_ref().map(TlsServer::new).transpose()?;
            Ok(server.map(SnapshotWriter::new))
        };
        listeners
            .iter()
            .map(writer)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// For each listener, what its workers read.
    pub(crate) fn readers(&self) -> impl Iterator<Item = Option<SnapshotReader<TlsServer>>> {
        let writers = self.0.iter();
        writers.map(|writer| writer.as_ref().map(SnapshotWriter::reader))
    }

    /// Makes what serves the same listeners by other settings.
    ///
    /// # Errors
    /// When one of them cannot be served.
    pub(crate) fn prepare(&self, listeners: &[Listener]) -> Result<PreparedTls, TlsError> {
        let writers = self.0.iter().zip(listeners);
        let renewed = writers.map(|(writer, listener)| match (writer, &listener.tls) {
            (Some(writer), Some(tls)) => writer.current().renewed(tls).map(Some),
            _ => Ok(None),
        });
        renewed.collect::<Result<_, _>>().map(PreparedTls)
    }

    /// Has new connections served by other settings; those that are there go on.
    pub(crate) fn replace(&mut self, prepared: PreparedTls) {
        for (writer, server) in self.0.iter_mut().zip(prepared.0) {
            if let (Some(writer), Some(server)) = (writer, server) {
                writer.publish(server);
            }
        }
    }
}

/// The certificates that are not good at a time since 1970, in words.
pub(crate) fn lapsed(listeners: &[Listener], now: Duration) -> Vec<String> {
    let mut found = Vec::new();
    for listener in listeners {
        for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            if let Some(lapse) = certificate.lapse(now) {
                let (title, address) = (certificate.title(), listener.address);
                found.push(format!("{title} at {address} {lapse}"));
            }
        }
    }
    found
}

/// Warns of certificates that are not good now: clients will refuse them.
pub(crate) fn warn_of_lapsed(listeners: &[Listener], now: Duration) {
    for lapsed in lapsed(listeners, now) {
        tracing::warn!("{lapsed}, and is served all the same");
    }
}
