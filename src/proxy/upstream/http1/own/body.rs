//! The body of an answer that is read from its connection as it is asked for.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::http1::own::line::Line;

/// A body that is not there as a whole, or was not when its head came.
pub(crate) struct OwnBody {
    line: Rc<Line>,
    /// How many bytes are to come, if that is known.
    left: Option<u64>,
    has_ended: bool,
}

impl OwnBody {
    /// The body that a connection's answer goes on with.
    pub(super) const fn new(line: Rc<Line>, left: Option<u64>) -> Self {
        Self {
            line,
            left,
            has_ended: false,
        }
    }

    pub(in crate::proxy::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let mut exchange = self.line.exchange();
        let polled = exchange.poll_body(cx);
        self.has_ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => exchange.is_read(),
            // One that breaks off must never look as if it were whole.
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(left) = &mut self.left
        {
            *left -= frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        polled
    }

    pub(in crate::proxy::upstream) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(in crate::proxy::upstream) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
