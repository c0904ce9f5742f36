//! Asks one endpoint how it is, on a connection of its own.
//!
//! A new connection each time: one that is kept says nothing of whether others can be made.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::domain::backend::Protocol;
use crate::proxy::error::ProxyError;
use crate::proxy::upstream::codec::BUFFER_BYTES_MAX;
use crate::proxy::upstream::connect::connect;
use crate::proxy::upstream::establish::Terms;
use crate::proxy::upstream::hearing::{Ear, Hearing};
use crate::proxy::upstream::http1::hyper::broken;
use crate::proxy::upstream::tls::H2;

/// Who we say we are.
const AGENT: HeaderValue = HeaderValue::from_static(concat!(
    "serin/",
    env!("CARGO_PKG_VERSION"),
    " (health check)"
));

/// Asks for a target, by the protocol and over the TLS of requests; gives the answer's status.
///
/// # Errors
/// Why there is none. Nothing here ends by itself.
pub(crate) async fn probe(terms: &Terms, target: &PathAndQuery) -> Result<StatusCode, ProxyError> {
    let stream = connect(&terms.endpoint).await?;
    let Some(tls) = &terms.tls else {
        return match terms.protocol {
            Protocol::Auto | Protocol::Http1 => ask_http1(stream, terms, target).await,
            Protocol::Http2 => ask_http2(stream, Scheme::HTTP, terms, target).await,
        };
    };
    let stream = tls
        .shake_hands(&terms.endpoint, stream, terms.protocol)
        .await?;
    let agreed = stream.get_ref().1.alpn_protocol();
    match (agreed == Some(H2), terms.protocol) {
        (true, _) => ask_http2(stream, Scheme::HTTPS, terms, target).await,
        (false, Protocol::Auto | Protocol::Http1) => ask_http1(stream, terms, target).await,
        (false, Protocol::Http2) => Err(ProxyError::NoHttp2(None)),
    }
}

async fn ask_http1<S>(
    stream: S,
    terms: &Terms,
    target: &PathAndQuery,
) -> Result<StatusCode, ProxyError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let ear = Arc::<Ear>::default();
    ear.begin(None);
    let stream = Hearing::new(stream, Arc::clone(&ear));
    let opened = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = opened.map_err(broken_off)?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut request = request(target.clone().into());
    // An endpoint's name is plain text.
    if let Ok(host) = HeaderValue::from_str(&terms.endpoint.to_string()) {
        request.headers_mut().insert(HOST, host);
    }
    let answered = sender.send_request(request).await;
    answered
        .map(|answer| answer.status())
        .map_err(|error| broken(error, &ear))
}

async fn ask_http2<S>(
    stream: S,
    scheme: Scheme,
    terms: &Terms,
    target: &PathAndQuery,
) -> Result<StatusCode, ProxyError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let executor = TokioExecutor::new();
    let opened = http2::handshake::<_, _, Empty<Bytes>>(executor, TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| ProxyError::NoHttp2(Some(error)))?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(terms.endpoint.to_string());
    let uri = uri.path_and_query(target.clone()).build();
    let uri = uri.map_err(|_| ProxyError::BadHost)?;
    let answered = sender.send_request(request(uri)).await;
    answered.map(|answer| answer.status()).map_err(broken_off)
}

fn broken_off(error: hyper::Error) -> ProxyError {
    ProxyError::Broken(error.into())
}

fn request(uri: Uri) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(USER_AGENT, AGENT);
    request
}
