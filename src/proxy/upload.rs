//! A request's body on its way to a backend, and who is waiting for whom.
//!
//! When an upload stands still, either the client does not send or the backend does not take.
//! Only the latter is the backend's fault, so the body tells which it is.

use std::cell::Cell;
use std::collections::VecDeque;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::proxy::client::Client;
use crate::proxy::framing::Refusal;
use crate::proxy::interim::Interim;
use crate::proxy::postscript::Postscript;
use crate::proxy::resolve::clean_trailers;
use crate::proxy::view::View;
use crate::runtime::clock;

/// How long a backend may take to ask for a body that the client keeps back until then. As long as
/// curl waits before it sends it all the same.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// How far an upload has come.
#[derive(Debug)]
pub(crate) struct UploadProgress {
    /// When the last piece went by, or the upload began.
    pub(crate) moved: Cell<Instant>,
    /// Bytes that have gone by.
    pub(crate) bytes: Cell<u64>,
    /// Whether the next piece was asked for and has not come from the client.
    pub(crate) awaits_client: Cell<bool>,
    /// Whether the last piece has gone by.
    pub(crate) ended: Cell<bool>,
    /// How many bytes it has, if that was said before.
    length: Option<u64>,
    /// Whether the client broke off.
    pub(crate) broken: Cell<bool>,
    /// Why it broke off, if it sent something that is no body.
    pub(crate) refusal: Cell<Option<Refusal>>,
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

/// Whose body it is, and by which configuration that may say something behind it.
pub(crate) struct Sender {
    client: Rc<Client>,
    view: Rc<View>,
}

impl Sender {
    pub(crate) fn new(client: &Rc<Client>, view: &Rc<View>) -> Self {
        Self {
            client: Rc::clone(client),
            view: Rc::clone(view),
        }
    }
}

/// A request's body that reports its progress; most requests have none to report.
pub(crate) struct Upload {
    /// None where there is none, and the request is another's copy.
    body: Option<Incoming>,
    progress: Option<Rc<UploadProgress>>,
    /// None where there is no body.
    sender: Option<Sender>,
    /// Where what comes before the answer is told.
    interim: Option<Arc<Interim>>,
    /// What is said of the request in its head, behind the client's fields.
    pub(crate) postscript: Postscript,
    /// What few need, so that others do not carry it.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    /// For a client that sends its body only when it is told to.
    patience: Option<Pin<Box<Sleep>>>,
    /// What was sent in vain and comes first when it is sent again.
    again: VecDeque<Bytes>,
}

impl Upload {
    /// Wraps a body; the progress is there only if there is a body to send. Where the client
    /// `expects_continue` it is not touched before the backend has asked for it or has had its time to:
    /// touching it is what has the client told to send it.
    pub(crate) fn new(
        body: Incoming,
        sender: impl FnOnce() -> Sender,
        interim: Option<Arc<Interim>>,
        expects_continue: bool,
    ) -> (Self, Option<Rc<UploadProgress>>) {
        let length = body.size_hint().exact();
        let progress = (!body.is_end_stream()).then(|| {
            Rc::new(UploadProgress {
                moved: Cell::new(clock::monotonic()),
                bytes: Cell::new(0),
                awaits_client: Cell::new(false),
                // Nobody asks for the end of a body that has nothing else.
                ended: Cell::new(length == Some(0)),
                length,
                broken: Cell::new(false),
                refusal: Cell::new(None),
            })
        });
        (
            Self {
                body: Some(body),
                sender: progress.as_ref().map(|_| sender()),
                progress: progress.clone(),
                interim,
                postscript: Postscript::none(),
                rare: expects_continue.then(|| {
                    let patience = sleep_until(clock::monotonic() + CONTINUE_WAIT);
                    Box::new(Rare {
                        patience: Some(Box::pin(patience)),
                        again: VecDeque::new(),
                    })
                }),
            },
            progress,
        )
    }

    /// The same for a copy of a request without a body.
    pub(crate) const fn none(interim: Option<Arc<Interim>>) -> Self {
        Self {
            sender: None,
            body: None,
            progress: None,
            interim,
            postscript: Postscript::none(),
            rare: None,
        }
    }

    /// Where what comes before the answer is told.
    pub(crate) const fn interim(&self) -> Option<&Arc<Interim>> {
        self.interim.as_ref()
    }

    /// Says in a request's own fields what is to stand behind them, for whoever writes no others.
    pub(crate) fn put_postscript(request: &mut Request<Self>) {
        let postscript = std::mem::take(&mut request.body_mut().postscript);
        postscript.put(request.headers_mut());
    }

    /// Waits no longer to be asked for: by this way nobody would.
    pub(crate) fn hurry(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.patience = None;
        }
    }

    /// What comes before the body as it is: a piece that was sent before, or the wait for the word that it
    /// is wanted.
    fn poll_rare(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(rare) = &mut self.rare else {
            return Poll::Ready(None);
        };
        if let Some(piece) = rare.again.pop_front() {
            return Poll::Ready(Some(piece));
        }
        if let Some(patience) = &mut rare.patience {
            let is_wanted = self.interim.as_ref().is_some_and(|it| it.is_body_wanted());
            if !is_wanted {
                ready!(patience.as_mut().poll(cx));
            }
        }
        self.rare = None;
        Poll::Ready(None)
    }

    fn again(&self) -> impl Iterator<Item = &Bytes> {
        self.rare.iter().flat_map(|rare| &rare.again)
    }

    /// Puts back what was sent in vain.
    pub(crate) fn put_back(&mut self, mut pieces: VecDeque<Bytes>) {
        if pieces.is_empty() {
            return;
        }
        let rare = self.rare.get_or_insert_default();
        // It may have been so before, and not all of it this time.
        pieces.append(&mut rare.again);
        rare.again = pieces;
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(piece) = ready!(self.poll_rare(cx)) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let mut polled = Pin::new(&mut *body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
            && let Some(Sender { client, view }) = &this.sender
        {
            clean_trailers(view.routing(), client.ip(), trailers);
        }
        if let Some(progress) = &this.progress {
            progress.awaits_client.set(polled.is_pending());
            match &polled {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                    progress.bytes.set(progress.bytes.get() + bytes);
                    progress.moved.set(clock::monotonic());
                    // After the last byte, or the trailers, nobody asks whether there is more.
                    let has_all = progress.length == Some(progress.bytes.get());
                    let is_end = has_all || frame.is_trailers() || body.is_end_stream();
                    progress.ended.set(is_end);
                }
                Poll::Ready(Some(Err(error))) => {
                    progress.broken.set(true);
                    progress.refusal.set(refusal(error));
                }
                Poll::Ready(None) => progress.ended.set(true),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.body.as_ref().is_none_or(Body::is_end_stream);
        is_over && self.again().next().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        let mut hint = self.body.as_ref().map_or_else(none, Body::size_hint);
        let again: u64 = self.again().map(|piece| piece.len() as u64).sum();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + again);
        }
        hint.set_lower(hint.lower() + again);
        hint
    }
}

/// Why a body is none, where it was sent and is malformed.
fn refusal(error: &hyper::Error) -> Option<Refusal> {
    let cause = error.source()?.downcast_ref::<io::Error>()?;
    let is_malformed = matches!(
        cause.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    );
    is_malformed.then_some(Refusal::BadChunk)
}
