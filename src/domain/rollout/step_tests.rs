//! Every phase with every event.

use std::time::Duration;

use super::fixtures::*;
use super::history_tests::check_promises;
use super::*;
use crate::domain::gate::Awaits;
use crate::domain::judge::{Action, Assessment};

/// What each event makes of each phase, a minute after it began, in stage 1 of 4 (counted from 0),
/// the next of which has to be approved; the watch and the end are in stage 3.
///
/// `=` stays as it is, `!` is refused; else the phase (as in `fixtures::phases`) and stage after.
const MATRIX: &str = "
                | pass       | hold | breach        | tripped       | nearly | start         | pause             | resume        | promote       | full       | rollback      | abort     | retry         | off             | on
waiting         | =          | =    | =             | =             | =      | progressing 0 | !                 | !             | !             | !          | rolled_back 1 | aborted 1 | !             | =               | =
off             | =          | =    | =             | =             | =      | !             | !                 | !             | !             | !          | rolled_back 1 | aborted 1 | !             | =               | progressing 0
frozen          | progressing 0 | progressing 0 | progressing 0 | = | = | progressing 0 | !                 | !             | !             | !          | rolled_back 1 | aborted 1 | !             | =               | =
unwritten       | progressing 0 | progressing 0 | progressing 0 | = | = | progressing 0 | !                 | !             | !             | !          | rolled_back 1 | aborted 1 | !             | =               | =
gated           | progressing 0 | progressing 0 | progressing 0 | = | = | !             | !                 | !             | progressing 0 | progressing 0 | rolled_back 1 | aborted 1 | !          | =               | =
higher          | =          | =    | =             | =             | =      | progressing 0 | !                 | !             | !             | !          | rolled_back 1 | aborted 1 | !             | =               | =
progressing     | approval 1 | =    | rolled_back 1 | rolled_back 1 | =      | !             | paused 1          | !             | progressing 2 | watching 3 | rolled_back 1 | aborted 1 | !             | paused-off 1    | =
approval        | =          | =    | rolled_back 1 | rolled_back 1 | =      | !             | paused-approval 1 | !             | progressing 2 | watching 3 | rolled_back 1 | aborted 1 | !             | paused-off 1    | =
window          | progressing 2 | progressing 2 | rolled_back 1 | rolled_back 1 | = | !         | paused-gate 1     | !             | progressing 2 | watching 3 | rolled_back 1 | aborted 1 | !             | paused-off 1    | =
gate            | progressing 2 | progressing 2 | rolled_back 1 | rolled_back 1 | = | !         | paused-gate 1     | !             | progressing 2 | watching 3 | rolled_back 1 | aborted 1 | !             | paused-off 1    | =
paused          | =          | =    | rolled_back 1 | rolled_back 1 | =      | !             | !                 | progressing 1 | progressing 2 | watching 3 | rolled_back 1 | aborted 1 | !             | =               | =
paused-late     | =          | =    | rolled_back 1 | rolled_back 1 | =      | !             | !                 | progressing 1 | progressing 2 | watching 3 | rolled_back 1 | aborted 1 | !             | =               | =
paused-off      | =          | =    | rolled_back 1 | rolled_back 1 | =      | !             | !                 | !             | !             | !          | rolled_back 1 | aborted 1 | !             | =               | progressing 1
paused-approval | =          | =    | rolled_back 1 | rolled_back 1 | =      | !             | !                 | approval 1    | progressing 2 | watching 3 | rolled_back 1 | aborted 1 | !             | =               | =
paused-gate     | =          | =    | rolled_back 1 | rolled_back 1 | =      | !             | !                 | gate 1        | progressing 2 | watching 3 | rolled_back 1 | aborted 1 | !             | =               | =
paused-watch    | =          | =    | rolled_back 3 | rolled_back 3 | =      | !             | !                 | watching 3    | succeeded 3   | succeeded 3 | rolled_back 3 | aborted 3 | !            | =               | =
watching        | =          | =    | rolled_back 3 | rolled_back 3 | =      | !             | paused-watch 3    | !             | succeeded 3   | succeeded 3 | rolled_back 3 | aborted 3 | !            | paused-off 3    | =
succeeded       | =          | =    | =             | =             | =      | !             | !                 | !             | !             | !          | rolled_back 3 | !         | !             | =               | =
rolling_back    | rolled_back 1 | rolled_back 1 | rolled_back 1 | rolled_back 1 | = | !        | !                 | !             | !             | !          | rolled_back 1 | aborted 1 | !             | =               | =
rolled_back     | =          | =    | =             | =             | =      | !             | !                 | !             | !             | !          | !             | !         | progressing 0 | =               | =
aborted         | =          | =    | =             | =             | =      | !             | !                 | !             | !             | !          | rolled_back 1 | !         | progressing 0 | =               | =
";

fn event(text: &str) -> Event {
    match text {
        "pass" => tick(Action::Promote, 100),
        "hold" => tick(Action::Hold, 100),
        "breach" => tick(Action::Rollback, 20),
        "tripped" => tripped(Assessment::Breach),
        "nearly" => tripped(Assessment::Undecided),
        "start" => command(Command::Start),
        "pause" => command(Command::Pause),
        "resume" => command(Command::Resume),
        "promote" => command(Command::Promote { full: false }),
        "full" => command(Command::Promote { full: true }),
        "rollback" => command(Command::Rollback),
        "abort" => command(Command::Abort),
        "retry" => command(Command::Retry),
        "off" => switched(false),
        "on" => switched(true),
        other => panic!("no event {other}"),
    }
}

fn cells(row: &str) -> Vec<&str> {
    row.split('|').map(str::trim).collect()
}

/// The name of a phase in the matrix, what paused it and where it goes on included.
fn name_of(phase: &Phase) -> String {
    match phase {
        Phase::Paused {
            cause: PauseCause::FlagOff,
            ..
        } => "paused-off".to_owned(),
        Phase::Paused { from, .. } => match from {
            Resumption::Stage => "paused".to_owned(),
            Resumption::Approval => "paused-approval".to_owned(),
            Resumption::Gate { .. } => "paused-gate".to_owned(),
            Resumption::Watch => "paused-watch".to_owned(),
        },
        Phase::WaitingForApproval => "approval".to_owned(),
        Phase::WaitingForGate {
            awaits: Awaits::Window,
        } => "window".to_owned(),
        Phase::WaitingForGate { .. } => "gate".to_owned(),
        other => other.as_str().to_owned(),
    }
}

#[test]
fn every_phase_answers_every_event() {
    let mut rows = MATRIX.trim_matches('\n').lines();
    let events = cells(rows.next().unwrap());
    let mut seen = Vec::new();
    for row in rows {
        let cells = cells(row);
        seen.push(cells[0]);
        assert_eq!(cells.len(), events.len(), "{row}");
        let is_last = ["watching", "succeeded", "paused-watch"].contains(&cells[0]);
        let before = state(cells[0], if is_last { 3 } else { 1 });
        for (happens, expected) in events.iter().zip(&cells).skip(1) {
            let at_once = &Moment::at(at(1060));
            let answer = step(&plan(), before.clone(), event(happens), at_once);
            let found = match (&answer.refused, answer.state == before) {
                (Some(_), _) => "!".to_owned(),
                (None, true) => "=".to_owned(),
                (None, false) => format!("{} {}", name_of(&answer.state.phase), answer.state.stage),
            };
            assert_eq!(found, *expected, "{} with {happens}", cells[0]);
            let changes = answer.state != before;
            assert_eq!(changes, !answer.effects.is_empty(), "{row}: {happens}");
            check_promises(&plan(), &before, &event(happens), &answer).unwrap();
        }
    }
    let known: Vec<_> = phases().into_iter().map(|(name, _)| name).collect();
    assert_eq!(seen, known, "every phase has a row");
}

#[test]
fn a_stage_passes_by_time_requests_and_verdict_all_three() {
    let after = |seconds: u64, event: Event| {
        let answer = step(
            &plan(),
            state("progressing", 0),
            event,
            &Moment::at(at(1000 + seconds)),
        );
        (answer.state.phase.as_str(), answer.state.stage)
    };
    assert_eq!(after(59, tick(Action::Promote, 100)), ("progressing", 0));
    assert_eq!(after(60, tick(Action::Promote, 99)), ("progressing", 0));
    assert_eq!(after(60, tick(Action::Promote, 0)), ("progressing", 0));
    assert_eq!(after(60, tick(Action::Hold, 100)), ("progressing", 0));
    assert_eq!(after(60, tick(Action::Promote, 100)), ("progressing", 1));
}

#[test]
fn the_watch_ends_with_time() {
    let after = |seconds: u64| {
        let event = tick(Action::Hold, 0);
        step(
            &plan(),
            state("watching", 3),
            event,
            &Moment::at(at(1000 + seconds)),
        )
        .state
        .phase
    };
    assert_eq!(after(599), Phase::Watching);
    assert_eq!(after(600), Phase::Succeeded);
}

#[test]
fn a_freeze_a_small_stable_and_a_flag_that_is_off_stop_every_way_up_and_no_way_down() {
    let freeze = Freeze {
        who: "kim".to_owned(),
        why: "holidays".to_owned(),
        at_unix_ms: 0,
    };
    let frozen = Moment {
        freeze: Some(&freeze),
        ..Moment::at(at(5000))
    };
    let small = Moment {
        stable_endpoints: 1,
        ..Moment::at(at(5000))
    };
    let off = Moment {
        is_on: false,
        ..Moment::at(at(5000))
    };
    let plan = plan_with(RolloutPolicy {
        stable_min_endpoints: 2,
        ..POLICY
    });
    for moment in [frozen, small, off] {
        for (name, phase) in phases() {
            let is_last = phase.is_watch() || phase == Phase::Succeeded;
            let before = state(name, if is_last { 3 } else { 1 });
            let ups = ["pass", "start", "promote", "full", "retry", "on"];
            // What is off is not switched on at the same moment.
            let ups = ups.iter().filter(|up| moment.is_on || **up != "on");
            for happens in ups.copied() {
                let answer = step(&plan, before.clone(), event(happens), &moment);
                let (old, new) = (plan.weights_at(&before), plan.weights_at(&answer.state));
                assert!(new.is_at_most(&old), "{name} with {happens}");
            }
            if phase.has_traffic() {
                let answer = step(&plan, before, command(Command::Rollback), &moment);
                assert!(plan.weights_at(&answer.state).is_zero(), "{name}");
            }
        }
    }
    let refused = step(&plan, state("approval", 1), event("promote"), &frozen).refused;
    assert_eq!(
        refused.unwrap().to_string(),
        "promotions are frozen by kim: holidays"
    );
    for (phase, verb) in [
        ("rolled_back", "retry"),
        ("paused", "promote"),
        ("paused", "resume"),
    ] {
        let refused = step(&plan, state(phase, 1), event(verb), &off).refused;
        assert_eq!(refused, Some(Refusal::FlagOff), "{phase} with {verb}");
    }
    let refused = step(&plan, state("watching", 3), event("promote"), &small).refused;
    assert!(refused.unwrap().to_string().contains("1 endpoints"));
}

#[test]
fn a_start_waits_where_something_has_to_come_first() {
    let now = Moment::at(at(0));
    let freeze = Freeze {
        who: String::new(),
        why: String::new(),
        at_unix_ms: 0,
    };
    let frozen = Moment {
        freeze: Some(&freeze),
        ..now
    };
    let manual = plan_with(RolloutPolicy {
        start: StartMode::Manual,
        ..POLICY
    });
    let gated = plan_of(
        vec![Stage {
            needs_approval: true,
            ..stage(&[], "5%")
        }],
        POLICY,
    );
    let phase = |plan: &RolloutPlan, is_on: bool, moment: &Moment<'_>| {
        start(plan, 6, is_on, moment).state.phase
    };
    let waiting = |wait| Phase::Waiting { wait };
    assert_eq!(phase(&plan(), true, &now), Phase::Progressing);
    assert_eq!(phase(&plan(), false, &now), waiting(Wait::FlagOff));
    assert_eq!(phase(&plan(), true, &frozen), waiting(Wait::Freeze));
    assert_eq!(phase(&manual, true, &now), waiting(Wait::Start));
    assert_eq!(phase(&gated, true, &now), waiting(Wait::Start));
    let begun = start(&plan(), 6, true, &now);
    assert_eq!(begun.state.epoch, 7);
    assert!(matches!(begun.effects[0], Effect::Persist { .. }));
    assert!(matches!(begun.effects[1], Effect::PublishWeights { .. }));
}

#[test]
fn a_rollback_tells_who_why_and_by_what_evidence() {
    let answer = step(
        &plan(),
        state("watching", 3),
        tick(Action::Rollback, 9),
        &Moment::at(at(1001)),
    );
    let [
        Effect::Persist {
            state: stored,
            entry,
            notice: Some(notice),
        },
        Effect::PublishWeights { weights, epoch },
    ] = answer.effects.as_slice()
    else {
        panic!("{:?}", answer.effects);
    };
    assert_eq!(**stored, answer.state);
    assert!(weights.is_zero());
    assert_eq!(*epoch, 8);
    assert_eq!(
        (entry.who.as_str(), entry.why.as_str()),
        ("judge", "canary fails")
    );
    assert_eq!(entry.findings.len(), 1);
    assert_eq!(notice.what, "rolled back from stage 4");
    assert_eq!((notice.stage, notice.stages), (4, 4));
}

#[test]
fn entering_the_watch_changes_no_weight_and_no_epoch_and_judges_anew() {
    let answer = step(
        &plan(),
        state("progressing", 3),
        tick(Action::Promote, 100),
        &Moment::at(at(1060)),
    );
    assert_eq!(answer.state.epoch, 7);
    let publishes = |effect: &Effect| matches!(effect, Effect::PublishWeights { .. });
    assert!(!answer.effects.iter().any(publishes));
    assert!(answer.effects.contains(&Effect::RestartEvidence));
}

#[test]
fn a_pause_stops_the_hold_and_keeps_the_evidence() {
    let paused = step(
        &plan(),
        state("progressing", 0),
        command(Command::Pause),
        &Moment::at(at(1040)),
    );
    assert!(!paused.effects.contains(&Effect::RestartEvidence));
    let resume = &Moment::at(at(9000));
    let resumed = step(&plan(), paused.state, command(Command::Resume), resume);
    assert!(!resumed.effects.contains(&Effect::RestartEvidence));
    let pass = |seconds: u64| {
        let now = &Moment::at(at(9000 + seconds));
        step(
            &plan(),
            resumed.state.clone(),
            tick(Action::Promote, 100),
            now,
        )
        .state
        .stage
    };
    assert_eq!((pass(19), pass(20)), (0, 1));
}

#[test]
fn a_retry_begins_again_as_another_attempt() {
    let moment = &Moment::at(at(9000));
    let answer = step(
        &plan(),
        state("rolled_back", 2),
        command(Command::Retry),
        moment,
    );
    assert_eq!(answer.state.attempt, 2);
    assert_eq!(plan().weights_at(&answer.state), plan().weights_of_stage(0));
    assert_eq!(answer.state.under_way.elapsed(at(9000)), Duration::ZERO);
}
