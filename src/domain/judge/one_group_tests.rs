//! Which harm is one group's alone, and what is known of the others once it has left.

use super::tests::{arm, at, judged, judged_for, second_of, stage, stratum};
use super::*;
use crate::domain::evidence::{ArmCounts, Stratum};
use crate::domain::ids::GroupName;
use crate::domain::weight::Weight;

fn settings(rollback_scope: RollbackScope) -> JudgeSettings {
    JudgeSettings {
        groups: vec!["beta".parse().unwrap(), "staff".parse().unwrap()],
        rollback_scope,
        ..JudgeSettings::default()
    }
}

fn by_group() -> JudgeSettings {
    settings(RollbackScope::Group)
}

/// A second in which `beta`, `staff` and everyone else send 200 requests to each arm, of which so many of
/// canary fail.
fn second(failures: [u64; 3]) -> Vec<Stratum> {
    let groups = [Some("beta"), Some("staff"), None];
    let each = groups.into_iter().zip(failures);
    each.map(|(group, failures)| stratum(group, "50%", arm(200, failures, 50), arm(200, 2, 50)))
        .collect()
}

/// The stage with these groups gone.
fn without(left: &[&str]) -> StageContext {
    let left: Vec<GroupName> = left.iter().map(|name| name.parse().unwrap()).collect();
    let mut stage = stage("50%", "100%");
    for group in &left {
        stage.weights.groups.insert(group.clone(), Weight::ZERO);
    }
    StageContext { left, ..stage }
}

/// What a second brings once `beta` has left: its callers are all on stable.
fn second_without_beta(failures: [u64; 2]) -> Vec<Stratum> {
    let mut strata = second([0, failures[0], failures[1]]);
    strata[0] = stratum(Some("beta"), "0%", ArmCounts::default(), arm(400, 4, 50));
    strata
}

/// The group of the one breach.
fn breached(verdict: &Verdict) -> Option<&str> {
    assert_eq!(verdict.action, Action::Rollback, "{verdict:#?}");
    let found: Vec<_> = verdict.breaches().collect();
    assert_eq!(found.len(), 1, "{verdict:#?}");
    found[0].group.as_ref().map(GroupName::as_str)
}

#[test]
fn harm_is_a_groups_own_where_nothing_speaks_against_it() {
    let limited = JudgeSettings {
        error_rate_max: Some(0.02),
        ..by_group()
    };
    for (what, settings, failures, group) in [
        ("one group", by_group(), [60, 2, 2], Some("beta")),
        ("the other", by_group(), [2, 60, 2], Some("staff")),
        ("a little of it", by_group(), [10, 2, 2], Some("beta")),
        ("those in no group", by_group(), [2, 2, 60], None),
        ("all alike", by_group(), [60, 60, 60], None),
        ("two of three", by_group(), [60, 60, 2], None),
        ("a limit for all", limited, [60, 2, 2], None),
        (
            "scope flag",
            settings(RollbackScope::Flag),
            [60, 2, 2],
            None,
        ),
    ] {
        let verdict = judged(settings, &stage("50%", "100%"), second(failures));
        assert_eq!(breached(&verdict), group, "{what}: {verdict:#?}");
        if group.is_some() {
            let found = verdict.breaches().next().unwrap();
            assert!(found.evidence >= 1.0, "{what}: {found:#?}");
            assert!(found.reason.starts_with("in group"), "{}", found.reason);
        }
    }
}

#[test]
fn it_is_found_no_later_than_harm_to_the_flag() {
    let seconds = |scope| {
        let mut judge = Judge::new(settings(scope));
        let counts = second([60, 2, 2]).into_iter().collect();
        let stage = stage("50%", "100%");
        let action = |n| second_of(&mut judge, &counts, &stage, at(n)).action;
        (1..60)
            .map(action)
            .take_while(|action| *action != Action::Rollback)
            .count()
    };
    assert!(seconds(RollbackScope::Group) <= seconds(RollbackScope::Flag));
}

#[test]
fn the_others_go_on_once_it_has_left_and_harm_to_them_is_still_found() {
    let (mut judge, verdict) =
        judged_for(60, by_group(), &stage("50%", "100%"), second([60, 2, 2]));
    assert_eq!(breached(&verdict), Some("beta"));
    judge.start_stage();
    let counts = second_without_beta([2, 2]).into_iter().collect();
    let stage = without(&["beta"]);
    let verdicts: Vec<_> = (100..160)
        .map(|n| second_of(&mut judge, &counts, &stage, at(n)))
        .collect();
    assert!(
        verdicts
            .iter()
            .all(|verdict| verdict.action != Action::Rollback)
    );
    assert_eq!(verdicts.last().unwrap().action, Action::Promote);
    for (failures, group) in [([60, 2], Some("staff")), ([2, 60], None), ([60, 60], None)] {
        let mut judge = judge.clone();
        let counts = second_without_beta(failures).into_iter().collect();
        let found = (160..260).find_map(|n| {
            let verdict = second_of(&mut judge, &counts, &stage, at(n));
            (verdict.action == Action::Rollback).then_some(verdict)
        });
        assert_eq!(breached(&found.unwrap()), group, "{failures:?}");
    }
}

#[test]
fn what_was_known_of_the_others_stays() {
    let mut judge = Judge::new(by_group());
    let at_first: TickCounts = second([2, 30, 2]).into_iter().collect();
    let stage = stage("50%", "100%");
    // Some evidence against `staff`, and then it leaves the other way: by `beta`.
    let staff = |judge: &Judge| {
        let evidence = serde_json::to_value(judge.evidence()).unwrap();
        evidence["groups"][1].clone()
    };
    for n in 1..6 {
        second_of(&mut judge, &at_first, &stage, at(n));
    }
    let known = staff(&judge);
    let counts = second_without_beta([2, 2]).into_iter().collect();
    let mut left = judge.clone();
    second_of(&mut left, &counts, &without(&["beta"]), at(6));
    let mut stayed = judge.clone();
    second_of(&mut stayed, &counts, &without(&[]), at(6));
    assert_eq!(staff(&left), staff(&stayed));
    assert_ne!(staff(&left), serde_json::Value::Null);
    assert_ne!(known, staff(&Judge::new(by_group())));
}

#[test]
fn evidence_from_before_it_left_takes_nothing_back_after_a_restart() {
    let (judge, verdict) = judged_for(60, by_group(), &stage("50%", "100%"), second([60, 2, 2]));
    assert_eq!(breached(&verdict), Some("beta"));
    let stored = serde_json::to_string(&judge.evidence()).unwrap();
    let counts: TickCounts = second_without_beta([2, 2]).into_iter().collect();
    let restored = || Judge::restore(by_group(), serde_json::from_str(&stored).unwrap()).unwrap();
    let mut left = restored();
    for n in 100..130 {
        let verdict = second_of(&mut left, &counts, &without(&["beta"]), at(n));
        assert_ne!(verdict.action, Action::Rollback, "{verdict:#?}");
    }
    let mut stayed = restored();
    let verdict = second_of(&mut stayed, &counts, &without(&[]), at(100));
    assert_eq!(verdict.action, Action::Rollback);
}
