//! Puts a configuration in the place of the running one: at the start, and at each reload.
//!
//! All or nothing. What is refused is found before anything is changed, and what requests are
//! decided by changes in one swap. A release that goes on keeps its weights or gets lower ones; a
//! release that is new starts at zero; one that was known before goes on where it was written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Definitions, FlagConfig};
use crate::control::perform::Performer;
use crate::control::running::RunningRollout;
use crate::domain::app::Declarations;
use crate::domain::flag::{Flag, FlagWeights};
use crate::domain::further::FurtherChecks;
use crate::domain::group::GroupTable;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::judge::JudgeSettings;
use crate::domain::notify::NotifyTarget;
use crate::domain::rollout::{
    Admission, Author, Event, Moment, PauseCause, Phase, PlanBefore, ReleaseRefusal, RolloutPlan,
    RolloutRecord, RolloutState, Step, Wait, admit, start,
};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::stopwatch::Stopwatch;

/// Who switches a flag by the configuration.
const FILE: &str = "configuration";

/// A rollout as configured.
#[derive(Clone, Debug)]
pub struct PlannedRollout {
    /// The flag it moves.
    pub flag: FlagIndex,
    /// Its stages.
    pub plan: RolloutPlan,
    /// What it is judged by.
    pub judge: JudgeSettings,
    /// What it is judged by besides.
    pub further: FurtherChecks,
    /// Whether callers may rate it.
    pub takes_feedback: bool,
}

/// What a configuration means to the control plane.
#[derive(Clone, Debug, Default)]
pub struct NewConfiguration {
    /// What requests are decided by; the weights of flags with a rollout are zero.
    pub routing: RoutingSnapshot,
    /// The rollouts, in the file's order.
    pub planned: Vec<PlannedRollout>,
    /// Who is told of changes by a message.
    pub targets: Vec<NotifyTarget>,
    /// The apps that it declares.
    pub apps: Arc<Declarations>,
    /// What flags may be defined beside at run time.
    pub definitions: Definitions,
}

impl NewConfiguration {
    /// Adds a flag after those that are there.
    pub fn add(&mut self, config: FlagConfig) {
        let flag = FlagIndex(self.routing.flags.len());
        self.routing.flags.push(Arc::new(config.flag));
        let planned = config.rollout.map(|rollout| PlannedRollout {
            flag,
            plan: rollout.plan,
            judge: rollout.judge,
            further: rollout.further,
            takes_feedback: rollout.takes_feedback,
        });
        self.planned.extend(planned);
    }
}

/// Why a flag cannot be changed as the configuration wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagRefusal {
    /// The flag.
    pub flag: FlagName,
    /// The key below the flag that would have to be another; none for the flag itself.
    pub key: Option<&'static str>,
    /// What is wrong.
    pub problem: String,
    /// What would have been right.
    pub hint: String,
}

impl FlagRefusal {
    fn of_release(flag: &FlagName, refusal: &ReleaseRefusal) -> Self {
        Self {
            flag: flag.clone(),
            key: Some(refusal.key()),
            problem: refusal.to_string(),
            hint: refusal.hint(),
        }
    }

    fn in_use(rollout: &RunningRollout) -> Self {
        let phase = rollout.state().phase.as_str();
        Self {
            flag: rollout.name.clone(),
            key: None,
            problem: format!(
                "flag `{}` has a rollout that is {phase}, and would be without one",
                rollout.name
            ),
            hint: "abort the rollout first, or keep the flag and its `rollout`".to_owned(),
        }
    }
}

/// Every release that is known, by flag; the one written last at the end.
pub(crate) type Records = BTreeMap<FlagName, Vec<RolloutRecord>>;

/// Remembers a record as the one written last of its flag.
pub(crate) fn remember(records: &mut Records, record: RolloutRecord) {
    let known = records.entry(record.flag.clone()).or_default();
    known.retain(|other| other.release != record.release);
    known.push(record);
}

/// Whether a configuration may take the place of the running one, and how each rollout does.
pub(crate) fn examine(
    configuration: &NewConfiguration,
    running: &[RunningRollout],
    records: &Records,
) -> Result<Vec<Admission>, Vec<FlagRefusal>> {
    let mut refusals = Vec::new();
    let mut admissions = Vec::new();
    for PlannedRollout { plan, .. } in &configuration.planned {
        let known = records.get(plan.flag()).map_or(&[][..], Vec::as_slice);
        match admit(plan, known) {
            Ok(admission) => admissions.push(admission),
            Err(refusal) => refusals.push(FlagRefusal::of_release(plan.flag(), &refusal)),
        }
    }
    let is_planned = |rollout: &RunningRollout| {
        let planned = configuration.planned.iter();
        planned
            .map(|p| p.plan.flag())
            .any(|flag| *flag == rollout.name)
    };
    let in_use = running
        .iter()
        .filter(|rollout| rollout.state().phase.is_judged() && !is_planned(rollout));
    refusals.extend(in_use.map(FlagRefusal::in_use));
    if refusals.is_empty() {
        Ok(admissions)
    } else {
        Err(refusals)
    }
}

/// Carries a configuration out that has been examined; gives the rollouts that are running then.
pub(crate) fn carry_out(
    configuration: NewConfiguration,
    admissions: Vec<Admission>,
    mut running: Vec<RunningRollout>,
    (performer, records): (&mut Performer, &mut Records),
    moment: &Moment<'_>,
) -> Vec<RunningRollout> {
    let NewConfiguration {
        mut routing,
        planned,
        targets,
        apps: _,
        definitions: _,
    } = configuration;
    performer.targets = targets;
    count_reweighted(&mut routing, &performer.routing);
    performer.replace(routing);
    let mut installed = Vec::new();
    for (planned, admission) in planned.into_iter().zip(admissions) {
        for superseded in &admission.superseded {
            let ended = performer.supersede(superseded, planned.plan.revision());
            remember(records, ended);
        }
        let goes_on = |rollout: &RunningRollout| rollout.is_of(&planned.plan);
        let mut rollout = match running.iter().position(goes_on) {
            Some(place) => {
                let mut rollout = running.swap_remove(place);
                rollout.adopt(planned, performer, moment);
                rollout
            }
            None => enter(planned, admission, performer, moment),
        };
        let by = Author {
            who: FILE.to_owned(),
            why: String::new(),
        };
        follow_switch(&mut rollout, &by, performer, moment);
        installed.push(rollout);
    }
    performer.publish();
    installed
}

/// A rollout that was not running: known from before, or new.
fn enter(
    planned: PlannedRollout,
    admission: Admission,
    performer: &mut Performer,
    moment: &Moment<'_>,
) -> RunningRollout {
    let is_on = performer.routing.flag(planned.flag).enabled;
    if let Some(mut record) = admission.known {
        record.state.under_way = under_way(&record, performer);
        let mut rollout = RunningRollout::of_record(planned, &record, performer);
        let before = PlanBefore {
            stages: record.stages,
            weights: record.weights,
        };
        rollout.advance_or_hold(Event::Restarted { before }, moment, performer);
        return rollout;
    }
    let step = start(&planned.plan, admission.epoch_before, is_on, moment);
    let waiting = RolloutState::waiting(Wait::State, admission.epoch_before);
    let mut rollout = RunningRollout::new(planned, waiting, performer);
    let Step { state, effects, .. } = step;
    if let Err(error) = rollout.take(state, effects, performer, moment) {
        tracing::error!(flag = %rollout.name, %error, "rollout not started");
    }
    rollout
}

/// How much of the deadline of a record has passed: what was kept beside it may be newer.
fn under_way(record: &RolloutRecord, performer: &Performer) -> Stopwatch {
    let (known, passed) = (performer.evidence.get(&record.flag), record.state.under_way);
    let of_it = known
        .filter(|known| known.release == record.release && known.attempt == record.state.attempt);
    of_it.map_or(passed, |known| {
        passed.at_least(Duration::from_secs(known.under_way_seconds))
    })
}

/// Follows the switch of the flag; `by` whom it was switched, and why.
pub(crate) fn follow_switch(
    rollout: &mut RunningRollout,
    by: &Author,
    performer: &mut Performer,
    moment: &Moment<'_>,
) {
    let is_on = performer.routing.flag(rollout.flag).enabled;
    if rollout.was_on() == is_on {
        return;
    }
    let mut by = by.clone();
    if by.why.is_empty() {
        let word = if is_on { "on" } else { "off" };
        by.why = format!("the flag was switched {word}");
    }
    rollout.advance_or_hold(Event::Switched { is_on, by }, moment, performer);
}

/// Gives flags whose weights were changed by hand another epoch, so that what is counted under
/// one weight is never taken for another.
fn count_reweighted(routing: &mut RoutingSnapshot, before: &RoutingSnapshot) {
    let groups = Arc::clone(&routing.groups);
    for flag in &mut routing.flags {
        let known = before.flags.iter().find(|known| known.name == flag.name);
        if let Some(known) = known {
            let is_same = same_weights((flag, &groups), (known, &before.groups));
            let epoch = known.epoch.saturating_add(u64::from(!is_same));
            Arc::make_mut(flag).epoch = epoch;
        }
    }
}

fn same_weights(
    (flag, groups): (&Flag, &GroupTable),
    (known, known_groups): (&Flag, &GroupTable),
) -> bool {
    let named = |weights: &FlagWeights, groups: &GroupTable| {
        let entries = weights.groups.iter();
        let named = entries.map(|entry| (groups.name(entry.group).clone(), entry.weight));
        (named.collect::<Vec<_>>(), weights.default)
    };
    named(&flag.weights, groups) == named(&known.weights, known_groups)
}

/// Whether a phase is one that a flag was on in, as far as it tells.
pub(crate) const fn tells_off(phase: &Phase) -> bool {
    matches!(
        phase,
        Phase::Waiting {
            wait: Wait::FlagOff
        } | Phase::Paused {
            cause: PauseCause::FlagOff,
            ..
        }
    )
}
