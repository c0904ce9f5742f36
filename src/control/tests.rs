//! The controller through its ports: scripted evidence in, published weights out, on paused time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::control::commands::{CommandError, CommandSender};
use crate::control::ports::{EvidenceSource, JournalLine, Notifier, StateStore, StoreError};
use crate::control::status::Status;
use crate::domain::backend::{Backend, Endpoint, Timeouts};
use crate::domain::evidence::{
    ArmCounts, Failure, Outcome, OutcomeClass, Stratum as EvidenceStratum, TickCounts,
};
use crate::domain::flag::{Flag, FlagWeights, Stickiness};
use crate::domain::ids::{BackendIndex, FlagIndex, FlagName};
use crate::domain::judge::JudgeSettings;
use crate::domain::rollout::{
    Author, Command, Notice, PlanDraft, Refusal, RolloutPlan, RolloutState, Stage,
};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::testing::{name, percent};
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::clock::Clock;
use crate::runtime::inbox::{self, InboxSender, Message};
use crate::runtime::ledger::Ledger;
use crate::runtime::published::{Published, Publisher, Subscriber};
use crate::runtime::shutdown::ShutdownTrigger;
use crate::runtime::snapshot::SnapshotReader;

/// What happened, in order: `save 10%` and so on.
type Events = Arc<Mutex<Vec<String>>>;

/// Plays one tick after the other, then nothing.
struct Script(Arc<Mutex<VecDeque<TickCounts>>>);

impl EvidenceSource for Script {
    fn collect(&mut self) -> BTreeMap<FlagName, TickCounts> {
        let tick = self.0.lock().unwrap().pop_front();
        tick.map(|tick| (name("orders"), tick))
            .into_iter()
            .collect()
    }
}

/// Remembers what it was told, and what was published when it was told.
struct Witness {
    events: Events,
    subscriber: Subscriber,
    is_full: bool,
}

impl StateStore for Witness {
    fn save(&mut self, flag: &FlagName, state: &RolloutState) -> Result<(), StoreError> {
        let published = self
            .subscriber
            .load()
            .routing
            .flag(FlagIndex(0))
            .weights
            .default;
        let event = format!("save {} while {published} is published", state.phase);
        self.events.lock().unwrap().push(event);
        let full = || StoreError {
            flag: flag.clone(),
            reason: "disk full".to_owned(),
        };
        if self.is_full { Err(full()) } else { Ok(()) }
    }

    fn record(&mut self, line: JournalLine) -> Result<(), StoreError> {
        self.events
            .lock()
            .unwrap()
            .push(format!("record {}: {}", line.entry.who, line.entry.why));
        Ok(())
    }

    fn journal(&self, _: &FlagName, _: usize) -> Vec<JournalLine> {
        Vec::new()
    }
}

struct Silent;

impl Notifier for Silent {
    fn notify(&mut self, _: &Notice) {}
}

struct World {
    script: Arc<Mutex<VecDeque<TickCounts>>>,
    events: Events,
    subscriber: Subscriber,
    commands: CommandSender,
    inbox: InboxSender,
    status: SnapshotReader<Status>,
    _stop: ShutdownTrigger,
}

fn routing() -> RoutingSnapshot {
    let timeout = Duration::from_secs(1);
    let backend = |title| Backend {
        name: name(title),
        endpoints: vec![Endpoint {
            host: "127.0.0.1".into(),
            port: 1,
        }],
        timeouts: Timeouts {
            connect: timeout,
            response: timeout,
            idle: timeout,
        },
    };
    let flag = Flag {
        name: name("orders"),
        salt: "orders".into(),
        enabled: true,
        stickiness: Stickiness::Caller,
        force: None,
        backends: PerVariant {
            stable: BackendIndex(0),
            canary: BackendIndex(1),
        },
        weights: FlagWeights::default(),
        epoch: 0,
        rolled_back: false,
    };
    RoutingSnapshot {
        flags: vec![Arc::new(flag)],
        backends: vec![backend("v1"), backend("v2")].into(),
        ..RoutingSnapshot::default()
    }
}

fn plan() -> RolloutPlan {
    let stage = |weight| Stage {
        groups: Vec::new(),
        weight: percent(weight),
        hold: Duration::from_secs(2),
        min_requests: 100,
    };
    RolloutPlan::new(PlanDraft {
        flag: name("orders"),
        revision: "2".to_owned(),
        stages: vec![stage(10), stage(50)],
        watch: Duration::from_secs(5),
        final_control: percent(1),
    })
    .unwrap()
}

/// Starts a controller on the current thread.
fn world(is_full: bool) -> World {
    let ledger = Arc::new(Ledger::new(1));
    let publisher = Publisher::new(Published::new(routing(), &ledger));
    let subscriber = publisher.reader();
    let (inbox, messages) = inbox::inbox();
    let (commands, orders) = commands::channel();
    let (script, events) = (Arc::default(), Events::default());
    let store = Witness {
        events: Arc::clone(&events),
        subscriber: subscriber.clone(),
        is_full,
    };
    let controller = Controller::new(Parts {
        routing: routing(),
        planned: vec![PlannedRollout {
            flag: FlagIndex(0),
            plan: plan(),
            judge: JudgeSettings::default(),
        }],
        publisher,
        ledger,
        evidence: Box::new(Script(Arc::clone(&script))),
        store: Box::new(store),
        notifiers: vec![Box::new(Silent)],
        commands: orders,
        inbox: messages,
        assignments: Arc::<CallerAssignments>::default(),
        clock: Clock::start(),
    });
    let status = controller.status();
    let stop = ShutdownTrigger::new();
    tokio::spawn(controller.run(stop.listener()));
    World {
        script,
        events,
        subscriber,
        commands,
        inbox,
        status,
        _stop: stop,
    }
}

fn arm(requests: u64, failure: Option<Failure>) -> ArmCounts {
    let mut arm = ArmCounts::default();
    let class = failure.map_or(OutcomeClass::Success, OutcomeClass::BackendFailure);
    for caller in 0..requests {
        let head_latency = Some(Duration::from_millis(5));
        arm.record(
            &Outcome {
                class,
                head_latency,
            },
            caller,
        );
    }
    arm
}

fn tick(epoch: u64, weight: Weight, canary: ArmCounts) -> TickCounts {
    let arms = PerVariant {
        stable: arm(300, None),
        canary,
    };
    [EvidenceStratum {
        group: None,
        epoch,
        weight,
        arms,
    }]
    .into_iter()
    .collect()
}

impl World {
    fn weight(&self) -> Weight {
        self.subscriber
            .load()
            .routing
            .flag(FlagIndex(0))
            .weights
            .default
    }

    fn play(&self, ticks: impl IntoIterator<Item = TickCounts>) {
        self.script.lock().unwrap().extend(ticks);
    }

    fn phase(&self) -> &'static str {
        self.status.load().rollouts[0].phase
    }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count) + Duration::from_millis(100)).await;
}

fn operator(why: &str) -> Author {
    Author {
        who: "operator".to_owned(),
        why: why.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_canary_goes_through_all_stages_each_written_before_it_is_published() {
    let world = world(false);
    assert_eq!(world.weight(), percent(10));
    world.play((0..3).map(|_| tick(1, percent(10), arm(100, None))));
    seconds(3).await;
    assert_eq!(world.weight(), percent(50));
    world.play((0..3).map(|_| tick(2, percent(50), arm(100, None))));
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
            "save progressing while 0% is published",
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
        (percent(10), "progressing")
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
        (Weight::ZERO, "rolled_back")
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
    let promoted = world
        .commands
        .send("orders", Command::Promote { full: false }, operator(""));
    assert!(matches!(promoted.await, Err(CommandError::NotWritten(_))));
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
    assert!(matches!(
        again,
        CommandError::Refused(Refusal::AlreadyRolledBack)
    ));
    assert_eq!(world.weight(), Weight::ZERO);
    let events = world.events.lock().unwrap();
    assert_eq!(events.last().unwrap(), "record operator: test");
}
