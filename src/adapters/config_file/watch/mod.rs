//! Tells when the configuration file, or a file it names, has changed.
//!
//! A thread of its own sleeps until the system reports something in the files' directories, waits
//! until it is quiet again, and compares what is in the files with what was; only another content
//! is a change. It looks now and then without being told as well: some file systems (of networks,
//! of containers) report nothing, and the system's watches are limited.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc as told;

use super::LoadedFile;
use super::places::directories;

/// Messages that may wait: a further report of the system says nothing new.
const MESSAGES_MAX: usize = 16;

/// How often quiet is waited for: where it never comes, the files are compared all the same.
const SETTLE_ROUNDS_MAX: u32 = 10;

/// How often the directories are found again while they come and go.
const WATCH_ROUNDS_MAX: u32 = 4;

/// How fast changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long it must be quiet after the system's report before the files are read.
    pub settle: Duration,
    /// How often the files are read without any report.
    pub poll: Duration,
}

impl Default for Pace {
    /// Editors and copies take a few milliseconds from the first to the last byte; people wait a
    /// fifth of a second without noticing, and ten seconds where nothing better is to be had.
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(200),
            poll: Duration::from_secs(10),
        }
    }
}

/// Watches files until it is dropped.
#[derive(Debug)]
pub struct ConfigWatch {
    messages: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Message {
    /// The system reports something.
    Stirred,
    /// Other files count from now on.
    Follow(Vec<LoadedFile>),
    Stop,
}

/// Makes a watcher that sends [`Message::Stirred`].
type MakeWatcher = fn(SyncSender<Message>) -> notify::Result<RecommendedWatcher>;

impl ConfigWatch {
    /// Starts to watch.
    ///
    /// A change since the files were loaded is told too. Several changes that nobody has asked for
    /// yet are one.
    ///
    /// # Errors
    /// When the system gives no thread. That it gives no watches is logged, and made up for by
    /// looking every [`Pace::poll`].
    pub fn start(files: Vec<LoadedFile>, pace: Pace) -> io::Result<(Self, told::Receiver<()>)> {
        Self::start_with(files, pace, watcher)
    }

    fn start_with(
        files: Vec<LoadedFile>,
        pace: Pace,
        make: MakeWatcher,
    ) -> io::Result<(Self, told::Receiver<()>)> {
        let (messages, inbox) = mpsc::sync_channel(MESSAGES_MAX);
        let (changes, changed) = told::channel(1);
        let mut watching = Watching {
            files,
            pace,
            inbox,
            changes,
            system: System {
                make,
                messages: messages.clone(),
                watcher: None,
                places: BTreeSet::new(),
                is_stale: true,
                is_failing: false,
            },
        };
        let thread = thread::Builder::new()
            .name("config-watch".to_owned())
            .spawn(move || watching.run())?;
        let watch = Self {
            messages,
            thread: Some(thread),
        };
        Ok((watch, changed))
    }

    /// Watches these files from now on: those of the configuration loaded last, or of the attempt
    /// that failed.
    pub fn follow(&self, files: Vec<LoadedFile>) {
        // Nobody listens once the changes are no longer asked for.
        let _ = self.messages.send(Message::Follow(files));
    }
}

impl Drop for ConfigWatch {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watch of the configuration file has failed");
        }
    }
}

/// What the thread holds.
struct Watching {
    files: Vec<LoadedFile>,
    pace: Pace,
    inbox: Receiver<Message>,
    changes: told::Sender<()>,
    system: System,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    Look,
    End,
}

impl Watching {
    fn run(&mut self) {
        while self.look() == Next::Look {
            let next = match self.inbox.recv_timeout(self.pace.poll) {
                Ok(Message::Stirred) => self.settle(),
                other => self.take(other),
            };
            if next == Next::End {
                return;
            }
        }
    }

    /// Waits until nothing has been reported for a while.
    fn settle(&mut self) -> Next {
        self.system.is_stale = true;
        for _ in 0..SETTLE_ROUNDS_MAX {
            let message = self.inbox.recv_timeout(self.pace.settle);
            if matches!(message, Err(RecvTimeoutError::Timeout)) {
                break;
            }
            if self.take(message) == Next::End {
                return Next::End;
            }
        }
        Next::Look
    }

    fn take(&mut self, message: Result<Message, RecvTimeoutError>) -> Next {
        match message {
            Ok(Message::Follow(files)) => self.files = files,
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return Next::End,
            Ok(Message::Stirred) | Err(RecvTimeoutError::Timeout) => {}
        }
        Next::Look
    }

    /// Watches first and reads then, so that no change falls between.
    fn look(&mut self) -> Next {
        self.watch();
        let now: Vec<_> = self.files.iter().map(LoadedFile::now).collect();
        if now != self.files {
            self.files = now;
            let sent = self.changes.try_send(());
            if matches!(sent, Err(told::error::TrySendError::Closed(()))) {
                return Next::End;
            }
        }
        Next::Look
    }

    /// Where a directory came or went between finding the places and watching them, they are found
    /// again; where that does not end, the next look goes on.
    fn watch(&mut self) {
        for _ in 0..WATCH_ROUNDS_MAX {
            let paths = self.files.iter().map(|file| &file.path);
            let places: BTreeSet<_> = paths.flat_map(|path| directories(path)).collect();
            if !self.system.is_stale && self.system.places == places {
                return;
            }
            self.system.watch(places, self.pace.poll);
            if self.system.is_failing {
                return;
            }
        }
    }
}

/// The system's watches.
struct System {
    make: MakeWatcher,
    messages: SyncSender<Message>,
    watcher: Option<RecommendedWatcher>,
    places: BTreeSet<PathBuf>,
    /// Whether something has been reported since they were made: a directory may have been
    /// replaced by another of the same name, on which there is no watch.
    is_stale: bool,
    /// Whether it has been said that there are none.
    is_failing: bool,
}

impl System {
    fn watch(&mut self, places: BTreeSet<PathBuf>, poll: Duration) {
        match self.watcher_of(&places) {
            Ok((watcher, has_all)) => {
                if self.is_failing {
                    tracing::info!("the configuration file is watched again");
                }
                self.watcher = Some(watcher);
                // What was missed may be back by the next round, under the same name and unwatched.
                self.is_stale = !has_all;
                self.is_failing = false;
            }
            Err(error) => {
                if !self.is_failing {
                    tracing::warn!(
                        %error,
                        "the system does not watch the configuration file; looking every {poll:?}"
                    );
                }
                self.is_failing = true;
            }
        }
        self.places = places;
    }

    /// A watcher, and whether all places were there to be watched.
    ///
    /// Always a new one: one that knew a directory by its name would keep the watch of the old
    /// directory, or drop that of the new one.
    fn watcher_of(&self, places: &BTreeSet<PathBuf>) -> notify::Result<(RecommendedWatcher, bool)> {
        let mut has_all = true;
        let mut watcher = (self.make)(self.messages.clone())?;
        for place in places {
            match watcher.watch(place, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // Removed just now, so that the places are others already.
                Err(error) if is_not_found(&error) => has_all = false,
                Err(error) => return Err(error),
            }
        }
        Ok((watcher, has_all))
    }
}

/// Whether there was nothing to watch; it may go between the library's own look and the system's.
fn is_not_found(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn watcher(messages: SyncSender<Message>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| may_change(event.kind)) {
            // Where the queue is full, the thread has enough reason to look.
            let _ = messages.try_send(Message::Stirred);
        }
    })
}

/// Reading is reported too, our own included, which would never end.
fn may_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
