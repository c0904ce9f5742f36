//! A request's body, lent to a shared connection.
//!
//! hyper keeps the body of a request until it is sent, which may be long after anybody wants it,
//! and gives none back that was refused. A loan can be taken back at any time, and as long as there
//! is no answer the beginning of it is kept.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::Reason;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::upload::Upload;

/// How much of a body is kept until there is an answer, in bytes, so that it can be sent again when
/// it is refused. Most calls of gRPC are smaller, and what is longer has mostly been read.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What a piece counts for at the least, for it keeps more than its own bytes in memory.
const PIECE_BYTES_MIN: usize = 1024;

/// A body that is lent.
pub(super) struct Loan {
    /// None once it was taken back.
    upload: RefCell<Option<Upload>>,
    /// What was given away so far; none where some of it is gone for good.
    given: RefCell<Option<Given>>,
    /// Who waits for more of it.
    waiting: Cell<Option<Waker>>,
}

/// What was given away of a body.
#[derive(Default)]
struct Given {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Loan {
    pub(super) fn new(upload: Upload) -> Rc<Self> {
        Rc::new(Self {
            upload: RefCell::new(Some(upload)),
            given: RefCell::new(Some(Given::default())),
            waiting: Cell::default(),
        })
    }

    /// Takes the body back. Where some of it is gone it is dropped, and there is none to be had. An
    /// exchange that still sends it is told to stop.
    pub(super) fn take_back(&self) -> Option<Upload> {
        let upload = self.upload.take();
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        let (mut upload, given) = (upload?, self.given.take()?);
        upload.put_back(given.pieces);
        Some(upload)
    }

    /// Says that there is an answer, so that the body will not be wanted again.
    pub(super) fn settle(&self) {
        self.given.take();
    }

    /// Remembers a piece that is given away.
    fn give(&self, frame: &Frame<Bytes>) {
        let mut given = self.given.borrow_mut();
        let (Some(kept), Some(piece)) = (given.as_mut(), frame.data_ref()) else {
            *given = None;
            return;
        };
        kept.bytes += piece.len().max(PIECE_BYTES_MIN);
        if kept.bytes <= KEPT_BYTES_MAX {
            kept.pieces.push_back(piece.clone());
        } else {
            *given = None;
        }
    }
}

/// The borrower's end of a loan.
pub(super) struct LentUpload(pub(super) Rc<Loan>);

impl Body for LentUpload {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let loan = &*self.0;
        let mut upload = loan.upload.borrow_mut();
        let Some(upload) = upload.as_mut() else {
            // This is what the peer is told as well.
            let cancelled = h2::Error::from(Reason::CANCEL);
            return Poll::Ready(Some(Err(cancelled.into())));
        };
        let polled = Pin::new(upload).poll_frame(context);
        match &polled {
            Poll::Pending => loan.waiting.set(Some(context.waker().clone())),
            Poll::Ready(Some(Ok(frame))) => loan.give(frame),
            Poll::Ready(Some(Err(_))) => loan.settle(),
            Poll::Ready(None) => {}
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let upload = self.0.upload.borrow();
        upload.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let upload = self.0.upload.borrow();
        upload.as_ref().map_or_else(SizeHint::new, Body::size_hint)
    }
}
