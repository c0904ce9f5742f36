//! TLS to backends, as one worker needs it.
//!
//! What is configured are bytes; each worker makes its own [`TlsClient`] of them, once for each
//! backend, and keeps it, with the sessions that can be resumed, for as long as the bytes are the
//! same. Nothing of it is shared by workers, so none waits for another.
//!
//! Whatever the library may refuse is refused by [`objection`] when a configuration is read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::domain::backend::{Backend, BackendTls, ClientIdentity, Der, Endpoint, Protocol};
use crate::domain::ids::BackendName;
use crate::proxy::error::ProxyError;

/// The name of HTTP/2 in ALPN.
pub(super) const H2: &[u8] = b"h2";

/// The name of HTTP/1.1 in ALPN.
const HTTP_1_1: &[u8] = b"http/1.1";

/// For how many sessions of a backend there is room: eight for each of 32 names.
const SESSIONS_MAX: usize = 256;

/// Why a backend's TLS cannot be what is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsObjection {
    /// The key of the backend's `tls` that is at fault.
    pub key: &'static str,
    /// What the library says.
    pub reason: String,
}

/// Says what the library refuses of a backend's TLS; `None` where it takes all of it.
pub fn objection(tls: &BackendTls) -> Option<TlsObjection> {
    let listed = tls.authorities.as_deref().unwrap_or_default();
    let tried = roots(listed).map_err(|error| ("ca", error));
    let tried = tried.and_then(|roots| {
        let config = client_config(Arc::new(roots), tls.client.as_ref(), Protocol::Auto);
        config.map_err(|error| ("client", error))
    });
    tried.err().map(|(key, error)| TlsObjection {
        key,
        reason: error.to_string(),
    })
}

fn roots(authorities: &[Der]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for der in authorities {
        roots.add(CertificateDer::from_slice(der))?;
    }
    Ok(roots)
}

/// What the system trusts; damaged entries are left out, as every other program does.
fn system_roots(authorities: &[Der]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = authorities
        .iter()
        .map(|der| CertificateDer::from_slice(der));
    roots.add_parsable_certificates(found);
    roots
}

fn client_config(
    roots: Arc<RootCertStore>,
    client: Option<&ClientIdentity>,
    protocol: Protocol,
) -> Result<ClientConfig, Error> {
    // Its first key exchange is the hybrid of ML-KEM-768 and X25519.
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { chain, key }) => {
            let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec()));
            let key = PrivateKeyDer::try_from(key.to_vec())
                .map_err(|error| Error::General(error.to_owned()))?;
            builder.with_client_auth_cert(chain.collect(), key)?
        }
    };
    config.alpn_protocols = offered(protocol);
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

/// What an endpoint is offered to speak.
fn offered(protocol: Protocol) -> Vec<Vec<u8>> {
    let offered: &[&[u8]] = match protocol {
        Protocol::Auto => &[H2, HTTP_1_1],
        Protocol::Http1 => &[HTTP_1_1],
        Protocol::Http2 => &[H2],
    };
    offered.iter().map(|name| name.to_vec()).collect()
}

/// How one worker speaks TLS to one backend.
pub(crate) struct TlsClient {
    /// What it was made of.
    tls: Arc<BackendTls>,
    system: Arc<[Der]>,
    protocol: Protocol,
    /// An error only of bytes that nobody has looked at: [`objection`] refuses the same.
    config: Result<Arc<ClientConfig>, Error>,
}

impl TlsClient {
    fn new(
        tls: &Arc<BackendTls>,
        protocol: Protocol,
        system: &Arc<[Der]>,
        system_roots: impl FnOnce() -> Arc<RootCertStore>,
    ) -> Self {
        let roots = match &tls.authorities {
            Some(listed) => roots(listed).map(Arc::new),
            None => Ok(system_roots()),
        };
        let config = roots.and_then(|roots| client_config(roots, tls.client.as_ref(), protocol));
        Self {
            tls: Arc::clone(tls),
            system: Arc::clone(system),
            protocol,
            config: config.map(Arc::new),
        }
    }

    /// Whether it was made of the same.
    fn fits(&self, tls: &Arc<BackendTls>, protocol: Protocol, system: &Arc<[Der]>) -> bool {
        self.protocol == protocol
            && self.tls == *tls
            && (tls.authorities.is_some() || self.system == *system)
    }

    /// Agrees with an endpoint on keys.
    ///
    /// # Errors
    /// [`ProxyError::Handshake`].
    pub(super) async fn shake_hands(
        &self,
        endpoint: &Endpoint,
        stream: TcpStream,
        protocol: Protocol,
    ) -> Result<TlsStream<TcpStream>, ProxyError> {
        let mut config = self.config.clone().map_err(io::Error::other);
        if let Ok(config) = &mut config
            && protocol != self.protocol
        {
            Arc::make_mut(config).alpn_protocols = offered(protocol);
        }
        let name = self.tls.server_name.as_deref().unwrap_or(&endpoint.host);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other);
        let prepared = config.and_then(|config| Ok((config, name?)));
        let (config, name) = prepared.map_err(ProxyError::Handshake)?;
        let connecting = TlsConnector::from(config).connect(name, stream);
        connecting.await.map_err(ProxyError::Handshake)
    }
}

/// One worker's ways of speaking TLS, kept from snapshot to snapshot.
#[derive(Default)]
pub(crate) struct TlsClients {
    /// Each serves one backend, so that the sessions of two do not mix.
    known: HashMap<BackendName, Rc<TlsClient>>,
    /// What the system trusts, made once for all backends.
    system: RefCell<Option<SystemRoots>>,
}

/// What the system trusts, and what it was made of.
struct SystemRoots {
    of: Arc<[Der]>,
    roots: Arc<RootCertStore>,
}

impl TlsClients {
    /// For each backend in turn how TLS is spoken to it; what is for none of them is let go.
    pub(crate) fn renew(
        &mut self,
        backends: &[Backend],
        system: &Arc<[Der]>,
    ) -> Vec<Option<Rc<TlsClient>>> {
        let client = |backend: &Backend| {
            let (tls, protocol) = (backend.tls.as_ref()?, backend.protocol);
            let known = self.known.get(&backend.name);
            let known = known.filter(|client| client.fits(tls, protocol, system));
            Some(known.cloned().unwrap_or_else(|| {
                let roots = || self.system_roots(system);
                Rc::new(TlsClient::new(tls, protocol, system, roots))
            }))
        };
        let renewed: Vec<_> = backends.iter().map(client).collect();
        let named = backends.iter().zip(&renewed);
        self.known = named
            .filter_map(|(backend, client)| {
                Some((backend.name.clone(), Rc::clone(client.as_ref()?)))
            })
            .collect();
        renewed
    }

    fn system_roots(&self, system: &Arc<[Der]>) -> Arc<RootCertStore> {
        let mut made = self.system.borrow_mut();
        match &*made {
            Some(SystemRoots { of, roots }) if of == system => Arc::clone(roots),
            _ => {
                let roots = Arc::new(system_roots(system));
                *made = Some(SystemRoots {
                    of: Arc::clone(system),
                    roots: Arc::clone(&roots),
                });
                roots
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing;

    fn backend(title: &str, tls: BackendTls) -> Backend {
        Backend {
            tls: Some(Arc::new(tls)),
            ..testing::backend(title)
        }
    }

    #[test]
    fn what_is_unchanged_is_kept_wherever_it_stands() {
        let of = |titles: &[&str]| -> Vec<_> {
            let backends = titles.iter();
            backends
                .map(|title| backend(title, BackendTls::default()))
                .collect()
        };
        let system: Arc<[Der]> = Arc::default();
        let mut clients = TlsClients::default();
        let before = clients.renew(&of(&["a", "b", "c"]), &system);
        let after = clients.renew(&of(&["x", "c", "a", "b"]), &system);
        let is_same = |old: usize, new: usize| match (&before[old], &after[new]) {
            (Some(old), Some(new)) => Rc::ptr_eq(old, new),
            _ => false,
        };
        assert!(is_same(0, 2) && is_same(1, 3) && is_same(2, 1));
        assert!(!is_same(0, 0));
        let other: Arc<[Der]> = [Der::from([1])].into();
        let later = clients.renew(&of(&["x"]), &other);
        let is_kept =
            matches!((&after[0], &later[0]), (Some(old), Some(new)) if Rc::ptr_eq(old, new));
        assert!(!is_kept, "the system trusts others");
    }
}
