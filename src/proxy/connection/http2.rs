//! Requests over HTTP/2.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use crate::proxy::client::{Client, Order};
use crate::proxy::connection::stream::Work;
use crate::proxy::service;
use crate::proxy::stream::gathered::Gathered;
use crate::proxy::stream::guarded::Guarded;
use crate::proxy::worker::Worker;
use crate::runtime::connections::Cut;

/// The most requests under way on one connection.
const STREAMS_MAX: u32 = 128;

/// How much of one request's body a client may send ahead of its backend, in bytes: enough for 3 MB/s
/// from a client that is 20 ms away. As much as Envoy's guide for edges says, and nginx takes.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same of all requests of a connection together: what one client can have us hold. Sixteen uploads
/// whose backend takes nothing hold up the others, until they are given up; fewer do not.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;

/// The most bytes of an answer that wait to be sent, so that a client that takes its time holds up
/// the backend.
const SEND_BUFFER: usize = 16 * 1024;

/// The most requests of a connection that may break the rules of HTTP/2, each of which is reset for it
/// ("MadeYouReset", CVE-2025-8671). No sound client breaks them.
const BROKEN_STREAMS_MAX: usize = 256;

/// Runs what a connection begins on the same thread.
#[derive(Clone)]
struct LocalExecutor(Rc<Client>);

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(Work::new(future, &self.0));
    }
}

/// Whether a connection ended because the client asked for more than anybody may.
fn is_flood(error: &hyper::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        !cause.is_remote() && cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    })
}

/// Answers the requests that come by a stream until it ends.
pub(super) async fn exchange<S>(stream: Guarded<S>, client: Rc<Client>, worker: Rc<Worker>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let handle = service_fn(|request| {
        let handled = service::handle(&worker, &client, request);
        async move { Ok::<_, Infallible>(handled.await) }
    });
    let stream = Gathered::new(stream);
    // As HTTP/2 counts them: 32 more for each field than it has (RFC 9113, section 6.5.2).
    let header_bytes = u32::try_from(client.limits.header_bytes).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(LocalExecutor(Rc::clone(&client)))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_local_error_reset_streams(BROKEN_STREAMS_MAX)
        .max_header_list_size(header_bytes)
        .serve_connection(TokioIo::new(stream.clone()), handle);
    let mut connection = pin!(connection);
    let mut is_closing = false;
    let served = poll_fn(|cx| {
        if client.order() == Order::Cut {
            return Poll::Ready(Ok(()));
        }
        if client.order() == Order::Close && !is_closing {
            is_closing = true;
            connection.as_mut().graceful_shutdown();
        }
        let polled = connection.as_mut().poll(cx);
        let has_left = stream.poll_leave(cx);
        if polled.is_pending() {
            if let Poll::Ready(Err(error)) = has_left {
                tracing::debug!(client = %client.ip(), %error, "connection of a client ended");
                return Poll::Ready(Ok(()));
            }
            client.wake_when_told(cx);
        }
        polled
    });
    if let Err(error) = served.await {
        if is_flood(&error) {
            worker.connections().cut(Cut::Flood);
        }
        tracing::debug!(client = %client.ip(), %error, "connection of a client ended");
    }
}
