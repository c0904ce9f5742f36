//! Every phase with every event, and what must hold along any history.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::judge::{Action, Assessment, CheckName, Finding, Verdict};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

const HOLD: Duration = Duration::from_secs(60);
const WATCH: Duration = Duration::from_secs(600);

fn stage(groups: &[&str], weight: &str) -> Stage {
    Stage {
        groups: groups.iter().map(|name| name.parse().unwrap()).collect(),
        weight: weight.parse().unwrap(),
        hold: HOLD,
        min_requests: 100,
    }
}

fn plan() -> RolloutPlan {
    RolloutPlan::new(PlanDraft {
        flag: "orders".parse().unwrap(),
        revision: "2".to_owned(),
        stages: vec![
            stage(&["beta"], "20%"),
            stage(&["beta"], "100%"),
            stage(&[], "25%"),
            stage(&[], "100%"),
        ],
        watch: WATCH,
        final_control: "1%".parse().unwrap(),
    })
    .unwrap()
}

fn finding(assessment: Assessment) -> Finding {
    Finding {
        check: CheckName::ErrorRate,
        assessment,
        group: None,
        canary: 0.5,
        stable: Some(0.0),
        bound: 0.01,
        evidence: 0.0,
        n: PerVariant::default(),
        reason: "canary fails".to_owned(),
    }
}

fn tick(action: Action, canary: u64) -> Event {
    let assessment = match action {
        Action::Promote => Assessment::Pass,
        Action::Hold => Assessment::Undecided,
        Action::Rollback => Assessment::Breach,
    };
    Event::Tick {
        verdict: Verdict::from_findings(vec![finding(assessment)]),
        requests: PerVariant {
            stable: 1000,
            canary,
        },
    }
}

fn tripped(assessment: Assessment) -> Event {
    let finding = finding(assessment);
    Event::Tripped { finding }
}

fn command(command: Command) -> Event {
    let by = Author {
        who: "kim".to_owned(),
        why: "told so".to_owned(),
    };
    Event::Command { command, by }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::since_start(Duration::from_secs(seconds))
}

fn state(phase: &str, stage: usize) -> RolloutState {
    let phase = match phase {
        "progressing" => Phase::Progressing,
        "watching" => Phase::Watching,
        "succeeded" => Phase::Succeeded,
        "rolled_back" => Phase::RolledBack {
            reason: "before".to_owned(),
        },
        other => panic!("no phase {other}"),
    };
    RolloutState {
        revision: "2".to_owned(),
        phase,
        stage,
        stage_since: at(1000),
        epoch: 7,
    }
}

/// Phase and stage, seconds since they began, event; phase and stage after it.
///
/// A tick is written as its verdict and the requests canary has had in the stage.
const TABLE: &str = "
    progressing 0 |  59 | promote 100      | progressing 0
    progressing 0 |  60 | promote 99       | progressing 0
    progressing 0 |  60 | promote 0        | progressing 0
    progressing 0 | 999 | hold 100         | progressing 0
    progressing 0 |  60 | promote 100      | progressing 1
    progressing 3 |  60 | promote 100      | watching 3
    progressing 0 |   0 | rollback 20      | rolled_back 0
    progressing 3 |  60 | rollback 100     | rolled_back 3
    progressing 1 |   1 | tripped          | rolled_back 1
    progressing 1 |   1 | nearly-tripped   | progressing 1
    progressing 0 |   0 | command-promote  | progressing 1
    progressing 3 |   0 | command-promote  | watching 3
    progressing 0 |   0 | command-full     | watching 3
    progressing 2 |   0 | command-rollback | rolled_back 2
    watching 3    | 599 | promote 100      | watching 3
    watching 3    | 599 | hold 100         | watching 3
    watching 3    | 600 | hold 0           | succeeded 3
    watching 3    | 600 | promote 100      | succeeded 3
    watching 3    | 600 | rollback 100     | rolled_back 3
    watching 3    |   0 | tripped          | rolled_back 3
    watching 3    |   0 | nearly-tripped   | watching 3
    watching 3    |   0 | command-promote  | succeeded 3
    watching 3    |   0 | command-full     | succeeded 3
    watching 3    |   0 | command-rollback | rolled_back 3
    succeeded 3   | 999 | promote 100      | succeeded 3
    succeeded 3   | 999 | hold 0           | succeeded 3
    succeeded 3   | 999 | rollback 100     | succeeded 3
    succeeded 3   | 999 | tripped          | succeeded 3
    succeeded 3   | 999 | nearly-tripped   | succeeded 3
    succeeded 3   |   0 | command-promote  | refused 3
    succeeded 3   |   0 | command-full     | refused 3
    succeeded 3   |   0 | command-rollback | rolled_back 3
    rolled_back 2 | 999 | promote 100      | rolled_back 2
    rolled_back 2 | 999 | hold 0           | rolled_back 2
    rolled_back 2 | 999 | rollback 100     | rolled_back 2
    rolled_back 2 | 999 | tripped          | rolled_back 2
    rolled_back 2 | 999 | nearly-tripped   | rolled_back 2
    rolled_back 2 |   0 | command-promote  | refused 2
    rolled_back 2 |   0 | command-full     | refused 2
    rolled_back 2 |   0 | command-rollback | refused 2
";

fn event(text: &str) -> Event {
    match text.split_once(' ') {
        Some(("promote", canary)) => tick(Action::Promote, canary.parse().unwrap()),
        Some(("hold", canary)) => tick(Action::Hold, canary.parse().unwrap()),
        Some(("rollback", canary)) => tick(Action::Rollback, canary.parse().unwrap()),
        _ => match text {
            "tripped" => tripped(Assessment::Breach),
            "nearly-tripped" => tripped(Assessment::Undecided),
            "command-promote" => command(Command::Promote { full: false }),
            "command-full" => command(Command::Promote { full: true }),
            "command-rollback" => command(Command::Rollback),
            other => panic!("no event {other}"),
        },
    }
}

#[test]
fn every_phase_answers_every_event() {
    for row in TABLE.trim().lines() {
        let [from, seconds, happens, to] = row.split('|').map(str::trim).collect::<Vec<_>>()[..]
        else {
            panic!("{row}");
        };
        let (phase, stage) = from.split_once(' ').unwrap();
        let before = state(phase, stage.trim().parse().unwrap());
        let now = at(1000 + seconds.parse::<u64>().unwrap());
        let answer = step(&plan(), before.clone(), event(happens), now);
        let phase = match &answer.refused {
            Some(_) => "refused",
            None => answer.state.phase.as_str(),
        };
        assert_eq!(format!("{phase} {}", answer.state.stage), to, "{row}");
        assert_eq!(answer.state != before, !answer.effects.is_empty(), "{row}");
    }
}

#[test]
fn a_refusal_says_why() {
    let refused = |phase: &str, wanted| {
        let answer = step(&plan(), state(phase, 3), command(wanted), at(2000));
        answer.refused.unwrap().to_string()
    };
    let promote = Command::Promote { full: false };
    assert!(refused("succeeded", promote).contains("nothing left to promote"));
    assert!(refused("rolled_back", promote).contains("needs a new rollout"));
    assert!(refused("rolled_back", Command::Rollback).contains("rolled back already"));
}

#[test]
fn a_rollback_tells_who_why_and_by_what_evidence() {
    let answer = step(
        &plan(),
        state("watching", 3),
        tick(Action::Rollback, 9),
        at(1001),
    );
    let [
        Effect::Persist(stored),
        Effect::PublishWeights { weights, epoch },
        rest @ ..,
    ] = answer.effects.as_slice()
    else {
        panic!("{:?}", answer.effects);
    };
    assert_eq!(stored, &answer.state);
    assert!(weights.is_zero());
    assert_eq!(*epoch, 8);
    let [Effect::Record(entry), Effect::Notify(notice)] = rest else {
        panic!("{rest:?}");
    };
    assert_eq!(
        (entry.who.as_str(), entry.why.as_str()),
        ("judge", "canary fails")
    );
    assert_eq!(entry.findings.len(), 1);
    assert_eq!(notice.what, "rolled back from stage 4");
    assert_eq!(notice.why, "canary fails");
    assert_eq!((notice.stage, notice.stages), (4, 4));
    assert!(notice.weights.is_zero());
    assert_eq!(notice.findings, entry.findings);
}

#[test]
fn entering_the_watch_changes_no_weight_and_no_epoch() {
    let answer = step(
        &plan(),
        state("progressing", 3),
        tick(Action::Promote, 100),
        at(1060),
    );
    assert_eq!(answer.state.epoch, 7);
    let publishes = |effect: &Effect| matches!(effect, Effect::PublishWeights { .. });
    assert!(!answer.effects.iter().any(publishes));
}

#[test]
fn a_state_is_stored_without_its_moment_and_begins_its_hold_again() {
    let stored = serde_json::to_string(&state("rolled_back", 2)).unwrap();
    let read: RolloutState = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.resumed(at(1000)), state("rolled_back", 2));
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let event = prop_oneof![
        8 => Just(tick(Action::Promote, 500)),
        4 => Just(tick(Action::Hold, 500)),
        1 => Just(tick(Action::Rollback, 500)),
        1 => Just(tripped(Assessment::Breach)),
        2 => Just(command(Command::Promote { full: false })),
        1 => Just(command(Command::Promote { full: true })),
        1 => Just(command(Command::Rollback)),
    ];
    prop::collection::vec((event, 0_u64..400), 0..30)
}

proptest! {
    #[test]
    fn any_history_keeps_the_promises(events in events()) {
        let plan = plan();
        let mut now = 0;
        let mut answer = start(&plan, 0, at(now));
        for (event, seconds) in events {
            now += seconds;
            let before = answer.state.clone();
            answer = step(&plan, before.clone(), event, at(now));
            check_promises(&plan, &before, &answer)?;
        }
    }

    #[test]
    fn without_evidence_nothing_is_promoted(ticks in prop::collection::vec(0_u64..4000, 0..30)) {
        let plan = plan();
        let mut state = start(&plan, 0, at(0)).state;
        let mut now = 0;
        for seconds in ticks {
            now += seconds;
            let verdict = Verdict::from_findings(Vec::new());
            let requests = PerVariant::default();
            let answer = step(&plan, state, Event::Tick { verdict, requests }, at(now));
            prop_assert!(answer.effects.is_empty());
            state = answer.state;
        }
        prop_assert_eq!(state.stage, 0);
    }
}

fn check_promises(
    plan: &RolloutPlan,
    before: &RolloutState,
    answer: &Step,
) -> Result<(), TestCaseError> {
    let (old, new) = (plan.weights_at(before), plan.weights_at(&answer.state));
    if matches!(answer.state.phase, Phase::RolledBack { .. }) {
        prop_assert!(new.is_zero(), "a rollback takes all weights to zero");
    } else {
        prop_assert!(new.default >= old.default, "weights only grow");
        let grown = |(group, weight): (_, &Weight)| new.of(Some(group)) >= *weight;
        prop_assert!(old.groups.iter().all(grown), "weights only grow");
    }
    prop_assert_eq!(answer.state.epoch - before.epoch, u64::from(old != new));
    let place = |wanted: fn(&Effect) -> bool| answer.effects.iter().position(wanted);
    let persist = place(|effect| matches!(effect, Effect::Persist(_)));
    let publish = place(|effect| matches!(effect, Effect::PublishWeights { .. }));
    prop_assert_eq!(publish.is_some(), old != new);
    prop_assert!(publish.is_none() || persist < publish && persist.is_some());
    if answer.refused.is_some() {
        prop_assert_eq!(&answer.state, before);
    }
    Ok(())
}
