//! What a rollout is to do: its stages, and the weights each of them means.
//!
//! Weights only grow along a plan. A plan that says otherwise is refused when it is made, so that
//! nothing later has to ask whether a step forward would take the canary away from somebody.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{FlagName, GroupName};
use crate::domain::judge::StageContext;
use crate::domain::rollout::state::{Phase, RolloutState};
use crate::domain::weight::Weight;

/// The longest warm-up: enough for connections, most caches and a just-in-time compiler.
const WARM_UP_MAX: Duration = Duration::from_secs(10);

/// One step of a plan: one weight for some callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Whose weight is raised; empty for everyone.
    pub groups: Vec<GroupName>,
    /// To what it is raised, above zero.
    pub weight: Weight,
    /// How long the stage lasts at least.
    pub hold: Duration,
    /// Requests of canary it takes at least.
    pub min_requests: u64,
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
    /// What is being released; another revision is another rollout.
    pub revision: String,
    /// The stages in order, one weight each.
    pub stages: Vec<Stage>,
    /// How long canary is judged on after the last stage.
    pub watch: Duration,
    /// The share of everyone that stays on stable, for comparison, until the watch ends.
    pub final_control: Weight,
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
        let problems = problems_of(&draft);
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
    pub fn revision(&self) -> &str {
        &self.0.revision
    }

    /// The stages in order; never empty.
    pub fn stages(&self) -> &[Stage] {
        &self.0.stages
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
        match state.phase {
            Phase::Progressing => self.weights_of_stage(state.stage),
            Phase::Watching => self.weights_of_stage(self.last_stage()),
            Phase::Succeeded => self.weights_of_success(),
            Phase::RolledBack { .. } => self.none(),
        }
    }

    /// The weights once a stage has begun, counted from 0.
    pub fn weights_of_stage(&self, stage: usize) -> StageWeights {
        self.reached(stage, self.ceiling())
    }

    /// The weights once the rollout has succeeded and nobody is kept on stable for comparison.
    pub fn weights_of_success(&self) -> StageWeights {
        self.reached(self.last_stage(), Weight::FULL)
    }

    /// What the judge has to know of the stage a state is in.
    pub fn stage_context(&self, state: &RolloutState) -> StageContext {
        let stage = self.stage(state.stage);
        StageContext {
            epoch: state.epoch,
            counted_from: state.stage_since + stage.warm_up(),
            min_requests: stage.min_requests,
            has_control: self.weights_at(state).has_control(),
        }
    }

    /// Nobody gets canary; every group of the plan is named.
    fn none(&self) -> StageWeights {
        let groups = self.0.stages.iter().flat_map(|stage| &stage.groups);
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
            weights.raise(stage, ceiling);
        }
        weights
    }

    /// What a stage for everyone gives at most until the watch ends.
    fn ceiling(&self) -> Weight {
        let everyone = |stage: &Stage| stage.groups.is_empty() && stage.weight == Weight::FULL;
        if self.0.stages.last().is_some_and(everyone) {
            self.0.final_control.complement()
        } else {
            Weight::FULL
        }
    }
}

/// Who gets canary with what weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageWeights {
    /// The weight of every group the plan names.
    pub groups: BTreeMap<GroupName, Weight>,
    /// The weight of everyone else.
    pub default: Weight,
}

impl StageWeights {
    /// Whether nobody gets canary.
    pub fn is_zero(&self) -> bool {
        self.all().all(|weight| weight == Weight::ZERO)
    }

    /// Whether some callers are split between the arms by chance, so that arms can be compared.
    pub fn has_control(&self) -> bool {
        self.all()
            .any(|weight| weight != Weight::ZERO && weight != Weight::FULL)
    }

    /// The weight of a group, or of everyone else for `None` and for groups not named.
    pub fn of(&self, group: Option<&GroupName>) -> Weight {
        group
            .and_then(|group| self.groups.get(group))
            .copied()
            .unwrap_or(self.default)
    }

    fn all(&self) -> impl Iterator<Item = Weight> {
        self.groups.values().copied().chain([self.default])
    }

    fn raise(&mut self, stage: &Stage, ceiling: Weight) {
        for group in &stage.groups {
            let weight = self.groups.entry(group.clone()).or_default();
            *weight = stage.weight.max(*weight);
        }
        if stage.groups.is_empty() {
            let raised = stage.weight.min(ceiling);
            self.default = raised.max(self.default);
            for weight in self.groups.values_mut() {
                *weight = raised.max(*weight);
            }
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

fn problems_of(draft: &PlanDraft) -> Vec<PlanProblem> {
    let mut problems = Vec::new();
    if draft.stages.is_empty() {
        problems.push(PlanProblem::NoStages);
    }
    let mut reached = StageWeights::default();
    let mut before_last = Weight::ZERO;
    for (index, stage) in draft.stages.iter().enumerate() {
        if stage.weight == Weight::ZERO {
            problems.push(PlanProblem::ZeroWeight { stage: index });
        } else {
            problems.extend(lowered_by(stage, index, &reached));
        }
        before_last = reached.default;
        reached.raise(stage, Weight::FULL);
    }
    if before_last != Weight::FULL && draft.final_control.complement() <= before_last {
        let reached = before_last;
        problems.push(PlanProblem::FinalControlTooLarge { reached });
    }
    problems
}

/// What a stage would lower, given the weights reached before it.
fn lowered_by(stage: &Stage, index: usize, reached: &StageWeights) -> Vec<PlanProblem> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timestamp::Timestamp;

    fn stage(groups: &[&str], weight: &str) -> Stage {
        Stage {
            groups: groups.iter().map(|name| name.parse().unwrap()).collect(),
            weight: weight.parse().unwrap(),
            hold: Duration::from_secs(60),
            min_requests: 100,
        }
    }

    fn plan(stages: Vec<Stage>) -> Result<RolloutPlan, InvalidPlan> {
        RolloutPlan::new(PlanDraft {
            flag: "orders".parse().unwrap(),
            revision: "2".to_owned(),
            stages,
            watch: Duration::from_secs(60),
            final_control: "1%".parse().unwrap(),
        })
    }

    /// The weights of group `a`, group `b` and everyone else at each stage and at the end.
    fn weights(plan: &RolloutPlan) -> Vec<[String; 3]> {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut state = RolloutState::new("2".to_owned(), 1, Timestamp::default());
        let mut rows = Vec::new();
        for stage in 0..=plan.stages().len() {
            state.stage = stage;
            if stage == plan.stages().len() {
                state.phase = Phase::Succeeded;
            }
            let weights = plan.weights_at(&state);
            rows.push([Some(&a), Some(&b), None].map(|g| weights.of(g).to_string()));
        }
        rows
    }

    #[test]
    fn passed_stages_add_up_and_the_final_control_takes_nothing_back() {
        let plan = plan(vec![
            stage(&["a"], "100%"),
            stage(&["b"], "20%"),
            stage(&[], "5%"),
            stage(&[], "50%"),
            stage(&[], "100%"),
        ])
        .unwrap();
        let expected = [
            ["100%", "0%", "0%"],
            ["100%", "20%", "0%"],
            ["100%", "20%", "5%"],
            ["100%", "50%", "50%"],
            ["100%", "99%", "99%"],
            ["100%", "100%", "100%"],
        ];
        assert_eq!(weights(&plan), expected);
    }

    #[test]
    fn a_plan_for_part_of_the_callers_ends_with_that_part() {
        let plan = plan(vec![stage(&["a"], "100%"), stage(&[], "25%")]).unwrap();
        assert_eq!(weights(&plan)[1], ["100%", "25%", "25%"]);
        assert_eq!(weights(&plan)[2], ["100%", "25%", "25%"]);
    }

    #[test]
    fn control_exists_where_callers_are_split() {
        let plan = plan(vec![stage(&["a"], "100%"), stage(&[], "100%")]).unwrap();
        let mut state = RolloutState::new("2".to_owned(), 1, Timestamp::default());
        assert!(!plan.stage_context(&state).has_control);
        state.stage = 1;
        assert!(
            plan.stage_context(&state).has_control,
            "by the final control"
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let stages = vec![
            stage(&[], "25%"),
            stage(&["a"], "10%"),
            stage(&[], "0%"),
            stage(&[], "5%"),
        ];
        let error = plan(stages).unwrap_err();
        assert_eq!(error.problems.len(), 3);
        let text = error.to_string();
        assert!(text.contains("10% at `stages[1]` is below the 25% that group `a` reached"));
        assert!(text.contains("weight at `stages[2]` must be above 0%"));
        assert!(text.contains("5% at `stages[3]` is below the 25% that everyone reached"));
        assert_eq!(plan(vec![]).unwrap_err().problems, [PlanProblem::NoStages]);
    }
}
