//! What is known of callers: given away under pseudonyms, or plainly to whoever may know, and erased.
//!
//! Whatever remembers callers is listed in `Controller::stores`, so that `Controller::forget_caller` misses
//! nothing. What they have in the state file is erased there by the store (`Transition::forgotten`), together with
//! what they said, which some seconds later writes the file anew, for a database leaves what was removed in pages
//! that it does not use.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::control::commands::{CommandSender, PendingCommand};
use crate::control::controller::Controller;
use crate::control::perform::{Performer, Saved, Unwritten, line_about};
use crate::control::ports::{Subject, Transition};
use crate::domain::rollout::{Author, JournalEntry};
use crate::domain::timestamp::Timestamp;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::caller_book::CallerBookReader;
use crate::runtime::pseudonyms::Pseudonyms;

/// What a line of the journal is about that is about all callers.
const ALL: &str = "all";

/// What a caller is called where there is no secret to make a pseudonym by.
const UNNAMED: &str = "unnamed";

/// Why something about callers was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallersError {
    /// It could not be written down, so it was not done.
    #[error("not done, for it could not be written down: {0}")]
    NotWritten(String),
    /// There are no random numbers to draw a secret from.
    #[error("the system gives no random numbers, without which there is no secret for pseudonyms")]
    NoSecret,
    /// Serin is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

/// What was erased of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// What exports and the journal call the caller.
    pub pseudonym: String,
    /// What was known of it, in words, such as `features`; empty where nothing was.
    pub erased: Vec<String>,
    /// Whether it is written down, so that a restart brings nothing back.
    pub is_written: bool,
}

/// Something that remembers callers by their keys.
trait RemembersCallers {
    /// What it remembers of a caller, in a word or two for each piece.
    fn remembered(&self, key: &str) -> Vec<String>;

    /// Erases it.
    fn forget(&self, key: &str);
}

impl RemembersCallers for CallerAssignments {
    fn remembered(&self, key: &str) -> Vec<String> {
        let groups = self.all_groups_of(key).into_iter();
        groups
            .map(|group| format!("assignment to {group}"))
            .collect()
    }

    fn forget(&self, key: &str) {
        for group in self.all_groups_of(key) {
            self.remove(key, &group);
        }
    }
}

impl RemembersCallers for CallerBookReader {
    fn remembered(&self, key: &str) -> Vec<String> {
        let is_known = (*self.load()).as_ref().is_some_and(|book| book.knows(key));
        is_known
            .then(|| "features".to_owned())
            .into_iter()
            .collect()
    }

    fn forget(&self, key: &str) {
        if let Some(book) = &*self.load() {
            book.forget(key);
        }
    }
}

/// What is asked about callers.
#[derive(Debug)]
pub(crate) enum CallersCommand {
    /// Give what makes pseudonyms.
    Pseudonyms(oneshot::Sender<Result<Arc<Pseudonyms>, CallersError>>),
    /// Write down that keys are given away as they are.
    Disclose(Author, oneshot::Sender<Result<(), CallersError>>),
    /// Erase a caller.
    Forget(
        String,
        Author,
        oneshot::Sender<Result<Forgotten, CallersError>>,
    ),
}

impl CommandSender {
    /// What makes pseudonyms of keys; always the same ones.
    ///
    /// # Errors
    /// When there is no secret yet and none could be written down, or Serin is stopping.
    pub async fn pseudonyms(&self) -> Result<Arc<Pseudonyms>, CallersError> {
        let pending = |reply| PendingCommand::Callers(CallersCommand::Pseudonyms(reply));
        self.ask(pending)
            .await
            .unwrap_or(Err(CallersError::Stopping))
    }

    /// Has it written down that keys of callers are given away as they are. Only then they may be.
    ///
    /// # Errors
    /// When it could not be written down, or Serin is stopping.
    pub async fn disclose_callers(&self, by: Author) -> Result<(), CallersError> {
        let pending = |reply| PendingCommand::Callers(CallersCommand::Disclose(by, reply));
        self.ask(pending)
            .await
            .unwrap_or(Err(CallersError::Stopping))
    }

    /// Erases what is known of a caller.
    ///
    /// # Errors
    /// When Serin is stopping.
    pub async fn forget_caller(&self, key: String, by: Author) -> Result<Forgotten, CallersError> {
        let pending = |reply| PendingCommand::Callers(CallersCommand::Forget(key, by, reply));
        self.ask(pending)
            .await
            .unwrap_or(Err(CallersError::Stopping))
    }
}

impl Performer {
    /// What makes pseudonyms. Its secret is drawn when it is needed first, and written down, before it is used
    /// where it is refused otherwise.
    pub(super) fn pseudonyms(
        &mut self,
        unwritten: Unwritten,
    ) -> Result<Arc<Pseudonyms>, CallersError> {
        let is_unsaved = || self.unsaved.iter().any(|known| known.pseudonyms.is_some());
        if unwritten == Unwritten::Refused && is_unsaved() {
            let reason = "the secret that they are made by is not written yet";
            return Err(CallersError::NotWritten(reason.to_owned()));
        }
        if let Some(known) = self.pseudonyms.get() {
            return Ok(Arc::clone(known));
        }
        let secret = Pseudonyms::draw_secret().ok_or(CallersError::NoSecret)?;
        let made = Pseudonyms::new(&secret);
        let transition = Transition {
            pseudonyms: Some(secret),
            ..Transition::default()
        };
        let saved = self.save(transition, unwritten);
        saved.map_err(|error| CallersError::NotWritten(error.to_string()))?;
        Ok(Arc::clone(self.pseudonyms.begin(made)))
    }

    /// What the journal and the log call a caller: both are kept for long and seen by many, so that nobody is to
    /// find out by them whose a line is who does not know the secret, though it can list all keys there are.
    pub(super) fn name_of(&mut self, key: &str) -> String {
        match self.pseudonyms(Unwritten::Allowed) {
            Ok(pseudonyms) => pseudonyms.of(key).to_string(),
            Err(error) => {
                tracing::warn!(%error, "a caller cannot be called by a pseudonym");
                UNNAMED.to_owned()
            }
        }
    }
}

impl Controller {
    /// Everything that remembers callers by their keys.
    fn stores(&self) -> [&dyn RemembersCallers; 2] {
        [&*self.assignments, &self.callers.books]
    }

    /// Does what is asked about callers; whoever asked may have left.
    pub(super) fn obey_of_callers(&mut self, command: CallersCommand) {
        match command {
            CallersCommand::Pseudonyms(reply) => {
                let _ = reply.send(self.performer.pseudonyms(Unwritten::Refused));
            }
            CallersCommand::Disclose(by, reply) => {
                let _ = reply.send(self.disclose_callers(by));
            }
            CallersCommand::Forget(key, by, reply) => {
                let _ = reply.send(Ok(self.forget_caller(&key, by)));
            }
        }
    }

    fn disclose_callers(&mut self, by: Author) -> Result<(), CallersError> {
        let entry = JournalEntry {
            who: by.who,
            what: "keys of callers exported as they are".to_owned(),
            why: by.why,
            findings: Vec::new(),
        };
        let transition = Transition {
            lines: vec![line_about(Subject::Callers(ALL.to_owned()), entry.clone())],
            ..Transition::default()
        };
        let saved = self.performer.save(transition, Unwritten::Refused);
        saved.map_err(|error| CallersError::NotWritten(error.to_string()))?;
        tracing::warn!(who = entry.who, why = entry.why, "{}", entry.what);
        Ok(())
    }

    /// Erases a caller from everything that remembers callers. That is done whether or not it can be written down
    /// at once: what must not be known any more does not wait for a disk.
    fn forget_caller(&mut self, key: &str, by: Author) -> Forgotten {
        let stores = self.stores();
        let mut erased: Vec<_> = stores
            .iter()
            .flat_map(|store| store.remembered(key))
            .collect();
        for store in stores {
            store.forget(key);
        }
        // Before what follows, which takes it into the same commit.
        match self.forget_feedback(key) {
            0 => {}
            1 => erased.push("1 rating".to_owned()),
            count => erased.push(format!("{count} ratings")),
        }
        let pseudonym = self.performer.name_of(key);
        let pieces = match erased.len() {
            0 => "of which nothing was known".to_owned(),
            1 => "1 thing".to_owned(),
            count => format!("{count} things"),
        };
        let entry = JournalEntry {
            who: by.who,
            what: format!("caller {pseudonym} forgotten: {pieces}"),
            why: by.why,
            findings: Vec::new(),
        };
        tracing::info!(who = entry.who, why = entry.why, "{}", entry.what);
        let transition = Transition {
            forgotten: vec![key.into()],
            lines: vec![line_about(Subject::Callers(pseudonym.clone()), entry)],
            ..Transition::default()
        };
        // It is allowed, so there is no error.
        let saved = self.performer.save(transition, Unwritten::Allowed);
        Forgotten {
            pseudonym,
            erased,
            is_written: matches!(saved, Ok(Saved::Now)),
        }
    }
}

/// What the controller has of callers beside their assignments.
pub(super) struct KnownCallers {
    /// What requests tell of them.
    pub(super) books: CallerBookReader,
}

impl KnownCallers {
    pub(super) const fn new(books: CallerBookReader) -> Self {
        Self { books }
    }

    /// Forgets those of whom nothing is left to say.
    pub(super) fn forget_faded(&self, now: Timestamp) {
        if let Some(book) = &*self.books.load() {
            book.forget_faded(now);
        }
    }
}
