//! What is known of harm, over the end of a process and through changes of what is tolerated.

use std::sync::Arc;
use std::time::Duration;

use super::fixtures::*;
use crate::control::installation::PlannedRollout;
use crate::control::ports::KnownEvidence;
use crate::domain::evidence::{Failure, TickCounts};
use crate::domain::judge::CheckName;
use crate::domain::rollout::{Command, PlanDraft, RolloutPlan};
use crate::domain::testing::percent;

/// A plan that nothing ends while a test takes.
fn long() -> PlannedRollout {
    let short = planned("2", &[10, 50]);
    let mut stages = short.plan.stages().to_vec();
    stages[0].hold = Duration::from_secs(3_600);
    stages[0].min_requests = 1_000_000;
    let plan = RolloutPlan::new(PlanDraft {
        flag: short.plan.flag().clone(),
        release: short.plan.release().clone(),
        stages,
        watch: short.plan.watch(),
        final_control: percent(1),
        policy: *short.plan.policy(),
    });
    PlannedRollout {
        plan: plan.unwrap(),
        ..short
    }
}

/// Canary fails one in twenty, stable none.
fn worse() -> TickCounts {
    let mut canary = arm(190, None);
    canary.merge(&arm(10, Some(Failure::Status)));
    tick(1, percent(10), canary)
}

fn evidence(world: &World) -> f64 {
    let status = world.status.load();
    let findings = status.rollouts[0].findings.iter();
    let mut errors = findings.filter(|finding| finding.check == CheckName::ErrorRate);
    errors.next().map_or(0.0, |finding| finding.evidence)
}

/// Plays harm until there is some evidence of it and not enough.
async fn with_some_evidence() -> World {
    let is_full = Arc::default();
    let world = started(configuration(long()), &Arc::default(), &is_full).unwrap();
    // The warm-up, in which stable is learnt from.
    world.play((0..12).map(|_| tick(1, percent(10), arm(200, None))));
    seconds(12).await;
    while evidence(&world) < 0.02 {
        world.play([worse()]);
        seconds(1).await;
        assert_eq!(world.phase(), "progressing");
    }
    world
}

fn known(world: &World) -> Vec<KnownEvidence> {
    world.saved.lock().unwrap().evidence.clone()
}

async fn evidence_after_a_restart(before: &World, planned: PlannedRollout) -> f64 {
    let after = started(configuration(planned), &before.saved, &before.is_full).unwrap();
    after.play((0..14).map(|_| tick(1, percent(10), arm(200, None))));
    seconds(13).await;
    assert_eq!(after.phase(), "paused");
    after.stop.pull();
    evidence(&after)
}

#[tokio::test(start_paused = true)]
async fn evidence_is_left_to_be_written_at_times_and_with_each_transition() {
    let world = with_some_evidence().await;
    let at_times = known(&world);
    assert_eq!(at_times.len(), 1);
    world.play([worse()]);
    seconds(1).await;
    let pause = world.commands.send("orders", Command::Pause, operator(""));
    pause.await.unwrap();
    assert_ne!(known(&world), at_times, "with the pause");
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_from_what_was_known_of_harm() {
    let before = with_some_evidence().await;
    let pause = before.commands.send("orders", Command::Pause, operator(""));
    pause.await.unwrap();
    let known = evidence(&before);
    before.stop.pull();
    let after = evidence_after_a_restart(&before, long()).await;
    assert!(after > known / 3.0, "{after} of {known}");
}

#[tokio::test(start_paused = true)]
async fn evidence_of_other_tolerances_or_of_an_attempt_before_says_nothing() {
    let before = with_some_evidence().await;
    let pause = before.commands.send("orders", Command::Pause, operator(""));
    pause.await.unwrap();
    let known = evidence(&before);
    before.stop.pull();
    let mut other = long();
    other.judge.tolerances.max_increase = Some(0.3);
    let after = evidence_after_a_restart(&before, other).await;
    assert!(after < known / 10.0, "{after} of {known}");
    let mut saved = before.saved.lock().unwrap().clone();
    saved.evidence[0].attempt += 1;
    *before.saved.lock().unwrap() = saved;
    let after = evidence_after_a_restart(&before, long()).await;
    assert!(after < known / 10.0, "{after} of {known}");
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_again_is_judged_as_if_nothing_were_known() {
    let world = with_some_evidence().await;
    for command in [Command::Rollback, Command::Retry] {
        let sent = world.commands.send("orders", command, operator(""));
        sent.await.unwrap();
    }
    let epoch = world.subscriber.load().routing.flags[0].epoch;
    world.play((0..14).map(|_| tick(epoch, percent(10), arm(200, None))));
    seconds(13).await;
    assert!(evidence(&world) < 0.002, "{}", evidence(&world));
}

#[tokio::test(start_paused = true)]
async fn what_callers_get_while_the_flag_is_off_is_no_evidence() {
    let world = started(
        configuration(planned("2", &[10, 50])),
        &Arc::default(),
        &Arc::default(),
    )
    .unwrap();
    world.play((0..2).map(|_| tick(1, percent(10), arm(200, None))));
    seconds(2).await;
    let switched = |is_on: bool| {
        let mut configuration = configuration(planned("2", &[10, 50]));
        Arc::make_mut(&mut configuration.routing.flags[0]).enabled = is_on;
        configuration
    };
    world.commands.install(switched(false)).await.unwrap();
    assert_eq!(world.phase(), "paused");
    // Whoever would have canary has stable.
    let mut all_stable = tick(1, percent(10), arm(200, None)).strata()[0].clone();
    let canary = std::mem::take(&mut all_stable.arms.canary);
    all_stable.arms.stable.merge(&canary);
    world.play((0..30).map(|_| [all_stable.clone()].into_iter().collect()));
    seconds(30).await;
    world.commands.install(switched(true)).await.unwrap();
    let epoch = world.subscriber.load().routing.flags[0].epoch;
    world.play((0..8).map(|_| tick(epoch, percent(10), arm(1_500, None))));
    seconds(8).await;
    assert_eq!(world.weight(), percent(50), "the stage has passed");
}

#[tokio::test(start_paused = true)]
async fn a_kill_gives_no_more_than_some_seconds_of_the_deadline_back() {
    let before = started(configuration(long()), &Arc::default(), &Arc::default()).unwrap();
    seconds(100).await;
    // Nothing was written down since the stage began.
    let after = started(configuration(long()), &before.saved, &before.is_full).unwrap();
    let passed = after.status.load().rollouts[0].seconds_under_way;
    assert!((79.0..=100.0).contains(&passed), "{passed}");

    // Whoever begins anew has the whole of it.
    for command in [Command::Rollback, Command::Retry] {
        let sent = after.commands.send("orders", command, operator(""));
        sent.await.unwrap();
    }
    let again = started(configuration(long()), &after.saved, &after.is_full).unwrap();
    let passed = again.status.load().rollouts[0].seconds_under_way;
    assert!(passed < 1.0, "{passed}");
}
