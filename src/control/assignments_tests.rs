//! Callers put into groups while the disk does not answer, and callers whose time is over.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::control::assignments::{AssignmentError, AssignmentOrder};
use crate::control::fixtures::{World, configuration, operator, planned, seconds, started};
use crate::control::ports::SavedState;
use crate::domain::assignment;
use crate::domain::group::{Group, GroupTable, Membership};
use crate::domain::matcher::Matcher;
use crate::domain::matcher::callers::CallersMatcher;
use crate::domain::testing::name;

/// A controller with a group `beta`.
fn world_of(saved: SavedState) -> World {
    let mut configuration = configuration(planned("2", &[10]));
    let nobody = Matcher::Callers(CallersMatcher::new([].into_iter()).unwrap());
    let beta = Group {
        name: name("beta"),
        membership: Membership::Matcher(nobody),
    };
    let groups = GroupTable::new(vec![beta]).unwrap();
    configuration.routing.groups = Arc::new(groups);
    started(configuration, &Arc::new(Mutex::new(saved)), &Arc::default()).unwrap()
}

fn written(world: &World) -> Vec<String> {
    let saved = world.saved.lock().unwrap();
    let keys = saved.assignments.keys();
    keys.map(|(group, key)| format!("{group} {key}")).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_disk_writes_after_it_was_refused_is_taken_back() {
    let world = world_of(SavedState::default());
    let assign = |key| {
        let order = AssignmentOrder::Assign(None);
        world.commands.assign(("beta", key), order, operator(""))
    };
    assign("ann").await.unwrap();
    world.is_slow.store(true, Ordering::Relaxed);
    let refused = assign("bob").await;
    assert!(
        matches!(refused, Err(AssignmentError::NotWritten(_))),
        "{refused:?}"
    );
    let out = AssignmentOrder::Remove;
    let refused = world
        .commands
        .assign(("beta", "ann"), out, operator(""))
        .await;
    assert!(
        matches!(refused, Err(AssignmentError::NotWritten(_))),
        "{refused:?}"
    );
    assert_eq!(
        written(&world),
        ["beta bob"],
        "as the disk has it meanwhile"
    );
    world.is_slow.store(false, Ordering::Relaxed);
    seconds(2).await;
    assert_eq!(written(&world), ["beta ann"]);
    // What was refused is still not so, and can be asked for again.
    let refused = world
        .commands
        .assign(("beta", "bob"), out, operator(""))
        .await;
    assert!(matches!(refused, Err(AssignmentError::NotAssigned { .. })));
    assign("bob").await.unwrap();
    assert_eq!(written(&world), ["beta ann", "beta bob"]);
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_forgotten_by_the_file_as_well() {
    let saved = SavedState {
        assignments: [("old", Some(Duration::ZERO)), ("new", None)]
            .map(|(key, span)| {
                let place = ("beta".parse().unwrap(), key.into());
                (place, assignment::Membership::lasting(span, 1))
            })
            .into(),
        ..SavedState::default()
    };
    let world = world_of(saved);
    let order = AssignmentOrder::Assign(Some(Duration::from_secs(30)));
    let short = world
        .commands
        .assign(("beta", "short"), order, operator(""));
    short.await.unwrap();
    assert_eq!(written(&world), ["beta new", "beta old", "beta short"]);
    seconds(130).await;
    assert_eq!(written(&world), ["beta new"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_assigned_after_being_forgotten_stays_so_though_that_is_written_late() {
    let world = world_of(SavedState::default());
    let assign = |key| {
        let order = AssignmentOrder::Assign(None);
        world.commands.assign(("beta", key), order, operator(""))
    };
    let forget = |key: &str| world.commands.forget_caller(key.to_owned(), operator(""));
    assign("ann").await.unwrap();
    assign("bob").await.unwrap();
    world.is_full.store(true, Ordering::Relaxed);
    for key in ["ann", "bob"] {
        assert!(!forget(key).await.unwrap().is_written);
    }
    // Nothing new of a caller is written while what was before is there.
    let refused = assign("ann").await;
    assert!(
        matches!(refused, Err(AssignmentError::NotWritten(_))),
        "{refused:?}"
    );
    assert_eq!(written(&world), ["beta ann", "beta bob"]);
    world.is_full.store(false, Ordering::Relaxed);
    assign("ann").await.unwrap();
    assert_eq!(written(&world), ["beta ann", "beta bob"], "bob waits");
    seconds(2).await;
    assert_eq!(written(&world), ["beta ann"]);
}
