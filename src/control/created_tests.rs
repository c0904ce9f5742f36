//! Flags created while the disk does not answer, and more of them than there may be.

use std::env::VarError;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config;
use crate::control::created::{CREATED_FLAGS_MAX, Precondition};
use crate::control::fixtures::{World, configuration, operator, planned, seconds, started};
use crate::control::flags::FlagError;
use crate::domain::testing::name;

/// What the world's configuration would be as a file.
const FILE: &str = "\
listeners: [{ address: 0.0.0.0:8080 }]
backends: { v1: http://10.0.0.1, v2: http://10.0.0.2 }
flags: { orders: { stable: v1, canary: v2 } }
routes: [{ flag: orders }]
";

const NEW: &str = r#"{"stable": "v1", "canary": "v2"}"#;

fn world() -> World {
    let no_variable = |_: &str| Err(VarError::NotPresent);
    let file = config::parse(FILE, &|_| unreachable!(), &no_variable).unwrap();
    let mut configuration = configuration(planned("2", &[10, 50]));
    configuration.definitions = file.definitions;
    started(configuration, &Arc::default(), &Arc::default()).unwrap()
}

async fn create(world: &World, flag: &str) -> Result<bool, FlagError> {
    let commands = &world.commands;
    let none = Precondition::None;
    let defined = commands.define_flag(name(flag), NEW.into(), none, operator(""));
    defined.await.map(|defined| defined.is_new)
}

/// The created flags that there are, and those that are written down.
fn created(world: &World) -> (Vec<String>, Vec<String>) {
    let published = world.subscriber.load();
    let flags = published.routing.flags.iter().skip(1);
    let saved = world.saved.lock().unwrap();
    (
        flags.map(|flag| flag.name.to_string()).collect(),
        saved.created.keys().map(ToString::to_string).collect(),
    )
}

fn names(flags: &[&str]) -> Vec<String> {
    flags.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_disk_writes_after_it_was_refused_is_taken_back() {
    let world = world();
    assert_eq!(create(&world, "a").await, Ok(true));
    world.is_slow.store(true, Ordering::Relaxed);
    let refused = create(&world, "b").await;
    assert!(
        matches!(refused, Err(FlagError::NotWritten(_))),
        "{refused:?}"
    );
    let refused = world.commands.delete_flag("a", None, operator("")).await;
    assert!(
        matches!(refused, Err(FlagError::NotWritten(_))),
        "{refused:?}"
    );
    assert_eq!(
        created(&world),
        (names(&["a"]), names(&["b"])),
        "as the disk has it meanwhile"
    );
    world.is_slow.store(false, Ordering::Relaxed);
    seconds(2).await;
    assert_eq!(created(&world), (names(&["a"]), names(&["a"])));
    assert_eq!(create(&world, "b").await, Ok(true));
    assert_eq!(create(&world, "b").await, Ok(false));
    assert_eq!(created(&world), (names(&["a", "b"]), names(&["a", "b"])));
}

#[tokio::test(start_paused = true)]
async fn there_is_an_end_to_creating_and_a_rollout_is_not_disturbed_by_it() {
    let world = world();
    let before = (world.weight(), world.phase());
    for n in 0..CREATED_FLAGS_MAX {
        assert_eq!(create(&world, &format!("f{n}")).await, Ok(true), "{n}");
    }
    assert_eq!(create(&world, "more").await, Err(FlagError::TooMany));
    assert_eq!((world.weight(), world.phase()), before);
    world
        .commands
        .delete_flag("f7", None, operator(""))
        .await
        .unwrap();
    assert_eq!(create(&world, "more").await, Ok(true));
    assert_eq!(created(&world).0.len(), CREATED_FLAGS_MAX);
}
