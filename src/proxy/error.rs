//! Why a request was not answered by a backend, and whose fault that was.

use std::io;

use http::StatusCode;

use crate::domain::evidence::{Failure, OutcomeClass};
use crate::domain::jwt::TokenFault;
use crate::proxy::framing::Refusal;
use crate::proxy::identity::jwt::TokenRefusal;
use crate::proxy::upstream::broken::BrokenError;
use crate::runtime::apps::Denial;

/// Why Serin answers a request itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The request can be read in more than one way, or is too long.
    #[error("{0}")]
    Malformed(Refusal),
    /// The request names no host, or several, or something that is none.
    #[error("the request must name one host, in its target or in one `Host` field")]
    BadHost,
    /// The target is not one that is asked for here.
    #[error("the target must be a path that begins with `/`, or a URL of http or https")]
    BadTarget,
    /// A tunnel was asked for.
    #[error("tunnels are not opened here")]
    Tunnel,
    /// No route fits.
    #[error("no route for this host, path and method")]
    NoRoute,
    /// Whoever sends it may not, or not so often.
    #[error("{0}")]
    Denied(Denial),
    /// A token is asked for, and none came that is believed.
    #[error("{0}")]
    Token(TokenRefusal),
    /// The client sent the body too slowly, or broke off.
    #[error("the request body did not arrive")]
    UploadBroken,
    /// Every endpoint of the backend refused the connection.
    #[error("the backend accepts no connection")]
    Refused(#[source] io::Error),
    /// A connection could not be made for another reason, such as a name that does not resolve.
    #[error("the backend cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The two could not agree on keys, or a certificate was no good.
    #[error("the backend cannot be reached over TLS")]
    Handshake(#[source] io::Error),
    /// HTTP/2 was to be spoken, and is not.
    #[error("the backend does not speak HTTP/2")]
    NoHttp2(#[source] Option<hyper::Error>),
    /// HTTP/1.1 was spoken, and HTTP/2 came back.
    #[error("the backend speaks HTTP/2")]
    SpeaksHttp2(#[source] BrokenError),
    /// No connection was made in time.
    #[error("the backend did not accept a connection in time")]
    ConnectTimeout,
    /// There are as many connections to the backend as there may be, and as many requests wait for one.
    #[error("all connections to the backend are in use")]
    Busy,
    /// There were, and none became free in time.
    #[error("no connection to the backend became free in time")]
    NoneFree,
    /// Health checks have found none of the endpoints well.
    #[error("the backend has no healthy endpoint")]
    NoneHealthy,
    /// This machine has no more sockets, ports or memory to connect with.
    #[error("out of sockets")]
    Exhausted(#[source] io::Error),
    /// The head of the answer did not come in time.
    #[error("the backend did not answer in time")]
    ResponseTimeout,
    /// The backend switched to a protocol that it was not asked for.
    #[error("the backend switched protocols unasked")]
    Switched,
    /// The connection broke, or what came was no HTTP.
    #[error("the backend broke off the exchange")]
    Broken(#[source] BrokenError),
}

impl ProxyError {
    /// The status that the client is told.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::BadHost | Self::BadTarget => StatusCode::BAD_REQUEST,
            Self::Malformed(refusal) => match refusal {
                Refusal::BadVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                Refusal::MethodTooLong => StatusCode::NOT_IMPLEMENTED,
                Refusal::TargetTooLong => StatusCode::URI_TOO_LONG,
                Refusal::HeadTooLong | Refusal::TooManyFields => {
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
                }
                _ => StatusCode::BAD_REQUEST,
            },
            Self::Tunnel => StatusCode::NOT_IMPLEMENTED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Denied(denial) => match denial {
                Denial::NoKey | Denial::UnknownKey | Denial::ExpiredKey => StatusCode::UNAUTHORIZED,
                Denial::Pending | Denial::Suspended | Denial::Revoked => StatusCode::FORBIDDEN,
                Denial::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            },
            // Whoever has a good token is not to throw it away.
            Self::Token(TokenRefusal::Bad(TokenFault::NoKeys)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::UploadBroken => StatusCode::REQUEST_TIMEOUT,
            Self::Refused(_)
            | Self::Unreachable(_)
            | Self::Handshake(_)
            | Self::NoHttp2(_)
            | Self::SpeaksHttp2(_)
            | Self::Switched
            | Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::Busy | Self::NoneFree | Self::NoneHealthy | Self::Exhausted(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ConnectTimeout | Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// How the request counts.
    pub(crate) const fn class(&self) -> OutcomeClass {
        match self {
            Self::Denied(Denial::TooMany { .. }) => OutcomeClass::TooManyRequests,
            Self::Malformed(_)
            | Self::BadHost
            | Self::BadTarget
            | Self::Tunnel
            | Self::NoRoute
            | Self::Denied(_) => OutcomeClass::ClientError,
            Self::Token(TokenRefusal::Bad(TokenFault::NoKeys)) => OutcomeClass::ProxyFault,
            Self::Token(_) => OutcomeClass::ClientError,
            Self::UploadBroken => OutcomeClass::ClientAborted,
            Self::Exhausted(_) => OutcomeClass::ProxyFault,
            Self::Refused(_)
            | Self::Unreachable(_)
            | Self::Handshake(_)
            | Self::NoHttp2(_)
            | Self::ConnectTimeout
            | Self::Busy
            | Self::NoneFree
            | Self::NoneHealthy => OutcomeClass::BackendFailure(Failure::Connect),
            Self::ResponseTimeout => OutcomeClass::BackendFailure(Failure::Timeout),
            Self::Switched | Self::SpeaksHttp2(_) | Self::Broken(_) => {
                OutcomeClass::BackendFailure(Failure::Reset)
            }
        }
    }

    /// Whether no endpoint takes a connection, as far as was tried or is known.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NoneHealthy)
    }

    /// What would set it right in the configuration of a backend, where that is known.
    pub(crate) const fn cure(&self) -> Option<&'static str> {
        match self {
            Self::SpeaksHttp2(_) => Some("write `protocol: h2` at the backend"),
            _ => None,
        }
    }

    /// How the endpoint that was asked has failed, if it has: that we ask it no more than we may, or not
    /// at all, is none of its failures.
    pub(crate) const fn endpoint_failure(&self) -> Option<OutcomeClass> {
        match self {
            Self::Busy | Self::NoneFree | Self::NoneHealthy => None,
            error => {
                let class = error.class();
                if class.is_failure() {
                    Some(class)
                } else {
                    None
                }
            }
        }
    }

    /// Whether it is the last answer of its connection: what else the client sends on it may not be
    /// what it seems.
    pub(crate) const fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::BadHost
                | Self::BadTarget
                | Self::Tunnel
                | Self::UploadBroken
        )
    }
}
