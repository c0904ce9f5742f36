//! `serin demo`: releases that go well and badly, decided before the eyes of whoever asks.
//!
//! On a terminal it is a picture that lives, drawn from nothing but a status; elsewhere it is lines,
//! written by `plain` from the same.

mod live;
mod next;
mod plain;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, stdout};

use clap::{Args, ValueEnum};
use tokio::runtime::Builder;

use crate::app::demo::{Demo as Running, Ending, Scenario, SimulatedDemo};
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::picture;
use crate::control::status::Status;

/// How long the demo may take: more than twice of what it does.
const SECONDS_MAX: u64 = 60;

/// Watch releases being promoted or rolled back, within a minute.
///
/// Starts a proxy, backends and callers on free ports of this machine, and stops them again;
/// nothing is kept. Exits with 0 when every release met the fate it deserves, with 1 when one did
/// not, with 4 when that took more than a minute.
#[derive(Args)]
pub(crate) struct Demo {
    /// Which releases to watch.
    #[arg(long, value_enum, default_value = "both", conflicts_with = "sample")]
    scenario: Chosen,
    /// Simulate traffic and time instead: the whole story at once, and the same one each time.
    #[arg(long, conflicts_with = "sample")]
    fast: bool,
    /// The seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Just print the smallest useful configuration.
    #[arg(long)]
    sample: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Chosen {
    /// A version as good as the one before.
    Good,
    /// One that fails 5 % of requests and has a slow tail.
    Bad,
    /// One that cuts its answers short or sends no HTTP at all.
    Garbage,
    /// The good one and the bad one, side by side.
    Both,
}

impl From<Chosen> for Scenario {
    fn from(chosen: Chosen) -> Self {
        match chosen {
            Chosen::Good => Self::Good,
            Chosen::Bad => Self::Bad,
            Chosen::Garbage => Self::Garbage,
            Chosen::Both => Self::Both,
        }
    }
}

impl Demo {
    pub(crate) fn run(self) -> Done {
        if self.sample {
            print!("{}", next::SAMPLE);
            return Ok(Exit::Done);
        }
        let scenario = self.scenario.into();
        let exit = match self.fast {
            true => plain::simulate(SimulatedDemo::start(scenario, self.seed)?, scenario)?,
            false => watch(scenario, self.seed)?,
        };
        if exit != Exit::Interrupted {
            println!("\n{}", next::commands());
        }
        Ok(exit)
    }
}

/// Runs the demo over real sockets, in real time.
fn watch(scenario: Scenario, seed: u64) -> Done {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let demo = Running::start(scenario, seed)?;
    let exit = runtime.block_on(async {
        if stdout().is_terminal() && picture::can_draw() {
            live::watch(&demo, scenario).await
        } else {
            plain::watch(&demo, scenario).await
        }
    })?;
    demo.stop()?;
    Ok(exit)
}

/// How the demo ends, once every rollout has.
fn verdict(status: &Status) -> Option<Exit> {
    let endings: Vec<_> = status.rollouts.iter().map(Scenario::ending).collect();
    if endings.contains(&Ending::Open) {
        None
    } else if endings.contains(&Ending::Wrong) {
        Some(Exit::Refused)
    } else {
        Some(Exit::Done)
    }
}
