//! Makes a connection to one endpoint, from the name's lookup to the first word of HTTP.

use std::io;
use std::rc::Rc;

use http::uri::Scheme;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::domain::backend::{Backend, Endpoint, Http1Client, Protocol, Timeouts};
use crate::proxy::error::ProxyError;
use crate::proxy::upstream::connect::connect;
use crate::proxy::upstream::http1::own::wire::Wire;
use crate::proxy::upstream::room::Room;
use crate::proxy::upstream::tls::{self, TlsClient};
use crate::proxy::upstream::{http1, http2};

/// How an endpoint is spoken to.
pub(crate) struct Terms {
    pub(crate) endpoint: Endpoint,
    pub(crate) timeouts: Timeouts,
    pub(crate) protocol: Protocol,
    /// Who speaks HTTP/1.1.
    pub(crate) http1_client: Http1Client,
    /// None for bare TCP.
    pub(crate) tls: Option<Rc<TlsClient>>,
}

/// A connection that was made.
pub(super) enum Established {
    Http1(Box<http1::Connection>),
    Http2(Rc<http2::Connection>),
}

impl Terms {
    /// How an endpoint of a backend is spoken to.
    pub(crate) fn of(backend: &Backend, endpoint: &Endpoint, tls: Option<&Rc<TlsClient>>) -> Self {
        Self {
            endpoint: endpoint.clone(),
            timeouts: backend.timeouts,
            protocol: backend.protocol,
            http1_client: backend.http1_client,
            tls: tls.cloned(),
        }
    }

    /// Whether connections that were made on these terms are those that a backend wants now.
    pub(crate) fn fits(&self, backend: &Backend, tls: Option<&Rc<TlsClient>>) -> bool {
        let is_same_tls = match (&self.tls, tls) {
            (Some(before), Some(now)) => Rc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        is_same_tls
            && self.timeouts == backend.timeouts
            && self.protocol == backend.protocol
            && self.http1_client == backend.http1_client
    }

    /// Makes a connection until its time is over, which covers the lookup, all addresses of the
    /// name, the handshake of TLS and the settings of HTTP/2. Nothing of a request was sent then. With
    /// `only` that protocol is spoken, whatever else might be.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn establish(
        &self,
        open: OpenConnection,
        deadline: Instant,
        only: Option<Protocol>,
    ) -> Result<Established, ProxyError> {
        let protocol = only.unwrap_or(self.protocol);
        let established = timeout_at(deadline, self.establish_in_time(open, protocol)).await;
        established.unwrap_or(Err(ProxyError::ConnectTimeout))
    }

    async fn establish_in_time(
        &self,
        open: OpenConnection,
        protocol: Protocol,
    ) -> Result<Established, ProxyError> {
        let stream = connect(&self.endpoint).await?;
        let Some(tls) = &self.tls else {
            return match protocol {
                Protocol::Auto | Protocol::Http1 => self.http1(Wire::Tcp(stream), open).await,
                Protocol::Http2 => {
                    let opened = http2(stream, Scheme::HTTP, open).await;
                    opened.map_err(ProxyError::NoHttp2)
                }
            };
        };
        let stream = tls.shake_hands(&self.endpoint, stream, protocol).await?;
        let agreed = stream.get_ref().1.alpn_protocol();
        match (agreed == Some(tls::H2), protocol) {
            (true, _) => {
                let opened = http2(stream, Scheme::HTTPS, open).await;
                // It has agreed to HTTP/2. By the newer TLS this is when it says that it does not
                // like our certificate.
                opened.map_err(|error| {
                    let closed = || io::ErrorKind::ConnectionReset.into();
                    ProxyError::Handshake(error.map_or_else(closed, io::Error::other))
                })
            }
            (false, Protocol::Auto | Protocol::Http1) => {
                self.http1(Wire::Tls(Box::new(stream)), open).await
            }
            (false, Protocol::Http2) => Err(ProxyError::NoHttp2(None)),
        }
    }

    async fn http1(&self, wire: Wire, open: OpenConnection) -> Result<Established, ProxyError> {
        let connection = match (self.http1_client, wire) {
            (Http1Client::Own, wire) => {
                http1::Connection::Own(http1::own::Connection::open(wire, open))
            }
            (Http1Client::Hyper, Wire::Tcp(stream)) => hyper(stream, open).await?,
            (Http1Client::Hyper, Wire::Tls(stream)) => hyper(stream, open).await?,
        };
        Ok(Established::Http1(Box::new(connection)))
    }
}

async fn hyper<S>(stream: S, open: OpenConnection) -> Result<http1::Connection, ProxyError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let opened = http1::hyper::Connection::open(stream, open).await;
    let opened = opened.map_err(|error| ProxyError::Broken(error.into()));
    opened.map(http1::Connection::Hyper)
}

async fn http2<S>(
    stream: S,
    scheme: Scheme,
    open: OpenConnection,
) -> Result<Established, Option<hyper::Error>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let opened = http2::Connection::open(stream, scheme, open).await?;
    Ok(Established::Http2(Rc::new(opened)))
}

/// Counts a connection for as long as it exists.
pub(super) struct OpenConnection(Rc<Room>);

impl OpenConnection {
    pub(super) fn count(room: &Rc<Room>) -> Self {
        room.take();
        Self(Rc::clone(room))
    }

    /// Says that it has room for another exchange.
    pub(super) fn has_room(&self) {
        self.0.has_freed_one();
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.give_back();
    }
}
