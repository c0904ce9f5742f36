//! An HTTP/1.1 connection, lent to one exchange at a time: spoken by hyper, or by our own codec.

pub(in crate::proxy::upstream) mod hyper;
pub(in crate::proxy) mod own;

use std::time::Duration;

use ::hyper::upgrade::OnUpgrade;
use http::{Request, Response};
use tokio::time::timeout;

use crate::proxy::turn::{self, Departures};
use crate::proxy::upload::Upload;
use crate::proxy::upstream::answer::AnswerBody;
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::lease::Failed;

use self::own::tunnel::OwnTunnel;

/// A connection that nobody else uses; closed when dropped, whatever is under way on it.
pub(super) enum Connection {
    Hyper(hyper::Connection),
    Own(own::Connection),
}

impl Connection {
    /// Whether another exchange may begin; one that the endpoint has closed meanwhile is not ready.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Hyper(connection) => connection.sender.is_ready(),
            Self::Own(connection) => connection.is_ready(),
        }
    }

    /// Sends a request, and waits for the head of its answer. One without a body is kept to be
    /// sent again if it `may_repeat`.
    pub(super) async fn send(
        &mut self,
        mut request: Box<Request<Upload>>,
        may_repeat: bool,
        departures: &Departures,
    ) -> Result<Response<AnswerBody>, Failed> {
        match self {
            // On the heap, so that the other kind does not carry its weight.
            Self::Hyper(connection) => {
                turn::wait_for_others().await;
                Upload::put_postscript(&mut request);
                Box::pin(connection.send(*request, may_repeat)).await
            }
            Self::Own(connection) => connection.send(request, may_repeat, departures).await,
        }
    }

    /// What is to be done before another exchange may follow, whose answer has been read.
    pub(super) fn next(&self) -> Next {
        let (may_go_on, is_ready) = match self {
            Self::Hyper(connection) => (true, connection.sender.is_ready()),
            Self::Own(connection) => (connection.may_go_on(), connection.is_sent()),
        };
        match (may_go_on, is_ready) {
            (false, _) => Next::Never,
            (true, false) => Next::Later,
            (true, true) => {
                if let Self::Own(connection) = self {
                    connection.rest();
                }
                Next::Now
            }
        }
    }

    /// Waits until the last word of an exchange is said; tells whether another may follow.
    pub(super) async fn is_ready_within(&mut self, limit: Duration) -> bool {
        match self {
            Self::Hyper(connection) => {
                let ready = timeout(limit, connection.sender.ready()).await;
                ready.is_ok_and(|ready| ready.is_ok())
            }
            Self::Own(connection) => {
                let has_sent = timeout(limit, connection.has_sent()).await == Ok(true);
                connection.rest();
                has_sent
            }
        }
    }

    /// Goes on as a tunnel after an answer of 101.
    pub(super) fn upgrade(&self, response: &mut Response<AnswerBody>) -> Upgrade {
        match self {
            Self::Hyper(_) => Upgrade::Hyper(::hyper::upgrade::on(response)),
            Self::Own(connection) => Upgrade::Own(connection.tunnel()),
        }
    }
}

/// When another exchange may follow on a connection.
pub(super) enum Next {
    Now,
    /// After the last word of this one, if at all.
    Later,
    Never,
}

/// A connection that goes on as a tunnel.
pub(crate) enum Upgrade {
    Hyper(OnUpgrade),
    Own(Result<OwnTunnel, BrokenError>),
}
