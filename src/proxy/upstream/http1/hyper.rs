//! HTTP/1.1 spoken by hyper, whose client has a task for each connection.

use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, spawn_local};

use crate::proxy::error::ProxyError;
use crate::proxy::upload::Upload;
use crate::proxy::upstream::answer::AnswerBody;
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::codec::BUFFER_BYTES_MAX;
use crate::proxy::upstream::establish::OpenConnection;
use crate::proxy::upstream::hearing::{Ear, Hearing};
use crate::proxy::upstream::lease::{Failed, Left};

/// A connection that nobody else uses; closed when dropped, whatever is under way on it.
pub(in crate::proxy::upstream) struct Connection {
    pub(super) sender: SendRequest<Upload>,
    driver: AbortHandle,
    /// Who hears what comes before the answer.
    ear: Arc<Ear>,
    /// Counts on where the connection goes on as a tunnel, which nobody drives.
    _open: Rc<OpenConnection>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Begins to speak HTTP/1.1 on a stream.
    pub(in crate::proxy::upstream) async fn open<S>(
        stream: S,
        open: OpenConnection,
    ) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let ear = Arc::default();
        let stream = Hearing::new(stream, Arc::clone(&ear));
        // hyper takes at most 100 fields in a head unless told otherwise, and being told the same
        // makes it keep them on the heap.
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        let open = Rc::new(open);
        let known = Rc::clone(&open);
        let driver = spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a backend ended");
            }
            drop(known);
        });
        let driver = driver.abort_handle();
        Ok(Self {
            sender,
            driver,
            ear,
            _open: open,
        })
    }

    /// Sends a request, and waits for the head of its answer. One without a body is kept to be
    /// sent again if it `may_repeat`.
    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
        may_repeat: bool,
    ) -> Result<Response<AnswerBody>, Failed> {
        let ear = &self.ear;
        ear.begin(request.body().interim());
        if may_repeat {
            ear.said.begin();
        }
        let answered = self.sender.try_send_request(request).await;
        let interim = ear.end();
        let answered = answered.map_err(|mut failed| Failed {
            left: match (failed.take_message(), ear.said.take()) {
                (Some(request), _) => Left::Unsent(Box::new(request)),
                (None, Some(head)) => {
                    let again = head.map(|()| Upload::none(interim));
                    Left::Unheard(Box::new(again))
                }
                (None, None) => Left::Nothing,
            },
            error: broken(failed.into_error(), ear),
        });
        answered.map(|response| response.map(AnswerBody::Hyper))
    }
}

/// Why an exchange has failed on a connection that is listened to.
pub(in crate::proxy::upstream) fn broken(error: hyper::Error, ear: &Ear) -> ProxyError {
    let error = BrokenError::Hyper(error);
    if ear.has_heard_frame() {
        ProxyError::SpeaksHttp2(error)
    } else {
        ProxyError::Broken(error)
    }
}
