//! Moves a flag's weights through the stages of a plan, or back to zero.
//!
//! [`step()`] is the whole of it: a plan, a state, an event and the circumstances go in, the next
//! state and the effects to carry out come back. It does nothing itself, so every answer can be
//! tested and every rollout replayed. [`admit()`] says whether a release may take the place of what
//! was before.

mod admit;
mod adopt;
mod cause;
mod descent;
mod effect;
mod event;
mod gated;
mod judged;
mod one_group;
mod plan;
mod policy;
mod record;
mod refusal;
mod state;
mod step;
mod taken_back;
mod transition;
mod verbs;

pub use crate::domain::stage_weights::{StageShape, StageWeights};
pub use admit::{Admission, ReleaseRefusal, admit};
pub use effect::{Effect, JournalEntry, Notice};
pub use event::{Author, Command, Event, Moment, PlanBefore};
pub use plan::{InvalidPlan, PlanDraft, PlanProblem, RolloutPlan, Stage, problems_of};
pub use policy::{Mode, NoData, OnDeadline, RolloutPolicy, StartMode, Undecided};
pub use record::{Freeze, Release, RolloutRecord};
pub use refusal::Refusal;
pub use state::{PauseCause, Phase, Resumption, RolloutState, Wait};
pub use step::{start, step};
pub use taken_back::GroupTakenBack;
pub use transition::{Step, obstacle};

#[cfg(test)]
mod adopt_tests;
#[cfg(test)]
mod descent_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod gated_tests;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod one_group_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod step_tests;
