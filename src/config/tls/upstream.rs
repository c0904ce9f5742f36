//! TLS to a backend: whose certificates are good, and whom Serin shows itself as.

use rustls_pki_types::{CertificateDer, ServerName};

use crate::domain::backend::{BackendTls, ClientIdentity, Der};

use crate::config::document::BackendTlsDocument;
use crate::config::group::ReadFile;
use crate::config::report::Report;
use crate::config::schema::Shape;
use crate::config::tls::certificate;
use crate::config::tls::pem::{PemFiles, authorities};
use crate::config::written::FromText;

/// A name that a server can be asked for in TLS, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct TlsName(pub(in crate::config) Box<str>);

impl FromText for TlsName {
    const EXPECTED: &'static str = "a name such as `orders.internal`";
    const SHAPE: Shape = Shape::of(
        "[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+",
        &["orders.internal", "10.0.0.1"],
    );

    fn from_text(text: &str) -> Result<Self, String> {
        if is_tls_name(text) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(format!(
                "`{text}` is no host name; write it without scheme, port or `*`"
            ))
        }
    }
}

/// Whether a host, an IP address without brackets, can be asked for in TLS.
pub(in crate::config) fn is_tls_name(host: &str) -> bool {
    ServerName::try_from(host).is_ok()
}

/// Understands `tls` of a backend. A file that is of no use is reported; what was to be in it is
/// not there then.
pub(in crate::config) fn upstream(
    document: &BackendTlsDocument,
    read_file: ReadFile<'_>,
    report: &Report,
) -> BackendTls {
    let files = PemFiles { read_file, report };
    let listed = document.ca.as_ref();
    let client = document.client.as_ref();
    let client = client.and_then(|written| certificate::read(&written.value, files));
    let server_name = document.server_name.as_ref();
    BackendTls {
        authorities: listed.and_then(|file| Some(der(&authorities(file, files)?))),
        server_name: server_name.map(|written| written.value.0.clone()),
        client: client.map(|certificate| ClientIdentity {
            chain: der(&certificate.chain),
            key: certificate.key.secret_der().into(),
        }),
    }
}

fn der(certificates: &[CertificateDer<'_>]) -> Vec<Der> {
    certificates.iter().map(|der| Der::from(&**der)).collect()
}
