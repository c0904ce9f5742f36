//! One exchange's share of a connection.

use std::error::Error;
use std::rc::Rc;

use h2::Reason;
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderMap, Request, Response, Uri, Version, header, request};
use hyper::body::Incoming;

use crate::proxy::error::ProxyError;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::http2::Connection;
use crate::proxy::upstream::http2::loan::{LentUpload, Loan};
use crate::proxy::upstream::lease::{Failed, Left};
use crate::runtime::clock;

/// A share of a connection. Dropped, it ends its own exchange and no other.
pub(in crate::proxy::upstream) struct Share {
    connection: Rc<Connection>,
    loan: Option<Rc<Loan>>,
    /// Whether nobody else had one when it was taken.
    was_idle: bool,
}

impl Share {
    pub(in crate::proxy::upstream) fn of(connection: &Rc<Connection>) -> Self {
        let streams = connection.streams.get();
        connection.streams.set(streams + 1);
        Self {
            connection: Rc::clone(connection),
            loan: None,
            was_idle: streams == 0,
        }
    }

    /// The connection that this is a share of.
    pub(in crate::proxy::upstream) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends a request, and waits for the head of its answer. The request comes back if the peer
    /// has certainly done nothing with it, or it `may_repeat` and the peer has closed an idle connection,
    /// and all of its body is still here.
    pub(in crate::proxy::upstream) async fn send(
        &mut self,
        request: Box<Request<Upload>>,
        may_repeat: bool,
    ) -> Result<Response<Incoming>, Failed> {
        let (head, upload) = request.into_parts();
        let Some(mut sent) = http2_head(&head, &self.connection.scheme) else {
            return Err(Failed {
                error: ProxyError::BadHost,
                left: Left::Nothing,
            });
        };
        sent.headers.remove(header::HOST);
        let loan = self.loan.insert(Loan::new(upload));
        let sent = Request::from_parts(sent, LentUpload(Rc::clone(loan)));
        let mut sender = self.connection.sender.clone();
        let mut failed = match sender.try_send_request(sent).await {
            Ok(response) => {
                loan.settle();
                return Ok(response);
            }
            Err(failed) => failed,
        };
        let was_sent = failed.take_message().is_none();
        let error = failed.into_error();
        let is_untouched = !was_sent || is_refusal(&error);
        let is_unheard = may_repeat && self.was_idle && is_closing(&error);
        let upload = if is_untouched || is_unheard {
            loan.take_back()
        } else {
            None
        };
        let request = upload.map(|upload| Box::new(Request::from_parts(head, upload)));
        Err(Failed {
            error: ProxyError::Broken(error.into()),
            left: match request {
                Some(request) if is_untouched => Left::Unsent(request),
                Some(request) => Left::Unheard(request),
                None => Left::Nothing,
            },
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(loan) = &self.loan {
            drop(loan.take_back());
        }
        let connection = &self.connection;
        connection.streams.set(connection.streams.get() - 1);
        connection.used.set(clock::monotonic());
        connection.link.open.has_room();
    }
}

/// A copy of a request's head as HTTP/2 has it: the host is part of the target (RFC 9113, section
/// 8.3.1). `None` where the host cannot be one.
fn http2_head(head: &request::Parts, scheme: &Scheme) -> Option<request::Parts> {
    let host = head.headers.get(header::HOST)?;
    let mut target = Parts::default();
    target.scheme = Some(scheme.clone());
    target.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    target.path_and_query = head.uri.path_and_query().cloned();
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(target).ok()?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = HeaderMap::clone(&head.headers);
    Some(request.into_parts().0)
}

/// Whether it was the connection that ended, and not one of its streams.
fn is_closing(error: &hyper::Error) -> bool {
    let source = error.source();
    let cause = source.and_then(|source| source.downcast_ref::<h2::Error>());
    cause.is_none_or(h2::Error::is_io)
}

/// Whether the peer says that it has done nothing with a request: the stream was refused, or lies
/// beyond the last that the peer cares for before it goes (RFC 9113, section 8.7).
fn is_refusal(error: &hyper::Error) -> bool {
    let source = error.source();
    let Some(error) = source.and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return false;
    };
    let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (is_refused || error.is_go_away())
}
