//! Operators' requests on their way to the controller, and its replies.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::control::app_orders::{AppError, AppOrder, Ordered};
use crate::control::assignments::{AssignmentError, AssignmentOrder};
use crate::control::callers::CallersCommand;
use crate::control::created::{Defined, Precondition};
use crate::control::emergency::TakenBack;
use crate::control::flags::{FlagError, FlagOrder, FlagStatus};
use crate::control::installation::{FlagRefusal, NewConfiguration};
use crate::control::outlook::LookAhead;
use crate::control::status::{FreezeStatus, PlanOutlook, RolloutStatus};
use crate::domain::ids::{AppId, FlagName};
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
    #[error("not done, for it could not be written down: {0}")]
    NotWritten(String),
    /// Serin is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

/// Why a configuration does not take the place of the running one.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It would move callers in a way that nobody can have meant.
    #[error("{} of the flags cannot be changed like that", .0.len())]
    Refused(Vec<FlagRefusal>),
    /// Serin is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

type Reply<T, E = CommandError> = oneshot::Sender<Result<T, E>>;

/// A command with the way back.
#[derive(Debug)]
pub(crate) enum PendingCommand {
    /// For one rollout.
    Rollout {
        flag: String,
        command: Command,
        by: Author,
        reply: Reply<RolloutStatus>,
    },
    /// Tell what is needed to look ahead.
    Outlook {
        flag: String,
        reply: Reply<LookAhead>,
    },
    /// Take canary back in all flags.
    TakeBackAll {
        by: Author,
        reply: oneshot::Sender<TakenBack>,
    },
    /// Promote nothing, or promote again.
    Freeze {
        on: bool,
        by: Author,
        reply: Reply<FreezeStatus>,
    },
    /// For one flag.
    Flag(FlagCommand),
    /// Of one app.
    App {
        app: AppId,
        order: AppOrder,
        /// The version that it must have.
        expected: Option<String>,
        by: Author,
        reply: Reply<Ordered, AppError>,
    },
    /// Put a caller into a group, or take it out.
    Assign {
        group: String,
        key: String,
        order: AssignmentOrder,
        by: Author,
        reply: Reply<(), AssignmentError>,
    },
    /// About callers.
    Callers(CallersCommand),
    /// Go on with another configuration.
    Install {
        configuration: Box<NewConfiguration>,
        reply: Reply<(), InstallError>,
    },
}

/// What is asked of one flag.
#[derive(Debug)]
pub(crate) enum FlagCommand {
    /// Change what is set of a flag.
    Change {
        flag: String,
        order: FlagOrder,
        /// The version that it must have.
        expected: Option<String>,
        by: Author,
        reply: Reply<FlagStatus, FlagError>,
    },
    /// Create a flag, or define one anew that was created.
    Define {
        flag: FlagName,
        definition: Arc<str>,
        precondition: Precondition,
        by: Author,
        reply: Reply<Defined, FlagError>,
    },
    /// Delete a flag that was created.
    Delete {
        flag: String,
        /// The version that it must have.
        expected: Option<String>,
        by: Author,
        reply: Reply<(), FlagError>,
    },
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
        let flag = flag.to_owned();
        let pending = |reply| PendingCommand::Rollout {
            flag,
            command,
            by,
            reply,
        };
        self.ask(pending)
            .await
            .unwrap_or(Err(CommandError::Stopping))
    }

    /// Asks what a rollout's plan takes at the rates of the last minutes. That is reckoned on a thread of
    /// its own, so that neither the controller nor other requests wait for it.
    ///
    /// # Errors
    /// When there is no such rollout, or Serin is stopping.
    pub async fn outlook(&self, flag: &str) -> Result<PlanOutlook, CommandError> {
        let flag = flag.to_owned();
        let asked = self.ask(|reply| PendingCommand::Outlook { flag, reply });
        let ahead = asked.await.unwrap_or(Err(CommandError::Stopping))?;
        let reckoned = spawn_blocking(move || ahead.outlook());
        reckoned.await.map_err(|_| CommandError::Stopping)
    }

    /// Promotes nothing from now on, anywhere, or lets promotions go on; returns what holds then.
    ///
    /// # Errors
    /// When it could not be written down and may not be done without, or Serin is stopping.
    pub async fn freeze(&self, on: bool, by: Author) -> Result<FreezeStatus, CommandError> {
        let pending = |reply| PendingCommand::Freeze { on, by, reply };
        self.ask(pending)
            .await
            .unwrap_or(Err(CommandError::Stopping))
    }

    /// Goes on with another configuration, as a whole or not at all.
    ///
    /// # Errors
    /// When it is refused, with everything that is wrong with it, or Serin is stopping.
    pub async fn install(&self, configuration: NewConfiguration) -> Result<(), InstallError> {
        let pending = |reply| PendingCommand::Install {
            configuration: Box::new(configuration),
            reply,
        };
        self.ask(pending)
            .await
            .unwrap_or(Err(InstallError::Stopping))
    }

    /// Takes canary back in every flag in which it has callers; returns what became of each.
    ///
    /// # Errors
    /// When Serin is stopping.
    pub async fn take_back_all(&self, by: Author) -> Result<TakenBack, CommandError> {
        let pending = |reply| PendingCommand::TakeBackAll { by, reply };
        self.ask(pending).await.ok_or(CommandError::Stopping)
    }

    /// Changes what is set of a flag, if it has the expected version; returns how it stands then.
    ///
    /// # Errors
    /// When there is no such flag or it may not be so, could not be written down, or Serin is stopping.
    pub async fn change_flag(
        &self,
        flag: &str,
        order: FlagOrder,
        expected: Option<String>,
        by: Author,
    ) -> Result<FlagStatus, FlagError> {
        let flag = flag.to_owned();
        let command = |reply| FlagCommand::Change {
            flag,
            order,
            expected,
            by,
            reply,
        };
        let pending = |reply| PendingCommand::Flag(command(reply));
        self.ask(pending).await.unwrap_or(Err(FlagError::Stopping))
    }

    /// Creates a flag, or defines one anew that was created.
    ///
    /// # Errors
    /// When it is the configuration's, is there or is not against the precondition, does not fit, could not be
    /// written down, or Serin is stopping.
    pub async fn define_flag(
        &self,
        flag: FlagName,
        definition: Arc<str>,
        precondition: Precondition,
        by: Author,
    ) -> Result<Defined, FlagError> {
        let command = |reply| FlagCommand::Define {
            flag,
            definition,
            precondition,
            by,
            reply,
        };
        let pending = |reply| PendingCommand::Flag(command(reply));
        self.ask(pending).await.unwrap_or(Err(FlagError::Stopping))
    }

    /// Deletes a flag that was created, if it has the expected version.
    ///
    /// # Errors
    /// When there is no such flag or it is the configuration's, is in use, could not be written down, or Serin is
    /// stopping.
    pub async fn delete_flag(
        &self,
        flag: &str,
        expected: Option<String>,
        by: Author,
    ) -> Result<(), FlagError> {
        let flag = flag.to_owned();
        let command = |reply| FlagCommand::Delete {
            flag,
            expected,
            by,
            reply,
        };
        let pending = |reply| PendingCommand::Flag(command(reply));
        self.ask(pending).await.unwrap_or(Err(FlagError::Stopping))
    }

    /// Does what is wanted of an app, if it has the expected version.
    ///
    /// # Errors
    /// When there is no such app or there is one already, it makes no sense where it is, could not be written
    /// down, or Serin is stopping.
    pub async fn order_app(
        &self,
        app: AppId,
        order: AppOrder,
        expected: Option<String>,
        by: Author,
    ) -> Result<Ordered, AppError> {
        let pending = |reply| PendingCommand::App {
            app,
            order,
            expected,
            by,
            reply,
        };
        self.ask(pending).await.unwrap_or(Err(AppError::Stopping))
    }

    /// Puts a caller into a group, or takes it out.
    ///
    /// # Errors
    /// When there is no such group, no room or nobody to take out, when it could not be written down, or
    /// Serin is stopping.
    pub async fn assign(
        &self,
        (group, key): (&str, &str),
        order: AssignmentOrder,
        by: Author,
    ) -> Result<(), AssignmentError> {
        let (group, key) = (group.to_owned(), key.to_owned());
        let pending = |reply| PendingCommand::Assign {
            group,
            key,
            order,
            by,
            reply,
        };
        self.ask(pending)
            .await
            .unwrap_or(Err(AssignmentError::Stopping))
    }

    /// None when nobody answers any more.
    pub(super) async fn ask<T>(
        &self,
        pending: impl FnOnce(oneshot::Sender<T>) -> PendingCommand,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.pending.send(pending(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl CommandReceiver {
    pub(crate) async fn receive(&mut self) -> Option<PendingCommand> {
        self.pending.recv().await
    }
}
