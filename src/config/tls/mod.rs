//! TLS of a listener: its certificates with their keys, and what is demanded of clients; and TLS to
//! a backend: whom it must be vouched for by, and whom Serin shows itself as.
//!
//! The names that a certificate is chosen by stand in the certificate itself, so nothing has to be
//! said twice, and a renewed one may hold others.

mod certificate;
mod clients;
mod key;
pub(in crate::config) mod pem;
#[cfg(test)]
mod tests;
mod upstream;

use std::collections::HashMap;
use std::time::Duration;

use crate::config::defaults::{TLS_HANDSHAKE_TIMEOUT, TLS_HANDSHAKE_TIMEOUT_MAX, TLS_MIN_VERSION};
use crate::config::document::TlsDocument;
use crate::config::group::ReadFile;
use crate::config::report::{Problem, Report};
use crate::config::schema::Shape;
use crate::config::text::Span;
use crate::config::written::{FromText, Written};

use self::pem::PemFiles;

pub use self::certificate::{Certificate, Validity};
pub use self::clients::{ClientAuthorities, Demand};
pub(super) use self::upstream::{TlsName, is_tls_name, upstream};

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// At least one; no two hold the same name. The first is for clients that ask for a name which
    /// none holds, or for no name.
    pub certificates: Vec<Certificate>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whose certificates clients are known by; none where they are asked for none.
    pub clients: Option<ClientAuthorities>,
    /// How long a client may take until the handshake is done.
    pub handshake_timeout: Duration,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl FromText for TlsVersion {
    const EXPECTED: &'static str = "`\"1.2\"` or `\"1.3\"`";
    const INSTEAD_OF_NUMBER: &'static str = String::INSTEAD_OF_NUMBER;
    const SHAPE: Shape = Shape::of(r"1\.[23]", &["1.2", "1.3"]);

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            "1.0" | "1.1" => Err(format!(
                "TLS {text} is broken and not spoken; write `\"1.2\"`"
            )),
            _ => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

/// Understands `tls` of a listener; `None` where a certificate is not to be had, which is reported.
pub(super) fn tls(
    document: &TlsDocument,
    read_file: ReadFile<'_>,
    report: &Report,
) -> Option<ListenerTls> {
    let files = PemFiles { read_file, report };
    let clients = clients::clients(document, files);
    let certificates = certificates(document, files);
    let handshake_timeout = handshake_timeout(document.handshake_timeout.as_ref(), report);
    let min_version = document.min_version.as_ref();
    (!certificates.is_empty()).then(|| ListenerTls {
        certificates,
        min_version: min_version.map_or(TLS_MIN_VERSION, |written| written.value),
        clients,
        handshake_timeout,
    })
}

/// Understands `certificates`: at least one, each of use.
fn certificates(document: &TlsDocument, files: PemFiles<'_>) -> Vec<Certificate> {
    let (section, report) = (&document.certificates, files.report);
    if section.value.is_empty() && !report.has_problem_within(section.place) {
        let problem = Problem::new("there must be at least one certificate");
        report.add(
            section.place,
            problem.hint("add `- { cert: edge.pem, key: edge.key }`"),
        );
    }
    let written = section.value.iter().map(|entry| &entry.value);
    let read: Vec<_> = written
        .clone()
        .map(|entry| certificate::read(entry, files))
        .collect();
    let mut holders = HashMap::new();
    for (index, (entry, certificate)) in written.zip(&read).enumerate() {
        let Some(certificate) = certificate else {
            continue;
        };
        if index > 0 && certificate.names.is_empty() {
            let problem =
                Problem::new("this certificate holds no DNS name, so nobody would get it")
                    .hint("put it first, or have one issued with a subject alternative name");
            report.add(entry.cert.place, problem.without_value());
        }
        for name in &certificate.names {
            let holder = *holders.entry(name.as_str()).or_insert(index);
            if holder != index {
                let problem =
                    Problem::new(format!("`{name}` is in `certificates[{holder}]` as well"))
                        .hint("remove one of the two");
                report.add(entry.cert.place, problem.without_value());
            }
        }
    }
    read.into_iter().flatten().collect()
}

fn handshake_timeout(written: Option<&Written<Span>>, report: &Report) -> Duration {
    let Some(written) = written else {
        return TLS_HANDSHAKE_TIMEOUT;
    };
    let timeout = written.value.0;
    if timeout > TLS_HANDSHAKE_TIMEOUT_MAX {
        let longest = humantime::format_duration(TLS_HANDSHAKE_TIMEOUT_MAX);
        let given = humantime::format_duration(timeout);
        let problem = Problem::new(format!("`{given}` is longer than `{longest}`"));
        let hint = "a client that takes longer has gone, or holds connections for the sake of it";
        report.add(written.place, problem.hint(hint));
    }
    timeout
}
