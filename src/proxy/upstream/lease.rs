//! What an exchange has of a connection: all of it, or a share.

use std::rc::Rc;

use http::{Request, Response};
use tokio::task::spawn_local;

use crate::proxy::error::ProxyError;
use crate::proxy::turn;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::answer::AnswerBody;
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::http1::{Next, Upgrade};
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
        mut request: Box<Request<Upload>>,
        may_repeat: bool,
    ) -> Result<Response<AnswerBody>, Failed> {
        let answered = match &mut self.held {
            Held::Whole(connection) => {
                let departures = self.pool.departures();
                connection.send(request, may_repeat, departures).await
            }
            // On the heap, so that the other kind does not carry its weight.
            Held::Share(share) => {
                turn::wait_for_others().await;
                Upload::put_postscript(&mut request);
                request.body_mut().hurry();
                let answered = Box::pin(share.send(request, may_repeat)).await;
                answered.map(|response| response.map(AnswerBody::Hyper))
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
        match connection.next() {
            Next::Now => pool.keep(connection),
            // It has a last word to say; it is kept once it has said it.
            Next::Later => {
                spawn_local(async move {
                    if connection.is_ready_within(pool.timeouts().idle).await {
                        pool.keep(connection);
                    }
                });
            }
            Next::Never => {}
        }
    }

    /// Goes on as a tunnel after an answer of 101.
    pub(crate) fn upgrade(&self, response: &mut Response<AnswerBody>) -> Upgrade {
        match &self.held {
            Held::Whole(connection) => connection.upgrade(response),
            // A stream is none, and nobody asks for one.
            Held::Share(_) => Upgrade::Own(Err(BrokenError::Closed)),
        }
    }
}
