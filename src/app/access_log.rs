//! The access log: opened before anything starts, replaced by a reload, flushed at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use crate::adapters::access_log::{Sink, Writer};
use crate::adapters::config_file::Source;
use crate::config::{AccessLogConfig, Config, LogTarget, Objection};
use crate::proxy::{AccessLogReader, AccessLogTerms};
use crate::runtime::snapshot::SnapshotWriter;
use crate::runtime::trays::{Tally, trays};

/// How long the last lines have to be written once everything else has stopped: enough for a disk
/// that is busy; a pipe that nobody reads would hold us for ever.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// What is logged of requests, and the means to change that.
pub(crate) struct AccessLog {
    workers: usize,
    /// Where relative paths begin.
    folder: PathBuf,
    tally: Arc<Tally>,
    terms: SnapshotWriter<Option<AccessLogTerms>>,
    /// What is open.
    target: Option<LogTarget>,
    /// Each thread that writes holds one of these.
    writing: Sender<()>,
}

/// What is to be logged from now on.
pub(crate) struct PreparedLog {
    target: Option<LogTarget>,
    terms: Option<AccessLogTerms>,
}

/// Waits for the last lines.
pub(crate) struct LastLines(Receiver<()>);

impl AccessLog {
    /// Opens the log of a configuration, and starts the thread that writes it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn start(
        config: Option<&AccessLogConfig>,
        source: Option<&Source>,
        workers: usize,
    ) -> Result<(Self, LastLines), Objection> {
        let folder = source.and_then(|source| source.path.parent());
        let (writing, written) = channel();
        let mut log = Self {
            workers,
            folder: folder.unwrap_or_else(|| Path::new("")).to_owned(),
            tally: Arc::default(),
            terms: SnapshotWriter::new(None),
            target: None,
            writing,
        };
        let prepared = log.prepare(config)?;
        log.replace(prepared);
        Ok((log, LastLines(written)))
    }

    /// Reads what is logged.
    pub(crate) fn reader(&self) -> AccessLogReader {
        self.terms.reader()
    }

    /// What became of the lines.
    pub(crate) const fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Makes ready what another configuration wants logged, which changes nothing yet. A log that is
    /// open is kept.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn prepare(
        &self,
        config: Option<&AccessLogConfig>,
    ) -> Result<PreparedLog, Objection> {
        let Some(config) = config else {
            return Ok(PreparedLog {
                target: None,
                terms: None,
            });
        };
        let target = match &config.target {
            LogTarget::File(path) => LogTarget::File(self.folder.join(path)),
            stream => stream.clone(),
        };
        let running = self.terms.current();
        let open = running.as_ref().as_ref();
        let terms = match open.filter(|_| self.target.as_ref() == Some(&target)) {
            Some(terms) => terms.clone(),
            None => self.open(target.clone())?,
        };
        Ok(PreparedLog {
            target: Some(target),
            terms: Some(AccessLogTerms {
                sample: config.sample,
                shows_query: config.shows_query,
                ..terms
            }),
        })
    }

    /// Has other things logged, or to another place. What was left for the old one is written there.
    pub(crate) fn replace(&mut self, prepared: PreparedLog) {
        self.target = prepared.target;
        self.terms.publish(prepared.terms);
    }

    /// Opens a log and starts the thread that writes it, which ends when nobody leaves anything for
    /// it any more.
    fn open(&self, target: LogTarget) -> Result<AccessLogTerms, Objection> {
        let sink = Sink::open(target).map_err(|error| objection(&error))?;
        let (sender, receiver) = trays(self.workers, Arc::clone(&self.tally));
        let mut writer = Writer::new(receiver, sink, Arc::clone(&self.tally));
        let writing = self.writing.clone();
        let thread = Builder::new().name("access-log".to_owned());
        let run = move || {
            // A defect in it must cost lines, and neither the log nor the proxy.
            while catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                tracing::error!("the access log's writer panicked, and goes on");
            }
            drop(writing);
        };
        thread.spawn(run).map_err(|error| objection(&error))?;
        Ok(AccessLogTerms {
            sample: Default::default(),
            shows_query: false,
            trays: sender,
        })
    }
}

impl LastLines {
    /// Waits until all is written, but not for long. Nobody must be left who could log anything.
    pub(crate) fn wait(&self) {
        if self.0.recv_timeout(FLUSH_DEADLINE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log are lost: it is not written in time");
        }
    }
}

/// Why the log of a configuration could not be written by whoever runs this, as far as that can be found out
/// without doing it.
pub(crate) fn unwritable(config: &Config, source: &Source) -> Option<Objection> {
    let LogTarget::File(path) = &config.access_log.as_ref()?.target else {
        return None;
    };
    let folder = source.path.parent().unwrap_or_else(|| Path::new(""));
    let tried = Sink::try_out(&folder.join(path));
    tried.err().map(|error| objection(&error))
}

/// The path is not repeated: it may come from the environment, and its place says where it is.
fn objection(error: &std::io::Error) -> Objection {
    Objection {
        path: vec!["access_log".to_owned(), "path".to_owned()],
        problem: format!("cannot be written: {error}"),
        hint: "name a file that may be written, in a folder that is there, or `stdout`".to_owned(),
    }
}
