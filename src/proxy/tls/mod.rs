//! TLS of a listener, as its workers need it.
//!
//! What is configured is made into a [`TlsServer`] once and published; each worker keeps a copy of
//! it for each of its listeners ([`TlsAcceptor`]), so that connections of different cores count
//! no references in common. Only the keys of session tickets are shared: a client that comes back
//! may meet another worker. They change every six hours and stay through a reload.
//!
//! Clients that are asked for a certificate get no tickets. With one they would be known again by a
//! certificate that has expired since, or whose authority is no longer trusted.

mod certificates;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::config::tls::{ClientAuthorities, Demand, ListenerTls, TlsVersion};
use crate::proxy::tls::certificates::CertificatesByName;
use crate::runtime::snapshot::SnapshotReader;

/// HTTP/2 as it is called in a handshake.
pub(crate) const HTTP2: &[u8] = b"h2";

/// What is spoken over TLS, in the order of preference. A client that offers protocols, but none of
/// these, is told so.
const PROTOCOLS: [&[u8]; 3] = [HTTP2, b"http/1.1", b"http/1.0"];

/// The versions that may be spoken, newest first.
static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match oldest {
        TlsVersion::Tls12 => &VERSIONS,
        TlsVersion::Tls13 => &VERSIONS[..1],
    }
}

/// What TLS needs cannot be made from a configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate, a key or the system's random numbers are of no use.
    #[error("cannot serve TLS with these certificates")]
    Server(#[from] rustls::Error),
    /// The authorities of clients are of no use.
    #[error("cannot verify certificates of clients by these authorities")]
    Clients(#[from] VerifierBuilderError),
}

/// How a listener serves TLS.
#[derive(Debug)]
pub struct TlsServer {
    config: ServerConfig,
    /// Kept where they are not used, for a later configuration.
    tickets: Arc<dyn ProducesTickets>,
    handshake_timeout: Duration,
}

impl TlsServer {
    /// Makes what serves a listener, with new keys for session tickets.
    ///
    /// # Errors
    /// When the system has no random numbers, or the library refuses a key.
    pub fn new(tls: &ListenerTls) -> Result<Self, TlsError> {
        Self::with_tickets(tls, aws_lc_rs::Ticketer::new()?)
    }

    /// Makes what serves a listener from now on. Clients that come back with a ticket of before are
    /// still known.
    ///
    /// # Errors
    /// When the library refuses a key.
    pub fn renewed(&self, tls: &ListenerTls) -> Result<Self, TlsError> {
        Self::with_tickets(tls, Arc::clone(&self.tickets))
    }

    fn with_tickets(
        tls: &ListenerTls,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Self, TlsError> {
        // Its first key exchange is the hybrid of ML-KEM-768 and X25519.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificates = CertificatesByName::new(&tls.certificates, &provider)?;
        let verifier = match &tls.clients {
            Some(clients) => verifier(clients, &provider)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(tls.min_version))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if tls.clients.is_some() {
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Arc::clone(&tickets);
        }
        Ok(Self {
            config,
            tickets,
            handshake_timeout: tls.handshake_timeout,
        })
    }

    fn terms(&self) -> TlsTerms {
        TlsTerms {
            config: Arc::new(self.config.clone()),
            handshake_timeout: self.handshake_timeout,
        }
    }
}

/// Who looks at clients' certificates.
fn verifier(
    clients: &ClientAuthorities,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in &clients.authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::clone(provider);
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match clients.demand {
        Demand::Required => builder,
        Demand::Optional => builder.allow_unauthenticated(),
    };
    Ok(builder.build()?)
}

/// What a connection is accepted on.
#[derive(Clone, Debug)]
pub(crate) struct TlsTerms {
    config: Arc<ServerConfig>,
    handshake_timeout: Duration,
}

/// One worker's view of how a listener serves TLS.
#[derive(Debug)]
pub(crate) struct TlsAcceptor {
    reader: SnapshotReader<TlsServer>,
    terms: TlsTerms,
}

impl TlsAcceptor {
    pub(crate) fn new(mut reader: SnapshotReader<TlsServer>) -> Self {
        let server = reader.refresh().unwrap_or_else(|| reader.load());
        let terms = server.terms();
        Self { reader, terms }
    }

    /// What the next connection is accepted on: the latest that was published.
    pub(crate) fn terms(&mut self) -> TlsTerms {
        if let Some(server) = self.reader.refresh() {
            self.terms = server.terms();
        }
        self.terms.clone()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The client did not say all in time.
    #[error("not done within {0:?}")]
    TimedOut(Duration),
    /// The client left, or the two do not come together.
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// Agrees with a client on keys.
pub(crate) async fn shake_hands<S>(
    stream: S,
    terms: TlsTerms,
) -> Result<TlsStream<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limit = terms.handshake_timeout;
    let accepting = tokio_rustls::TlsAcceptor::from(terms.config).accept(stream);
    match timeout(limit, accepting).await {
        Ok(accepted) => Ok(accepted?),
        Err(_) => Err(HandshakeError::TimedOut(limit)),
    }
}
