//! What a tick adds up to in callers.

use crate::domain::evidence::cells::{Event, SLOTS, Step};
use crate::domain::stats::intervals::Share;

/// Counts of one arm in one tick and stratum; several workers' add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellCounts {
    /// Callers never seen before in this rollout.
    pub new: u64,
    /// Callers not seen before in this stage.
    pub new_in_stage: u64,
    /// What is counted for the start in each slot.
    pub slots: [SlotCounts; SLOTS],
}

/// Counts for one start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts([EventCounts; Event::COUNT]);

/// Callers at risk of an event and those who had it.
pub type EventCounts = Share;

impl SlotCounts {
    /// Takes counts in the order of [`Event::ALL`].
    pub const fn from_counts(counts: [EventCounts; Event::COUNT]) -> Self {
        Self(counts)
    }

    /// Callers at risk and events of one kind.
    pub const fn of(&self, event: Event) -> EventCounts {
        self.0[event as usize]
    }
}

impl CellCounts {
    /// Counts a step.
    pub fn add(&mut self, step: &Step) {
        self.new += u64::from(step.is_new);
        self.new_in_stage += u64::from(step.is_new_in_stage);
        for (slot, counts) in self.slots.iter_mut().enumerate() {
            let (trials, events) = (step.trials[slot], step.events[slot]);
            for event in trials.iter() {
                counts.0[event as usize].trials += 1;
            }
            for event in events.iter() {
                counts.0[event as usize].events += 1;
            }
        }
    }

    /// What was added since an earlier state of the same, ever growing counts.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut added = *self;
        added.new = added.new.saturating_sub(earlier.new);
        added.new_in_stage = added.new_in_stage.saturating_sub(earlier.new_in_stage);
        for (own, earlier) in added.slots.iter_mut().zip(&earlier.slots) {
            for (own, earlier) in own.0.iter_mut().zip(&earlier.0) {
                own.trials = own.trials.saturating_sub(earlier.trials);
                own.events = own.events.saturating_sub(earlier.events);
            }
        }
        added
    }

    /// Adds all counts of another.
    pub fn merge(&mut self, other: &Self) {
        self.new += other.new;
        self.new_in_stage += other.new_in_stage;
        for (own, other) in self.slots.iter_mut().zip(&other.slots) {
            for (own, other) in own.0.iter_mut().zip(&other.0) {
                own.trials += other.trials;
                own.events += other.events;
            }
        }
    }
}
