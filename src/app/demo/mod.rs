//! Releases that go well and badly, on backends and callers of our own.

mod scenario;
mod simulated;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, anyhow};

use crate::app::App;
use crate::control::status::Status;
use crate::domain::variant::PerVariant;
use crate::lab::{Backends, Callers, PathCrowd};

pub use scenario::{Ending, Scenario, Trial};
pub use simulated::SimulatedDemo;

/// A running demo: the whole program over real sockets.
pub struct Demo {
    app: App,
    _callers: Callers,
    _backends: Backends,
}

impl Demo {
    /// Starts backends, proxy and callers on free loopback ports. Nothing is kept on disk. Equal
    /// seeds draw equally.
    ///
    /// # Errors
    /// When something of it cannot be started.
    pub fn start(scenario: Scenario, seed: u64) -> Result<Self> {
        let trials = scenario.trials();
        let behaviours: Vec<_> = trials
            .iter()
            .flat_map(|trial| [trial.arms().stable, trial.arms().canary])
            .collect();
        let backends = Backends::start(&behaviours, seed)?;
        let (pairs, _) = backends.addresses().as_chunks();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|[stable, canary]| PerVariant {
                stable: *stable,
                canary: *canary,
            })
            .collect();
        let app = App::start(scenario::config(trials, &pairs)?, None)?;
        let crowds = trials.iter().map(|trial| PathCrowd {
            path: format!("/{}", trial.flag),
            crowd: scenario::CROWD,
        });
        let target = *app
            .listeners()
            .first()
            .ok_or_else(|| anyhow!("nothing listens"))?;
        let callers = Callers::start(target, crowds.collect(), seed)?;
        Ok(Self {
            app,
            _callers: callers,
            _backends: backends,
        })
    }

    /// The proxy's address.
    pub fn proxy(&self) -> Option<SocketAddr> {
        self.app.listeners().first().copied()
    }

    /// The address of the admin API.
    pub const fn admin(&self) -> SocketAddr {
        self.app.admin()
    }

    /// Where the rollouts are.
    pub fn status(&self) -> Arc<Status> {
        self.app.status()
    }

    /// Stops everything.
    ///
    /// # Errors
    /// When a thread had failed.
    pub fn stop(self) -> Result<()> {
        let Self {
            app,
            _callers: callers,
            ..
        } = self;
        drop(callers);
        app.stop()
    }
}
