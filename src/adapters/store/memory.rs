//! State that lives as long as the process.

use std::collections::{BTreeMap, VecDeque};

use crate::control::ports::{JournalLine, StateStore, StoreError};
use crate::domain::ids::FlagName;
use crate::domain::rollout::RolloutState;

/// The most lines kept of all flags together; the oldest go first.
const LINES_MAX: usize = 10_000;

/// Remembers in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    states: BTreeMap<FlagName, RolloutState>,
    /// Oldest first.
    journal: VecDeque<JournalLine>,
}

impl StateStore for MemoryStore {
    fn save(&mut self, flag: &FlagName, state: &RolloutState) -> Result<(), StoreError> {
        self.states.insert(flag.clone(), state.clone());
        Ok(())
    }

    fn record(&mut self, line: JournalLine) -> Result<(), StoreError> {
        if self.journal.len() == LINES_MAX {
            self.journal.pop_front();
        }
        self.journal.push_back(line);
        Ok(())
    }

    fn journal(&self, flag: &FlagName, limit: usize) -> Vec<JournalLine> {
        let lines = self.journal.iter().rev().filter(|line| line.flag == *flag);
        lines.take(limit).cloned().collect()
    }
}
