//! Takes another configuration while everything goes on: as a whole, or not at all.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::adapters::config_file::{
    self, ConfigFileError, ConfigWatch, LoadedConfig, Pace, Source,
};
use crate::admin::Tokens;
use crate::app::access_log::AccessLog;
use crate::app::callers::Callers;
use crate::app::routing;
use crate::app::telling::Recipients;
use crate::app::tls::{self, TlsListeners};
use crate::config::{self, Config, ListenerLimits, Objection, ProxyProtocol, ShutdownConfig};
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
    listeners: Vec<FixedListener>,
    admin: SocketAddr,
    state: config::state::StateConfig,
    shutdown: ShutdownConfig,
}

/// What cannot be changed of a listener. Certificates and the like may.
#[derive(Clone, Debug, PartialEq)]
struct FixedListener {
    address: SocketAddr,
    has_tls: bool,
    proxy_protocol: Option<ProxyProtocol>,
    feedback: bool,
    limits: ListenerLimits,
}

impl Fixed {
    pub(crate) fn of(config: &Config) -> Self {
        let listeners = config.listeners.iter().map(|listener| FixedListener {
            address: listener.address,
            has_tls: listener.tls.is_some(),
            proxy_protocol: listener.proxy_protocol,
            feedback: listener.feedback,
            limits: listener.limits,
        });
        Self {
            workers: config.workers,
            listeners: listeners.collect(),
            admin: config.admin.address,
            state: config.state.clone(),
            shutdown: config.shutdown,
        }
    }

    /// The keys that are other than what is running.
    fn objections(&self, other: &Self) -> Vec<Objection> {
        let keys = [
            ("workers", self.workers == other.workers),
            ("listeners", self.listeners == other.listeners),
            ("admin.address", self.admin == other.admin),
            ("state", self.state == other.state),
            ("shutdown", self.shutdown == other.shutdown),
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

/// What is replaced as a whole by another configuration, beside what the control plane has.
pub(crate) struct Replaceable {
    /// Who is let into the admin API.
    tokens: SnapshotWriter<Tokens>,
    /// Who is told of changes.
    recipients: Recipients,
    /// Certificates and the like.
    tls: TlsListeners,
    /// What is logged of requests.
    log: AccessLog,
    /// What is known of callers.
    callers: Callers,
}

impl Replaceable {
    pub(crate) const fn new(
        tokens: SnapshotWriter<Tokens>,
        recipients: Recipients,
        tls: TlsListeners,
        log: AccessLog,
        callers: Callers,
    ) -> Self {
        Self {
            tokens,
            recipients,
            tls,
            log,
            callers,
        }
    }
}

/// Reads the configuration again whenever somebody asks or its file changes.
pub(crate) struct Reloader {
    /// What is running.
    source: Source,
    /// Tells when a file has changed; none where the system gives no thread for it.
    watch: Option<(ConfigWatch, mpsc::Receiver<()>)>,
    fixed: Fixed,
    commands: CommandSender,
    requests: ReloadReceiver,
    replaceable: Replaceable,
    status: SnapshotWriter<ReloadStatus>,
}

impl Reloader {
    /// A reloader of what was read at the start.
    pub(crate) fn new(
        (source, fixed): (Source, Fixed),
        commands: &CommandSender,
        requests: ReloadReceiver,
        replaceable: Replaceable,
    ) -> Self {
        let status = ReloadStatus {
            running: shown(&source),
            ..ReloadStatus::of_start(clock::wall())
        };
        Self {
            watch: watch(&source),
            source,
            fixed,
            commands: commands.clone(),
            requests,
            replaceable,
            status: SnapshotWriter::new(status),
        }
    }

    /// Reads what has come of it.
    pub(crate) fn status(&self) -> SnapshotReader<ReloadStatus> {
        self.status.reader()
    }

    /// Runs until nobody can ask any more.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                pending = self.requests.recv() => {
                    let Some(PendingReload { by, reply }) = pending else {
                        return;
                    };
                    let taken = self.reload(&by).await;
                    // Whoever asked may have left.
                    let _ = reply.send(taken);
                }
                Some(()) = changed(&mut self.watch) => {
                    let by = Author {
                        who: "file".to_owned(),
                        why: "it has changed".to_owned(),
                    };
                    // What comes of it is logged and shown where it is done.
                    let _ = self.reload(&by).await;
                }
            }
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
            running: before.running.clone(),
        };
        match &result {
            Ok(changes) => {
                status.taken += 1;
                status.running = shown(&self.source);
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
        let path = self.source.path.clone();
        let loaded = read_beside_the_loop(path.clone()).await?;
        if let Some((watch, _)) = &self.watch {
            let files = match &loaded {
                Ok(loaded) => loaded.files.clone(),
                Err(error) => error.files(),
            };
            watch.follow(files);
        }
        let loaded = loaded.map_err(|error| ReloadError::Refused(lines_of(&error)))?;
        let (config, source) = loaded.split(&path);
        let refuse = |objections: &[Objection]| {
            let errors = config::object(&source.text, objections);
            let shown = errors.display(&path).to_string();
            ReloadError::Refused(shown.lines().map(ToOwned::to_owned).collect())
        };
        let objections = self.fixed.objections(&Fixed::of(&config));
        if !objections.is_empty() {
            return Err(refuse(&objections));
        }
        let tokens = Tokens::new(&config.admin.tokens);
        let unusable = |error: &dyn std::error::Error| ReloadError::Refused(lines_of(error));
        let webhooks = self.replaceable.recipients.prepare(&config.notify);
        let webhooks = webhooks.map_err(|error| unusable(&error))?;
        let tls = self.replaceable.tls.prepare(&config.listeners);
        let lapsed = tls::lapsed(&config, clock::wall());
        let tls = tls.map_err(|error| unusable(&error))?;
        let caller_features = config.caller_features;
        let log = self.replaceable.log.prepare(config.access_log.as_ref());
        let log = log.map_err(|objection| refuse(&[objection]))?;
        match self.commands.install(routing(config)).await {
            Ok(()) => {
                self.replaceable.recipients.replace(webhooks);
                self.replaceable.tokens.publish(tokens);
                self.replaceable.tls.replace(tls);
                self.replaceable.log.replace(log);
                self.replaceable.callers.replace(caller_features);
                tls::warn_of(&lapsed);
                let diff = source.diff_from(&self.source);
                self.source = source;
                Ok(diff.to_string().lines().map(ToOwned::to_owned).collect())
            }
            Err(InstallError::Refused(refusals)) => {
                let objections: Vec<_> = refusals.iter().map(objection).collect();
                Err(refuse(&objections))
            }
            Err(InstallError::Stopping) => Err(ReloadError::Stopping),
        }
    }
}

/// Reads on a thread of its own: a table of a million callers takes a second, and judging must not wait
/// for that.
async fn read_beside_the_loop(
    path: PathBuf,
) -> Result<Result<LoadedConfig, ConfigFileError>, ReloadError> {
    let read = tokio::task::spawn_blocking(move || config_file::read(&path)).await;
    read.map_err(|error| ReloadError::Refused(vec![format!("reading failed: {error}")]))
}

/// A configuration as it is written, without secrets.
fn shown(source: &Source) -> Option<Arc<Value>> {
    Some(Arc::new(config::dump(&source.text)))
}

/// Watches the files of a configuration. Without a watch a signal or the API does as well.
fn watch(source: &Source) -> Option<(ConfigWatch, mpsc::Receiver<()>)> {
    let started = ConfigWatch::start(source.files.clone(), Pace::default());
    if let Err(error) = &started {
        tracing::warn!(%error, "changes of the configuration file are not watched for");
    }
    started.ok()
}

/// Waits for a change of the files; for ever where nobody watches.
async fn changed(watch: &mut Option<(ConfigWatch, mpsc::Receiver<()>)>) -> Option<()> {
    match watch {
        Some((_, changes)) => changes.recv().await,
        None => std::future::pending().await,
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

fn lines_of(error: &dyn std::error::Error) -> Vec<String> {
    let mut text = error.to_string();
    if let Some(source) = error.source() {
        text.push_str(&format!(": {source}"));
    }
    text.lines().map(ToOwned::to_owned).collect()
}
