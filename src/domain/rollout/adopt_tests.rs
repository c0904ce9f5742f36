//! What changed plans and restarts make of where a rollout is.

use proptest::prelude::*;

use super::fixtures::*;
use super::*;

fn everyone(weights: &[&str]) -> RolloutPlan {
    plan_of(
        weights.iter().map(|weight| stage(&[], weight)).collect(),
        POLICY,
    )
}

/// Where a rollout goes on: its phase, its stage and everyone's weight.
fn after_change(
    old: &RolloutPlan,
    new: &RolloutPlan,
    state: &RolloutState,
) -> (String, usize, String) {
    let event = Event::PlanChanged {
        before: before(old, state),
        is_judged_anew: false,
    };
    let answer = step(new, state.clone(), event, &Moment::at(at(2000)));
    let weight = new.weights_at(&answer.state).default.to_string();
    (
        answer.state.phase.as_str().to_owned(),
        answer.state.stage,
        weight,
    )
}

#[test]
fn a_rollout_goes_on_at_the_last_stage_that_is_left_and_never_higher() {
    let old = everyone(&["1%", "5%", "25%", "50%", "100%"]);
    type Place = (&'static str, usize, &'static str);
    let cases: [(&[&str], usize, Place); 8] = [
        (
            &["1%", "5%", "25%", "50%", "100%"],
            2,
            ("progressing", 2, "25%"),
        ),
        (&["5%", "25%", "100%"], 2, ("progressing", 1, "25%")),
        (&["1%", "5%", "30%", "100%"], 2, ("progressing", 1, "5%")),
        (
            &["1%", "2%", "3%", "25%", "100%"],
            2,
            ("progressing", 3, "25%"),
        ),
        (&["2%", "10%", "60%"], 2, ("progressing", 1, "10%")),
        (&["30%", "100%"], 2, ("waiting", 0, "0%")),
        (&["1%", "100%"], 4, ("progressing", 1, "99%")),
        (&["10%", "20%"], 4, ("progressing", 1, "20%")),
    ];
    for (weights, stage, expected) in cases {
        let found = after_change(&old, &everyone(weights), &state("progressing", stage));
        let found = (found.0.as_str(), found.1, found.2.as_str());
        assert_eq!(found, expected, "{weights:?} from stage {stage}");
    }
}

#[test]
fn the_watch_and_the_end_stay_where_the_plan_still_ends_so() {
    let (old, same) = (everyone(&["5%", "100%"]), everyone(&["1%", "50%", "100%"]));
    let partial = everyone(&["5%", "50%"]);
    let phase = |old: &RolloutPlan, new: &RolloutPlan, phase: &str| {
        let found = after_change(old, new, &state(phase, 1));
        format!("{} {} {}", found.0, found.1, found.2)
    };
    assert_eq!(phase(&old, &same, "watching"), "watching 2 99%");
    assert_eq!(phase(&old, &same, "succeeded"), "succeeded 2 100%");
    assert_eq!(phase(&old, &same, "paused-watch"), "paused 2 99%");
    assert_eq!(phase(&old, &partial, "watching"), "progressing 0 5%");
    assert_eq!(phase(&old, &partial, "succeeded"), "progressing 0 5%");
    // A plan that goes further than the one that has succeeded goes on where that one ended.
    let further = everyone(&["5%", "50%", "100%"]);
    assert_eq!(phase(&partial, &further, "succeeded"), "progressing 1 50%");
}

#[test]
fn what_was_taken_back_stays_taken_back_and_what_waits_waits() {
    let (old, new) = (everyone(&["5%", "100%"]), everyone(&["1%", "100%"]));
    for phase in ["rolled_back", "aborted", "waiting", "off"] {
        let found = after_change(&old, &new, &state(phase, 0));
        assert_eq!(found.2, "0%", "{phase}");
    }
}

#[test]
fn a_pause_and_an_approval_outlive_a_change_of_the_plan() {
    let gated = |weights: &[&str]| {
        let mut stages: Vec<_> = weights.iter().map(|weight| stage(&[], weight)).collect();
        stages.last_mut().unwrap().needs_approval = true;
        plan_of(stages, POLICY)
    };
    let (old, new) = (gated(&["5%", "100%"]), gated(&["1%", "5%", "100%"]));
    let phase = |new: &RolloutPlan, phase: &str| after_change(&old, new, &state(phase, 0)).0;
    assert_eq!(phase(&new, "approval"), "waiting_for_approval");
    assert_eq!(phase(&everyone(&["5%", "100%"]), "approval"), "progressing");
    assert_eq!(phase(&new, "paused"), "paused");
    assert_eq!(phase(&new, "paused-approval"), "paused");
}

#[test]
fn what_is_tolerated_has_changed_so_the_stage_is_judged_anew() {
    let plan = everyone(&["5%", "100%"]);
    let state = state("progressing", 0);
    let change = |is_judged_anew| {
        let before = before(&plan, &state);
        let event = Event::PlanChanged {
            before,
            is_judged_anew,
        };
        step(&plan, state.clone(), event, &Moment::at(at(1050)))
    };
    assert!(
        change(false).effects.is_empty(),
        "nothing that counts has changed"
    );
    let anew = change(true);
    assert!(anew.effects.contains(&Effect::RestartEvidence));
    assert_eq!(anew.state.in_stage.elapsed(at(1050)).as_secs(), 0);
    assert_eq!(anew.state.epoch, 7, "the weights are the same");
}

#[test]
fn a_restart_publishes_what_was_written_and_begins_the_hold_again() {
    for (name, phase) in phases() {
        let is_gate = ["window", "gate", "paused-gate"].contains(&name);
        let plan = if is_gate { gated_plan() } else { plan() };
        let is_last = phase.is_watch() || phase == Phase::Succeeded;
        let written = state(name, if is_last { 3 } else { 1 });
        let stored = serde_json::to_string(&written).unwrap();
        let read: RolloutState = serde_json::from_str(&stored).unwrap();
        let event = Event::Restarted {
            before: before(&plan, &written),
        };
        let answer = step(&plan, read, event, &Moment::at(at(3)));
        let published = answer.effects.iter().find_map(|effect| match effect {
            Effect::PublishWeights { weights, .. } => Some(weights.clone()),
            Effect::Persist { .. } | Effect::RestartEvidence => None,
        });
        assert_eq!(published.unwrap(), plan.weights_at(&written), "{name}");
        assert_eq!(answer.state.phase, written.phase, "{name}");
        assert_eq!(answer.state.in_stage.elapsed(at(3)).as_secs(), 0, "{name}");
        let judges = answer.effects.contains(&Effect::RestartEvidence);
        assert_eq!(judges, phase.is_judged(), "{name}");
    }
}

fn any_plan() -> impl Strategy<Value = RolloutPlan> {
    let weights =
        proptest::sample::subsequence(vec!["1%", "2%", "5%", "10%", "25%", "50%", "100%"], 1..=7);
    (weights, any::<bool>()).prop_map(|(weights, has_beta)| {
        let mut stages: Vec<_> = weights.iter().map(|weight| stage(&[], weight)).collect();
        if has_beta {
            stages.insert(0, stage(&["beta"], "100%"));
        }
        if let Some(bad) = stages
            .iter()
            .position(|s| s.shape.weight.to_string() == "100%")
        {
            // Nobody has less after the whole group has everything, so it comes first.
            let is_group = !stages[bad].shape.groups.is_empty();
            assert!(is_group || bad + 1 == stages.len());
        }
        plan_of(stages, POLICY)
    })
}

proptest! {
    #[test]
    fn no_change_of_the_plan_gives_canary_to_more(
        (old, new) in (any_plan(), any_plan()),
        stage in 0_usize..8,
        which in 0_usize..16,
        restarts in any::<bool>(),
    ) {
        let (name, phase) = phases().swap_remove(which);
        let is_last = phase.is_watch() || phase == Phase::Succeeded;
        let stage = if is_last { old.last_stage() } else { stage.min(old.last_stage()) };
        let was = state(name, stage);
        let before = before(&old, &was);
        let weights = before.weights.clone();
        let event = if restarts {
            Event::Restarted { before }
        } else {
            Event::PlanChanged { before, is_judged_anew: false }
        };
        let answer = step(&new, was.clone(), event, &Moment::at(at(2000)));
        prop_assert!(new.weights_at(&answer.state).is_at_most(&weights));
        prop_assert!(answer.state.stage <= new.last_stage());
        if was.phase.is_taken_back() {
            prop_assert_eq!(answer.state.phase, was.phase);
        }
    }
}
