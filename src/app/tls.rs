//! TLS of all listeners: made ready as a whole, then published listener by listener.

use std::time::Duration;

use crate::config::tls::Validity;
use crate::config::{Config, Listener};
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
pub(crate) fn lapsed(config: &Config, now: Duration) -> Vec<String> {
    let mut found = Vec::new();
    for listener in &config.listeners {
        for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            if let Some(lapse) = certificate.validity.lapse(now) {
                let (title, address) = (certificate.title(), listener.address);
                found.push(format!("{title} at {address} {lapse}"));
            }
        }
    }
    for backend in &config.backends {
        let client = backend.tls.as_ref().and_then(|tls| tls.client.as_ref());
        let own = client.and_then(|client| client.chain.first());
        let validity = own.and_then(|der| Validity::of(der));
        if let Some(lapse) = validity.and_then(|validity| validity.lapse(now)) {
            found.push(format!(
                "the client certificate for backend `{}` {lapse}",
                backend.name
            ));
        }
    }
    found
}

/// Warns of certificates that are not good: whoever is shown one will refuse it.
pub(crate) fn warn_of(lapsed: &[String]) {
    for lapsed in lapsed {
        tracing::warn!("{lapsed}, and is shown all the same");
    }
}
