//! What a rollout does where evidence alone does not say.

use std::time::Duration;

use crate::domain::judge::RollbackScope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a plan says besides its stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutPolicy {
    /// Whether it begins by itself.
    pub start: StartMode,
    /// Whether it acts on its verdicts.
    pub mode: Mode,
    /// What becomes of a stage that sees too little.
    pub no_data: NoData,
    /// What becomes of a stage that sees enough, and neither harm nor harmlessness.
    pub undecided: Undecided,
    /// After how many hold times either of these is done; at least 1.
    pub patience: u32,
    /// How long the stages may take altogether.
    pub deadline: Duration,
    /// What is done when they take longer.
    pub on_deadline: OnDeadline,
    /// Endpoints of stable that must take connections before canary gets more callers, so that
    /// stable can take them all back. 0 asks for none.
    pub stable_min_endpoints: usize,
    /// How long each stage lasts on the way back; none for a rollback to nothing at once.
    pub rollback_step: Option<Duration>,
    /// What the breach of one group takes back.
    pub rollback_scope: RollbackScope,
}

#[cfg(test)]
impl RolloutPolicy {
    /// One for tests, that says what a configuration that says nothing does, but for the deadline.
    pub(crate) const PLAIN: Self = Self {
        start: StartMode::Auto,
        mode: Mode::Act,
        no_data: NoData::Hold,
        undecided: Undecided::Promote,
        patience: 3,
        deadline: Duration::from_secs(3_600),
        on_deadline: OnDeadline::Hold,
        stable_min_endpoints: 0,
        rollback_step: None,
        rollback_scope: RollbackScope::Flag,
    };
}

/// Whether a rollout begins by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    /// As soon as its release is configured.
    #[default]
    Auto,
    /// When an operator starts it.
    Manual,
}

/// Whether a rollout acts on its verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does.
    #[default]
    Act,
    /// It says what it would have done, and leaves the weights to operators.
    Observe,
}

/// What becomes of a stage that sees too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// It stays as it is.
    #[default]
    Hold,
    /// Canary is taken back.
    Rollback,
}

/// What becomes of a stage that sees enough, and neither harm nor harmlessness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// It passes, and says loudly why.
    #[default]
    Promote,
    /// It stays as it is.
    Hold,
}

/// What is done when the stages take longer than they may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// It pauses, and an operator says how it goes on.
    #[default]
    Hold,
    /// Canary is taken back.
    Rollback,
}
