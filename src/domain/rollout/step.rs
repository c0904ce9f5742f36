//! The one answer to everything that can happen to a rollout.
//!
//! What evidence does is in `judged`, what operators do in `verbs`, what a changed plan or a
//! restart makes of a state in `adopt`; all of them end in `transition`, the one place where a
//! state is changed.

use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::event::{Event, Moment};
use crate::domain::rollout::plan::RolloutPlan;
use crate::domain::rollout::policy::StartMode;
use crate::domain::rollout::state::{Phase, RolloutState, Wait};
use crate::domain::rollout::transition::{Rollout, Step, Target};

/// Begins a rollout: its first stage, or its wait for somebody to start it.
///
/// `epoch_before` is the flag's last epoch, of whatever rollout, or 0; `is_on` tells whether the
/// flag is on.
pub fn start(plan: &RolloutPlan, epoch_before: u64, is_on: bool, moment: &Moment<'_>) -> Step {
    let wait = match plan.policy().start {
        _ if !is_on => Some(Wait::FlagOff),
        StartMode::Manual => Some(Wait::Start),
        StartMode::Auto if plan.stage(0).needs_approval => Some(Wait::Start),
        StartMode::Auto if moment.freeze.is_some() => Some(Wait::Freeze),
        StartMode::Auto if !plan.stage(0).gates.is_empty() => Some(Wait::Gate),
        StartMode::Auto => None,
    };
    let state = RolloutState::waiting(wait.unwrap_or(Wait::Start), epoch_before);
    let why = format!("revision {} is to be released", plan.revision());
    let cause = Cause::by("plan", why, Vec::new());
    let rollout = Rollout {
        plan,
        state,
        moment,
    };
    match wait {
        None => rollout.begin(cause),
        Some(wait) => rollout.enter_anew(
            Target {
                phase: Phase::Waiting { wait },
                stage: 0,
                what: format!("waiting {wait}"),
            },
            cause,
        ),
    }
}

/// Advances a rollout by one event.
///
/// Pure: equal arguments give equal results, so a trace can be replayed and every answer tested.
/// The caller performs the returned effects in order; `Persist` always precedes `PublishWeights`.
pub fn step(plan: &RolloutPlan, state: RolloutState, event: Event, moment: &Moment<'_>) -> Step {
    let rollout = Rollout {
        plan,
        state,
        moment,
    };
    match event {
        Event::Tick { verdict, requests } => rollout.tick(verdict, requests.canary),
        Event::Tripped { finding } => rollout.tripped(finding),
        Event::Command { command, by } => rollout.obey(command, by),
        Event::Switched { is_on, by } => rollout.switched(is_on, by),
        Event::PlanChanged {
            before,
            is_judged_anew,
        } => rollout.adopt(&before, is_judged_anew),
        Event::Restarted { before } => rollout.restarted(&before),
    }
}
