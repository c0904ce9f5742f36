//! The demo without sockets and without waiting: the same releases, plans and judge in a world
//! whose time is simulated.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;

use crate::app::demo::scenario::{self, Scenario, Trial};
use crate::config::RolloutConfig;
use crate::control::describe::{Known, tick_status};
use crate::control::status::{JournalStatus, RolloutStatus, Status, WeightsStatus};
use crate::domain::rollout::Moment;
use crate::domain::variant::PerVariant;
use crate::simulator::{Parameters, Simulation, World};

/// Nobody is asked there: the plan of a configuration needs backends, and these have no sockets.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// A demo in simulated time.
pub struct SimulatedDemo {
    simulations: Vec<Simulation>,
}

impl SimulatedDemo {
    /// Prepares the releases of a scenario; no time has passed yet. Equal seeds give equal demos.
    ///
    /// # Errors
    /// When the configuration of the demo is none.
    pub fn start(scenario: Scenario, seed: u64) -> Result<Self> {
        let trials = scenario.trials();
        let nowhere = vec![PerVariant::from_fn(|_| NOWHERE); trials.len()];
        let flags = scenario::config(trials, &nowhere)?.flags;
        let rollouts = flags.into_iter().filter_map(|entry| entry.rollout);
        let simulation = |(seed, (trial, rollout)): (u64, (&Trial, RolloutConfig))| {
            let RolloutConfig { plan, judge, .. } = rollout;
            let world = World {
                crowd: scenario::CROWD,
                groups: Vec::new(),
                arms: trial.arms(),
                regressions: Vec::new(),
            };
            Simulation::start(Parameters { world, plan, judge }, seed)
        };
        let seeds = (0..).map(|place| seed.wrapping_add(place));
        let simulations = seeds.zip(trials.iter().zip(rollouts)).map(simulation);
        Ok(Self {
            simulations: simulations.collect(),
        })
    }

    /// Lets a second pass.
    pub fn tick(&mut self) {
        self.simulations.iter_mut().for_each(Simulation::tick);
    }

    /// Where the rollouts are.
    pub fn status(&self) -> Status {
        Status {
            rollouts: self.simulations.iter().map(describe).collect(),
            ..Status::default()
        }
    }
}

/// A simulated rollout as the API would show it. Its journal is dated in simulated time.
fn describe(simulation: &Simulation) -> RolloutStatus {
    let journal = simulation.journal().iter().rev().map(|told| JournalStatus {
        at_unix_ms: told.second * 1000,
        entry: told.entry.clone(),
    });
    let weights = simulation.weights();
    let groups = weights
        .groups
        .iter()
        .map(|(group, weight)| (group.clone(), *weight));
    let control = simulation.plan().control_at(simulation.state());
    Known {
        plan: simulation.plan(),
        state: simulation.state(),
        judge: simulation.judge(),
        verdict: simulation.verdict(),
        moment: &Moment::at(simulation.now()),
        last_tick: tick_status(simulation.last_tick()),
        enabled: true,
        weights: WeightsStatus::of(groups, weights.default, control),
        journal: journal.collect(),
        is_written: true,
    }
    .status()
}
