//! The automation of a flag: its plan, and what its judge tolerates.

use std::time::Duration;

use crate::domain::further::FurtherChecks;
use crate::domain::ids::{BackendName, FlagName, GroupIndex, GroupName};
use crate::domain::judge::sequential::{Sensitivity, Tolerances, Unit};
use crate::domain::judge::{JudgeSettings, RollbackScope};
use crate::domain::notify::NotifyTarget;
use crate::domain::rollout::{
    Mode, NoData, OnDeadline, PlanDraft, PlanProblem, Release, RolloutPlan, RolloutPolicy, Stage,
    StageShape, StartMode, Undecided, problems_of,
};
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

use crate::config::defaults;
use crate::config::document::{
    AnyRollbackDocument, ChecksDocument, ModeDocument, NoDataDocument, OnDeadlineDocument,
    RollbackDocument, RollbackScopeDocument, RolloutDocument, SensitivityDocument, StageDocument,
    StartDocument, UndecidedDocument,
};
use crate::config::further::FurtherReader;
use crate::config::gate::close_gates;
use crate::config::names::Names;
use crate::config::rating::Rating;
use crate::config::report::{Problem, Report};
use crate::config::text::Increase;
use crate::config::tree::Place;
use crate::config::written::{Count, Placed, ShortOr, Written};

/// How a flag's weights are moved.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutConfig {
    /// The stages.
    pub plan: RolloutPlan,
    /// What is tolerated on the way.
    pub judge: JudgeSettings,
    /// What must be so besides.
    pub further: FurtherChecks,
    /// Who is told of what becomes of it, each by a name that no other gate or hook of it has.
    pub hooks: Vec<NotifyTarget>,
    /// Whether callers may rate it: it is judged by that in so many words, or a listener takes ratings.
    pub takes_feedback: bool,
}

/// A stage, and where its weight is written.
struct PlacedStage {
    place: Place,
    stage: Stage,
}

/// Understands the `rollout` of a flag between two backends, and which groups its stages name.
/// Without backends it just reports what is wrong with the rest.
pub(super) fn rollout(
    (flag, backends): (&FlagName, Option<PerVariant<BackendName>>),
    document: &RolloutDocument,
    (groups, further): (&Names<'_>, &FurtherReader<'_>),
    report: &Report,
) -> Option<(RolloutConfig, Vec<GroupIndex>)> {
    let StageReader {
        stages, exposed, ..
    } = StageReader::of(document, groups, report);
    let (places, mut stages): (Vec<_>, Vec<_>) = stages
        .into_iter()
        .map(|placed| (placed.place, placed.stage))
        .unzip();
    let final_control = document.final_control.as_ref();
    let control = final_control.map_or(defaults::FINAL_CONTROL, |weight| weight.value);
    let problems = problems_of(&stages, control);
    let hooks = close_gates(flag, document, &mut stages, report);
    let further = further.checks(document);
    let list = document.stages.as_ref()?.place;
    for problem in &problems {
        let final_control = final_control.map_or(list, |weight| weight.place);
        report_plan(problem, (list, &places, final_control), report);
    }
    let revision = document.revision.as_ref();
    let PerVariant { stable, canary } = backends?;
    let draft = PlanDraft {
        flag: flag.clone(),
        release: Release {
            revision: revision.map_or_else(String::new, |revision| revision.value.0.clone()),
            stable,
            canary,
        },
        stages,
        watch: document
            .watch
            .as_ref()
            .map_or(defaults::WATCH, |watch| watch.value),
        final_control: control,
        policy: policy(document),
    };
    let plan = RolloutPlan::new(draft).ok()?;
    let judge = judge(document, &plan);
    let is_asked_for = document.checks.feedback.is_some();
    let takes_feedback = is_asked_for || further.reads_ratings();
    Some((
        RolloutConfig {
            plan,
            judge,
            further,
            hooks,
            takes_feedback,
        },
        exposed,
    ))
}

/// What is done where evidence alone does not say.
fn policy(document: &RolloutDocument) -> RolloutPolicy {
    let patience = document.patience.map(|Count(count)| u32::try_from(count));
    let endpoints = document
        .stable_min_endpoints
        .map(|Count(count)| usize::try_from(count).unwrap_or(usize::MAX));
    let deadline = document.deadline.as_ref();
    RolloutPolicy {
        start: match document.start {
            None | Some(StartDocument::Auto) => StartMode::Auto,
            Some(StartDocument::Manual) => StartMode::Manual,
        },
        mode: match document.mode {
            None | Some(ModeDocument::Act) => Mode::Act,
            Some(ModeDocument::Observe) => Mode::Observe,
        },
        no_data: match document.no_data {
            None | Some(NoDataDocument::Hold) => NoData::Hold,
            Some(NoDataDocument::Rollback) => NoData::Rollback,
        },
        undecided: match document.undecided {
            None | Some(UndecidedDocument::Promote) => Undecided::Promote,
            Some(UndecidedDocument::Hold) => Undecided::Hold,
        },
        patience: patience.and_then(Result::ok).unwrap_or(defaults::PATIENCE),
        deadline: deadline.map_or(defaults::DEADLINE, |deadline| deadline.value),
        on_deadline: match document.on_deadline {
            None | Some(OnDeadlineDocument::Hold) => OnDeadline::Hold,
            Some(OnDeadlineDocument::Rollback) => OnDeadline::Rollback,
        },
        stable_min_endpoints: endpoints.unwrap_or_default(),
        rollback_step: document.rollback.as_ref().and_then(rollback_step),
        rollback_scope: rollback_scope(document),
    }
}

/// What the breach of one group takes back.
fn rollback_scope(document: &RolloutDocument) -> RollbackScope {
    match document.rollback_scope {
        None | Some(RollbackScopeDocument::Flag) => RollbackScope::Flag,
        Some(RollbackScopeDocument::Group) => RollbackScope::Group,
    }
}

/// How long each stage lasts on the way back; none where it goes at once.
fn rollback_step(written: &AnyRollbackDocument) -> Option<Duration> {
    match written {
        ShortOr::Short(RollbackDocument::Immediate) => None,
        ShortOr::Short(RollbackDocument::Stepped) => Some(defaults::ROLLBACK_STEP),
        ShortOr::Long(document) => Some(document.stepped.value.0),
    }
}

/// Places a problem of the plan: at the list of stages, the weight of one, or the final control.
fn report_plan(
    problem: &PlanProblem,
    (list, stages, final_control): (Place, &[Place], Place),
    report: &Report,
) {
    let at = |stage: &usize| stages.get(*stage).copied().unwrap_or(list);
    match problem {
        PlanProblem::NoStages if report.has_problem_within(list) => {}
        PlanProblem::NoStages => {
            let problem = Problem::new("there must be at least one stage");
            report.add(
                list,
                problem.hint("write `stages: [1%, 5%, 25%, 50%, 100%]`"),
            );
        }
        PlanProblem::ZeroWeight { stage } => {
            let problem = Problem::new("a stage of 0% gives the canary to nobody");
            report.add(at(stage), problem.hint("write a weight above 0%"));
        }
        PlanProblem::LowersWeight {
            stage,
            group,
            from,
            to,
        } => {
            let who = match group {
                Some(group) => format!("group `{group}`"),
                None => "everyone".to_owned(),
            };
            let problem = format!("{to} is below the {from} that {who} has reached before");
            let hint = "weights only grow along a plan";
            report.add(at(stage), Problem::new(problem).hint(hint));
        }
        PlanProblem::FinalControlTooLarge { reached } => {
            let problem = format!(
                "a final control of this size leaves less than the {reached} reached before"
            );
            let problem = Problem::new(problem);
            report.add(final_control, problem.hint("write a smaller share"));
        }
    }
}

/// Expands what is written into stages of one weight each.
struct StageReader<'a> {
    hold: Duration,
    min_requests: u64,
    groups: &'a Names<'a>,
    report: &'a Report,
    exposed: Vec<GroupIndex>,
    stages: Vec<PlacedStage>,
}

impl<'a> StageReader<'a> {
    /// Reads all stages.
    fn of(document: &RolloutDocument, groups: &'a Names<'a>, report: &'a Report) -> Self {
        let mut reader = Self {
            hold: document
                .hold
                .as_ref()
                .map_or(defaults::HOLD, |hold| hold.value),
            min_requests: document
                .min_requests
                .map_or(defaults::MIN_REQUESTS, |count| count.0),
            groups,
            report,
            exposed: Vec::new(),
            stages: Vec::new(),
        };
        let list = document.stages.as_ref();
        for stage in list.map_or(&[][..], |list| &list.value) {
            match stage {
                ShortOr::Short(weight) => reader.short(weight),
                ShortOr::Long(stage) => reader.long(stage),
            }
        }
        reader
    }

    fn short(&mut self, weight: &Written<Weight>) {
        let (hold, min_requests) = (self.hold, self.min_requests);
        self.push(weight, Vec::new(), hold, min_requests);
    }

    fn long(&mut self, stage: &Placed<StageDocument>) {
        let document = &stage.value;
        let groups = self.stage_groups(document);
        let hold = document.hold.as_ref().map_or(self.hold, |hold| hold.value);
        let min_requests = document
            .min_requests
            .map_or(self.min_requests, |Count(count)| count);
        for weight in self.weights(stage) {
            self.push(weight, groups.clone(), hold, min_requests);
        }
    }

    fn push(
        &mut self,
        weight: &Written<Weight>,
        groups: Vec<GroupName>,
        hold: Duration,
        min_requests: u64,
    ) {
        let stage = Stage {
            shape: StageShape {
                groups,
                weight: weight.value,
            },
            hold,
            min_requests,
            needs_approval: false,
            gates: Vec::new(),
        };
        let place = weight.place;
        self.stages.push(PlacedStage { place, stage });
    }

    /// The weights of a stage: `weight` or `weights`.
    fn weights<'d>(&self, stage: &'d Placed<StageDocument>) -> &'d [Written<Weight>] {
        match (&stage.value.weight, &stage.value.weights) {
            (Some(weight), None) => std::slice::from_ref(weight),
            (None, Some(weights)) => {
                if weights.value.is_empty() && !self.report.has_problem_within(weights.place) {
                    let problem = Problem::new("there must be at least one weight");
                    self.report
                        .add(weights.place, problem.hint("write `weights: [1%, 5%]`"));
                }
                &weights.value
            }
            (Some(_), Some(weights)) => {
                let problem = Problem::new("`weights` beside `weight`");
                self.report
                    .add(weights.place, problem.hint("remove one of the two"));
                &[]
            }
            (None, None) if self.report.has_problem_within(stage.place) => &[],
            (None, None) => {
                let problem = Problem::new("a stage needs a weight");
                self.report
                    .add(stage.place, problem.hint("add `weight: 5%`"));
                &[]
            }
        }
    }

    /// The groups of a stage; none for everyone.
    fn stage_groups(&mut self, document: &StageDocument) -> Vec<GroupName> {
        let Some(groups) = &document.groups else {
            return Vec::new();
        };
        if groups.value.is_empty() && !self.report.has_problem_within(groups.place) {
            let problem = Problem::new("a stage for no group reaches nobody");
            let hint = "name groups, or remove `groups` for everyone";
            self.report.add(groups.place, problem.hint(hint));
        }
        let places = self.groups.resolve_each(&groups.value, self.report);
        self.exposed.extend(places.into_iter().map(GroupIndex));
        groups
            .value
            .iter()
            .filter_map(|group| group.value.parse().ok())
            .collect()
    }
}

/// The judge's own settings, but for what is written.
fn judge(document: &RolloutDocument, plan: &RolloutPlan) -> JudgeSettings {
    let increase = |written: &Option<Written<Increase>>| written.as_ref().map(|w| w.value.0);
    let ChecksDocument {
        error_rate,
        latency,
        feedback,
        ..
    } = &document.checks;
    let feedback = feedback.as_ref();
    let groups = plan.weights_of_success().groups;
    JudgeSettings {
        // Whether callers are known again is said elsewhere.
        unit: Unit::default(),
        sensitivity: match document.sensitivity {
            Some(SensitivityDocument::Cautious) => Sensitivity::Cautious,
            None | Some(SensitivityDocument::Normal) => Sensitivity::Normal,
            Some(SensitivityDocument::Bold) => Sensitivity::Bold,
        },
        tolerances: Tolerances {
            max_increase: increase(&error_rate.max_increase),
            p50: increase(&latency.p50),
            p90: increase(&latency.p90),
            p99: increase(&latency.p99),
            min: feedback.and_then(|it| it.min).map(|Rating(min)| min),
        },
        error_rate_max: error_rate.max.as_ref().map(|share| share.value.ratio()),
        mean_latency_max: latency.mean.as_ref().map(|mean| mean.max.value.0),
        ratings_min: feedback
            .and_then(|it| it.min_ratings)
            .map(|Count(count)| count),
        groups: groups.into_keys().collect(),
        rollback_scope: rollback_scope(document),
    }
}
