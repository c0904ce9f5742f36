//! Requests to read the configuration again, on their way to whoever reads it, and the replies.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use crate::domain::rollout::Author;

/// Requests that may wait.
const CAPACITY: usize = 8;

/// What came of reading the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadStatus {
    /// Whether what was read last is what is running.
    pub is_current: bool,
    /// When it was read last, in milliseconds since 1970; to be shown.
    pub at_unix_ms: u64,
    /// Who asked for it: an operator, a signal, or a change of the file.
    pub by: String,
    /// What changed by it, in lines such as `flags.orders.rollout.revision: "1" -> "2"`.
    pub changes: Vec<String>,
    /// All that was wrong with it, each with file, line and column; empty when it was taken.
    pub problems: Vec<String>,
    /// How often another configuration was taken since the start.
    pub taken: u64,
    /// How often one was refused since the start.
    pub refused: u64,
    /// What is running, as it is written, without secrets.
    #[serde(skip)]
    pub running: Option<Arc<Value>>,
}

impl ReloadStatus {
    /// What is said before anybody has asked: what runs was read at the start.
    pub fn of_start(since_1970: Duration) -> Self {
        Self {
            is_current: true,
            at_unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
            by: "start".to_owned(),
            ..Self::default()
        }
    }
}

/// Why the configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It is wrong, or cannot take the place of the running one.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
    /// There is no file to read again.
    #[error("this configuration does not come from a file")]
    NoFile,
    /// Serin is stopping.
    #[error("Serin is stopping")]
    Stopping,
}

/// A request with the way back.
#[derive(Debug)]
pub struct PendingReload {
    /// Who asks.
    pub by: Author,
    /// The way back; what was asked for is done whether anybody waits or not.
    pub reply: oneshot::Sender<Result<ReloadStatus, ReloadError>>,
}

/// Asks for the configuration to be read again.
#[derive(Clone, Debug)]
pub struct ReloadSender {
    pending: mpsc::Sender<PendingReload>,
}

/// Receives the requests.
pub type ReloadReceiver = mpsc::Receiver<PendingReload>;

/// Makes both ends.
pub fn channel() -> (ReloadSender, ReloadReceiver) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (ReloadSender { pending: sender }, receiver)
}

impl ReloadSender {
    /// Asks, and waits until the configuration is taken or refused.
    ///
    /// # Errors
    /// When it is refused, with all that is wrong with it, or Serin is stopping.
    pub async fn request(&self, by: Author) -> Result<ReloadStatus, ReloadError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.pending.send(PendingReload { by, reply }).await;
        sent.map_err(|_| ReloadError::NoFile)?;
        answer.await.map_err(|_| ReloadError::Stopping)?
    }
}
