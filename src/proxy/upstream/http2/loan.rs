//! A request's body, lent to a shared connection.
//!
//! hyper keeps the body of a request until it is sent, which may be long after anybody wants it,
//! and gives none back that was refused. A loan can be taken back at any time.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::Reason;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::upload::Upload;

/// A body that is lent.
pub(super) struct Loan {
    /// None once it was taken back.
    upload: RefCell<Option<Upload>>,
    /// Whether some of it is gone for good.
    is_begun: Cell<bool>,
    /// Who waits for more of it.
    waiting: Cell<Option<Waker>>,
}

impl Loan {
    pub(super) fn new(upload: Upload) -> Rc<Self> {
        Rc::new(Self {
            upload: RefCell::new(Some(upload)),
            is_begun: Cell::new(false),
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
        upload.filter(|_| !self.is_begun.get())
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
            Poll::Ready(Some(_)) => loan.is_begun.set(true),
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
