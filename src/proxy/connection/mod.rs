//! One client's connection, from its first byte to its last: the handshake where there is one, then
//! HTTP/1 or HTTP/2, whichever the client speaks, then whatever a request has switched to.

mod http1;
mod http2;

use std::rc::Rc;

use tokio::net::TcpStream;

use crate::proxy::client::Client;
use crate::proxy::identity::certificate::ClientCertificate;
use crate::proxy::stream::ClientStream;
use crate::proxy::stream::guarded::Guarded;
use crate::proxy::tls::{HTTP2, HandshakeError, TlsTerms, shake_hands};
use crate::proxy::worker::Worker;
use crate::runtime::clock;

/// Serves one connection until it ends.
pub(crate) async fn serve(socket: TcpStream, client: Rc<Client>, worker: Rc<Worker>) {
    client.begin(clock::monotonic());
    let stream = ClientStream::new(socket, Rc::clone(&client), Rc::clone(&worker));
    let stream = Guarded::http1(stream, Rc::clone(&client));
    http1::exchange(stream, client, worker).await;
}

/// The same for one that begins with a handshake. Until that is done, nothing is known of the
/// client, and nothing that goes wrong is counted as anybody's but in the metric of handshakes.
pub(crate) async fn serve_tls(
    socket: TcpStream,
    terms: TlsTerms,
    client: Rc<Client>,
    worker: Rc<Worker>,
) {
    client.begin(clock::monotonic());
    let stream = ClientStream::new(socket, Rc::clone(&client), Rc::clone(&worker));
    let result = tokio::select! {
        result = shake_hands(stream, terms) => result,
        () = client.told_to_close() => return,
    };
    let counters = worker.handshakes();
    match result {
        Ok(stream) => {
            counters.completed.add(1);
            let session = stream.get_ref().1;
            if let Some([own, ..]) = session.peer_certificates() {
                client.has_shown(ClientCertificate::read(own));
            }
            client.begin(clock::monotonic());
            if session.alpn_protocol() == Some(HTTP2) {
                let stream = Guarded::http2(stream, Rc::clone(&client));
                http2::exchange(stream, client, worker).await;
            } else {
                let stream = Guarded::http1(stream, Rc::clone(&client));
                http1::exchange(stream, client, worker).await;
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
