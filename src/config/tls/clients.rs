//! What is demanded of clients: a certificate of their own.

use rustls_pki_types::CertificateDer;

use crate::config::document::{DemandDocument, TlsDocument};
use crate::config::report::Problem;
use crate::config::tls::pem::{PemFiles, authorities};

/// Whose certificates clients are known by.
#[derive(Clone, Debug)]
pub struct ClientAuthorities {
    /// The authorities' own certificates; at least one.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Whether a client may come without one.
    pub demand: Demand,
}

/// Whether a client must show a certificate. One that it shows must be good in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Who shows none is not served.
    Required,
    /// Who shows none is served, and not known by it.
    Optional,
}

/// Understands what is demanded of clients; `None` where nothing is, or where the authorities are
/// not to be had, which is reported.
pub(super) fn clients(document: &TlsDocument, files: PemFiles<'_>) -> Option<ClientAuthorities> {
    let Some(written) = &document.client_ca else {
        if let Some(demand) = &document.client_certificate {
            let problem = Problem::new("`client_certificate` without `client_ca`")
                .hint("add `client_ca:` with the certificates of the clients' authorities");
            files.report.add(demand.place, problem);
        }
        return None;
    };
    let authorities = authorities(written, files)?;
    let demand = document.client_certificate.as_ref();
    Some(ClientAuthorities {
        authorities,
        demand: match demand.map(|written| written.value) {
            None | Some(DemandDocument::Required) => Demand::Required,
            Some(DemandDocument::Optional) => Demand::Optional,
        },
    })
}
