//! The one way by which Serin asks others over HTTP: webhooks, metric sources, key sets.
//!
//! Small on purpose. HTTP/1.1 over TCP or TLS, a limit of time for the whole exchange, a limit of
//! size for the answer. Redirects are not followed and proxies of the environment are not used: a
//! request goes where the configuration says, with its secrets, and nowhere else. Errors say what
//! failed and on whose side, and name no more of a URL than its host.

mod error;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

pub use self::error::HttpError;
use self::error::{LookupFailed, Place};
use crate::adapters::system_trust;
use crate::runtime::clock;

/// Who we say we are.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("serin/", env!("CARGO_PKG_VERSION")));

/// How long an unused connection is kept: long enough for the next of a burst, and less than most
/// servers keep it.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Unused connections kept for each host: requests to one host follow each other.
const IDLE_CONNECTIONS_MAX: usize = 1;

/// The largest head of an answer, in bytes; the smallest that hyper takes is 8 KiB.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Makes clients, which share what they trust.
#[derive(Debug)]
pub struct HttpClients {
    /// Given by hand to each client: a default for the whole process is anybody's to set.
    provider: Arc<CryptoProvider>,
    /// The system's authorities, once they are needed.
    system: OnceLock<RootCertStore>,
}

/// Why an authority's certificate is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {ordinal}. certificate cannot be used as that of an authority: {reason}")]
pub struct InvalidAuthority {
    /// Its place in the list, counted from 1.
    pub ordinal: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl HttpClients {
    /// Makes clients that trust the system's authorities.
    pub fn new() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            system: OnceLock::new(),
        }
    }

    /// A client that trusts further authorities, too, given as DER.
    ///
    /// # Errors
    /// When one of these is no certificate.
    pub fn client(&self, authorities: &[Arc<[u8]>]) -> Result<HttpClient, InvalidAuthority> {
        let mut roots = self.system.get_or_init(system_roots).clone();
        for (place, der) in authorities.iter().enumerate() {
            let added = roots.add(CertificateDer::from_slice(der));
            added.map_err(|error| InvalidAuthority {
                ordinal: place + 1,
                reason: error.to_string(),
            })?;
        }
        Ok(self.trusting(roots))
    }

    /// A client for plain `http`: it trusts nobody, so there is no TLS, and the system's authorities
    /// need not be read.
    pub fn plain(&self) -> HttpClient {
        self.trusting(RootCertStore::empty())
    }

    fn trusting(&self, roots: RootCertStore) -> HttpClient {
        let versions = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions();
        #[allow(
            clippy::expect_used,
            reason = "fails for a provider without cipher suites; this one has all"
        )]
        let versions = versions.expect("the provider knows the default versions");
        let tls = versions.with_root_certificates(roots).with_no_client_auth();
        HttpClient {
            client: client(tls),
        }
    }
}

impl Default for HttpClients {
    fn default() -> Self {
        Self::new()
    }
}

/// What the system trusts; damaged entries are left out, as every other program does.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_trust::authorities());
    roots
}

type Connector = HttpsConnector<HttpConnector<Resolver>>;

fn client(tls: ClientConfig) -> Client<Connector, Full<Bytes>> {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
    // What is wrapped sees `https` as well.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .build(connector)
}

/// Sends requests. Clones share their connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
}

/// What an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the look-up of the name to the last byte of the answer.
    pub timeout: Duration,
    /// Bytes of the answer's body that are read.
    pub body_bytes_max: usize,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, or as much of it as came within the limits.
    pub body: Bytes,
    /// Why the body is not whole; whoever needs the status only does not mind.
    pub cut: Option<HttpError>,
}

impl Answer {
    /// The whole body.
    ///
    /// # Errors
    /// When it was too large, too slow, or broke off.
    pub fn whole(self) -> Result<Bytes, HttpError> {
        match self.cut {
            None => Ok(self.body),
            Some(cut) => Err(cut),
        }
    }
}

impl HttpClient {
    /// Sends a request, whose URL must be absolute, and reads the answer.
    ///
    /// An error means that there is no answer, not that nothing was done: the request may have
    /// arrived.
    ///
    /// # Errors
    /// When no head of an answer came. What happens after it is told in [`Answer::cut`].
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Answer, HttpError> {
        let place = Place::of(request.uri());
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        let deadline = clock::monotonic() + limits.timeout;
        let answered = timeout_at(deadline, self.client.request(request.map(Full::new))).await;
        let response = match answered {
            Err(_) => return Err(place.timed_out(limits.timeout)),
            Ok(Err(error)) => return Err(place.failed(&error)),
            Ok(Ok(response)) => response,
        };
        let (head, body) = response.into_parts();
        let mut read = BytesMut::new();
        let cut = read_body(body, &mut read, limits, deadline, &place).await;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: read.freeze(),
            cut: cut.err(),
        })
    }
}

async fn read_body(
    mut body: Incoming,
    read: &mut BytesMut,
    limits: Limits,
    deadline: Instant,
    place: &Place,
) -> Result<(), HttpError> {
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(place.timed_out(limits.timeout)),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(place.broke_off(&error)),
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(chunk) = frame.data_ref() else {
            continue;
        };
        let room = limits.body_bytes_max - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Err(place.too_large(limits.body_bytes_max));
        }
    }
}

/// Looks names up as the system does, and marks its errors, so that they can be told from others.
#[derive(Clone, Debug)]
struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = LookupFailed;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, LookupFailed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LookupFailed>> {
        self.0.poll_ready(context).map_err(LookupFailed)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let looked_up = self.0.call(name);
        Box::pin(async move { looked_up.await.map_err(LookupFailed) })
    }
}
