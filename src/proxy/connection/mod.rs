//! One client's connection, from its first byte to its last: a PROXY header and a handshake where there
//! are such, then HTTP/1 or HTTP/2, whichever the client speaks, then whatever a request has switched
//! to.

mod http1;
mod http2;
mod opening;
pub(crate) mod stream;

use std::rc::Rc;

use crate::proxy::client::Client;
use crate::proxy::identity::certificate;
use crate::proxy::stream::ClientStream;
use crate::proxy::stream::guarded::Guarded;
use crate::proxy::tls::{HTTP2, HandshakeError, TlsTerms, shake_hands};
use crate::proxy::worker::Worker;
use crate::runtime::clock;

/// Serves one connection until it ends.
pub(crate) async fn serve(stream: ClientStream, client: Rc<Client>, worker: Rc<Worker>) {
    client.begin(clock::monotonic());
    let stream = Guarded::http1(stream, Rc::clone(&client));
    http1::exchange(stream, client, worker).await;
}

/// The same for one that begins with a handshake. Until that is done, nothing is known of the
/// client, and nothing that goes wrong is counted as anybody's but in the metric of handshakes.
pub(crate) async fn serve_tls(
    stream: ClientStream,
    terms: TlsTerms,
    client: Rc<Client>,
    worker: Rc<Worker>,
) {
    client.begin(clock::monotonic());
    let result = tokio::select! {
        result = shake_hands(stream, terms) => result,
        () = client.told_to_close() => return,
    };
    let counters = worker.connections();
    match result {
        Ok(stream) => {
            counters.completed.add(1);
            let session = stream.get_ref().1;
            if let Some([own, ..]) = session.peer_certificates() {
                client.has_shown(certificate::read(own));
            }
            client.begin(clock::monotonic());
            match session.alpn_protocol() {
                Some(HTTP2) => {
                    let stream = Guarded::http2(stream, Rc::clone(&client));
                    http2::exchange(stream, client, worker).await;
                }
                Some(_) => {
                    let stream = Guarded::agreed_http1(stream, Rc::clone(&client));
                    http1::exchange(stream, client, worker).await;
                }
                None => {
                    let stream = Guarded::http1(stream, Rc::clone(&client));
                    http1::exchange(stream, client, worker).await;
                }
            }
        }
        Err(error) => {
            match &error {
                HandshakeError::TimedOut(_) => counters.timed_out.add(1),
                HandshakeError::Failed(_) => counters.failed.add(1),
            }
            tracing::debug!(client = %client.ip(), %error, "handshake failed");
        }
    }
}

/// The same for one that may begin with a PROXY header, and then with a handshake where there are terms
/// for one. What is no good header is never taken for anything else.
pub(crate) async fn serve_passed_on(
    mut stream: ClientStream,
    terms: Option<TlsTerms>,
    client: Rc<Client>,
    worker: Rc<Worker>,
) {
    client.begin(clock::monotonic());
    let opened = tokio::select! {
        opened = opening::open(&mut stream) => opened,
        () = client.told_to_close() => return,
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            opening::warn(client.ip(), &error);
            return;
        }
    };
    if let Some(ip) = opened.client {
        client.is_passed_on_for(ip);
    }
    stream.read_again(opened.rest);
    match terms {
        None => serve(stream, client, worker).await,
        Some(terms) => serve_tls(stream, terms, client, worker).await,
    }
}
