//! A backend that speaks HTTP/2, HTTP/1.1 and TLS, by real libraries. What it does is in the path
//! that it is asked for; see [`respond`].

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{HandshakeKind, NamedGroup, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::authority::{Authority, Issued};

/// How a backend is to be.
#[derive(Clone)]
pub(crate) struct Conduct {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// What it speaks where nobody asks.
    pub(crate) is_http2: bool,
    /// How many exchanges it lets be under way on a connection.
    pub(crate) streams_max: Option<u32>,
    /// How many exchanges it refuses before it takes one, on all connections.
    pub(crate) refusals: usize,
    /// Goes after so many exchanges on each connection, and refuses what comes after them.
    pub(crate) leaves_after: Option<usize>,
}

impl Conduct {
    /// HTTP/2 over TCP.
    pub(crate) const fn http2() -> Self {
        Self {
            tls: None,
            is_http2: true,
            streams_max: None,
            refusals: 0,
            leaves_after: None,
        }
    }

    /// HTTP over TLS.
    pub(crate) fn tls(config: ServerConfig) -> Self {
        Self {
            tls: Some(Arc::new(config)),
            is_http2: false,
            ..Self::http2()
        }
    }
}

pub(crate) fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(der).unwrap();
    roots
}

/// What a server shows, whom it asks for a certificate, and what it offers to speak.
pub(crate) fn server_config(
    issued: &Issued,
    clients: Option<&Authority>,
    protocols: &[&str],
) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let roots = Arc::new(roots(authority));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(issued.cert.as_bytes());
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
    config.alpn_protocols = protocols.collect();
    if clients.is_some() {
        // So that each connection shows the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config
}

/// What is known of a connection once it is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) server_name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) client: Option<Vec<u8>>,
    pub(crate) is_resumed: bool,
    pub(crate) is_hybrid: bool,
}

/// A request's head as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) version: Version,
    pub(crate) target: String,
    pub(crate) fields: HeaderMap,
}

#[derive(Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    asked: Mutex<Vec<Asked>>,
    open: Mutex<Vec<AbortHandle>>,
    refused: AtomicUsize,
    handshakes_failed: AtomicUsize,
    /// Bodies of requests that ended before their end.
    cut_uploads: AtomicUsize,
    under_way: AtomicUsize,
    closed: AtomicUsize,
    release: Arc<Notify>,
}

impl Log {
    /// Ends with the first release from now on, even if nobody waits for it yet.
    fn released(&self) -> OwnedNotified {
        Arc::clone(&self.release).notified_owned()
    }
}

/// A running backend.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    log: Arc<Log>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    pub(crate) fn start(conduct: Conduct) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let log = Arc::new(Log::default());
        let scheme = if conduct.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let shared = Arc::clone(&log);
        let thread = spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, conduct, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            scheme,
            log,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it is, as the configuration writes it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The same by a name that leads to this machine.
    pub(crate) fn url_by_name(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    /// All connections so far whose handshakes are done.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().unwrap().clone()
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.asked.lock().unwrap().clone()
    }

    pub(crate) fn refused(&self) -> usize {
        self.log.refused.load(Ordering::SeqCst)
    }

    pub(crate) fn handshakes_failed(&self) -> usize {
        self.log.handshakes_failed.load(Ordering::SeqCst)
    }

    pub(crate) fn cut_uploads(&self) -> usize {
        self.log.cut_uploads.load(Ordering::SeqCst)
    }

    /// Requests that are being answered now.
    pub(crate) fn under_way(&self) -> usize {
        self.log.under_way.load(Ordering::SeqCst)
    }

    /// Connections that have ended.
    pub(crate) fn closed(&self) -> usize {
        self.log.closed.load(Ordering::SeqCst)
    }

    /// Lets go of all requests for `/hold` and bodies of `/part` that are being kept.
    pub(crate) fn release(&self) {
        self.log.release.notify_waiters();
    }

    /// Ends all connections without a word.
    pub(crate) fn cut_connections(&self) {
        let mut open: MutexGuard<'_, Vec<_>> = self.log.open.lock().unwrap();
        open.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, conduct: Conduct, log: Arc<Log>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (conduct, shared) = (conduct.clone(), Arc::clone(&log));
        let task = connections.spawn(async move {
            let _closed = Closed(Arc::clone(&shared));
            serve(stream, conduct, shared).await;
        });
        log.open.lock().unwrap().push(task);
    }
}

struct Closed(Arc<Log>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::SeqCst);
    }
}

async fn serve(stream: TcpStream, conduct: Conduct, log: Arc<Log>) {
    let Some(tls) = conduct.tls.clone() else {
        log.seen.lock().unwrap().push(Seen::default());
        return speak(stream, conduct.is_http2, conduct, log).await;
    };
    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else {
        log.handshakes_failed.fetch_add(1, Ordering::SeqCst);
        return;
    };
    let connection = stream.get_ref().1;
    let protocol = connection.alpn_protocol();
    let protocol = protocol.map(|name| String::from_utf8(name.to_vec()).unwrap());
    let group = connection.negotiated_key_exchange_group();
    let seen = Seen {
        server_name: connection.server_name().map(str::to_owned),
        protocol: protocol.clone(),
        client: connection
            .peer_certificates()
            .map(|chain| chain[0].to_vec()),
        is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        is_hybrid: group.is_some_and(|group| group.name() == NamedGroup::X25519MLKEM768),
    };
    log.seen.lock().unwrap().push(seen);
    let is_http2 = protocol.as_deref() == Some("h2");
    speak(stream, is_http2, conduct, log).await;
}

async fn speak<S>(stream: S, is_http2: bool, conduct: Conduct, log: Arc<Log>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if is_http2 && (conduct.refusals > 0 || conduct.leaves_after.is_some()) {
        return refuse(stream, &conduct, &log).await;
    }
    let service = service_fn(move |request| {
        let log = Arc::clone(&log);
        async move { Ok::<_, Infallible>(respond(request, &log).await) }
    });
    let stream = TokioIo::new(stream);
    if is_http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(conduct.streams_max);
        let _ = builder.serve_connection(stream, service).await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(stream, service).await;
    }
}

/// Refuses some exchanges, or goes after some; takes others.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, conduct: &Conduct, log: &Arc<Log>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut taken = 0;
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        if log.refused.load(Ordering::SeqCst) < conduct.refusals {
            log.refused.fetch_add(1, Ordering::SeqCst);
            answer.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        let released = log.released();
        log.asked.lock().unwrap().push(Asked {
            version: request.version(),
            target: request.uri().to_string(),
            fields: request.headers().clone(),
        });
        let mut body = answer.send_response(Response::new(()), false).unwrap();
        if request.uri().path() == "/no-error" {
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            tokio::spawn(async move {
                released.await;
                body.send_reset(Reason::NO_ERROR);
            });
            continue;
        }
        body.send_data(Bytes::from_static(b"taken"), true).unwrap();
        taken += 1;
        if conduct.leaves_after == Some(taken) {
            connection.graceful_shutdown();
        }
    }
}

type AnyBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

fn full(text: impl Into<Bytes>) -> AnyBody {
    Full::new(text.into()).map_err(Into::into).boxed()
}

struct UnderWay<'a>(&'a Log);

impl<'a> UnderWay<'a> {
    fn new(log: &'a Log) -> Self {
        log.under_way.fetch_add(1, Ordering::SeqCst);
        Self(log)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Does what the path says.
async fn respond(request: Request<Incoming>, log: &Arc<Log>) -> Response<AnyBody> {
    let released = log.released();
    let _under_way = UnderWay::new(log);
    log.asked.lock().unwrap().push(Asked {
        version: request.version(),
        target: request.uri().to_string(),
        fields: request.headers().clone(),
    });
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.split('/').skip(1).collect();
    match words.as_slice() {
        // All that comes goes back at once, trailers too.
        ["echo"] => {
            let body = request.into_body().map_err(Into::into).boxed();
            let mut answer = Response::new(body);
            let trailer = HeaderValue::from_static("x-sum, grpc-status");
            answer.headers_mut().insert("trailer", trailer);
            answer
        }
        // The names of what comes behind the body.
        ["trailers"] => {
            let body = request.into_body().collect().await.unwrap();
            let names = body.trailers().into_iter().flat_map(HeaderMap::keys);
            let names: Vec<_> = names.map(ToString::to_string).collect();
            Response::new(full(names.join(" ")))
        }
        // Half an answer, then what `release` does not let go on.
        ["part"] => part(released, false),
        // Half an answer, then an error in the place of the rest.
        ["cut"] => part(released, true),
        ["hold"] => {
            released.await;
            Response::new(full("held"))
        }
        ["slow"] => {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Response::new(full("slow"))
        }
        // Answers before it has the body, and counts what becomes of that.
        ["early"] => {
            let (mut body, log) = (request.into_body(), Arc::clone(log));
            tokio::spawn(async move {
                while let Some(frame) = body.frame().await {
                    if frame.is_err() {
                        log.cut_uploads.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
            });
            Response::new(full("early"))
        }
        ["close"] => {
            let mut answer = Response::new(full("closing"));
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert("connection", close);
            answer
        }
        // As many bytes as asked for.
        ["bytes", count] => Response::new(full(super::backend::pattern(count.parse().unwrap()))),
        ["grpc", call @ ..] => answer_call(call),
        _ => Response::new(full("ok")),
    }
}

/// Answers a call of gRPC: its status after the body, in the head, or nowhere.
fn answer_call(words: &[&str]) -> Response<AnyBody> {
    match words {
        ["head", code] => {
            let mut answer = grpc(Empty::new().map_err(Into::into).boxed());
            let code = HeaderValue::from_str(code).unwrap();
            answer.headers_mut().insert("grpc-status", code);
            answer
        }
        [code] if *code != "none" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_str(code).unwrap());
            let mut frames = vec![Frame::trailers(trailers), Frame::data("message".into())];
            let frames = Frames(Box::new(move |_| {
                std::task::Poll::Ready(frames.pop().map(Ok))
            }));
            grpc(BodyExt::boxed(frames))
        }
        _ => grpc(full("message")),
    }
}

fn grpc(body: AnyBody) -> Response<AnyBody> {
    let mut answer = Response::new(body);
    let fields = answer.headers_mut();
    fields.insert("content-type", HeaderValue::from_static("application/grpc"));
    fields.insert("trailer", HeaderValue::from_static("grpc-status"));
    answer
}

/// Half an answer, and once it is let go the other half, or an error in its place.
fn part(released: OwnedNotified, is_cut: bool) -> Response<AnyBody> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let half = |text: &'static [u8]| Ok(Frame::data(Bytes::from_static(text)));
        let _ = sender.send(half(b"half")).await;
        released.await;
        let rest = if is_cut {
            Err("cut".into())
        } else {
            half(b" and half")
        };
        let _ = sender.send(rest).await;
    });
    let mut receiver = receiver;
    let frames = Frames(Box::new(move |context: &mut std::task::Context<'_>| {
        receiver.poll_recv(context)
    }));
    Response::new(BodyExt::boxed(frames))
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;
type Poll = std::task::Poll<Option<Result<Frame<Bytes>, AnyError>>>;

/// A body by a function.
struct Frames(Box<dyn FnMut(&mut std::task::Context<'_>) -> Poll + Send + Sync>);

impl Body for Frames {
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll {
        (self.0)(context)
    }
}
