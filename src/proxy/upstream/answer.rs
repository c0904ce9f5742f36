//! The body of a backend's answer, however it is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::http1::own::body::OwnBody;

/// A body of an answer.
pub(crate) enum AnswerBody {
    /// There is none.
    Empty,
    /// Read by hyper.
    Hyper(Incoming),
    /// Read by our own codec.
    Own(OwnBody),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Hyper(body) => {
                let polled = Pin::new(body).poll_frame(cx);
                polled.map_err(BrokenError::Hyper)
            }
            Self::Own(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Hyper(body) => body.is_end_stream(),
            Self::Own(body) => body.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Hyper(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
