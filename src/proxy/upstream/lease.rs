//! What an exchange has of a connection: all of it, or a share.

use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::proxy::error::ProxyError;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::pool::Pool;
use crate::proxy::upstream::{http1, http2};

/// A connection lent to one exchange.
///
/// One of HTTP/1.1 is the exchange's own. Dropped before it is given back, it is closed: what was
/// left half said on it must not be read as part of the next exchange. One of HTTP/2 is shared, and
/// what is dropped is this exchange.
pub(crate) struct Lease {
    pool: Rc<Pool>,
    held: Held,
}

enum Held {
    /// On the heap, once for the connection: a lease is passed from hand to hand.
    Whole(Box<http1::Connection>),
    Share(http2::Share),
}

/// A request that has got no answer.
pub(crate) struct Failed {
    pub(crate) error: ProxyError,
    pub(crate) left: Left,
}

/// What is left of such a request. On the heap, so that those that are answered do not make room for it.
pub(crate) enum Left {
    /// It comes back: the endpoint has certainly done nothing.
    Unsent(Box<Request<Upload>>),
    /// The connection ended without a word, which may have been on its way before the request was. The
    /// request as it was sent.
    Unheard(Box<Request<Upload>>),
    /// It is gone.
    Nothing,
}

impl Left {
    /// The request, if the endpoint has certainly done nothing.
    pub(crate) fn unsent(self) -> Option<Box<Request<Upload>>> {
        match self {
            Self::Unsent(request) => Some(request),
            Self::Unheard(_) | Self::Nothing => None,
        }
    }
}

impl Lease {
    pub(super) const fn whole(pool: Rc<Pool>, connection: Box<http1::Connection>) -> Self {
        let held = Held::Whole(connection);
        Self { pool, held }
    }

    pub(super) fn share(pool: Rc<Pool>, connection: &Rc<http2::Connection>) -> Self {
        let held = Held::Share(http2::Share::of(connection));
        Self { pool, held }
    }

    /// Where the connection comes from.
    pub(crate) const fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// Whether others may be using the connection.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self.held, Held::Share(_))
    }

    /// Sends a request, and waits for the head of its answer. One without a body is kept to be
    /// sent again if it `may_repeat`.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<Upload>,
        may_repeat: bool,
    ) -> Result<Response<Incoming>, Failed> {
        let answered = match &mut self.held {
            Held::Whole(connection) => {
                let ear = &connection.ear;
                ear.begin(request.body().interim());
                if may_repeat {
                    ear.said.begin();
                }
                let answered = connection.sender.try_send_request(request).await;
                let interim = ear.end();
                answered.map_err(|mut failed| Failed {
                    left: match (failed.take_message(), ear.said.take()) {
                        (Some(request), _) => Left::Unsent(Box::new(request)),
                        (None, Some(head)) => {
                            let again = head.map(|()| Upload::none(interim));
                            Left::Unheard(Box::new(again))
                        }
                        (None, None) => Left::Nothing,
                    },
                    error: connection.error(failed.into_error()),
                })
            }
            // On the heap, so that the other kind does not carry its weight.
            Held::Share(share) => {
                request.body_mut().hurry();
                Box::pin(share.send(request, may_repeat)).await
            }
        };
        let counters = self.pool.counters();
        counters.requests.add(u64::from(answered.is_ok()));
        answered
    }

    /// Says that an answer is overdue: whatever the reason, the next exchange gets another
    /// connection.
    pub(crate) fn distrust(&self) {
        if let Held::Share(share) = &self.held {
            share.connection().leave();
        }
    }

    /// Returns the connection after the request has been sent and the answer read, both to their
    /// ends.
    pub(crate) fn give_back(self) {
        let Self { pool, held } = self;
        let Held::Whole(mut connection) = held else {
            return;
        };
        if connection.sender.is_ready() {
            pool.keep(connection);
        } else {
            // It has a last word to say; it is kept once it has said it.
            spawn_local(async move {
                let ready = timeout(pool.timeouts().idle, connection.sender.ready()).await;
                if ready.is_ok_and(|ready| ready.is_ok()) {
                    pool.keep(connection);
                }
            });
        }
    }
}
