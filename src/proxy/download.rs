//! An answer's body on its way to the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};

use crate::domain::evidence::{Failure, OutcomeClass};
use crate::proxy::connection::stream::Stream;
use crate::proxy::observe::Observation;
use crate::proxy::upload::UploadProgress;
use crate::proxy::upstream::answer::AnswerBody;
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::lease::Lease;
use crate::runtime::clock;

/// What an answer's body needs until it has ended.
struct Open {
    observation: Box<Observation>,
    lease: Lease,
}

/// A backend's answer on its way to the client.
pub(crate) struct Download {
    body: AnswerBody,
    upload: Option<Rc<UploadProgress>>,
    idle_limit: Duration,
    /// The stream it is sent on, where clients take what they are sent stream by stream.
    stream: Option<Rc<Stream>>,
    /// Runs only while the backend keeps us waiting.
    idle: Option<Pin<Box<Sleep>>>,
    /// Until the answer has ended.
    open: Option<Open>,
    /// Why it is cut off, until what has come of it is on its way to the client.
    cut: Option<Box<DownloadError>>,
}

/// Why an answer is cut off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The backend broke off.
    #[error("the backend broke off its answer")]
    Cut(#[source] BrokenError),
    /// The backend said that all was well before the answer had ended.
    #[error("the backend ended its answer before the end")]
    Ended,
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Idle(Duration),
}

impl Download {
    /// Ends well. A request that is still being sent then is of no more use to anybody; its
    /// connection is closed with it.
    fn complete(&mut self) {
        let Some(Open { observation, lease }) = self.open.take() else {
            return;
        };
        if self.upload.as_ref().is_none_or(|upload| upload.ended.get()) {
            lease.give_back();
        }
        observation.completed();
    }

    /// Says that the client is to ask for more now.
    fn hand_over(&self) {
        if let (Some(stream), Some(Open { observation, .. })) = (&self.stream, &self.open) {
            stream.hand_over(observation.coarse_now(), self.idle_limit);
        }
    }

    /// Ends badly: by the client's fault if it was to send and did not.
    fn cut(&mut self, failure: Failure, is_clients: impl FnOnce(&UploadProgress) -> bool) {
        let Some(Open { observation, lease }) = self.open.take() else {
            return;
        };
        if failure == Failure::Timeout {
            lease.distrust();
        }
        let class = if self.upload.as_deref().is_some_and(is_clients) {
            OutcomeClass::ClientAborted
        } else {
            OutcomeClass::BackendFailure(failure)
        };
        observation.cut(class);
    }

    /// The next piece. An error comes one poll late: hyper drops what it has not sent yet when it learns of
    /// one, the head included, and a client that got nothing at all on a kept connection may ask again.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        if let Some(error) = self.cut.take() {
            return Poll::Ready(Some(Err(*error)));
        }
        match self.poll_piece(cx) {
            Poll::Ready(Some(Err(error))) => {
                self.cut = Some(Box::new(error));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            piece => piece,
        }
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        if let Some(stream) = &self.stream {
            stream.is_asked();
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.idle = None;
                if let Some(Open { observation, .. }) = &mut self.open {
                    observation.waits_for_backend(None);
                    observation.received(frame.data_ref().map_or(0, Bytes::len));
                    if let Some(trailers) = frame.trailers_ref() {
                        observation.trailers(trailers);
                    }
                }
                if self.body.is_end_stream() {
                    self.complete();
                } else {
                    self.hand_over();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) if self.is_short() => {
                self.cut(Failure::CutBody, |upload| upload.broken.get());
                Poll::Ready(Some(Err(DownloadError::Ended)))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.cut(Failure::CutBody, |upload| upload.broken.get());
                Poll::Ready(Some(Err(DownloadError::Cut(error))))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    /// Whether a stream of HTTP/2 has no end, though nothing more will come: hyper takes a reset
    /// without an error for one, and so an answer for whole that may not be.
    fn is_short(&self) -> bool {
        let is_stream = |open: &Open| open.lease.is_shared();
        self.open.as_ref().is_some_and(is_stream) && !self.body.is_end_stream()
    }

    /// Waits for the backend, but not for ever: for as long as bytes go in either direction, the
    /// request's own included.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let limit = self.idle_limit;
        let idle = self.idle.get_or_insert_with(|| {
            let now = clock::monotonic();
            if let Some(Open { observation, .. }) = &mut self.open {
                observation.waits_for_backend(Some(now));
            }
            Box::pin(sleep_until(now + limit))
        });
        loop {
            std::task::ready!(idle.as_mut().poll(cx));
            let upload = self.upload.as_ref().filter(|upload| !upload.ended.get());
            let moved = upload.map(|upload| upload.moved.get() + limit);
            match moved.filter(|until| *until > idle.deadline()) {
                Some(until) => idle.as_mut().reset(until),
                None => break,
            }
        }
        self.cut(Failure::Timeout, UploadProgress::is_clients_turn);
        Poll::Ready(Some(Err(DownloadError::Idle(limit))))
    }
}

/// The body of an answer: a backend's, or one of our own.
pub(crate) enum ResponseBody {
    /// Comes from a backend.
    Download(Box<Download>),
    /// Is here already.
    Full(Option<Bytes>),
}

impl ResponseBody {
    /// A backend's answer, observed to its end.
    pub(crate) fn download(
        body: AnswerBody,
        upload: Option<Rc<UploadProgress>>,
        idle_limit: Duration,
        observation: Box<Observation>,
        lease: Lease,
    ) -> Self {
        let open = Some(Open { observation, lease });
        // On the heap: an answer goes from hand to hand.
        let mut download = Box::new(Download {
            body,
            upload,
            idle_limit,
            stream: Stream::current(),
            idle: None,
            open,
            cut: None,
        });
        if download.body.is_end_stream() {
            download.complete();
        } else {
            download.hand_over();
        }
        Self::Download(download)
    }

    /// Nothing.
    pub(crate) const fn empty() -> Self {
        Self::Full(None)
    }

    /// An answer of our own.
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        match self.get_mut() {
            Self::Download(download) => download.poll(cx),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Download(download) => download.body.is_end_stream(),
            Self::Full(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Download(download) => download.body.size_hint(),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
