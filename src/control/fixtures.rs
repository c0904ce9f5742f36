//! A controller with scripted evidence and a store in memory, for the tests of this folder.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::control::commands::CommandSender;
use crate::control::installation::{FlagRefusal, NewConfiguration, PlannedRollout};
use crate::control::ports::{
    Asking, Calling, EvidenceSource, HookCall, HookCaller, MetricSource, Notifier, SavedState,
};
use crate::control::status::Status;
use crate::control::witness::Witness;
use crate::domain::backend::{Backend, Endpoint};
use crate::domain::evidence::{
    ArmCounts, Failure, Outcome, OutcomeClass, Stratum as EvidenceStratum, TickCounts,
};
use crate::domain::further::{FurtherChecks, Question, Silence};
use crate::domain::gate::HookAnswer;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::judge::JudgeSettings;
use crate::domain::rollout::{
    Author, Notice, PlanDraft, Release, RolloutPlan, RolloutPolicy, Stage, StageShape,
};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::testing::{self, backend, name, percent};
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::caller_book::CallerBookWriter;
use crate::runtime::clock::Clock;
use crate::runtime::inbox::{self, InboxSender};
use crate::runtime::ledger::Ledger;
use crate::runtime::published::{Published, Publisher, Subscriber};
use crate::runtime::shutdown::ShutdownTrigger;
use crate::runtime::snapshot::SnapshotReader;

/// What happened, in order: `save 10%` and so on.
pub(super) type Events = Arc<Mutex<Vec<String>>>;

/// Plays one tick after the other, then nothing.
pub(super) struct Script(Arc<Mutex<VecDeque<TickCounts>>>);

impl EvidenceSource for Script {
    fn collect(&mut self) -> BTreeMap<FlagName, TickCounts> {
        let tick = self.0.lock().unwrap().pop_front();
        tick.map(|tick| (name("orders"), tick))
            .into_iter()
            .collect()
    }
}

pub(super) struct Silent;

/// Notes when what was told before is written.
struct WrittenNotes(Events);

impl Notifier for WrittenNotes {
    fn notify(&mut self, _: &Notice) {}

    fn written(&mut self) {
        self.0.lock().unwrap().push("woken".to_owned());
    }
}

impl HookCaller for Silent {
    fn call(&self, _: HookCall) -> Calling {
        Box::pin(async { HookAnswer::Silent("nobody is there".to_owned()) })
    }
}

impl MetricSource for Silent {
    fn ask(&self, _: Question) -> Asking {
        Box::pin(async { Err(Silence("nobody answers".to_owned())) })
    }
}

pub(super) struct World {
    pub(super) script: Arc<Mutex<VecDeque<TickCounts>>>,
    pub(super) events: Events,
    pub(super) subscriber: Subscriber,
    pub(super) commands: CommandSender,
    pub(super) inbox: InboxSender,
    pub(super) status: SnapshotReader<Status>,
    pub(super) is_full: Arc<AtomicBool>,
    pub(super) is_slow: Arc<AtomicBool>,
    pub(super) saved: Arc<Mutex<SavedState>>,
    pub(super) stop: ShutdownTrigger,
}

pub(super) fn routing() -> RoutingSnapshot {
    let at_nobody = |title| Backend {
        endpoints: vec![Endpoint {
            host: "127.0.0.1".into(),
            port: 1,
        }],
        ..backend(title)
    };
    RoutingSnapshot {
        flags: vec![Arc::new(testing::flag("orders"))],
        backends: vec![at_nobody("v1"), at_nobody("v2")].into(),
        ..RoutingSnapshot::default()
    }
}

pub(super) fn stage(weight: u16) -> Stage {
    Stage {
        shape: StageShape {
            groups: Vec::new(),
            weight: percent(weight),
        },
        hold: Duration::from_secs(2),
        min_requests: 100,
        needs_approval: false,
        gates: Vec::new(),
    }
}

pub(super) fn planned(revision: &str, stages: &[u16]) -> PlannedRollout {
    planned_between(("v1", "v2"), revision, stages)
}

pub(super) fn planned_between(
    (stable, canary): (&str, &str),
    revision: &str,
    stages: &[u16],
) -> PlannedRollout {
    let plan = RolloutPlan::new(PlanDraft {
        flag: name("orders"),
        release: Release {
            revision: revision.to_owned(),
            stable: name(stable),
            canary: name(canary),
        },
        stages: stages.iter().copied().map(stage).collect(),
        watch: Duration::from_secs(5),
        final_control: percent(1),
        policy: RolloutPolicy::PLAIN,
    });
    PlannedRollout {
        flag: FlagIndex(0),
        plan: plan.unwrap(),
        judge: JudgeSettings::default(),
        further: FurtherChecks::default(),
        takes_feedback: false,
    }
}

pub(super) fn configuration(planned: PlannedRollout) -> NewConfiguration {
    NewConfiguration {
        routing: routing(),
        planned: vec![planned],
        targets: Vec::new(),
        apps: Arc::default(),
        definitions: crate::config::Definitions::default(),
    }
}

/// A controller that has not been run, and what is around it.
pub(super) fn stopped(
    configuration: NewConfiguration,
    saved: &Arc<Mutex<SavedState>>,
    is_full: &Arc<AtomicBool>,
) -> Result<(World, Controller), Vec<FlagRefusal>> {
    let ledger = Arc::new(Ledger::new(1));
    let publisher = Publisher::new(Published::new(RoutingSnapshot::default(), &ledger));
    let subscriber = publisher.reader();
    let (inbox, messages) = inbox::inbox();
    let (commands, orders) = commands::channel();
    let (script, events) = (Arc::default(), Events::default());
    let is_slow = Arc::<AtomicBool>::default();
    let store = Witness {
        is_slow: Arc::clone(&is_slow),
        events: Arc::clone(&events),
        subscriber: subscriber.clone(),
        is_full: Arc::clone(is_full),
        saved: Arc::clone(saved),
    };
    let before = saved.lock().unwrap().clone();
    let controller = Controller::new(Parts {
        configuration,
        publisher,
        ledger,
        evidence: Box::new(Script(Arc::clone(&script))),
        writer: Box::new(store.clone()),
        reader: Arc::new(store),
        saved: before,
        notifiers: vec![Box::new(WrittenNotes(Arc::clone(&events)))],
        metrics: Arc::new(Silent),
        hooks: Arc::new(Silent),
        commands: orders,
        inbox: messages,
        apps: Arc::default(),
        assignments: Arc::<CallerAssignments>::default(),
        feedback: Arc::default(),
        callers: CallerBookWriter::new(None).reader(),
        pseudonyms: Arc::default(),
        clock: Clock::start(),
    })?;
    let world = World {
        script,
        events,
        subscriber,
        commands,
        inbox,
        status: controller.status(),
        is_full: Arc::clone(is_full),
        is_slow,
        saved: Arc::clone(saved),
        stop: ShutdownTrigger::new(),
    };
    Ok((world, controller))
}

/// Starts a controller on the current thread.
pub(super) fn world(is_full: bool) -> World {
    let configuration = configuration(planned("2", &[10, 50]));
    let is_full = Arc::new(AtomicBool::new(is_full));
    started(configuration, &Arc::default(), &is_full).unwrap()
}

/// The same with what was saved before.
pub(super) fn started(
    configuration: NewConfiguration,
    saved: &Arc<Mutex<SavedState>>,
    is_full: &Arc<AtomicBool>,
) -> Result<World, Vec<FlagRefusal>> {
    let (world, controller) = stopped(configuration, saved, is_full)?;
    tokio::spawn(controller.run(world.stop.listener()));
    Ok(world)
}

/// Requests that take 5 ms, more or less.
pub(super) fn arm(requests: u64, failure: Option<Failure>) -> ArmCounts {
    let mut arm = ArmCounts::default();
    let class = failure.map_or(OutcomeClass::Success, OutcomeClass::BackendFailure);
    for caller in 0..requests {
        // Of 97 in turn, 41 apart: no order of callers is one of latencies.
        let latency_us = 2_500 + caller * 41 % 97 * 50;
        let head_latency = Some(Duration::from_micros(latency_us));
        arm.record(
            &Outcome {
                class,
                head_latency,
                ..Outcome::default()
            },
            caller,
        );
    }
    arm
}

/// Canary's counts beside as many of stable as the weight asks for.
pub(super) fn tick(epoch: u64, weight: Weight, canary: ArmCounts) -> TickCounts {
    let share = u64::from(weight.basis_points().max(1));
    let stable = canary.requests * (10_000 - share) / share;
    let arms = PerVariant {
        stable: arm(stable, None),
        canary,
    };
    [EvidenceStratum {
        group: None,
        epoch,
        weight,
        is_keyed: true,
        arms,
    }]
    .into_iter()
    .collect()
}

impl World {
    pub(super) fn weight(&self) -> Weight {
        self.subscriber
            .load()
            .routing
            .flag(FlagIndex(0))
            .weights
            .default
    }

    pub(super) fn play(&self, ticks: impl IntoIterator<Item = TickCounts>) {
        self.script.lock().unwrap().extend(ticks);
    }

    pub(super) fn phase(&self) -> String {
        self.status.load().rollouts[0].phase.clone()
    }
}

pub(super) async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count) + Duration::from_millis(100)).await;
}

pub(super) fn operator(why: &str) -> Author {
    Author {
        who: "operator".to_owned(),
        why: why.to_owned(),
    }
}
