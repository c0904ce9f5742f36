//! Moves a flag's weights through the stages of a plan, or back to zero.
//!
//! [`step()`] is the whole of it: a plan, a state, an event and the time go in, the next state and
//! the effects to carry out come back. It does nothing itself, so every answer can be tested and
//! every rollout replayed.

mod effect;
mod event;
mod plan;
mod record;
mod state;
mod step;

pub use effect::{Effect, JournalEntry, Notice};
pub use event::{Author, Command, Event};
pub use plan::{InvalidPlan, PlanDraft, PlanProblem, RolloutPlan, Stage, StageWeights};
pub use record::{Freeze, Release, RolloutRecord, StageShape};
pub use state::{Phase, RolloutState};
pub use step::{Refusal, Step, start, step};

#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod step_tests;
