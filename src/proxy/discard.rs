//! Reads what nobody wants of an answer, so that its connection can be used again.
//!
//! A failure mostly has a short body. One that is long, or takes its time, costs its connection instead:
//! making another is cheaper than reading on.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::proxy::forward::Answer;
use crate::proxy::upstream::answer::AnswerBody;

/// The longest body that is read to its end, in bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// How long that may take: most of it has come with the head.
const TIME_MAX: Duration = Duration::from_secs(1);

/// Has done with an answer to a request without a body.
pub(crate) fn discard(answer: Answer) {
    let Answer {
        response, lease, ..
    } = answer;
    let mut body = response.into_body();
    if lease.is_shared() || body.size_hint().lower() > BYTES_MAX {
        return;
    }
    if body.is_end_stream() {
        return lease.give_back();
    }
    spawn_local(async move {
        if timeout(TIME_MAX, ends_well(&mut body)).await == Ok(true) {
            lease.give_back();
        }
    });
}

/// Reads a body; tells whether it has come to its end within the bounds.
async fn ends_well(body: &mut AnswerBody) -> bool {
    let mut bytes = 0;
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len) as u64,
        }
        if bytes > BYTES_MAX {
            return false;
        }
    }
}
