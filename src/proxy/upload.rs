//! A request's body on its way to a backend, and who is waiting for whom.
//!
//! When an upload stands still, either the client does not send or the backend does not take.
//! Only the latter is the backend's fault, so the body tells which it is.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::runtime::clock;

/// How far an upload has come.
#[derive(Debug)]
pub(crate) struct UploadProgress {
    /// When the last piece went by, or the upload began.
    pub(crate) moved: Cell<Instant>,
    /// Whether the next piece was asked for and has not come from the client.
    pub(crate) awaits_client: Cell<bool>,
    /// Whether the last piece has gone by.
    pub(crate) ended: Cell<bool>,
    /// Whether the client broke off.
    pub(crate) broken: Cell<bool>,
}

impl UploadProgress {
    /// Whether the client is to send and does not.
    pub(crate) fn is_clients_turn(&self) -> bool {
        !self.ended.get() && self.awaits_client.get()
    }

    /// Whether a backend has had all of a request that began then, so that only it is waited for.
    pub(crate) fn is_whole(upload: Option<&Self>) -> bool {
        upload.is_none_or(|upload| upload.ended.get() && !upload.broken.get())
    }

    /// Since when a backend has had all it needs to answer a request that began then. The time that
    /// a client takes to send a body is its own.
    pub(crate) fn backends_turn(upload: Option<&Self>, began: Instant) -> Instant {
        upload.map_or(began, |upload| upload.moved.get().max(began))
    }
}

/// A request's body that reports its progress; most requests have none to report.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    progress: Option<Rc<UploadProgress>>,
    /// What was sent in vain and comes first when it is sent again.
    again: VecDeque<Bytes>,
}

impl Upload {
    /// Wraps a body; the progress is there only if there is a body to send.
    pub(crate) fn new(body: Incoming) -> (Self, Option<Rc<UploadProgress>>) {
        let progress = (!body.is_end_stream()).then(|| {
            Rc::new(UploadProgress {
                moved: Cell::new(clock::monotonic()),
                awaits_client: Cell::new(false),
                ended: Cell::new(false),
                broken: Cell::new(false),
            })
        });
        (
            Self {
                body,
                progress: progress.clone(),
                again: VecDeque::new(),
            },
            progress,
        )
    }

    /// Puts back what was sent in vain.
    pub(crate) fn put_back(&mut self, mut pieces: VecDeque<Bytes>) {
        // It may have been so before, and not all of it this time.
        pieces.append(&mut self.again);
        self.again = pieces;
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(piece) = self.again.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(progress) = &self.progress {
            progress.awaits_client.set(polled.is_pending());
            match &polled {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(_))) => {
                    progress.moved.set(clock::monotonic());
                    progress.ended.set(self.body.is_end_stream());
                }
                Poll::Ready(Some(Err(_))) => progress.broken.set(true),
                Poll::Ready(None) => progress.ended.set(true),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let again: u64 = self.again.iter().map(|piece| piece.len() as u64).sum();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + again);
        }
        hint.set_lower(hint.lower() + again);
        hint
    }
}
