//! The authorities that the system trusts, read from where its distribution keeps them.

use rustls_pki_types::CertificateDer;

/// Reads all of them. Slow, for there are more than a hundred: not for the path of a request. What
/// cannot be read is left out with a warning, as every other program does.
pub fn authorities() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read some of the system's certificates");
    }
    if found.certs.is_empty() {
        tracing::warn!("the system trusts no authority");
    }
    found.certs
}
