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
            if trials.is_empty() && events.is_empty() {
                continue;
            }
            for (event, count) in Event::ALL.into_iter().zip(&mut counts.0) {
                count.trials += u64::from(trials.has(event));
                count.events += u64::from(events.has(event));
            }
        }
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
