//! What a rollout does where evidence alone does not say.

use super::fixtures::*;
use super::*;
use crate::domain::judge::{Action, Assessment};

#[test]
fn an_undecided_stage_goes_on_loudly_after_its_patience_unless_told_to_hold() {
    let after = |policy, seconds: u64, event| {
        let plan = plan_with(policy);
        step(
            &plan,
            state("progressing", 0),
            event,
            &Moment::at(at(1000 + seconds)),
        )
    };
    let undecided = || judged(Assessment::Undecided, 0.2, 100);
    assert_eq!(after(POLICY, 179, undecided()).state.stage, 0);
    let answer = after(POLICY, 180, undecided());
    assert_eq!(answer.state.stage, 1);
    let Some(Effect::Persist { entry, .. }) = answer.effects.first() else {
        panic!("{:?}", answer.effects);
    };
    assert!(entry.why.starts_with("UNDECIDED"), "{}", entry.why);
    let is_held = |policy, event| after(policy, 900, event).state.stage == 0;
    assert!(
        is_held(POLICY, judged(Assessment::Undecided, 0.6, 100)),
        "a sign of harm"
    );
    assert!(
        is_held(POLICY, judged(Assessment::NeedsData, 0.0, 100)),
        "too little seen"
    );
    assert!(
        is_held(POLICY, judged(Assessment::Undecided, 0.2, 99)),
        "too few requests"
    );
    let hold = RolloutPolicy {
        undecided: Undecided::Hold,
        ..POLICY
    };
    assert!(is_held(hold, undecided()));
}

#[test]
fn patience_begins_when_there_is_something_to_judge() {
    let plan = plan_with(POLICY);
    let mut state = RolloutState {
        judged_since: None,
        ..state("progressing", 0)
    };
    let mut after = |seconds: u64, requests| {
        let event = judged(Assessment::Undecided, 0.2, requests);
        let moment = Moment::at(at(1000 + seconds));
        state = step(&plan, state.clone(), event, &moment).state;
        (state.stage, state.judged_since.is_some())
    };
    // Nobody came for long, and then many at once.
    assert_eq!(after(1, 0), (0, false));
    assert_eq!(after(500, 9), (0, false));
    assert_eq!(after(501, 300), (0, true));
    assert_eq!(after(501 + 179, 9_000), (0, true));
    assert_eq!(after(501 + 180, 9_000), (1, false));
}

#[test]
fn too_little_data_holds_or_takes_back_and_never_passes() {
    let after = |no_data, seconds: u64| {
        let plan = plan_with(RolloutPolicy { no_data, ..POLICY });
        let event = judged(Assessment::NeedsData, 0.0, 99);
        step(
            &plan,
            state("progressing", 0),
            event,
            &Moment::at(at(1000 + seconds)),
        )
        .state
    };
    assert_eq!(after(NoData::Hold, 3_599).phase, Phase::Progressing);
    assert_eq!(after(NoData::Rollback, 179).phase, Phase::Progressing);
    let Phase::RolledBack { reason } = after(NoData::Rollback, 180).phase else {
        panic!("not taken back");
    };
    assert!(reason.contains("99 of 100 requests"), "{reason}");
}

#[test]
fn the_deadline_pauses_or_takes_back_and_tells_an_approval_once() {
    let late = &Moment::at(at(1000 + 3_600));
    let hold = || tick(Action::Hold, 100);
    let paused = step(&plan(), state("progressing", 0), hold(), late).state;
    assert!(matches!(
        paused.phase,
        Phase::Paused {
            cause: PauseCause::Deadline,
            ..
        }
    ));
    assert!(paused.is_overdue);
    let resumed = step(&plan(), paused, command(Command::Resume), late).state;
    let later = &Moment::at(at(1000 + 3_700));
    let again = step(&plan(), resumed.clone(), hold(), later).state;
    assert_eq!(again.phase, Phase::Progressing, "the deadline began again");

    let strict = plan_with(RolloutPolicy {
        on_deadline: OnDeadline::Rollback,
        ..POLICY
    });
    let taken_back = step(&strict, state("progressing", 0), hold(), late).state;
    assert!(taken_back.phase.is_taken_back());

    let told = step(&plan(), state("approval", 1), hold(), late);
    assert_eq!(told.state.phase, Phase::WaitingForApproval);
    assert_eq!(told.effects.len(), 1);
    let silent = step(&plan(), told.state, hold(), later);
    assert!(silent.effects.is_empty());
}

#[test]
fn a_breach_outranks_the_deadline() {
    let late = &Moment::at(at(1000 + 9_999));
    let answer = step(
        &plan(),
        state("progressing", 0),
        tick(Action::Rollback, 9),
        late,
    );
    assert!(matches!(answer.state.phase, Phase::RolledBack { .. }));
}

#[test]
fn an_observing_rollout_says_once_what_it_would_do_and_obeys_operators() {
    let plan = plan_with(RolloutPolicy {
        mode: Mode::Observe,
        ..POLICY
    });
    let now = &Moment::at(at(1060));
    let said = step(
        &plan,
        state("progressing", 0),
        tick(Action::Rollback, 100),
        now,
    );
    assert_eq!(said.state.phase, Phase::Progressing);
    assert_eq!(said.effects.len(), 1);
    let again = step(&plan, said.state, tick(Action::Rollback, 100), now);
    assert!(again.effects.is_empty());
    let quiet = step(&plan, again.state, tick(Action::Hold, 100), now);
    let anew = step(&plan, quiet.state, tripped(Assessment::Breach), now);
    assert_eq!(anew.effects.len(), 1, "it is said again after it was over");
    let promoted = step(&plan, anew.state, tick(Action::Promote, 100), now);
    assert_eq!(promoted.state.stage, 0);
    assert_eq!(promoted.effects.len(), 1);
    let obeyed = step(&plan, promoted.state, command(Command::Rollback), now);
    assert!(plan.weights_at(&obeyed.state).is_zero());
}
