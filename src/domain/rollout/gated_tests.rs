//! Gates between the stages of a plan, open and closed.

use super::fixtures::*;
use super::history_tests::check_promises;
use super::*;
use crate::domain::gate::{Awaits, ClosedGate, GatesNow};
use crate::domain::judge::{Action, Assessment};

fn closed(awaits: Awaits, gist: &str) -> GatesNow {
    GatesNow {
        closed: Some(ClosedGate {
            name: "ci".parse().unwrap(),
            awaits,
            says: format!("gate `ci` {gist}"),
            gist: gist.to_owned(),
        }),
        opened_by: String::new(),
    }
}

fn open() -> GatesNow {
    GatesNow {
        closed: None,
        opened_by: "gate `ci` answered 200".to_owned(),
    }
}

#[track_caller]
fn after(before: &RolloutState, event: Event, gates: Option<&GatesNow>) -> Step {
    let plan = gated_plan();
    let moment = Moment {
        gates,
        ..Moment::at(at(1060))
    };
    let answer = step(&plan, before.clone(), event.clone(), &moment);
    check_promises(&plan, before, &event, &answer).unwrap();
    answer
}

fn told(answer: &Step) -> Vec<(&str, &str, bool)> {
    let effects = answer.effects.iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Persist { entry, notice, .. } => {
                Some((entry.what.as_str(), entry.why.as_str(), notice.is_some()))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_stage_that_has_passed_waits_for_its_gate_and_goes_on_once_it_is_open() {
    let passes = || tick(Action::Promote, 100);
    let progressing = state("progressing", 0);
    // Open already: on at once.
    let open = open();
    let answer = after(&progressing, passes(), Some(&open));
    assert_eq!(
        (answer.state.phase.as_str(), answer.state.stage),
        ("progressing", 1)
    );

    for (gates, awaits) in [
        (closed(Awaits::Window, "opens tomorrow"), Awaits::Window),
        (closed(Awaits::Webhook, ""), Awaits::Webhook),
    ] {
        let waiting = after(&progressing, passes(), Some(&gates));
        assert_eq!(waiting.state.phase, Phase::WaitingForGate { awaits });
        assert_eq!(waiting.state.stage, 0);
        let [
            Effect::Persist {
                notice: Some(notice),
                ..
            },
        ] = &waiting.effects[..]
        else {
            panic!("{:?}", waiting.effects);
        };
        assert_eq!(notice.passed, Some(1));
        // The verdict of the stage stands: it passes by the gate alone.
        let on = after(&waiting.state, tick(Action::Hold, 0), Some(&open));
        assert_eq!(
            (on.state.phase.as_str(), on.state.stage),
            ("progressing", 1)
        );
        let told = told(&on);
        assert_eq!(
            told,
            [("stage 2 of 3 begins", "gate `ci` answered 200", true)]
        );
    }
    // What nobody has looked at is closed.
    let unknown = after(&progressing, passes(), None);
    assert_eq!(unknown.state.phase.as_str(), "waiting_for_gate");
}

#[test]
fn a_closed_gate_says_each_reason_once_and_tells_nobody() {
    let waiting = state("gate", 0);
    let refused = closed(Awaits::Webhook, "answered 403");
    let first = after(&waiting, tick(Action::Hold, 0), Some(&refused));
    assert_eq!(
        told(&first),
        [("gate `ci` holds stage 2", "gate `ci` answered 403", false)]
    );
    let again = after(&first.state, tick(Action::Hold, 0), Some(&refused));
    assert_eq!(told(&again), []);
    let silent = closed(Awaits::Webhook, "does not answer");
    let other = after(&again.state, tick(Action::Hold, 0), Some(&silent));
    assert_eq!(told(&other).len(), 1);
    // What it waits for may change.
    let late = closed(Awaits::Window, "opens tomorrow");
    let window = after(&other.state, tick(Action::Hold, 0), Some(&late));
    let awaits = Awaits::Window;
    assert_eq!(window.state.phase, Phase::WaitingForGate { awaits });
}

#[test]
fn no_gate_keeps_canary_from_being_taken_back_and_promote_goes_through() {
    let closed = closed(Awaits::Webhook, "answered 403");
    for phase in ["gate", "window", "progressing", "paused-gate"] {
        for event in [
            tick(Action::Rollback, 20),
            tripped(Assessment::Breach),
            command(Command::Rollback),
        ] {
            let answer = after(&state(phase, 1), event, Some(&closed));
            assert_eq!(answer.state.phase.as_str(), "rolled_back", "{phase}");
        }
        let promoted = after(
            &state(phase, 0),
            command(Command::Promote { full: false }),
            Some(&closed),
        );
        assert_eq!(
            (promoted.state.phase.as_str(), promoted.state.stage),
            ("progressing", 1)
        );
    }
}

#[test]
fn an_approval_opens_no_other_gate() {
    let late = closed(Awaits::Window, "opens tomorrow");
    let promote = |full| command(Command::Promote { full });
    for phase in ["approval", "paused-approval"] {
        let waiting = state(phase, 0);
        let approved = after(&waiting, promote(false), Some(&late));
        let awaits = Awaits::Window;
        assert_eq!(approved.state.phase, Phase::WaitingForGate { awaits });
        assert_eq!(approved.state.stage, 0);
        let on = after(&approved.state, tick(Action::Hold, 0), Some(&open()));
        assert_eq!(
            (on.state.phase.as_str(), on.state.stage),
            ("progressing", 1)
        );
        // Said once more, it is meant for that gate.
        let through = after(&approved.state, promote(false), Some(&late));
        assert_eq!(through.state.stage, 1);
        let at_once = after(&waiting, promote(false), Some(&open()));
        assert_eq!(at_once.state.stage, 1);
        let full = after(&waiting, promote(true), Some(&late));
        assert_eq!(full.state.phase.as_str(), "watching");
    }
}

#[test]
fn other_checks_have_a_stage_before_a_gate_judged_anew() {
    let plan = gated_plan();
    for (phase, expected) in [("gate", "progressing"), ("paused-gate", "paused")] {
        let waiting = state(phase, 0);
        let event = Event::PlanChanged {
            before: before(&plan, &waiting),
            is_judged_anew: true,
        };
        let anew = step(&plan, waiting, event, &Moment::at(at(1060)));
        assert_eq!(anew.state.phase.as_str(), expected);
        assert!(anew.effects.contains(&Effect::RestartEvidence));
        if let Phase::Paused { from, .. } = anew.state.phase {
            assert_eq!(from, Resumption::Stage);
        }
        // The hold has begun anew, too.
        let held = step(
            &plan,
            RolloutState {
                phase: Phase::Progressing,
                ..anew.state
            },
            tick(Action::Promote, 1_000_000),
            &Moment {
                gates: Some(&open()),
                ..Moment::at(at(1061))
            },
        );
        assert_eq!(held.state.stage, 0);
    }
}

#[test]
fn a_rollout_begins_once_the_gate_before_its_first_stage_is_open() {
    let plan = gated_plan();
    let begun = start(&plan, 0, true, &Moment::at(at(0)));
    let wait = Wait::Gate;
    assert_eq!(begun.state.phase, Phase::Waiting { wait });
    let closed = closed(Awaits::Webhook, "answered 403");
    let held = after(&begun.state, tick(Action::Hold, 0), Some(&closed));
    assert_eq!(held.state.phase, Phase::Waiting { wait });
    assert_eq!(told(&held).len(), 1);
    let on = after(&held.state, tick(Action::Hold, 0), Some(&open()));
    assert_eq!(
        (on.state.phase.as_str(), on.state.stage),
        ("progressing", 0)
    );
    let through = after(
        &held.state,
        command(Command::Promote { full: false }),
        Some(&closed),
    );
    assert_eq!(through.state.phase, Phase::Progressing);
    // An operator who starts or tries again has the gate asked, too.
    for (phase, verb) in [("waiting", Command::Start), ("rolled_back", Command::Retry)] {
        let asked = after(&state(phase, 0), command(verb), None);
        assert_eq!(asked.state.phase, Phase::Waiting { wait }, "{phase}");
    }
}

#[test]
fn the_time_until_a_window_opens_is_not_counted_against_the_deadline() {
    let late = closed(Awaits::Window, "opens tomorrow");
    let slow = closed(Awaits::Webhook, "answered 403");
    let passed = |gates: &GatesNow| {
        after(
            &state("progressing", 0),
            tick(Action::Promote, 100),
            Some(gates),
        )
        .state
    };
    let under_way = |state: &RolloutState| state.under_way.elapsed(at(1060 + 7200));
    assert!(under_way(&passed(&late)) < DEADLINE);
    assert!(under_way(&passed(&slow)) > DEADLINE);
}

#[test]
fn a_gate_that_the_configuration_takes_away_is_waited_for_no_more() {
    let (gated, plain) = (
        gated_plan(),
        plan_of(
            vec![stage(&[], "5%"), stage(&[], "25%"), stage(&[], "100%")],
            POLICY,
        ),
    );
    let waiting = state("gate", 0);
    let changed = |plan: &RolloutPlan| {
        let event = Event::PlanChanged {
            before: before(&gated, &waiting),
            is_judged_anew: false,
        };
        step(plan, waiting.clone(), event, &Moment::at(at(1060)))
            .state
            .phase
    };
    assert_eq!(changed(&plain), Phase::Progressing);
    assert_eq!(changed(&gated), waiting.phase);
    let restarted = Event::Restarted {
        before: before(&gated, &waiting),
    };
    let after = step(&gated, waiting.clone(), restarted, &Moment::at(at(1060)));
    assert_eq!(after.state.phase, waiting.phase);
}
