//! HTTP/1.1 spoken by our own codec: no task and no channel for each connection.
//!
//! The task that has a request to send writes it and reads the answer. That spares a proxied request two
//! wake-ups, and what hyper does to hand a request and an answer over from one task to another.

pub(in crate::proxy::upstream) mod body;
mod exchange;
mod line;
mod sending;
mod spare;
pub(in crate::proxy) mod tunnel;
pub(in crate::proxy::upstream) mod wire;

use std::future::poll_fn;
use std::rc::Rc;

use http::{HeaderMap, Request, Response};
use http_body::Body;
use hyper::ext::ReasonPhrase;

use crate::proxy::error::ProxyError;
use crate::proxy::turn::Departures;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::answer::AnswerBody;
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::codec::head::Head;
use crate::proxy::upstream::establish::OpenConnection;
use crate::proxy::upstream::lease::{Failed, Left};

use self::body::OwnBody;
use self::exchange::Listener;
use self::line::Line;
use self::tunnel::OwnTunnel;
use self::wire::Wire;

/// A connection that nobody else uses; closed when dropped, whatever is under way on it.
pub(in crate::proxy::upstream) struct Connection(Rc<Line>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.exchange().close();
    }
}

impl Connection {
    /// Begins to speak HTTP/1.1 on a stream.
    pub(in crate::proxy::upstream) fn open(wire: Wire, open: OpenConnection) -> Self {
        Self(Line::new(wire, open))
    }

    /// Whether another exchange may begin.
    pub(in crate::proxy::upstream) fn is_ready(&self) -> bool {
        self.0.exchange().is_quiet()
    }

    /// Sends a request, and waits for the head of its answer. It comes back where nothing of it was written; and one
    /// without a body, if it `may_repeat`, where nothing was heard.
    pub(in crate::proxy::upstream) async fn send(
        &self,
        mut request: Box<Request<Upload>>,
        may_repeat: bool,
        departures: &Departures,
    ) -> Result<Response<AnswerBody>, Failed> {
        let has_body = !request.body().is_end_stream();
        self.0.exchange().begin(&mut request);
        let interim = request.body().interim().cloned();
        let mut listener = Listener {
            method: request.method(),
            interim: interim.as_deref(),
        };
        let answered = match self.0.depart(departures).await {
            Ok(()) => poll_fn(|cx| self.0.exchange().poll_head(cx, &mut listener)).await,
            Err(error) => Err(error),
        };
        let error = match answered {
            Ok(head) => {
                let fields = std::mem::take(request.headers_mut());
                return Ok(self.answer(head, fields));
            }
            Err(error) => error,
        };
        let mut exchange = self.0.exchange();
        if let Some(body) = exchange.take_unsent() {
            *request.body_mut() = body;
        }
        // A body of which nothing was to come was left where it is.
        let is_here = request.body().is_end_stream() != has_body;
        let left = if is_here && exchange.is_untouched() && exchange.is_unheard() {
            Left::Unsent(request)
        } else if has_body || !exchange.is_unheard() {
            Left::Nothing
        } else if may_repeat {
            Left::Unheard(request)
        } else {
            Left::Nothing
        };
        let error = if exchange.speaks_http2() {
            ProxyError::SpeaksHttp2(error)
        } else {
            ProxyError::Broken(error)
        };
        Err(Failed { error, left })
    }

    /// The answer to a request, which had these fields.
    fn answer(&self, head: Head, fields: HeaderMap) -> Response<AnswerBody> {
        let mut exchange = self.0.exchange();
        exchange.keep_spare(fields);
        let body = if exchange.is_read() {
            AnswerBody::Empty
        } else {
            AnswerBody::Own(OwnBody::new(Rc::clone(&self.0), exchange.left()))
        };
        let has_more_to_send = !exchange.is_sent();
        drop(exchange);
        if has_more_to_send {
            self.0.send_on();
        }
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.fields;
        if let Some(reason) = head.reason.and_then(|it| ReasonPhrase::try_from(it).ok()) {
            response.extensions_mut().insert(reason);
        }
        response
    }

    /// Whether the answer has been read and another request may follow, at once or after the last word of this one.
    pub(in crate::proxy::upstream) fn may_go_on(&self) -> bool {
        self.0.exchange().may_go_on()
    }

    /// Whether all of the request has been sent.
    pub(in crate::proxy::upstream) fn is_sent(&self) -> bool {
        self.0.exchange().is_sent()
    }

    /// Sends the last words of a request; tells whether another may follow.
    pub(in crate::proxy::upstream) async fn has_sent(&self) -> bool {
        self.0.exchange().stop_sender();
        poll_fn(|cx| self.0.exchange().poll_sent(cx)).await
    }

    /// Releases what an exchange needed, before the next.
    pub(in crate::proxy::upstream) fn rest(&self) {
        self.0.exchange().rest();
    }

    /// Goes on as a tunnel, for which the endpoint has said 101.
    pub(in crate::proxy::upstream) fn tunnel(&self) -> Result<OwnTunnel, BrokenError> {
        let taken = self.0.exchange().take_wire();
        let (wire, read) = taken.ok_or(BrokenError::Closed)?;
        Ok(OwnTunnel::new(wire, read))
    }
}
