//! Takes another configuration while everything goes on: as a whole, or not at all.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::adapters::config_file::{self, ConfigFileError, Source};
use crate::admin::Tokens;
use crate::app::routing;
use crate::app::telling::Recipients;
use crate::config::{self, Config, Objection};
use crate::control::commands::{CommandSender, InstallError};
use crate::control::installation::FlagRefusal;
use crate::control::reload::{PendingReload, ReloadError, ReloadReceiver, ReloadStatus};
use crate::domain::rollout::Author;
use crate::runtime::clock;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// What cannot be changed while Serin runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fixed {
    workers: Option<NonZeroUsize>,
    listeners: Vec<config::Listener>,
    admin: SocketAddr,
    state: config::state::StateConfig,
}

impl Fixed {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            workers: config.workers,
            listeners: config.listeners.clone(),
            admin: config.admin.address,
            state: config.state.clone(),
        }
    }

    /// The keys that are other than what is running.
    fn objections(&self, other: &Self) -> Vec<Objection> {
        let keys = [
            ("workers", self.workers == other.workers),
            ("listeners", self.listeners == other.listeners),
            ("admin.address", self.admin == other.admin),
            ("state", self.state == other.state),
        ];
        let changed = keys.into_iter().filter(|(_, is_same)| !is_same);
        let objection = |(key, _): (&str, bool)| Objection {
            path: key.split('.').map(ToOwned::to_owned).collect(),
            problem: format!("`{key}` cannot change while Serin runs"),
            hint: "restart Serin for this, or change it back".to_owned(),
        };
        changed.map(objection).collect()
    }
}

/// Reads the configuration again whenever somebody asks or its file changes.
pub(crate) struct Reloader {
    path: PathBuf,
    fixed: Fixed,
    commands: CommandSender,
    requests: ReloadReceiver,
    recipients: Recipients,
    status: SnapshotWriter<ReloadStatus>,
    tokens: SnapshotWriter<Tokens>,
}

impl Reloader {
    /// A reloader of what was read at the start.
    pub(crate) fn new(
        (source, fixed): (Source, Fixed),
        commands: &CommandSender,
        requests: ReloadReceiver,
        (tokens, recipients): (SnapshotWriter<Tokens>, Recipients),
    ) -> Self {
        Self {
            path: source.path,
            fixed,
            commands: commands.clone(),
            requests,
            recipients,
            status: SnapshotWriter::new(ReloadStatus::of_start(clock::wall())),
            tokens,
        }
    }

    /// Reads what has come of it.
    pub(crate) fn status(&self) -> SnapshotReader<ReloadStatus> {
        self.status.reader()
    }

    /// Runs until nobody can ask any more.
    pub(crate) async fn run(mut self) {
        while let Some(PendingReload { by, reply }) = self.requests.recv().await {
            let taken = self.reload(&by).await;
            // Whoever asked may have left.
            let _ = reply.send(taken);
        }
    }

    async fn reload(&mut self, by: &Author) -> Result<ReloadStatus, ReloadError> {
        let result = self.take().await;
        let before = self.status.current();
        let mut status = ReloadStatus {
            is_current: result.is_ok(),
            at_unix_ms: u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX),
            by: by.who.clone(),
            changes: Vec::new(),
            problems: Vec::new(),
            taken: before.taken,
            refused: before.refused,
        };
        match &result {
            Ok(changes) => {
                status.taken += 1;
                status.changes.clone_from(changes);
                tracing::info!(
                    by = by.who,
                    why = by.why,
                    changes = changes.len(),
                    "configuration taken"
                );
            }
            Err(ReloadError::Refused(problems)) => {
                status.refused += 1;
                status.problems.clone_from(problems);
                for problem in problems {
                    tracing::error!(by = by.who, "configuration refused: {problem}");
                }
            }
            Err(error) => tracing::error!(by = by.who, %error, "configuration not read"),
        }
        self.status.publish(status.clone());
        result.map(|_| status)
    }

    /// Reads, compares, and hands over; gives what changed.
    async fn take(&mut self) -> Result<Vec<String>, ReloadError> {
        let (text, config) = config_file::read_with_text(&self.path)
            .map_err(|error| ReloadError::Refused(lines_of(&error)))?;
        let refuse = |objections: &[Objection]| {
            let errors = config::object(&text, objections);
            let shown = errors.display(&self.path).to_string();
            ReloadError::Refused(shown.lines().map(ToOwned::to_owned).collect())
        };
        let objections = self.fixed.objections(&Fixed::of(&config));
        if !objections.is_empty() {
            return Err(refuse(&objections));
        }
        let tokens = Tokens::new(&config.admin.tokens);
        let webhooks = self.recipients.prepare(&config.notify);
        let webhooks = webhooks.map_err(|error| ReloadError::Refused(vec![error.to_string()]))?;
        match self.commands.install(routing(config)).await {
            Ok(()) => {
                self.recipients.replace(webhooks);
                self.tokens.publish(tokens);
                Ok(Vec::new())
            }
            Err(InstallError::Refused(refusals)) => {
                let objections: Vec<_> = refusals.iter().map(objection).collect();
                Err(refuse(&objections))
            }
            Err(InstallError::Stopping) => Err(ReloadError::Stopping),
        }
    }
}

/// Places what the control plane objects to.
pub(crate) fn objection(refusal: &FlagRefusal) -> Objection {
    let flag = refusal.flag.to_string();
    let mut path = vec!["flags".to_owned(), flag];
    path.extend(refusal.key.map(ToOwned::to_owned));
    Objection {
        path,
        problem: refusal.problem.clone(),
        hint: refusal.hint.clone(),
    }
}

fn lines_of(error: &ConfigFileError) -> Vec<String> {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text.push_str(&format!(": {source}"));
    }
    text.lines().map(ToOwned::to_owned).collect()
}
