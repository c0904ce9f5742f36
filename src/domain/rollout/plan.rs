//! What a rollout is to do: its stages, and the weights each of them means.
//!
//! Weights only grow along a plan. A plan that says otherwise is refused when it is made, so that
//! nothing later has to ask whether a step forward would take the canary away from somebody.

use std::time::Duration;

use crate::domain::gate::Gate;
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::judge::StageContext;
use crate::domain::rollout::policy::{Mode, RolloutPolicy};
use crate::domain::rollout::record::Release;
use crate::domain::rollout::state::{Phase, Resumption, RolloutState};
use crate::domain::stage_weights::{StageShape, StageWeights};
use crate::domain::timestamp::Timestamp;
use crate::domain::weight::Weight;

/// The longest warm-up: enough for connections, most caches and a just-in-time compiler.
const WARM_UP_MAX: Duration = Duration::from_secs(10);

/// One step of a plan: one weight for some callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Whose weight is raised, and to what: above zero.
    pub shape: StageShape,
    /// How long the stage lasts at least.
    pub hold: Duration,
    /// Requests of canary it takes at least.
    pub min_requests: u64,
    /// Whether somebody has to approve it before it begins.
    pub needs_approval: bool,
    /// What else has to be open before it begins, asked in this order.
    pub gates: Vec<Gate>,
}

impl Stage {
    /// How long what canary does is not counted: whoever has just been given more requests finds
    /// connections and caches cold. The tripwire is armed all the same.
    ///
    /// Ten seconds, or a fifth of the hold where that is shorter, so that a short stage still
    /// consists of evidence.
    pub fn warm_up(&self) -> Duration {
        WARM_UP_MAX.min(self.hold / 5)
    }
}

/// A plan as it is written, before it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanDraft {
    /// The flag whose weights it moves.
    pub flag: FlagName,
    /// What is being released; another release is another rollout.
    pub release: Release,
    /// The stages in order, one weight each.
    pub stages: Vec<Stage>,
    /// How long canary is judged on after the last stage.
    pub watch: Duration,
    /// The share of everyone that stays on stable, for comparison, until the watch ends.
    pub final_control: Weight,
    /// What is done where evidence alone does not say.
    pub policy: RolloutPolicy,
}

/// A plan in which nothing is left to check: it has stages, and weights never shrink along them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPlan(PlanDraft);

impl RolloutPlan {
    /// Checks a plan.
    ///
    /// # Errors
    ///
    /// All problems at once: no stages, a stage with weight zero, a stage that would lower a
    /// weight reached before, a final control of everyone.
    pub fn new(draft: PlanDraft) -> Result<Self, InvalidPlan> {
        let problems = problems_of(&draft.stages, draft.final_control);
        if problems.is_empty() {
            Ok(Self(draft))
        } else {
            Err(InvalidPlan { problems })
        }
    }

    /// The flag whose weights it moves.
    pub const fn flag(&self) -> &FlagName {
        &self.0.flag
    }

    /// What is being released.
    pub const fn release(&self) -> &Release {
        &self.0.release
    }

    /// What is being released, by its revision.
    pub fn revision(&self) -> &str {
        &self.0.release.revision
    }

    /// The same plan, acting on its verdicts even if it is written to just observe.
    #[must_use]
    pub fn acting(mut self) -> Self {
        self.0.policy.mode = Mode::Act;
        self
    }

    /// What is done where evidence alone does not say.
    pub const fn policy(&self) -> &RolloutPolicy {
        &self.0.policy
    }

    /// The stages as far as they say who gets canary.
    pub fn shapes(&self) -> Vec<StageShape> {
        let stages = self.0.stages.iter();
        stages.map(|stage| stage.shape.clone()).collect()
    }

    /// The stages in order; never empty.
    pub fn stages(&self) -> &[Stage] {
        &self.0.stages
    }

    /// Whether some stage is for a group, so that the group has a weight of its own.
    pub fn names(&self, group: &GroupName) -> bool {
        let mut stages = self.0.stages.iter();
        stages.any(|stage| stage.shape.groups.contains(group))
    }

    /// How long canary is judged on after the last stage.
    pub const fn watch(&self) -> Duration {
        self.0.watch
    }

    /// The index of the last stage.
    pub fn last_stage(&self) -> usize {
        self.0.stages.len() - 1
    }

    /// The stage at an index, or the last one where the index lies beyond it.
    pub fn stage(&self, index: usize) -> &Stage {
        &self.0.stages[index.min(self.last_stage())]
    }

    /// The weights that are right in a state.
    pub fn weights_at(&self, state: &RolloutState) -> StageWeights {
        let planned = match &state.phase {
            Phase::Progressing
            | Phase::WaitingForApproval
            | Phase::WaitingForGate { .. }
            | Phase::RollingBack { .. }
            | Phase::Paused {
                from: Resumption::Stage | Resumption::Approval | Resumption::Gate { .. },
                ..
            } => self.weights_of_stage(state.stage),
            Phase::Watching
            | Phase::Paused {
                from: Resumption::Watch,
                ..
            } => self.weights_of_stage(self.last_stage()),
            Phase::Succeeded => self.weights_of_success(),
            Phase::Waiting { .. } | Phase::RolledBack { .. } | Phase::Aborted { .. } => self.none(),
        };
        state.allowed(planned)
    }

    /// The weights once a stage has begun, counted from 0.
    pub fn weights_of_stage(&self, stage: usize) -> StageWeights {
        self.reached(stage, self.ceiling())
    }

    /// The weights once the rollout has succeeded and nobody is kept on stable for comparison.
    pub fn weights_of_success(&self) -> StageWeights {
        self.reached(self.last_stage(), Weight::FULL)
    }

    /// The share of everyone that is kept on stable for comparison in a state, although the plan
    /// gives canary to all: the final control until the watch has ended.
    pub fn control_at(&self, state: &RolloutState) -> Option<Weight> {
        let reached = self.reached(state.stage, Weight::FULL).default;
        let is_kept = state.phase.is_judged() && self.ceiling() < reached;
        is_kept.then_some(self.0.final_control)
    }

    /// What the judge has to know of the stage a state is in, judged since a moment.
    pub fn stage_context(&self, state: &RolloutState, judged_since: Timestamp) -> StageContext {
        let stage = self.stage(state.stage);
        StageContext {
            epoch: state.epoch,
            counted_from: judged_since + stage.warm_up(),
            min_requests: stage.min_requests,
            weights: self.weights_at(state),
            next: state.allowed(match state.stage < self.last_stage() {
                true => self.weights_of_stage(state.stage + 1),
                false => self.weights_of_success(),
            }),
            left: state
                .rolled_back_groups
                .iter()
                .map(|taken| taken.group.clone())
                .collect(),
        }
    }

    /// Nobody gets canary; every group of the plan is named.
    fn none(&self) -> StageWeights {
        let groups = self.0.stages.iter().flat_map(|stage| &stage.shape.groups);
        StageWeights {
            groups: groups.map(|group| (group.clone(), Weight::ZERO)).collect(),
            default: Weight::ZERO,
        }
    }

    /// The weights once the stages up to and including `last` have begun.
    ///
    /// A stage for everyone gives at most `ceiling`; what a group reached by a stage of its own
    /// it keeps, so the final control takes canary from nobody who had it.
    fn reached(&self, last: usize, ceiling: Weight) -> StageWeights {
        let mut weights = self.none();
        for stage in self.0.stages.iter().take(last.saturating_add(1)) {
            weights.raise(&stage.shape, ceiling);
        }
        weights
    }

    /// What a stage for everyone gives at most until the watch ends.
    fn ceiling(&self) -> Weight {
        let everyone =
            |stage: &Stage| stage.shape.groups.is_empty() && stage.shape.weight == Weight::FULL;
        if self.0.stages.last().is_some_and(everyone) {
            self.0.final_control.complement()
        } else {
            Weight::FULL
        }
    }
}

/// Why a plan is refused: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidPlan {
    /// The problems in the order of the stages; never empty.
    pub problems: Vec<PlanProblem>,
}

/// One thing that is wrong with a plan. Stages are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// There is nothing to do.
    #[error("a plan needs at least one stage")]
    NoStages,
    /// A stage exposes nobody.
    #[error("weight at `stages[{stage}]` must be above 0%")]
    ZeroWeight {
        /// Index of the stage.
        stage: usize,
    },
    /// A stage would take canary from callers who had it.
    #[error(
        "weight {to} at `stages[{stage}]` is below the {from} that {who} reached before",
        who = whose(.group.as_ref())
    )]
    LowersWeight {
        /// Index of the stage.
        stage: usize,
        /// Whose weight; `None` for everyone's.
        group: Option<GroupName>,
        /// The weight reached before.
        from: Weight,
        /// The weight the stage asks for.
        to: Weight,
    },
    /// The last stage, less the final control, would not be more than what was reached before.
    #[error("final control leaves less than the {reached} that everyone reached before")]
    FinalControlTooLarge {
        /// The weight of everyone before the last stage.
        reached: Weight,
    },
}

fn whose(group: Option<&GroupName>) -> String {
    group.map_or_else(|| "everyone".to_owned(), |group| format!("group `{group}`"))
}

/// Everything that is wrong with stages and the final control after them.
pub fn problems_of(stages: &[Stage], final_control: Weight) -> Vec<PlanProblem> {
    let mut problems = Vec::new();
    if stages.is_empty() {
        problems.push(PlanProblem::NoStages);
    }
    let mut reached = StageWeights::default();
    let mut before_last = Weight::ZERO;
    for (index, stage) in stages.iter().enumerate() {
        if stage.shape.weight == Weight::ZERO {
            problems.push(PlanProblem::ZeroWeight { stage: index });
        } else {
            problems.extend(lowered_by(&stage.shape, index, &reached));
        }
        before_last = reached.default;
        reached.raise(&stage.shape, Weight::FULL);
    }
    if before_last != Weight::FULL && final_control.complement() <= before_last {
        let reached = before_last;
        problems.push(PlanProblem::FinalControlTooLarge { reached });
    }
    problems
}

/// What a stage would lower, given the weights reached before it.
fn lowered_by(stage: &StageShape, index: usize, reached: &StageWeights) -> Vec<PlanProblem> {
    let everyone = stage.groups.is_empty().then_some(None);
    let exposed = stage.groups.iter().map(Some).chain(everyone);
    exposed
        .filter(|group| stage.weight < reached.of(*group))
        .map(|group| PlanProblem::LowersWeight {
            stage: index,
            group: group.cloned(),
            from: reached.of(group),
            to: stage.weight,
        })
        .collect()
}
