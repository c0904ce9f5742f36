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
pub(crate) struct Order {
    pub(crate) flag: String,
    pub(crate) command: Command,
    pub(crate) by: Author,
    pub(crate) reply: oneshot::Sender<Result<RolloutStatus, CommandError>>,
}

/// Gives commands.
#[derive(Clone, Debug)]
pub struct CommandSender {
    orders: mpsc::Sender<Order>,
}

/// Receives them.
#[derive(Debug)]
pub struct CommandReceiver {
    orders: mpsc::Receiver<Order>,
}

/// Makes both ends.
pub fn channel() -> (CommandSender, CommandReceiver) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (
        CommandSender { orders: sender },
        CommandReceiver { orders: receiver },
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
        let order = Order {
            flag: flag.to_owned(),
            command,
            by,
            reply,
        };
        self.orders
            .send(order)
            .await
            .map_err(|_| CommandError::Stopping)?;
        answer.await.map_err(|_| CommandError::Stopping)?
    }
}

impl CommandReceiver {
    pub(crate) async fn receive(&mut self) -> Option<Order> {
        self.orders.recv().await
    }
}

/// The name of a flag that a command is for, if it is one at all.
pub(crate) fn is_for(order: &Order, flag: &FlagName) -> bool {
    order.flag == flag.as_str()
}
