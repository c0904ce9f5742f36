//! The controller through its ports: scripted evidence in, published weights out, on paused time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, Uri};

use super::fixtures::*;
use crate::control::commands::{CommandError, InstallError};
use crate::domain::evidence::Failure;
use crate::domain::ids::FlagIndex;
use crate::domain::notify::{NotifyFormat, NotifyTarget, WebhookUrl};
use crate::domain::rollout::{Command, Refusal};
use crate::domain::testing::{name, percent};
use crate::domain::weight::Weight;
use crate::runtime::inbox::Message;

#[tokio::test(start_paused = true)]
async fn a_good_canary_goes_through_all_stages_each_written_before_it_is_published() {
    let world = world(false);
    assert_eq!(world.weight(), percent(10));
    world.play((0..3).map(|_| tick(1, percent(10), arm(1_500, None))));
    seconds(3).await;
    assert_eq!(world.weight(), percent(50));
    world.play((0..3).map(|_| tick(2, percent(50), arm(3_000, None))));
    seconds(3).await;
    assert_eq!(world.phase(), "watching");
    seconds(6).await;
    assert_eq!(world.phase(), "succeeded");
    let events = world.events.lock().unwrap();
    let saves: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with("save"))
        .collect();
    assert_eq!(
        saves,
        [
            "save progressing while nothing is published",
            "save progressing while 10% is published",
            "save watching while 50% is published",
            "save succeeded while 50% is published",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_evidence_nothing_advances() {
    let world = world(false);
    seconds(600).await;
    assert_eq!(
        (world.weight(), world.phase()),
        (percent(10), "progressing".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_refuses_is_taken_back_before_the_tick() {
    let world = world(false);
    world.play([tick(1, percent(10), arm(30, None))]);
    seconds(1).await;
    let mut refused = arm(8, Some(Failure::Connect));
    refused.refused_connects = 8;
    world.play([tick(1, percent(10), refused)]);
    world.inbox.send(Message::CanaryRefused(name("orders")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        (world.weight(), world.phase()),
        (Weight::ZERO, "rolled_back".to_owned())
    );
    assert!(
        world
            .subscriber
            .load()
            .routing
            .flag(FlagIndex(0))
            .rolled_back
    );
    let events = world.events.lock().unwrap();
    assert!(
        events
            .last()
            .unwrap()
            .starts_with("record tripwire: canary failed"),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_does_not_raise_a_weight_but_may_lower_it() {
    let world = world(true);
    assert_eq!(world.weight(), Weight::ZERO);
    let started = world.commands.send("orders", Command::Start, operator(""));
    assert!(matches!(started.await, Err(CommandError::NotWritten(_))));
    assert_eq!(world.weight(), Weight::ZERO);
    let back = world
        .commands
        .send("orders", Command::Rollback, operator("it smells"))
        .await;
    assert_eq!(back.unwrap().phase, "rolled_back");
}

#[tokio::test(start_paused = true)]
async fn commands_are_answered_with_where_things_stand_or_why_not() {
    let world = world(false);
    let send = |flag: &'static str, command| world.commands.send(flag, command, operator("test"));
    let promoted = send("orders", Command::Promote { full: false })
        .await
        .unwrap();
    assert_eq!(
        (promoted.stage, promoted.weights.default_percent),
        (2, 50.0)
    );
    let unknown = send("order", Command::Rollback).await.unwrap_err();
    assert_eq!(unknown.to_string(), "flag `order` has no rollout");
    send("orders", Command::Rollback).await.unwrap();
    let again = send("orders", Command::Rollback).await.unwrap_err();
    assert!(matches!(again, CommandError::Refused(Refusal::RolledBack)));
    assert_eq!(world.weight(), Weight::ZERO);
    let events = world.events.lock().unwrap();
    assert_eq!(events.last().unwrap(), "record operator: test");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_could_not_be_written_is_written_as_soon_as_it_can_be() {
    let world = world(false);
    world.is_full.store(true, Ordering::Relaxed);
    let rollback = world
        .commands
        .send("orders", Command::Rollback, operator("it smells"));
    assert_eq!(rollback.await.unwrap().phase, "rolled_back");
    assert_eq!(world.weight(), Weight::ZERO);
    let written = || {
        let saved = world.saved.lock().unwrap();
        saved.records[0].state.phase.to_string()
    };
    seconds(2).await;
    assert_eq!(written(), "progressing");
    world.is_full.store(false, Ordering::Relaxed);
    seconds(2).await;
    assert_eq!(written(), "rolled_back");
    let events = world.events.lock().unwrap();
    assert!(
        events.contains(&"record operator: it smells".to_owned()),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_could_not_be_written_begins_as_soon_as_it_can_be() {
    let world = world(true);
    seconds(3).await;
    assert_eq!(
        (world.weight(), world.phase()),
        (Weight::ZERO, "waiting".to_owned())
    );
    world.is_full.store(false, Ordering::Relaxed);
    seconds(2).await;
    assert_eq!(world.weight(), percent(10));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_was_refused_for_a_slow_disk_is_not_made_up_by_a_restart() {
    let world = world(false);
    world.is_slow.store(true, Ordering::Relaxed);
    let promoted = world
        .commands
        .send("orders", Command::Promote { full: false }, operator("now"));
    assert!(matches!(promoted.await, Err(CommandError::NotWritten(_))));
    assert_eq!(world.weight(), percent(10));
    let written = || world.saved.lock().unwrap().records[0].clone();
    assert_eq!(written().weights.default, percent(50), "the disk was slow");
    seconds(1).await;
    assert_eq!(written().weights.default, percent(10), "slow or not");
    // What waited to be written must not come after what was written later.
    let promote = |why| {
        let command = Command::Promote { full: false };
        world.commands.send("orders", command, operator(why))
    };
    for why in ["again", "and again"] {
        assert!(promote(why).await.is_err());
    }
    world.is_slow.store(false, Ordering::Relaxed);
    assert_eq!(promote("at last").await.unwrap().stage, 2);
    seconds(2).await;
    assert_eq!(written().weights.default, percent(50));
}

#[tokio::test(start_paused = true)]
async fn who_tells_others_is_woken_once_what_is_told_is_written() {
    let mut configuration = configuration(planned("2", &[10, 50]));
    configuration.targets.push(NotifyTarget {
        name: name("chat"),
        url: WebhookUrl::try_from(Uri::from_static("http://chat/hook")).unwrap(),
        format: NotifyFormat::Json,
        phases: Vec::new(),
        flags: Vec::new(),
        headers: HeaderMap::new(),
        timeout: Duration::from_secs(1),
        authorities: Vec::new(),
        hook: None,
    });
    let world = started(configuration, &Arc::default(), &Arc::default()).unwrap();
    let woken = || {
        let events = world.events.lock().unwrap();
        events.iter().filter(|event| *event == "woken").count()
    };
    world.is_slow.store(true, Ordering::Relaxed);
    let back = world
        .commands
        .send("orders", Command::Rollback, operator("it smells"));
    assert!(!back.await.unwrap().is_written);
    seconds(3).await;
    assert_eq!(woken(), 0, "there is nothing to be sent yet");
    world.is_slow.store(false, Ordering::Relaxed);
    seconds(1).await;
    assert_eq!(woken(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_was_not_lifted_for_a_slow_disk_outlives_a_restart() {
    let world = world(false);
    world
        .commands
        .freeze(true, operator("night"))
        .await
        .unwrap();
    world.is_slow.store(true, Ordering::Relaxed);
    let lifted = world.commands.freeze(false, operator("day")).await;
    assert!(matches!(lifted, Err(CommandError::NotWritten(_))));
    let is_frozen = || world.saved.lock().unwrap().freeze.is_some();
    assert!(!is_frozen(), "the disk was slow");
    world.is_slow.store(false, Ordering::Relaxed);
    seconds(2).await;
    assert!(is_frozen());
    // What waited to be written must not come after what was written later.
    world.is_full.store(true, Ordering::Relaxed);
    world.commands.freeze(true, operator("noon")).await.unwrap();
    world.is_full.store(false, Ordering::Relaxed);
    world.commands.freeze(false, operator("day")).await.unwrap();
    seconds(2).await;
    assert!(!is_frozen());
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_it_was_written() {
    let before = world(false);
    let promote = Command::Promote { full: false };
    before
        .commands
        .send("orders", promote, operator(""))
        .await
        .unwrap();
    before
        .commands
        .freeze(true, operator("holidays"))
        .await
        .unwrap();
    before.stop.pull();
    let configuration = configuration(planned("2", &[10, 50]));
    let after = started(configuration, &before.saved, &before.is_full).unwrap();
    assert_eq!(
        (after.weight(), after.phase()),
        (percent(50), "progressing".to_owned())
    );
    assert_eq!(after.status.load().freeze.as_ref().unwrap().why, "holidays");
    let refused = after.commands.send("orders", promote, operator("")).await;
    assert!(matches!(
        refused,
        Err(CommandError::Refused(Refusal::Frozen { .. }))
    ));
    after
        .commands
        .freeze(false, operator("back"))
        .await
        .unwrap();
    after
        .commands
        .send("orders", promote, operator(""))
        .await
        .unwrap();
    assert_eq!(after.phase(), "watching");
}

#[tokio::test(start_paused = true)]
async fn another_release_starts_at_its_first_stage_and_one_taken_back_stays_so() {
    let world = world(false);
    world
        .commands
        .send("orders", Command::Rollback, operator(""))
        .await
        .unwrap();
    let install = |revision| {
        world
            .commands
            .install(configuration(planned(revision, &[20, 60])))
    };
    install("3").await.unwrap();
    assert_eq!(
        (world.weight(), world.phase()),
        (percent(20), "progressing".to_owned())
    );
    install("2").await.unwrap();
    assert_eq!(
        (world.weight(), world.phase()),
        (Weight::ZERO, "rolled_back".to_owned())
    );
    install("3").await.unwrap();
    assert_eq!(world.phase(), "aborted", "it was superseded");
    assert_eq!(world.weight(), Weight::ZERO);
    world
        .commands
        .send("orders", Command::Retry, operator(""))
        .await
        .unwrap();
    assert_eq!(world.weight(), percent(20));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_moves_callers_by_mistake_changes_nothing() {
    let world = world(false);
    world
        .commands
        .send("orders", Command::Promote { full: true }, operator(""))
        .await
        .unwrap();
    let full = configuration(planned("2", &[10, 100]));
    world.commands.install(full).await.unwrap();
    // Nothing is left of the flag's rollout, which is under way.
    let mut without = configuration(planned("2", &[10]));
    without.planned.clear();
    let refused = world.commands.install(without).await;
    let Err(InstallError::Refused(refusals)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        refusals[0]
            .problem
            .contains("has a rollout that is progressing"),
        "{refusals:?}"
    );
    // The same revision with another canary.
    let mut other = planned("2", &[10]);
    let mut routing = routing();
    let flag = Arc::make_mut(&mut routing.flags[0]);
    let backends = flag.backends.as_mut().unwrap();
    std::mem::swap(&mut backends.stable, &mut backends.canary);
    other.plan = planned_between(("v2", "v1"), "2", &[10]).plan;
    let swapped = crate::control::installation::NewConfiguration {
        routing,
        planned: vec![other],
        targets: Vec::new(),
        apps: Arc::default(),
        definitions: crate::config::Definitions::default(),
    };
    let refused = world.commands.install(swapped).await;
    let Err(InstallError::Refused(refusals)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refusals[0].key, Some("canary"));
    assert!(refusals[0].problem.contains("under the same revision `2`"));
}

#[tokio::test(start_paused = true)]
async fn a_flag_that_is_off_pauses_its_rollout_and_goes_on_when_it_is_on() {
    let world = world(false);
    let install = |is_on| {
        let mut configuration = configuration(planned("2", &[10, 50]));
        Arc::make_mut(&mut configuration.routing.flags[0]).enabled = is_on;
        world.commands.install(configuration)
    };
    install(false).await.unwrap();
    assert_eq!(world.phase(), "paused");
    assert!(!world.subscriber.load().routing.flag(FlagIndex(0)).enabled);
    install(true).await.unwrap();
    assert_eq!(
        (world.weight(), world.phase()),
        (percent(10), "progressing".to_owned())
    );
}
