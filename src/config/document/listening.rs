//! What is written of where requests come in.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::text::{NonEmpty, Span};
use crate::config::tls::TlsVersion;
use crate::config::written::{Placed, Written};

/// Where requests come in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a listener such as `{ address: 0.0.0.0:8080 }`"
)]
pub(in crate::config) struct ListenerDocument {
    /// An IP address with a port. `0.0.0.0` is all IPv4 addresses of this machine, `[::]` all of its
    /// addresses.
    pub(in crate::config) address: Written<SocketAddr>,
    /// TLS for all who connect here. Without it, plain HTTP.
    pub(in crate::config) tls: Option<TlsDocument>,
    /// Whose connections may begin with a PROXY header, version 1 or 2, that names the client. Without
    /// it, nobody's.
    pub(in crate::config) proxy_protocol: Option<Placed<ProxyProtocolDocument>>,
}

/// Whose connections may begin with a PROXY header.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ProxyProtocolDocument {
    /// Those of the `trusted_proxies`. A connection of theirs that begins otherwise is taken as it comes.
    FromTrusted,
}

/// TLS of a listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ certificates: [{ cert: edge.pem, key: edge.key }] }`"
)]
pub(in crate::config) struct TlsDocument {
    /// Whom Serin shows itself as: at least one. A client that names a host gets the certificate that
    /// holds the name, any other client the first.
    #[schemars(length(min = 1))]
    pub(in crate::config) certificates: Placed<Vec<Placed<CertificateDocument>>>,
    /// The oldest version of TLS that is spoken.
    pub(in crate::config) min_version: Option<Written<TlsVersion>>,
    /// A PEM file with the authorities that clients' certificates must be issued by. It makes
    /// `certificate` an identity source. Without it, clients are asked for none.
    pub(in crate::config) client_ca: Option<Written<NonEmpty>>,
    /// Whether a client must show a certificate. Beside `client_ca` only.
    pub(in crate::config) client_certificate: Option<Placed<DemandDocument>>,
    /// How long a client may take from its connection to the end of the handshake.
    pub(in crate::config) handshake_timeout: Option<Written<Span>>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum DemandDocument {
    /// Who shows none is not served.
    Required,
    /// Who shows none is served all the same. One that is shown must be good.
    Optional,
}

/// A certificate and its key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ cert: edge.pem, key: edge.key }`"
)]
pub(in crate::config) struct CertificateDocument {
    /// A PEM file: the server's certificate, then those of the authorities between it and the root.
    /// The path is relative to the configuration.
    pub(in crate::config) cert: Written<NonEmpty>,
    /// A PEM file with its private key, which is not encrypted.
    pub(in crate::config) key: Written<NonEmpty>,
}
