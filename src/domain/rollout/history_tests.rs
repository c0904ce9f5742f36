//! What must hold along any history.

use proptest::prelude::*;

use super::fixtures::*;
use super::*;
use crate::domain::judge::{Action, Assessment, Verdict};
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

fn any_event() -> impl Strategy<Value = Event> {
    let verb = proptest::sample::select(Command::ALL.to_vec());
    prop_oneof![
        8 => Just(tick(Action::Promote, 500)),
        4 => Just(tick(Action::Hold, 500)),
        2 => Just(judged(Assessment::Undecided, 0.1, 500)),
        1 => Just(tick(Action::Rollback, 500)),
        1 => Just(tripped(Assessment::Breach)),
        4 => verb.prop_map(command),
        1 => any::<bool>().prop_map(switched),
    ]
}

proptest! {
    #[test]
    fn any_history_keeps_the_promises(
        events in prop::collection::vec((any_event(), 0_u64..400), 0..40)
    ) {
        let plan = plan();
        let mut now = 0;
        let mut state = start(&plan, 0, true, &Moment::at(at(now))).state;
        for (event, seconds) in events {
            now += seconds;
            let before = state.clone();
            let answer = step(&plan, before.clone(), event.clone(), &Moment::at(at(now)));
            check_promises(&plan, &before, &event, &answer)?;
            state = answer.state;
        }
    }

    #[test]
    fn without_evidence_nothing_is_promoted(ticks in prop::collection::vec(0_u64..4000, 0..30)) {
        let plan = plan();
        let mut state = start(&plan, 0, true, &Moment::at(at(0))).state;
        let mut now = 0;
        for seconds in ticks {
            now += seconds;
            let verdict = Verdict::from_findings(Vec::new());
            let event = Event::Tick { verdict, requests: PerVariant::default() };
            state = step(&plan, state, event, &Moment::at(at(now))).state;
            prop_assert_eq!(state.stage, 0);
        }
    }

    #[test]
    fn what_is_stored_is_read_back(
        events in prop::collection::vec((any_event(), 0_u64..400), 0..20)
    ) {
        let plan = plan();
        let mut state = start(&plan, 0, true, &Moment::at(at(0))).state;
        let mut now = 0;
        for (event, seconds) in events {
            now += seconds;
            state = step(&plan, state, event, &Moment::at(at(now))).state;
        }
        let stored = serde_json::to_string(&state).unwrap();
        let read: RolloutState = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&read.phase, &state.phase);
        prop_assert_eq!((read.stage, read.epoch, read.attempt), (state.stage, state.epoch, state.attempt));
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    }
}

/// What must hold of every answer, whatever happened.
pub(super) fn check_promises(
    plan: &RolloutPlan,
    before: &RolloutState,
    event: &Event,
    answer: &Step,
) -> Result<(), TestCaseError> {
    let (old, new) = (plan.weights_at(before), plan.weights_at(&answer.state));
    let is_restart = matches!(
        event,
        Event::Command {
            command: Command::Retry,
            ..
        }
    );
    if answer.state.phase.is_taken_back() {
        prop_assert!(new.is_zero(), "nobody has canary then");
    } else if matches!(answer.state.phase, Phase::RollingBack { .. }) {
        prop_assert!(new.is_at_most(&old), "down only");
    } else {
        let kept = answer.state.allowed(old.clone());
        prop_assert!(kept.is_at_most(&new), "weights only grow");
    }
    if before.phase.is_taken_back() && !is_restart {
        prop_assert!(new.is_zero(), "what was taken back stays so: {:?}", event);
    }
    let is_full = matches!(
        event,
        Event::Command {
            command: Command::Promote { full: true },
            ..
        }
    );
    if before.phase.is_judged() && !is_full {
        prop_assert!(
            answer.state.stage <= before.stage + 1,
            "one stage at a time"
        );
    }
    let rolls_back = matches!(
        event,
        Event::Command {
            command: Command::Rollback,
            ..
        }
    );
    let is_stepped = plan.policy().rollback_step.is_some();
    if rolls_back && answer.refused.is_none() && !is_stepped {
        prop_assert!(new.is_zero(), "a rollback takes one step");
    }
    prop_assert_eq!(answer.state.epoch - before.epoch, u64::from(old != new));
    let place = |wanted: fn(&Effect) -> bool| answer.effects.iter().position(wanted);
    let persist = place(|effect| matches!(effect, Effect::Persist { .. }));
    let publish = place(|effect| matches!(effect, Effect::PublishWeights { .. }));
    prop_assert!(publish.is_some() || old == new);
    prop_assert!(
        publish.is_none() || persist == Some(0),
        "written down first"
    );
    if answer.refused.is_some() {
        prop_assert_eq!(&answer.state, before);
        prop_assert!(answer.effects.is_empty());
    }
    check_weights(plan, (before, answer), &new, is_restart)?;
    prop_assert!(new.all().all(|weight| weight <= Weight::FULL));
    Ok(())
}

/// What must hold of the weights of an answer, and of groups that were taken back alone.
fn check_weights(
    plan: &RolloutPlan,
    (before, answer): (&RolloutState, &Step),
    new: &StageWeights,
    is_restart: bool,
) -> Result<(), TestCaseError> {
    let is_planned = |weights| answer.state.allowed(weights) == *new;
    let in_plan = (0..plan.stages().len()).any(|stage| is_planned(plan.weights_of_stage(stage)));
    prop_assert!(in_plan || new.is_zero() || is_planned(plan.weights_of_success()));
    for taken in &answer.state.rolled_back_groups {
        prop_assert_eq!(new.of(Some(&taken.group)), Weight::ZERO, "back is back");
    }
    if !is_restart {
        let kept = answer.state.rolled_back_groups.iter();
        let kept = kept.take(before.rolled_back_groups.len());
        prop_assert!(kept.eq(&before.rolled_back_groups), "and stays so");
    }
    Ok(())
}
