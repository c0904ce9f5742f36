//! Requests over HTTP/1.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::config::ListenerLimits;
use crate::proxy::client::{Client, Order};
use crate::proxy::connection::http2;
use crate::proxy::interim::Interim;
use crate::proxy::service;
use crate::proxy::stream::guarded::Guarded;
use crate::proxy::worker::Worker;

/// How long a client that was refused may take to read why.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How many bytes hyper may read ahead at the least, whatever a head may have: bodies come this way too.
const BUFFER_BYTES_MIN: usize = 32 * 1024;

/// hyper takes at most so many fields in a head unless told otherwise, and being told the same makes it
/// keep them on the heap. Fewer are seen to before it is asked.
const FIELDS_ON_STACK: usize = 100;

/// Why a connection is not served by hyper any more.
enum Served {
    /// It has ended, or something else is to be done with it.
    Out,
    /// Nothing has come for a while. What hyper keeps for each connection, buffers of 16 KiB, is given back until
    /// something does.
    Resting,
}

/// Answers the requests that come by a stream until it ends, in whatever it turns out to speak.
pub(super) async fn exchange<S>(mut stream: Guarded<S>, client: Rc<Client>, worker: Rc<Worker>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let writer = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    client
        .interim
        .get_or_init(|| Arc::new(Interim::new(writer)));
    loop {
        let (served, back, read) = serve(stream, &client, &worker).await;
        stream = back;
        if let Served::Out = served {
            return conclude(stream, &read, client, worker).await;
        }
        stream.take_back(&read);
        // Empty, it has room all the same.
        drop(read);
        let rested = poll_fn(|cx| {
            if client.order() != Order::Serve {
                return Poll::Ready(Ok(false));
            }
            client.wake_when_told(cx);
            stream.poll_more(cx)
        });
        match rested.await {
            Ok(true) => client.wakes_up(),
            Ok(false) => {
                if client.order() != Order::Cut {
                    // It leaves when it likes.
                    let _ = timeout(LAST_WORD, stream.shutdown()).await;
                }
                return;
            }
            Err(error) => return tell_end(&client, &error),
        }
    }
}

/// Has hyper answer requests; gives back the stream, and what was read of it and not answered.
async fn serve<S>(
    stream: Guarded<S>,
    client: &Rc<Client>,
    worker: &Rc<Worker>,
) -> (Served, Guarded<S>, Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let handle = service_fn(|request| {
        let handled = service::handle(worker, client, request);
        async move { Ok::<_, Infallible>(handled.await) }
    });
    let stream = TokioIo::new(stream);
    let mut connection = builder(&client.limits).serve_connection(stream, handle);
    let mut is_closing = false;
    let served = poll_fn(|cx| {
        if client.order() == Order::Cut {
            return Poll::Ready(Ok(Served::Out));
        }
        if client.order() == Order::Close && !is_closing {
            is_closing = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let polled = Pin::new(&mut connection).poll(cx);
        if polled.is_pending() {
            if client.speaks_http2.get() {
                return Poll::Ready(Ok(Served::Out));
            }
            if client.may_rest() {
                return Poll::Ready(Ok(Served::Resting));
            }
            client.wake_when_told(cx);
        }
        polled.map_ok(|()| Served::Out)
    });
    let served = served.await.unwrap_or_else(|error| {
        tell_end(client, &error);
        Served::Out
    });
    let parts = connection.into_parts();
    (served, parts.io.into_inner(), parts.read_buf)
}

fn tell_end(client: &Client, error: &dyn Error) {
    tracing::debug!(client = %client.ip(), %error, "connection of a client ended");
}

/// Does what is left to be done with a connection that hyper has served.
async fn conclude<S>(mut stream: Guarded<S>, read: &[u8], client: Rc<Client>, worker: Rc<Worker>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    // Taken in any case: what lies in it holds the client in turn.
    let tunnel = client.tunnel.take();
    if client.order() == Order::Cut {
        return;
    }
    // Boxed, so that a connection that stays with HTTP/1 takes no room for others.
    if let Some(tunnel) = tunnel {
        let stream = stream.into_raw(read);
        Box::pin(tunnel.run(stream, &client)).await;
    } else if client.speaks_http2.get() {
        Box::pin(http2::exchange(stream.into_http2(), client, worker)).await;
    } else if client.refusal.get().is_some() {
        // It leaves when it likes.
        let _ = timeout(LAST_WORD, stream.discard()).await;
    }
}

/// What hyper takes, as far as it is asked.
fn builder(limits: &ListenerLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(limits.header_bytes.max(BUFFER_BYTES_MIN))
        .header_read_timeout(None);
    if limits.headers > FIELDS_ON_STACK {
        builder.max_headers(limits.headers);
    }
    builder
}
