//! Which certificate a client gets: the one that holds the name it asks for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::Error;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::tls::Certificate;

/// Certificates by the names they hold.
#[derive(Debug)]
pub(super) struct CertificatesByName {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl CertificatesByName {
    pub(super) fn new(
        certificates: &[Certificate],
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let mut by_name = HashMap::new();
        let mut first = None;
        for certificate in certificates {
            let (chain, key) = (certificate.chain.clone(), certificate.key.clone_key());
            let certified = Arc::new(CertifiedKey::from_der(chain, key, provider)?);
            for name in &certificate.names {
                by_name.insert(name.clone(), Arc::clone(&certified));
            }
            first.get_or_insert(certified);
        }
        Ok(Self { by_name, first })
    }

    /// The certificate for a name in lower case: one that holds it, else one for all names beside
    /// it (RFC 6125, section 6.4.3), else the first.
    fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let exact = self.by_name.get(name);
            exact.or_else(|| {
                let (_, above) = name.split_once('.')?;
                self.by_name.get(&format!("*.{above}"))
            })
        });
        named.or(self.first.as_ref())
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.find(name.as_deref()).cloned()
    }
}
