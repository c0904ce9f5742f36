//! Operators' requests on their way to the controller, and its replies.

use tokio::sync::{mpsc, oneshot};

use crate::control::status::RolloutStatus;
use crate::domain::ids::FlagName;
use crate::domain::rollout::{Author, Command, Refusal};

/// Commands that may wait; operators are few.
const CAPACITY: usize = 64;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such rollout.
    #[error("flag `{0}` has no rollout")]
    NoRollout(String),
    /// It makes no sense where the rollout is.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be written down, so it was not done.
    #[error("{0}")]
    NotWritten(String),
    /// Serin is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

/// A command with the way back.
#[derive(Debug)]
pub(crate) struct PendingCommand {
    pub(crate) flag: String,
    pub(crate) command: Command,
    pub(crate) by: Author,
    pub(crate) reply: oneshot::Sender<Result<RolloutStatus, CommandError>>,
}

/// Gives commands.
#[derive(Clone, Debug)]
pub struct CommandSender {
    pending: mpsc::Sender<PendingCommand>,
}

/// Receives them.
#[derive(Debug)]
pub struct CommandReceiver {
    pending: mpsc::Receiver<PendingCommand>,
}

/// Makes both ends.
pub fn channel() -> (CommandSender, CommandReceiver) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (
        CommandSender { pending: sender },
        CommandReceiver { pending: receiver },
    )
}

impl CommandSender {
    /// Gives a command and waits until it is carried out; returns where the rollout is then.
    ///
    /// # Errors
    /// When the command is refused, could not be written down, or Serin is stopping.
    pub async fn send(
        &self,
        flag: &str,
        command: Command,
        by: Author,
    ) -> Result<RolloutStatus, CommandError> {
        let (reply, answer) = oneshot::channel();
        let pending = PendingCommand {
            flag: flag.to_owned(),
            command,
            by,
            reply,
        };
        self.pending
            .send(pending)
            .await
            .map_err(|_| CommandError::Stopping)?;
        answer.await.map_err(|_| CommandError::Stopping)?
    }
}

impl CommandReceiver {
    pub(crate) async fn receive(&mut self) -> Option<PendingCommand> {
        self.pending.recv().await
    }
}

/// The name of a flag that a command is for, if it is one at all.
pub(crate) fn is_for(pending: &PendingCommand, flag: &FlagName) -> bool {
    pending.flag == flag.as_str()
}
