//! What is written of where requests come in.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::defaults::{CONNECTIONS_MAX, HEADER_BYTES_MAX, HEADER_BYTES_MIN, HEADERS_MAX};
use crate::config::size::Size;
use crate::config::text::{NonEmpty, Span};
use crate::config::tls::TlsVersion;
use crate::config::written::{Count, Placed, Written};

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
    /// Whether callers may rate what they were shown here: `POST /.serin/feedback`.
    #[serde(default)]
    pub(in crate::config) feedback: bool,
    /// What its clients may take up.
    #[serde(default)]
    pub(in crate::config) limits: LimitsDocument,
}

/// What clients may take up.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ connections: 20000, header_bytes: 32KiB }`"
)]
pub(in crate::config) struct LimitsDocument {
    /// Connections at a time. Each worker takes its share, rounded up.
    pub(in crate::config) connections: Option<Count<{ CONNECTIONS_MAX }>>,
    /// Bytes in the head of a request; over HTTP/2 with 32 more for each field.
    pub(in crate::config) header_bytes: Option<Size<{ HEADER_BYTES_MIN }, { HEADER_BYTES_MAX }>>,
    /// Fields in the head of a request.
    pub(in crate::config) headers: Option<Count<{ HEADERS_MAX }>>,
    /// From the first byte of a head to its last, from 1s to 1m.
    pub(in crate::config) header_timeout: Option<Written<Span>>,
    /// Without a request, from 1s to 1h.
    pub(in crate::config) idle_timeout: Option<Written<Span>>,
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
