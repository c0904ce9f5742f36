//! A request on its way to an endpoint.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Request;
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::proxy::upload::Upload;
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::codec::BUFFER_BYTES_MAX;
use crate::proxy::upstream::codec::request::{Framing, write_head};
use crate::proxy::upstream::http1::own::wire::Wire;

/// The most pieces that wait to be written.
const PIECES_MAX: usize = 16;

/// The most pieces that are written at once: the head, what may wait, and what frames the last of it.
const SLICES_MAX: usize = PIECES_MAX + 4;

/// What is still to be written of a request.
pub(super) struct Sending {
    head: Vec<u8>,
    /// So many bytes of the head have been taken.
    head_taken: usize,
    /// Whether nothing of the request has been taken yet.
    is_untouched: bool,
    /// The body as it is framed.
    pieces: VecDeque<Bytes>,
    framing: Framing,
    /// The rest of the body; none once its end is among the pieces.
    upload: Option<Upload>,
    /// Whether the head waits for what may come with it of the body.
    awaits_body: bool,
    /// Whether what was written may not have left yet.
    is_unflushed: bool,
}

/// Why nothing more can be written.
pub(super) enum SendError {
    /// The endpoint takes no more.
    Refused(io::Error),
    /// There is no more of the body.
    Upload(BrokenError),
    /// The endpoint has hung up, or said something, before anything was written.
    Stale,
}

impl Sending {
    pub(super) const fn new() -> Self {
        Self {
            head: Vec::new(),
            head_taken: 0,
            is_untouched: true,
            pieces: VecDeque::new(),
            framing: Framing::Length(0),
            upload: None,
            awaits_body: false,
            is_unflushed: false,
        }
    }

    /// Takes in the next request, which has no body any more afterwards.
    pub(super) fn begin(&mut self, request: &mut Request<Upload>) {
        let upload = request.body();
        let has_body = !upload.is_end_stream();
        self.head.clear();
        self.head_taken = 0;
        self.is_untouched = true;
        let size = has_body.then(|| upload.size_hint().exact());
        let further = upload.postscript.fields();
        self.framing = write_head(&mut self.head, request, further, size);
        // Nobody waits for the end of a body of which nothing is to come.
        if has_body && self.framing != Framing::Length(0) {
            self.awaits_body = true;
            let interim = request.body().interim().cloned();
            let upload = std::mem::replace(request.body_mut(), Upload::none(interim));
            self.upload = Some(upload);
        }
    }

    /// Whether nothing is left to be written.
    pub(super) fn is_done(&self) -> bool {
        self.upload.is_none() && !self.is_unflushed && !self.has_more()
    }

    /// Waits for what comes with the head of its body.
    pub(super) fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BrokenError>> {
        if std::mem::take(&mut self.awaits_body)
            && self.fill(cx)? == Supply::Waits
            && self.pieces.is_empty()
        {
            // What has come with the head is handed on once it was asked for and the task has been polled again, and
            // leaves with the head then.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the endpoint has hung up, or said something, on a request with a body that can still be taken back.
    pub(super) fn is_stale(&self, wire: &mut Wire) -> bool {
        self.is_whole() && self.upload.is_some() && !wire.is_quiet()
    }

    /// Whether nothing of the body has been taken, nor anything written.
    fn is_whole(&self) -> bool {
        self.is_untouched && self.pieces.is_empty()
    }

    /// Whether nothing has been written yet.
    pub(super) const fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Takes back the body of a request of which nothing has been written, if all of it is still here.
    pub(super) fn take_back(&mut self) -> Option<Upload> {
        let is_whole = self.is_whole();
        self.upload.take_if(|_| is_whole)
    }

    /// Gives up what is left to be written.
    pub(super) fn give_up(&mut self) {
        self.upload = None;
        self.pieces.clear();
        self.head_taken = self.head.len();
        self.is_unflushed = false;
    }

    /// Releases what was needed for the last request.
    pub(super) fn rest(&mut self) {
        self.head = Vec::new();
        self.head_taken = 0;
        self.pieces.shrink_to(0);
    }

    fn has_more(&self) -> bool {
        self.head_taken < self.head.len() || !self.pieces.is_empty()
    }

    /// Writes as much as there is and the endpoint takes; ready when that is all of the request.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
    ) -> Poll<Result<(), SendError>> {
        if self.is_stale(wire) {
            return Poll::Ready(Err(SendError::Stale));
        }
        loop {
            let supply = self.fill(cx).map_err(SendError::Upload)?;
            while self.has_more() {
                let taken = ready!(self.poll_write(cx, wire)).map_err(SendError::Refused)?;
                (self.is_unflushed, self.is_untouched) = (true, false);
                self.advance(taken);
            }
            if self.is_unflushed {
                ready!(Pin::new(&mut *wire).poll_flush(cx)).map_err(SendError::Refused)?;
                self.is_unflushed = false;
            }
            match supply {
                Supply::Whole => return Poll::Ready(Ok(())),
                Supply::Waits => return Poll::Pending,
                Supply::Full => {}
            }
        }
    }

    /// Takes as much of the body as there is and may wait here.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<Supply, BrokenError> {
        while let Some(upload) = &mut self.upload {
            let waiting: usize = self.pieces.iter().map(Bytes::len).sum();
            if self.pieces.len() >= PIECES_MAX || waiting >= BUFFER_BYTES_MAX {
                return Ok(Supply::Full);
            }
            let Poll::Ready(frame) = Pin::new(&mut *upload).poll_frame(cx) else {
                return Ok(Supply::Waits);
            };
            let frame = frame.transpose().map_err(BrokenError::Upload)?;
            let is_last = frame.is_none() || upload.is_end_stream();
            let (data, trailers) = match frame.map(|frame| frame.into_data()) {
                None => (None, None),
                Some(Ok(data)) => (Some(data), None),
                Some(Err(frame)) => (None, frame.into_trailers().ok()),
            };
            if let Some(data) = data.filter(|data| !data.is_empty()) {
                self.pieces.extend(self.framing.frame(data));
            }
            // All that was said to come has; a stream of HTTP/2 may end much later, or never.
            let has_all = self.framing == Framing::Length(0);
            if is_last || has_all || trailers.is_some() {
                let end = self.framing.end(trailers.as_ref());
                let end = end.ok_or(BrokenError::ShortUpload)?;
                self.pieces.extend(Some(end).filter(|end| !end.is_empty()));
                self.upload = None;
            }
        }
        Ok(Supply::Whole)
    }

    fn poll_write(&self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<io::Result<usize>> {
        let wire = Pin::new(wire);
        let head = &self.head[self.head_taken..];
        let written = if self.pieces.is_empty() {
            wire.poll_write(cx, head)
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let pieces = self.pieces.iter().map(|piece| &piece[..]);
            let all = Some(head).filter(|head| !head.is_empty()).into_iter();
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(all.chain(pieces)) {
                *slice = IoSlice::new(part);
                count += 1;
            }
            wire.poll_write_vectored(cx, &slices[..count])
        };
        match ready!(written) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(written),
        }
    }

    fn advance(&mut self, mut taken: usize) {
        let of_head = taken.min(self.head.len() - self.head_taken);
        self.head_taken += of_head;
        taken -= of_head;
        while taken > 0
            && let Some(first) = self.pieces.front_mut()
        {
            let of_first = taken.min(first.len());
            first.advance(of_first);
            taken -= of_first;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

/// Whether there is more of a body to be had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supply {
    /// All of it is here.
    Whole,
    /// More will come.
    Waits,
    /// As much waits to be written as may.
    Full,
}
