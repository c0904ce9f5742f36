//! One exchange after the other on a stream: what is written and read of each.
//!
//! Whoever waits for the answer's head drives both directions. Once it is there the body is read by whoever wants it,
//! and what is left of the request is sent by a task of its own, which hardly any needs.

use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Request};
use http_body::Frame;
use tokio::io::AsyncReadExt;
use tokio::task::AbortHandle;

use crate::proxy::interim::Interim;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::codec::chunked::Piece;
use crate::proxy::upstream::codec::content::Content;
use crate::proxy::upstream::codec::head::{Head, HeadReader, Read};
use crate::proxy::upstream::codec::{BUFFER_BYTES_MAX, CodecError};
use crate::proxy::upstream::establish::OpenConnection;
use crate::proxy::upstream::hearing::{BEFORE_BYTES_MAX, is_frame, is_heard};
use crate::proxy::upstream::http1::own::sending::{SendError, Sending};
use crate::proxy::upstream::http1::own::spare;
use crate::proxy::upstream::http1::own::wire::Wire;

/// How much is read at once of what may be small.
const READ_BYTES_MIN: usize = 8 * 1024;

/// The largest map of fields that stays with a connection.
const SPARE_FIELDS_MAX: usize = 48;

/// The exchange that is under way, or the last one.
pub(super) struct Exchange {
    /// None once it is closed, or a tunnel.
    wire: Option<Wire>,
    /// Counts the connection for as long as it is open.
    open: Option<OpenConnection>,
    /// Whether anything was ever read.
    has_begun: bool,
    /// Whether what was read first is a frame of HTTP/2.
    speaks_http2: bool,
    /// What was read and not yet taken.
    incoming: BytesMut,
    /// How much is read at once.
    read_bytes: usize,
    head: HeadReader,
    /// How many bytes may still come before the answer's head has.
    before_left: usize,
    /// An empty map, for the fields of the next answer.
    spare: HeaderMap,
    /// The answer's body.
    content: Content,
    /// Whether another exchange may follow.
    keeps_alive: bool,
    sending: Sending,
    /// Whether the request leaves at the end of the turn.
    is_departing: bool,
    /// Why it did not.
    stayed: Option<BrokenError>,
    /// The body of a request of which nothing was sent, since the endpoint had hung up.
    unsent: Option<Upload>,
    /// Why nothing more of the request can be sent, until the reader has been told.
    failed: Option<BrokenError>,
    /// Who waits for the answer, or more of it, while somebody else sends.
    reader: Option<Waker>,
    /// The task that sends what is left of the request.
    sender: Option<AbortHandle>,
}

/// Where a head is to be heard that comes before the answer.
pub(super) struct Listener<'a> {
    pub(super) method: &'a Method,
    pub(super) interim: Option<&'a Interim>,
}

impl Exchange {
    /// Before the first one on a stream.
    pub(super) fn new(wire: Wire, open: OpenConnection) -> Self {
        Self {
            wire: Some(wire),
            open: Some(open),
            has_begun: false,
            speaks_http2: false,
            incoming: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            head: HeadReader::default(),
            before_left: 0,
            spare: HeaderMap::new(),
            content: Content::NONE,
            keeps_alive: true,
            sending: Sending::new(),
            is_departing: false,
            stayed: None,
            unsent: None,
            failed: None,
            reader: None,
            sender: None,
        }
    }

    /// Begins with a request, which has no body any more afterwards.
    pub(super) fn begin(&mut self, request: &mut Request<Upload>) {
        self.head.begin();
        self.before_left = BEFORE_BYTES_MAX;
        self.content = Content::NONE;
        self.unsent = None;
        self.stayed = None;
        self.sending.begin(request);
    }

    /// Waits for what comes with the request's head, before all that is there leaves at the end of the turn.
    pub(super) fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BrokenError>> {
        let wire = self.wire.as_mut().ok_or(BrokenError::Closed)?;
        if self.sending.is_stale(wire) {
            return Poll::Ready(Err(self.takes_back()));
        }
        let gathered = self.sending.poll_gather(cx);
        self.is_departing = matches!(gathered, Poll::Ready(Ok(())));
        gathered
    }

    /// Whether nothing came of an exchange but the request's head, of which this tells whether any was written.
    pub(super) fn is_untouched(&self) -> bool {
        self.sending.is_untouched()
    }

    /// Takes back the body of a request for which the connection was closed too soon.
    pub(super) const fn take_unsent(&mut self) -> Option<Upload> {
        self.unsent.take()
    }

    /// Whether nothing has come since the request was begun.
    pub(super) const fn is_unheard(&self) -> bool {
        self.before_left == BEFORE_BYTES_MAX
    }

    /// Whether it is HTTP/2 that the endpoint speaks.
    pub(super) const fn speaks_http2(&self) -> bool {
        self.speaks_http2
    }

    /// Sends, and waits for the answer's head.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        listener: &mut Listener<'_>,
    ) -> Poll<Result<Head, BrokenError>> {
        if self.is_departing {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(error) = self.stayed.take() {
            return Poll::Ready(Err(error));
        }
        loop {
            self.poll_send(cx)?;
            if self.sending.is_untouched() && !self.sending.is_done() {
                // What came now would be no answer to it. What has not been written yet soon will be, or cannot be.
                return Poll::Pending;
            }
            match self
                .head
                .read(&mut self.incoming, listener.method, &mut self.spare)?
            {
                Read::Head(mut head) => {
                    self.keeps_alive &= head.keeps_alive;
                    self.content = std::mem::replace(&mut head.content, Content::NONE);
                    return Poll::Ready(Ok(head));
                }
                Read::Interim(text) => {
                    let heard = listener
                        .interim
                        .filter(|it| is_heard(&text) && it.hear(&text));
                    listener.interim = heard;
                    continue;
                }
                Read::NotYet => {}
            }
            let read = match self.poll_read(cx) {
                Poll::Pending => match self.failed.take() {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => return Poll::Pending,
                },
                Poll::Ready(read) => read?,
            };
            if read == 0 {
                let error = self.failed.take();
                let error = error.unwrap_or_else(|| CodecError::NoAnswer.into());
                return Poll::Ready(Err(error));
            }
            let left = self.before_left.checked_sub(read);
            self.before_left = left.ok_or(BrokenError::Excess)?;
        }
    }

    /// Sends what leaves at the end of the turn, for whoever waits for the answer: who is woken by what comes of it.
    pub(super) fn leave(&mut self) {
        self.is_departing = false;
        let Some(reader) = self.reader.take() else {
            return;
        };
        let mut cx = Context::from_waker(&reader);
        self.stayed = self.poll_send(&mut cx).err();
        let must_look = self.stayed.is_some() || self.failed.is_some();
        let wire = self.wire.as_ref().filter(|_| !must_look);
        if !wire.is_some_and(|wire| wire.waits(&mut cx)) {
            reader.wake();
        }
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenError>>> {
        let polled = self.poll_piece(cx);
        if !self.sending.is_done() {
            self.reader = polled.is_pending().then(|| cx.waker().clone());
        }
        polled
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenError>>> {
        loop {
            if let Some(error) = self
                .failed
                .take_if(|error| !matches!(error, BrokenError::Stream(_)))
            {
                return Poll::Ready(Some(Err(error)));
            }
            match self.content.take(&mut self.incoming)? {
                Piece::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Piece::Trailers(fields) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                Piece::End => return Poll::Ready(None),
                Piece::NotYet => {}
            }
            if ready!(self.poll_read(cx))? == 0 {
                self.keeps_alive = false;
                self.content.end()?;
            }
        }
    }

    /// Whether all of the answer has been read.
    pub(super) const fn is_read(&self) -> bool {
        self.content.has_ended()
    }

    /// How much of the answer's body is to come, if that is known.
    pub(super) const fn left(&self) -> Option<u64> {
        self.content.left()
    }

    /// Takes back memory that was used for fields.
    pub(super) fn keep_spare(&mut self, mut fields: HeaderMap) {
        if fields.capacity() <= SPARE_FIELDS_MAX {
            fields.clear();
            self.spare = fields;
        }
    }

    /// Reads what has come; 0 at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BrokenError>> {
        let Some(wire) = &mut self.wire else {
            return Poll::Ready(Err(BrokenError::Closed));
        };
        // A head has its bound; of a body nothing is left when more is read.
        let room = BUFFER_BYTES_MAX.saturating_sub(self.incoming.len());
        let most = self.read_bytes.min(room).max(1);
        if self.incoming.capacity() == 0 {
            self.incoming = spare::take(most);
        } else {
            self.incoming.reserve(most);
        }
        let mut into = (&mut self.incoming).limit(most);
        let read = ready!(pin!(wire.read_buf(&mut into)).poll(cx))?;
        if !self.has_begun {
            self.has_begun = true;
            self.speaks_http2 = is_frame(&self.incoming);
        }
        if read == most {
            self.read_bytes = (most * 2).min(BUFFER_BYTES_MAX);
        }
        Poll::Ready(Ok(read))
    }

    /// Sends as much as may be.
    ///
    /// # Errors
    /// Where there is no more of the request. An endpoint that takes no more of it may have answered all the
    /// same.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), BrokenError> {
        let wire = self.wire.as_mut().ok_or(BrokenError::Closed)?;
        if self.sending.is_done() {
            return Ok(());
        }
        match self.sending.poll(cx, wire) {
            Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(SendError::Upload(error))) => Err(error),
            Poll::Ready(Err(SendError::Stale)) => Err(self.takes_back()),
            Poll::Ready(Err(SendError::Refused(error))) => {
                self.keeps_alive = false;
                self.sending.give_up();
                self.failed = Some(error.into());
                Ok(())
            }
        }
    }

    /// Takes back a body, since the connection was closed too soon.
    fn takes_back(&mut self) -> BrokenError {
        self.keeps_alive = false;
        self.unsent = self.sending.take_back();
        CodecError::NoAnswer.into()
    }

    /// Sends what is left of the request while somebody else reads.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = self.poll_send(cx) {
            self.sending.give_up();
            self.keeps_alive = false;
            self.failed = Some(error);
        } else if !self.sending.is_done() {
            return Poll::Pending;
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(())
    }

    /// Whether all of the request has been written.
    pub(super) fn is_sent(&self) -> bool {
        self.sending.is_done()
    }

    /// Whether another exchange may follow once this one is sent.
    pub(super) fn may_go_on(&self) -> bool {
        self.wire.is_some() && self.keeps_alive && self.is_read() && self.incoming.is_empty()
    }

    /// Waits until all of the request is written; tells whether another may follow.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.poll_send(cx).is_err() {
            return Poll::Ready(false);
        }
        if self.sending.is_done() {
            return Poll::Ready(self.may_go_on());
        }
        Poll::Pending
    }

    /// Takes note of the task that sends what is left.
    pub(super) fn is_sent_by(&mut self, sender: AbortHandle) {
        self.sender = Some(sender);
    }

    /// Ends what others do here.
    pub(super) fn stop_sender(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.abort();
        }
    }

    /// Whether the next exchange may begin: nothing has come that nobody has asked for, and the endpoint has not
    /// hung up.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.may_go_on() && self.wire.as_mut().is_some_and(Wire::is_quiet)
    }

    /// Releases what an exchange needed, its buffers included.
    pub(super) fn rest(&mut self) {
        self.sending.rest();
        self.reader = None;
        self.sender = None;
        self.failed = None;
        spare::give_back(std::mem::take(&mut self.incoming));
        self.read_bytes = READ_BYTES_MIN;
    }

    /// Takes the stream, with what was read of it, for another protocol.
    pub(super) fn take_wire(&mut self) -> Option<(Wire, Bytes)> {
        let wire = self.wire.take()?;
        Some((wire, std::mem::take(&mut self.incoming).freeze()))
    }

    /// Closes the stream, whatever is under way on it.
    pub(super) fn close(&mut self) {
        self.stop_sender();
        self.sending.give_up();
        self.reader = None;
        self.wire = None;
        self.open = None;
    }
}
