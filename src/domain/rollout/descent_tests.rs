//! The way down, stage by stage and at once.

use std::time::Duration;

use super::fixtures::*;
use super::history_tests::check_promises;
use super::*;
use crate::domain::judge::{Action, Assessment, CheckName, Verdict};
use crate::domain::variant::PerVariant;

const STEP: Duration = Duration::from_secs(30);

fn stepped() -> RolloutPlan {
    let policy = RolloutPolicy {
        rollback_step: Some(STEP),
        ..POLICY
    };
    plan_of(
        ["5%", "25%", "50%", "100%"]
            .map(|weight| stage(&[], weight))
            .to_vec(),
        policy,
    )
}

#[track_caller]
fn after(before: &RolloutState, event: Event, seconds: u64) -> Step {
    let plan = stepped();
    let answer = step(
        &plan,
        before.clone(),
        event.clone(),
        &Moment::at(at(seconds)),
    );
    check_promises(&plan, before, &event, &answer).unwrap();
    answer
}

fn place(state: &RolloutState) -> (&'static str, usize) {
    (state.phase.as_str(), state.stage)
}

/// A verdict of harm that this check has found.
fn harm(check: CheckName) -> Event {
    let found = crate::domain::judge::Finding {
        check,
        ..finding(Assessment::Breach, 1.0)
    };
    Event::Tick {
        verdict: Verdict::from_findings(vec![found]),
        requests: PerVariant::default(),
    }
}

#[test]
fn it_goes_down_a_stage_at_a_time_and_never_up_again() {
    for (phase, from, first) in [
        ("progressing", 2, 1),
        ("watching", 3, 2),
        ("succeeded", 3, 2),
        ("paused", 2, 1),
        ("gate", 2, 1),
    ] {
        let begun = after(&state(phase, from), command(Command::Rollback), 2000).state;
        assert_eq!(place(&begun), ("rolling_back", first), "{phase}");
        // The harm that is known does not hasten it, and a pass does not turn it round.
        for event in [harm(CheckName::ErrorRateMax), tick(Action::Promote, 900)] {
            let begun = after(
                &state("progressing", 2),
                harm(CheckName::ErrorRateMax),
                2000,
            )
            .state;
            let early = after(&begun, event.clone(), 2029).state;
            assert_eq!(place(&early), ("rolling_back", 1));
            let late = after(&early, event.clone(), 2030).state;
            assert_eq!(place(&late), ("rolling_back", 0));
            let done = after(&late, event, 2060).state;
            assert_eq!(place(&done), ("rolled_back", 0));
        }
    }
    // From the first stage there is nowhere else to go.
    let done = after(&state("progressing", 0), harm(CheckName::ErrorRate), 2000).state;
    assert_eq!(place(&done), ("rolled_back", 0));
    // Where nobody has canary there is nothing to go down from.
    let done = after(&state("waiting", 0), command(Command::Rollback), 2000).state;
    assert_eq!(place(&done), ("rolled_back", 0));
}

#[test]
fn what_was_not_known_takes_it_to_nothing_at_once() {
    let begun = after(&state("watching", 3), harm(CheckName::ErrorRate), 2000).state;
    assert_eq!(place(&begun), ("rolling_back", 2));
    for event in [
        harm(CheckName::LatencyP99),
        harm(CheckName::Tripwire),
        tripped(Assessment::Breach),
        command(Command::Rollback),
    ] {
        let done = after(&begun, event, 2001).state;
        assert_eq!(place(&done), ("rolled_back", 2));
    }
    let aborted = after(&begun, command(Command::Abort), 2001).state;
    assert_eq!(place(&aborted), ("aborted", 2));
    // The tripwire never waits.
    let dead = after(&state("progressing", 2), harm(CheckName::Tripwire), 2000).state;
    assert_eq!(place(&dead), ("rolled_back", 2));
}

#[test]
fn nobody_turns_it_round() {
    let begun = after(&state("watching", 3), harm(CheckName::ErrorRate), 2000).state;
    for verb in [
        Command::Start,
        Command::Pause,
        Command::Resume,
        Command::Promote { full: false },
        Command::Promote { full: true },
        Command::Retry,
    ] {
        let answer = after(&begun, command(verb), 2001);
        assert!(answer.refused.is_some(), "{verb:?}");
    }
    for is_on in [false, true] {
        assert_eq!(after(&begun, switched(is_on), 2001).state, begun);
    }
}

#[test]
fn a_restart_goes_on_down_from_where_it_was_written() {
    let plan = stepped();
    let begun = after(&state("watching", 3), harm(CheckName::ErrorRate), 2000).state;
    let stored = serde_json::to_string(&begun).unwrap();
    let read: RolloutState = serde_json::from_str(&stored).unwrap();
    let event = Event::Restarted {
        before: before(&plan, &begun),
    };
    let again = step(&plan, read, event, &Moment::at(at(3))).state;
    assert_eq!(
        (place(&again), &again.phase),
        (("rolling_back", 2), &begun.phase)
    );
    assert_eq!(
        place(&after(&again, tick(Action::Hold, 0), 32).state),
        ("rolling_back", 2)
    );
    assert_eq!(
        place(&after(&again, tick(Action::Hold, 0), 33).state),
        ("rolling_back", 1)
    );

    // A plan without that stage goes on lower, and one without any as low as nothing.
    for (weights, expected) in [
        (&["5%", "100%"][..], ("rolling_back", 0)),
        (&["60%", "100%"][..], ("rolled_back", 0)),
    ] {
        let other = plan_of(
            weights.iter().map(|weight| stage(&[], weight)).collect(),
            POLICY,
        );
        let event = Event::PlanChanged {
            before: before(&plan, &begun),
            is_judged_anew: false,
        };
        let answer = step(&other, begun.clone(), event, &Moment::at(at(2001)));
        assert_eq!(place(&answer.state), expected);
        let weights = other.weights_at(&answer.state);
        assert!(weights.is_at_most(&plan.weights_at(&begun)));
    }
}
