//! Plans: weights along the stages, and what is refused.

use super::fixtures::{POLICY, WATCH, at, release, stage, state};
use super::*;

fn plan(stages: Vec<Stage>) -> Result<RolloutPlan, InvalidPlan> {
    RolloutPlan::new(PlanDraft {
        flag: "orders".parse().unwrap(),
        release: release("2"),
        stages,
        watch: WATCH,
        final_control: "1%".parse().unwrap(),
        policy: POLICY,
    })
}

/// The weights of group `a`, group `b` and everyone else at each stage and at the end.
fn weights(plan: &RolloutPlan) -> Vec<[String; 3]> {
    let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
    let mut state = state("progressing", 0);
    let mut rows = Vec::new();
    for stage in 0..=plan.stages().len() {
        state.stage = stage;
        if stage == plan.stages().len() {
            state.phase = Phase::Succeeded;
        }
        let weights = plan.weights_at(&state);
        rows.push([Some(&a), Some(&b), None].map(|g| weights.of(g).to_string()));
    }
    rows
}

#[test]
fn passed_stages_add_up_and_the_final_control_takes_nothing_back() {
    let plan = plan(vec![
        stage(&["a"], "100%"),
        stage(&["b"], "20%"),
        stage(&[], "5%"),
        stage(&[], "50%"),
        stage(&[], "100%"),
    ])
    .unwrap();
    let expected = [
        ["100%", "0%", "0%"],
        ["100%", "20%", "0%"],
        ["100%", "20%", "5%"],
        ["100%", "50%", "50%"],
        ["100%", "99%", "99%"],
        ["100%", "100%", "100%"],
    ];
    assert_eq!(weights(&plan), expected);
}

#[test]
fn a_plan_for_part_of_the_callers_ends_with_that_part() {
    let plan = plan(vec![stage(&["a"], "100%"), stage(&[], "25%")]).unwrap();
    assert_eq!(weights(&plan)[1], ["100%", "25%", "25%"]);
    assert_eq!(weights(&plan)[2], ["100%", "25%", "25%"]);
}

#[test]
fn control_exists_where_callers_are_split() {
    let plan = plan(vec![stage(&["a"], "100%"), stage(&[], "100%")]).unwrap();
    let mut state = state("progressing", 0);
    assert!(!plan.stage_context(&state, at(0)).has_control());
    state.stage = 1;
    assert!(
        plan.stage_context(&state, at(0)).has_control(),
        "by the final control"
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let stages = vec![
        stage(&[], "25%"),
        stage(&["a"], "10%"),
        stage(&[], "0%"),
        stage(&[], "5%"),
    ];
    let error = plan(stages).unwrap_err();
    assert_eq!(error.problems.len(), 3);
    let text = error.to_string();
    assert!(text.contains("10% at `stages[1]` is below the 25% that group `a` reached"));
    assert!(text.contains("weight at `stages[2]` must be above 0%"));
    assert!(text.contains("5% at `stages[3]` is below the 25% that everyone reached"));
    assert_eq!(plan(vec![]).unwrap_err().problems, [PlanProblem::NoStages]);
}
