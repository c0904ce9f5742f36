//! One group that is taken back, and the others who go on.

use proptest::prelude::*;

use super::fixtures::*;
use super::history_tests::check_promises;
use super::*;
use crate::domain::ids::GroupName;
use crate::domain::judge::{Action, Assessment, CheckName, Finding, RollbackScope, Verdict};
use crate::domain::variant::PerVariant;

/// `beta` to 20 %, `beta` and `staff` to 50 %, then everyone to 25 % and 100 %.
fn stages() -> Vec<Stage> {
    vec![
        stage(&["beta"], "20%"),
        stage(&["beta", "staff"], "50%"),
        stage(&[], "25%"),
        stage(&[], "100%"),
    ]
}

fn scoped(rollback_scope: RollbackScope) -> RolloutPlan {
    let policy = RolloutPolicy {
        rollback_scope,
        ..POLICY
    };
    plan_of(stages(), policy)
}

fn by_group() -> RolloutPlan {
    scoped(RollbackScope::Group)
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

/// A verdict by which checks have found harm, each in a group or in all.
fn harm(groups: &[Option<&str>]) -> Event {
    let found = groups.iter().map(|name| Finding {
        group: name.map(group),
        reason: format!("canary fails for {name:?}"),
        ..finding(Assessment::Breach, 1.0)
    });
    Event::Tick {
        verdict: Verdict::from_findings(found.collect()),
        requests: PerVariant::default(),
    }
}

#[track_caller]
fn after(plan: &RolloutPlan, before: &RolloutState, event: Event) -> Step {
    let answer = step(plan, before.clone(), event.clone(), &Moment::at(at(2000)));
    check_promises(plan, before, &event, &answer).unwrap();
    answer
}

fn place(state: &RolloutState) -> (&'static str, usize) {
    (state.phase.as_str(), state.stage)
}

fn taken_back(state: &RolloutState) -> Vec<&str> {
    let groups = state.rolled_back_groups.iter();
    groups.map(|taken| taken.group.as_str()).collect()
}

#[test]
fn the_group_goes_to_nothing_and_the_stage_begins_again_without_it() {
    for (from, stage, then) in [
        ("progressing", 1, Phase::Progressing),
        ("approval", 1, Phase::Progressing),
        ("gate", 1, Phase::Progressing),
        ("window", 1, Phase::Progressing),
        ("paused", 1, state("paused", 1).phase),
        ("paused-approval", 1, state("paused", 1).phase),
        ("paused-gate", 1, state("paused", 1).phase),
        ("paused-off", 1, state("paused-off", 1).phase),
        ("paused-watch", 3, state("paused-watch", 3).phase),
        ("watching", 3, Phase::Watching),
    ] {
        let (plan, before) = (by_group(), state(from, stage));
        let answer = after(&plan, &before, harm(&[Some("beta")]));
        assert_eq!(answer.state.phase, then, "{from}");
        assert_eq!(answer.state.stage, stage, "{from}");
        let expected = [GroupTakenBack {
            group: group("beta"),
            reason: "canary fails for Some(\"beta\")".to_owned(),
        }];
        assert_eq!(answer.state.rolled_back_groups, expected, "{from}");
        assert_eq!(answer.state.in_stage.elapsed(at(2000)).as_secs(), 0);
        assert_eq!(answer.state.judged_since, None, "{from}");
        let (old, new) = (plan.weights_at(&before), plan.weights_at(&answer.state));
        assert!(new.groups[&group("beta")].basis_points() == 0, "{from}");
        assert_eq!(new.groups[&group("staff")], old.groups[&group("staff")]);
        assert_eq!(new.default, old.default, "{from}");
        let [
            Effect::Persist { entry, notice, .. },
            Effect::PublishWeights { weights, .. },
            Effect::RestartEvidence,
        ] = &answer.effects[..]
        else {
            panic!("{from}: {:#?}", answer.effects);
        };
        assert_eq!(*weights, new, "{from}");
        assert!(entry.what.starts_with("group `beta` rolled back in stage"));
        assert_eq!((entry.who.as_str(), entry.findings.len()), ("judge", 1));
        let notice = notice.as_ref().unwrap();
        assert_eq!(notice.rolled_back_group, Some(group("beta")), "{from}");
        assert_eq!(notice.weights, new, "{from}");
    }
}

#[test]
fn what_is_not_one_exposed_groups_own_takes_back_everything() {
    let (beta, staff) = (Some("beta"), Some("staff"));
    let dead = Event::Tick {
        verdict: Verdict::from_findings(vec![Finding {
            check: CheckName::Tripwire,
            ..finding(Assessment::Breach, 1.0)
        }]),
        requests: PerVariant::default(),
    };
    for (what, plan, stage, event) in [
        ("scope flag", scoped(RollbackScope::Flag), 1, harm(&[beta])),
        ("all callers", by_group(), 1, harm(&[None])),
        ("two groups", by_group(), 1, harm(&[beta, staff])),
        ("a group and all", by_group(), 1, harm(&[beta, None])),
        ("the only group", by_group(), 0, harm(&[beta])),
        ("nobody of it", by_group(), 0, harm(&[staff])),
        ("an unknown group", by_group(), 1, harm(&[Some("other")])),
        ("the tripwire", by_group(), 1, dead),
        (
            "it between ticks",
            by_group(),
            1,
            tripped(Assessment::Breach),
        ),
    ] {
        let answer = after(&plan, &state("progressing", stage), event);
        assert_eq!(place(&answer.state), ("rolled_back", stage), "{what}");
        assert!(answer.state.rolled_back_groups.is_empty(), "{what}");
    }
}

#[test]
fn groups_leave_one_by_one_and_the_last_takes_everything_along() {
    let plan = by_group();
    let first = after(&plan, &state("progressing", 1), harm(&[Some("beta")])).state;
    let last = after(&plan, &first, harm(&[Some("staff")])).state;
    assert_eq!(place(&last), ("rolled_back", 1));
    // With everyone exposed there is somebody left after both.
    let first = after(&plan, &state("watching", 3), harm(&[Some("staff")])).state;
    let both = after(&plan, &first, harm(&[Some("beta")])).state;
    assert_eq!(place(&both), ("watching", 3));
    assert_eq!(taken_back(&both), ["staff", "beta"]);
    let all = after(&plan, &both, harm(&[None])).state;
    assert_eq!(place(&all), ("rolled_back", 3));
}

#[test]
fn later_stages_leave_it_out_and_only_another_try_brings_it_back() {
    let plan = by_group();
    let mut now = after(&plan, &state("progressing", 1), harm(&[Some("beta")])).state;
    for stage in [2, 3, 3] {
        now = after(&plan, &now, command(Command::Promote { full: false })).state;
        assert_eq!((now.stage, taken_back(&now)), (stage, vec!["beta"]));
    }
    let done = after(&plan, &now, command(Command::Promote { full: false })).state;
    assert_eq!(place(&done), ("succeeded", 3));
    let weights = plan.weights_at(&done);
    assert_eq!(weights.of(Some(&group("beta"))).to_string(), "0%");
    assert_eq!(weights.of(Some(&group("staff"))).to_string(), "100%");
    assert_eq!(weights.default.to_string(), "100%");
    let back = after(&plan, &done, command(Command::Rollback)).state;
    assert_eq!(taken_back(&back), ["beta"]);
    let again = after(&plan, &back, command(Command::Retry)).state;
    assert_eq!(place(&again), ("progressing", 0));
    assert!(again.rolled_back_groups.is_empty());
    assert_eq!(plan.weights_at(&again), plan.weights_of_stage(0));
}

#[test]
fn it_is_written_down_and_records_without_it_are_read() {
    let plan = by_group();
    let first = after(&plan, &state("progressing", 2), harm(&[Some("beta")])).state;
    let stored = serde_json::to_string(&first).unwrap();
    let read: RolloutState = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.rolled_back_groups, first.rolled_back_groups);
    let restarted = Event::Restarted {
        before: before(&plan, &first),
    };
    let answer = step(&plan, read, restarted, &Moment::at(at(3)));
    assert_eq!(place(&answer.state), ("progressing", 2));
    assert_eq!(plan.weights_at(&answer.state), plan.weights_at(&first));
    let old = serde_json::to_string(&state("progressing", 2)).unwrap();
    assert!(!old.contains("rolled_back_groups"), "{old}");
    let read: RolloutState = serde_json::from_str(&old).unwrap();
    assert!(read.rolled_back_groups.is_empty());
}

#[test]
fn a_plan_that_has_no_place_for_it_any_more_takes_back_everything() {
    let plan = by_group();
    let first = after(&plan, &state("progressing", 2), harm(&[Some("beta")])).state;
    let nameless = plan_of(vec![stage(&["staff"], "50%"), stage(&[], "25%")], POLICY);
    let before = || before(&plan, &first);
    let changed = Event::PlanChanged {
        before: before(),
        is_judged_anew: true,
    };
    for event in [changed, Event::Restarted { before: before() }] {
        let answer = step(&nameless, first.clone(), event, &Moment::at(at(3)));
        assert_eq!(answer.state.phase.as_str(), "rolled_back");
        let reason = answer.state.phase.reason().unwrap();
        assert!(reason.contains("no longer names group `beta`"), "{reason}");
        let published = |effect: &Effect| matches!(effect, Effect::PublishWeights { weights, .. } if weights.is_zero());
        assert!(answer.effects.iter().any(published));
    }
    // Another scope by a reload changes nothing about who is back.
    let changed = Event::PlanChanged {
        before: before(),
        is_judged_anew: true,
    };
    let whole = scoped(RollbackScope::Flag);
    let answer = step(&whole, first.clone(), changed, &Moment::at(at(3)));
    assert_eq!(place(&answer.state), ("progressing", 2));
    assert_eq!(whole.weights_at(&answer.state), plan.weights_at(&first));
}

#[test]
fn where_it_just_observes_it_says_so_and_takes_nothing_back() {
    let policy = RolloutPolicy {
        mode: Mode::Observe,
        rollback_scope: RollbackScope::Group,
        ..POLICY
    };
    let plan = plan_of(stages(), policy);
    let answer = after(&plan, &state("progressing", 1), harm(&[Some("beta")]));
    assert!(answer.state.rolled_back_groups.is_empty());
    let [Effect::Persist { entry, .. }] = &answer.effects[..] else {
        panic!("{:#?}", answer.effects);
    };
    assert_eq!(entry.what, "would roll back, but just observes");
}

fn any_event() -> impl Strategy<Value = Event> {
    let verb = proptest::sample::select(Command::ALL.to_vec());
    prop_oneof![
        8 => Just(tick(Action::Promote, 500)),
        3 => proptest::sample::select(vec!["beta", "staff"]).prop_map(|name| harm(&[Some(name)])),
        1 => Just(harm(&[None])),
        1 => Just(tripped(Assessment::Breach)),
        4 => verb.prop_map(command),
        1 => any::<bool>().prop_map(switched),
    ]
}

proptest! {
    #[test]
    fn a_group_that_was_taken_back_has_nothing_until_another_try(
        events in prop::collection::vec((any_event(), 0_u64..400, any::<bool>()), 0..40)
    ) {
        let plan = by_group();
        let mut now = 0;
        let mut state = start(&plan, 0, true, &Moment::at(at(now))).state;
        for (event, seconds, restarts) in events {
            now += seconds;
            if restarts {
                let event = Event::Restarted { before: before(&plan, &state) };
                let read = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
                let after = step(&plan, read, event, &Moment::at(at(now))).state;
                prop_assert_eq!(plan.weights_at(&after), plan.weights_at(&state));
                prop_assert_eq!(&after.rolled_back_groups, &state.rolled_back_groups);
                state = after;
            }
            let before = state.clone();
            let answer = step(&plan, before.clone(), event.clone(), &Moment::at(at(now)));
            check_promises(&plan, &before, &event, &answer)?;
            state = answer.state;
        }
    }
}
