//! State that lives as long as the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::control::ports::{
    HistoryPoint, JournalLine, JournalQuery, StateError, StateReader, StateWriter, StoreHealth,
    Transition,
};
use crate::domain::ids::FlagName;

/// The most lines kept of all flags together; the oldest go first.
const LINES_MAX: usize = 10_000;

/// Remembers in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryState {
    /// Oldest first.
    journal: Arc<Mutex<VecDeque<JournalLine>>>,
}

impl StateWriter for MemoryState {
    fn save(&mut self, transition: &Transition) -> Result<(), StateError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        for line in &transition.lines {
            let sequence = journal.back().map_or(0, |last| last.sequence) + 1;
            journal.push_back(JournalLine {
                sequence,
                ..line.clone()
            });
            if journal.len() > LINES_MAX {
                journal.pop_front();
            }
        }
        Ok(())
    }

    fn keep(&mut self, _: Vec<HistoryPoint>) {}
}

impl StateReader for MemoryState {
    fn journal(&self, wanted: &JournalQuery) -> Result<Vec<JournalLine>, StateError> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |line: &&JournalLine| {
            wanted.flag.as_ref().is_none_or(|flag| line.flag == *flag)
                && wanted.before.is_none_or(|before| line.sequence < before)
                && wanted
                    .since_unix_ms
                    .is_none_or(|since| line.at_unix_ms >= since)
        };
        let lines = journal.iter().rev().filter(is_wanted);
        Ok(lines.take(wanted.limit).cloned().collect())
    }

    fn history(&self, _: &FlagName, _: u64, _: u64) -> Result<Vec<HistoryPoint>, StateError> {
        Ok(Vec::new())
    }

    fn health(&self) -> StoreHealth {
        StoreHealth::default()
    }
}
