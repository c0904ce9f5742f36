//! Why there is no answer, or not all of it: what failed, and on whose side.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use rustls::CertificateError;

/// Why there is no answer, or not all of it. Hosts stand with their port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The host's name is not known.
    #[error("the name `{host}` cannot be looked up: {reason}")]
    Lookup {
        /// The host.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// Nobody listens there.
    #[error("`{host}` refuses the connection")]
    Refused {
        /// The host.
        host: String,
    },
    /// There is no way there, or this machine has no socket left.
    #[error("`{host}` cannot be reached: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// The connection cannot be trusted, or the other side does not trust us.
    #[error("no TLS with `{host}`: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// What is wrong, and what would help.
        reason: String,
    },
    /// It took too long.
    #[error("no whole answer of `{host}` within {after:?}")]
    TimedOut {
        /// The host.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("`{host}` broke off the exchange: {reason}")]
    Broken {
        /// The host.
        host: String,
        /// What was seen.
        reason: String,
    },
    /// The answer's body is larger than what is read.
    #[error("the answer of `{host}` is larger than {bytes_max} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// What is read at most.
        bytes_max: usize,
    },
}

/// A name could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LookupFailed(pub(super) io::Error);

/// Where a request goes; makes errors that say so.
pub(super) struct Place {
    /// Host and port.
    host: String,
}

impl Place {
    pub(super) fn of(url: &Uri) -> Self {
        let is_https = url.scheme() == Some(&Scheme::HTTPS);
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let host = url.host().unwrap_or_default();
        Self {
            host: format!("{host}:{port}"),
        }
    }

    pub(super) fn timed_out(&self, after: Duration) -> HttpError {
        let host = self.host.clone();
        HttpError::TimedOut { host, after }
    }

    pub(super) fn too_large(&self, bytes_max: usize) -> HttpError {
        let host = self.host.clone();
        HttpError::TooLarge { host, bytes_max }
    }

    pub(super) fn broke_off(&self, error: &hyper::Error) -> HttpError {
        HttpError::Broken {
            host: self.host.clone(),
            reason: innermost(error).to_string(),
        }
    }

    /// Finds the cause among the errors that a client wraps around it.
    pub(super) fn failed(&self, error: &hyper_util::client::legacy::Error) -> HttpError {
        let host = self.host.clone();
        if let Some(LookupFailed(reason)) = find::<LookupFailed>(error) {
            let reason = reason.to_string();
            return HttpError::Lookup { host, reason };
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            let reason = tls_reason(tls);
            return HttpError::Tls { host, reason };
        }
        let reason = innermost(error).to_string();
        if !error.is_connect() {
            return HttpError::Broken { host, reason };
        }
        let kind = find::<io::Error>(error).map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::ConnectionRefused) => HttpError::Refused { host },
            // A server that takes plain HTTP hangs up on a handshake.
            Some(io::ErrorKind::UnexpectedEof) => {
                let reason = format!("it hung up in the middle of the handshake ({reason})");
                HttpError::Tls { host, reason }
            }
            _ => HttpError::Unreachable { host, reason },
        }
    }
}

fn tls_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => {
                "its certificate is of an unknown issuer; name that authority under `ca`".to_owned()
            }
            CertificateError::BadSignature => {
                "its certificate is not signed with the key of the authority that it names"
                    .to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; is this machine's clock right?".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name".to_owned()
            }
            other => format!("its certificate is not accepted: {other}"),
        },
        rustls::Error::AlertReceived(alert) => format!("it refused the handshake ({alert:?})"),
        rustls::Error::InvalidMessage(_) => "it does not speak TLS; is it `http://`?".to_owned(),
        other => other.to_string(),
    }
}

/// The first error of a kind, from the outside in.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut current = Some(error);
    while let Some(error) = current {
        // An I/O error that only wraps another one is of no interest.
        let is_wrapper = error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.get_ref().is_some_and(has_kind_within));
        if let (Some(found), false) = (error.downcast_ref::<E>(), is_wrapper) {
            return Some(found);
        }
        current = within(error);
    }
    None
}

fn has_kind_within(inner: &(dyn Error + Send + Sync + 'static)) -> bool {
    inner.is::<io::Error>() || inner.is::<rustls::Error>()
}

/// The error that this one wraps. An I/O error hands out the source of what it wraps, and passes
/// over the thing itself.
fn within<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
        Some(Some(inner)) => Some(inner),
        _ => error.source(),
    }
}

fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(inner) = within(innermost) {
        innermost = inner;
    }
    innermost
}
