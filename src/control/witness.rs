//! A store in memory, for the tests of this folder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::control::fixtures::Events;
use crate::control::ports::{
    FeedbackChange, HistoryPoint, JournalLine, JournalQuery, KnownEvidence, SavedState, StateError,
    StateReader, StateWriter, StoreHealth, Transition,
};
use crate::domain::ids::FlagName;
use crate::runtime::published::Subscriber;

/// A store in memory that can be made to fail, and that remembers what was published when it was
/// written to.
#[derive(Clone)]
pub(super) struct Witness {
    pub(super) events: Events,
    pub(super) subscriber: Subscriber,
    pub(super) is_full: Arc<AtomicBool>,
    /// Writes, but only after whoever asked has gone on.
    pub(super) is_slow: Arc<AtomicBool>,
    pub(super) saved: Arc<Mutex<SavedState>>,
}

impl Witness {
    fn note(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }
}

fn save_assignments(saved: &mut SavedState, transition: &Transition) {
    let forgotten = &transition.forgotten;
    saved
        .assignments
        .retain(|(_, key), _| !forgotten.contains(key));
    for change in &transition.assignments {
        let place = (change.group.clone(), change.key.clone());
        match change.membership {
            Some(membership) => saved.assignments.insert(place, membership),
            None => saved.assignments.remove(&place),
        };
    }
}

impl StateWriter for Witness {
    fn save(&mut self, transition: &Transition) -> Result<(), StateError> {
        let published = self.subscriber.load();
        let flags = &published.routing.flags;
        let weights: Vec<_> = flags
            .iter()
            .map(|flag| flag.weights.default.to_string())
            .collect();
        let weight = match weights.as_slice() {
            [] => "nothing".to_owned(),
            weights => weights.join(" and "),
        };
        if let Some(record) = &transition.record {
            let phase = &record.state.phase;
            self.note(format!("save {phase} while {weight} is published"));
        }
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StateError {
                reason: "disk full".to_owned(),
            });
        }
        let mut saved = self.saved.lock().unwrap();
        if let Some(record) = &transition.record {
            saved
                .records
                .retain(|other| other.flag != record.flag || other.release != record.release);
            // As a file keeps it: what is not stored is gone.
            let stored = serde_json::to_string(record).unwrap();
            saved.records.push(serde_json::from_str(&stored).unwrap());
        }
        if let Some(freeze) = &transition.freeze {
            saved.freeze.clone_from(freeze);
        }
        for (flag, definition) in &transition.created {
            match definition {
                Some(text) => saved.created.insert(flag.clone(), Arc::clone(text)),
                None => saved.created.remove(flag),
            };
        }
        for (app, record) in &transition.apps {
            match record {
                Some(record) => saved.apps.insert(app.clone(), record.clone()),
                None => saved.apps.remove(app),
            };
        }
        save_assignments(&mut saved, transition);
        for line in &transition.lines {
            self.note(format!("record {}: {}", line.entry.who, line.entry.why));
        }
        if self.is_slow.load(Ordering::Relaxed) {
            return Err(StateError {
                reason: "the disk has not answered".to_owned(),
            });
        }
        Ok(())
    }

    fn keep(&mut self, _: Vec<HistoryPoint>) {}

    fn keep_feedback(&mut self, changes: Vec<FeedbackChange>) {
        let mut saved = self.saved.lock().unwrap();
        for FeedbackChange { flag, part } in changes {
            saved.feedback.entry(flag).or_default().apply(part);
        }
    }

    fn keep_evidence(&mut self, known: KnownEvidence) {
        let mut saved = self.saved.lock().unwrap();
        saved.evidence.retain(|other| other.flag != known.flag);
        let stored = serde_json::to_string(&known).unwrap();
        saved.evidence.push(serde_json::from_str(&stored).unwrap());
    }
}

impl StateReader for Witness {
    fn journal(&self, _: &JournalQuery) -> Result<Vec<JournalLine>, StateError> {
        Ok(Vec::new())
    }

    fn history(&self, _: &FlagName, _: u64, _: u64) -> Result<Vec<HistoryPoint>, StateError> {
        Ok(Vec::new())
    }

    fn health(&self) -> StoreHealth {
        StoreHealth::default()
    }
}
