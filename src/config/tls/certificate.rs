//! One certificate with its key: read from files, and found to belong together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use crate::config::document::CertificateDocument;
use crate::config::report::AS_WRITTEN;
use crate::config::tls::key::public_key;
use crate::config::tls::pem::{CERT_HINT, Objection, PemFiles, certificates};

/// A certificate and its private key.
#[derive(Clone)]
pub struct Certificate {
    /// The server's own certificate first, then those of the authorities above it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key that belongs to the first.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// The DNS names of the first in lower case, each once; `*.` stands for one label.
    pub names: Vec<String>,
    /// When the first is good.
    pub validity: Validity,
}

/// When a certificate is good, in seconds since 1970. Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when on.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
}

impl Validity {
    /// When the certificate that some DER holds is good; `None` where it holds none.
    pub fn of(der: &[u8]) -> Option<Self> {
        Some(facts_of(der)?.validity)
    }

    /// Why the certificate is not good at a time since 1970; `None` where it is.
    pub fn lapse(self, now: Duration) -> Option<&'static str> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > self.not_after {
            Some("has expired")
        } else if now < self.not_before {
            Some("is not valid yet")
        } else {
            None
        }
    }
}

impl Certificate {
    /// What to call it: its names.
    pub fn title(&self) -> String {
        match self.names.as_slice() {
            [] => "the certificate without a name".to_owned(),
            names => format!("the certificate for `{}`", names.join("`, `")),
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// Reads a certificate and its key; `None` where one of them is of no use, which is reported.
pub(super) fn read(document: &CertificateDocument, files: PemFiles<'_>) -> Option<Certificate> {
    let chain = files.read(&document.cert, |text| {
        let chain = certificates(text)?;
        let facts = facts(&chain)?;
        of_this_age(&chain)?;
        Ok((facts, chain))
    });
    let key = files.read(&document.key, |text| {
        let key = key(text)?;
        Ok((usable(&key)?, key))
    });
    let ((facts, chain), (public, key)) = (chain?, key?);
    if facts.public_key != public {
        files.refuse(&document.key, misfit(&chain, &public));
        return None;
    }
    Some(Certificate {
        chain,
        key: Arc::new(key),
        names: facts.names,
        validity: facts.validity,
    })
}

const KEY_HINT: &str = "give a PEM file that begins with `-----BEGIN PRIVATE KEY-----`";

fn key(text: &str) -> Result<PrivateKeyDer<'static>, Objection> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound if text.contains("BEGIN ENCRYPTED PRIVATE KEY") => (
            format!("the private key in `{AS_WRITTEN}` is encrypted"),
            "decrypt it with `openssl pkey -in … -out …`, and let nobody else read the file",
        ),
        pem::Error::NoItemsFound => (format!("`{AS_WRITTEN}` has no private key"), KEY_HINT),
        _ => (
            format!("`{AS_WRITTEN}` is not PEM, or not all of it"),
            KEY_HINT,
        ),
    })
}

/// Refuses a server's or client's own certificate that nobody could verify by its names.
fn of_this_age(chain: &[CertificateDer<'_>]) -> Result<(), Objection> {
    let first = chain.first().map(|der| X509Certificate::from_der(der));
    match first {
        Some(Ok((_, certificate))) if certificate.version() != X509Version::V3 => Err((
            format!("the certificate in `{AS_WRITTEN}` is of X.509 version 1, which has no names"),
            "have it issued with extensions: `openssl x509 -req` takes them from `-extfile`, with \
             `subjectAltName=DNS:…`",
        )),
        _ => Ok(()),
    }
}

/// The public half of a key.
fn usable(key: &PrivateKeyDer<'_>) -> Result<Vec<u8>, Objection> {
    public_key(key).ok_or_else(|| {
        let problem = format!("the private key in `{AS_WRITTEN}` is broken, or of an unknown kind");
        (
            problem,
            "kinds are RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, and Ed25519",
        )
    })
}

/// What a certificate says.
pub(super) struct Facts {
    names: Vec<String>,
    validity: Validity,
    public_key: Vec<u8>,
}

/// What the first of some certificates says.
pub(super) fn facts(chain: &[CertificateDer<'_>]) -> Result<Facts, Objection> {
    let found = chain
        .iter()
        .map(|der| facts_of(der))
        .collect::<Option<Vec<_>>>();
    // All must be readable, since all are sent; only the first tells who we are.
    let first = found.and_then(|found| found.into_iter().next());
    first.ok_or_else(|| {
        let problem = format!("`{AS_WRITTEN}` holds something that is no X.509 certificate");
        (problem, CERT_HINT)
    })
}

fn facts_of(der: &[u8]) -> Option<Facts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok()?;
    let alternatives = alternatives.map(|extension| &extension.value.general_names);
    let mut names = Vec::new();
    for name in alternatives.into_iter().flatten() {
        if let GeneralName::DNSName(name) = name {
            let name = name.to_ascii_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let validity = certificate.validity();
    Some(Facts {
        names,
        validity: Validity {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        },
        public_key: certificate.public_key().subject_public_key.data.to_vec(),
    })
}

/// Why a key does not fit the first certificate of a chain.
fn misfit(chain: &[CertificateDer<'_>], public: &[u8]) -> Objection {
    let fits =
        |der: &CertificateDer<'_>| facts_of(der).is_some_and(|other| other.public_key == public);
    let problem = format!("the private key in `{AS_WRITTEN}` does not belong to the certificate");
    let hint = if chain.iter().any(fits) {
        "in the file of the certificate, put the server's own first and the authorities' after it"
    } else {
        "give the key that the certificate was issued for"
    };
    (problem, hint)
}
