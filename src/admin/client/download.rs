//! Reads an answer of any length, part by part.

use std::error::Error;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{AdminClient, ClientError, Condition};

/// The longest refusal that is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 1024 * 1024;

/// How long a part of the answer may take: it is made as it is read.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer of which the body is still to be read.
pub(super) struct Opened {
    pub(super) body: Incoming,
    /// Moves its bytes, until it is dropped.
    _driver: JoinSet<hyper::Result<()>>,
}

impl AdminClient {
    /// Asks, and hands the answer over as it comes, until `take` wants no more.
    ///
    /// # Errors
    /// See [`ClientError`]; what was handed over is incomplete then.
    pub async fn download(
        &self,
        (method, path): (Method, &str),
        said: Option<&Value>,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), ClientError> {
        let said = said.map(|said| (said, Condition::None));
        let mut answer = self.open(self.request(method, path, said)?).await?;
        loop {
            let frame = timeout(PART_TIMEOUT, answer.body.frame()).await;
            let Some(frame) = frame.map_err(|_| self.too_late())? else {
                break;
            };
            let frame = frame.map_err(|source| self.broken(source))?;
            if frame.data_ref().is_some_and(|bytes| !take(bytes)) {
                break;
            }
        }
        Ok(())
    }

    /// Sends a request, and waits for the head of an answer that is no refusal.
    pub(super) async fn open<B>(&self, request: Request<B>) -> Result<Opened, ClientError>
    where
        B: Body<Data: Send, Error: Error + Send + Sync> + Send + 'static,
    {
        let broken = |source| self.broken(source);
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answered = timeout(self.limit, sender.send_request(request)).await;
        let answer = answered.map_err(|_| self.too_late())?.map_err(broken)?;
        let status = answer.status();
        let body = answer.into_body();
        if !status.is_success() {
            let body = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(self.refusal(status, &body));
        }
        Ok(Opened {
            body,
            _driver: driver,
        })
    }

    pub(super) fn broken(&self, source: hyper::Error) -> ClientError {
        let url = self.url();
        ClientError::Broken { url, source }
    }
}
