//! Reads an answer of any length, part by part.

use std::time::Duration;

use http::Method;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;

use super::{AdminClient, ClientError, Condition};

/// The longest refusal that is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 1024 * 1024;

/// How long a part of the answer may take: it is made as it is read.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

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
        let broken = |source| ClientError::Broken {
            url: self.url(),
            source,
        };
        let stream = self.connect().await?;
        let said = said.map(|said| (said, Condition::None));
        let request = self.request(method, path, said)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let driver = tokio::spawn(connection);
        let answered = timeout(self.limit, sender.send_request(request)).await;
        let answer = answered.map_err(|_| self.too_late())?.map_err(broken)?;
        let status = answer.status();
        let mut body = answer.into_body();
        if !status.is_success() {
            let body = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(self.refusal(status, &body));
        }
        loop {
            let frame = timeout(PART_TIMEOUT, body.frame()).await;
            let Some(frame) = frame.map_err(|_| self.too_late())? else {
                break;
            };
            let frame = frame.map_err(broken)?;
            if frame.data_ref().is_some_and(|bytes| !take(bytes)) {
                break;
            }
        }
        driver.abort();
        Ok(())
    }
}
