//! Random histories of a controller: ticks, commands, reloads, a full disk, and ends without
//! warning. Whatever happens, callers never meet a weight that is not written down, and what was
//! taken back stays taken back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::fixtures::*;
use crate::control::commands::PendingCommand;
use crate::control::controller::Controller;
use crate::control::ports::SavedState;
use crate::domain::evidence::Failure;
use crate::domain::rollout::{Command, Phase, Release, RolloutRecord};
use crate::domain::testing::percent;
use crate::domain::weight::Weight;

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// Seconds pass in which canary does well, fails, or is not asked.
    Good(u8),
    Bad,
    Quiet(u8),
    Asked(Command),
    Frozen(bool),
    /// The file is replaced: which release, and which plan.
    Installed(usize, usize),
    Full(bool),
    /// The process dies and starts again with a release and a plan.
    Died(usize, usize),
}

const REVISIONS: [&str; 3] = ["1", "2", "3"];
const PLANS: [&[u16]; 3] = [&[10, 50], &[5, 10, 100], &[20, 60, 80]];

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let place = || (0..REVISIONS.len(), 0..PLANS.len());
    let verb = proptest::sample::select(Command::ALL.to_vec());
    let one = prop_oneof![
        6 => (1_u8..5).prop_map(Happening::Good),
        1 => Just(Happening::Bad),
        1 => (1_u8..20).prop_map(Happening::Quiet),
        4 => verb.prop_map(Happening::Asked),
        1 => any::<bool>().prop_map(Happening::Frozen),
        2 => place().prop_map(|(revision, plan)| Happening::Installed(revision, plan)),
        1 => any::<bool>().prop_map(Happening::Full),
        2 => place().prop_map(|(revision, plan)| Happening::Died(revision, plan)),
    ];
    prop::collection::vec(one, 1..40)
}

/// A controller and what outlives it.
struct Model {
    world: World,
    controller: Controller,
    place: (usize, usize),
    saved: Arc<Mutex<SavedState>>,
    is_full: Arc<AtomicBool>,
    /// Releases whose end is written down, and that nobody has tried again.
    taken_back: BTreeSet<Release>,
}

impl Model {
    fn start(place: (usize, usize)) -> Self {
        let (saved, is_full) = (Arc::default(), Arc::default());
        let configuration = configuration(planned(REVISIONS[place.0], PLANS[place.1]));
        let (world, controller) = stopped(configuration, &saved, &is_full).unwrap();
        Self {
            world,
            controller,
            place,
            saved,
            is_full,
            taken_back: BTreeSet::new(),
        }
    }

    async fn happen(&mut self, happening: &Happening) -> Result<(), TestCaseError> {
        match happening {
            Happening::Good(seconds) => {
                for _ in 0..*seconds {
                    self.tick(Some(None)).await;
                }
            }
            Happening::Bad => self.tick(Some(Some(Failure::Status))).await,
            Happening::Quiet(seconds) => {
                for _ in 0..*seconds {
                    self.tick(None).await;
                }
            }
            Happening::Asked(command) => self.ask(*command)?,
            Happening::Frozen(on) => {
                let (on, by) = (*on, operator("model"));
                let (reply, _) = oneshot::channel();
                self.controller
                    .obey(PendingCommand::Freeze { on, by, reply });
            }
            Happening::Installed(revision, plan) => {
                let planned = planned(REVISIONS[*revision], PLANS[*plan]);
                let configuration = Box::new(configuration(planned));
                let (reply, mut answer) = oneshot::channel();
                let before = self.world.weight();
                let pending = PendingCommand::Install {
                    configuration,
                    reply,
                };
                self.controller.obey(pending);
                if answer.try_recv().unwrap().is_ok() {
                    self.place = (*revision, *plan);
                } else {
                    prop_assert_eq!(
                        self.world.weight(),
                        before,
                        "a refused file changes nothing"
                    );
                }
            }
            Happening::Full(is_full) => self.is_full.store(*is_full, Ordering::Relaxed),
            Happening::Died(revision, plan) => self.die((*revision, *plan))?,
        }
        Ok(())
    }

    /// A second passes, with canary doing well or failing, or without requests.
    async fn tick(&mut self, canary: Option<Option<Failure>>) {
        tokio::time::advance(Duration::from_secs(1)).await;
        let (epoch, weight) = (
            self.controller.performer.routing.flags[0].epoch,
            self.world.weight(),
        );
        if let Some(failure) = canary.filter(|_| weight != Weight::ZERO) {
            self.world.play([tick(epoch, weight, arm(100, failure))]);
        }
        self.controller.tick();
        self.controller.publish_status();
    }

    fn ask(&mut self, command: Command) -> Result<(), TestCaseError> {
        let before = self.world.weight();
        let (reply, mut answer) = oneshot::channel();
        self.controller.obey(PendingCommand::Rollout {
            flag: "orders".to_owned(),
            command,
            by: operator("model"),
            reply,
        });
        let is_done = answer.try_recv().unwrap().is_ok();
        let after = self.world.weight();
        if !is_done {
            prop_assert_eq!(after, before, "a refused command changes nothing");
        } else if command == Command::Rollback || command == Command::Abort {
            prop_assert_eq!(after, Weight::ZERO, "one step");
        } else if command == Command::Retry {
            let release = self.release();
            self.taken_back.remove(&release);
        }
        Ok(())
    }

    /// The process ends as if the power went, and starts again; a start that is refused leaves
    /// the old configuration, with which it starts.
    fn die(&mut self, place: (usize, usize)) -> Result<(), TestCaseError> {
        let written = self.written().map(|record| record.weights.default);
        let start = |place: (usize, usize)| {
            let configuration = configuration(planned(REVISIONS[place.0], PLANS[place.1]));
            stopped(configuration, &self.saved, &self.is_full)
        };
        let before = self.place;
        // What could not be written down may have been a rollback of what the file says has
        // succeeded; then only that release may start.
        let last = self
            .saved
            .lock()
            .unwrap()
            .records
            .last()
            .map(|r| r.release.revision.clone());
        let last = REVISIONS
            .iter()
            .position(|revision| last.as_deref() == Some(revision));
        let last = (last.unwrap_or(before.0), before.1);
        let mut tried = [place, before, last].into_iter();
        let started = tried.find_map(|place| Some((place, start(place).ok()?)));
        let (world, controller);
        (self.place, (world, controller)) = started.unwrap();
        (self.world, self.controller) = (world, controller);
        if self.place == before {
            let weight = self.world.weight();
            let may_begin = written.is_none();
            prop_assert!(
                may_begin || weight <= written.unwrap_or_default(),
                "at most what was written"
            );
        }
        Ok(())
    }

    fn release(&self) -> Release {
        planned(REVISIONS[self.place.0], PLANS[0])
            .plan
            .release()
            .clone()
    }

    fn written(&self) -> Option<RolloutRecord> {
        let saved = self.saved.lock().unwrap();
        let release = self.release();
        let found = saved
            .records
            .iter()
            .find(|record| record.release == release);
        found.cloned()
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let (weight, plan) = (self.world.weight(), PLANS[self.place.1]);
        let written = self
            .written()
            .map_or(Weight::ZERO, |record| record.weights.default);
        prop_assert!(
            weight <= written,
            "{} is published, {} is written",
            weight,
            written
        );
        let ends = [Weight::ZERO, percent(99), Weight::FULL];
        let of_plan = plan.iter().any(|stage| percent(*stage) == weight);
        prop_assert!(
            of_plan || ends.contains(&weight),
            "{} is in no plan",
            weight
        );
        if self.taken_back.contains(&self.release()) {
            prop_assert_eq!(weight, Weight::ZERO, "what was taken back stays so");
        }
        let status = self.world.status.load();
        prop_assert_eq!(status.rollouts.len(), 1, "no rollout is forgotten");
        let saved = self.saved.lock().unwrap();
        for record in &saved.records {
            if record.state.phase.is_taken_back() {
                self.taken_back.insert(record.release.clone());
            }
            if !matches!(record.state.phase, Phase::Succeeded) && record.release != self.release() {
                let is_to_be_written = !self.controller.performer.unsaved.is_empty();
                prop_assert!(record.weights.is_zero() || is_to_be_written);
            }
        }
        Ok(())
    }
}

/// Runs a history, and checks the rules after each of its happenings.
fn run(happenings: &[Happening]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut model = Model::start((0, 0));
        for happening in happenings {
            model.happen(happening).await?;
            model.check()?;
        }
        Ok(())
    })
}

#[test]
fn a_plan_that_came_while_the_disk_was_full_is_written_with_its_own_weights() {
    let history = [
        Happening::Full(true),
        Happening::Died(2, 0),
        Happening::Installed(2, 2),
        Happening::Full(false),
        Happening::Good(1),
    ];
    run(&history).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_callers_meet_written_weights_and_rollbacks_last(
        happenings in happenings()
    ) {
        run(&happenings)?;
    }
}
