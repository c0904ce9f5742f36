//! A good and a bad release, side by side, on backends and callers of our own.

use std::env::VarError;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};

use crate::app::App;
use crate::config;
use crate::control::status::{RolloutStatus, Status};
use crate::lab::{Backends, Behaviour, Callers, Crowd};

/// Requests a second for each flag.
const RATE: f64 = 400.0;

/// Callers of each flag.
const CALLERS: u32 = 2_000;

/// Fails one request in twenty, and makes one in ten wait six times as long.
const BAD: Behaviour = Behaviour {
    failures: 0.05,
    slow: 0.1,
    slowdown: 6.0,
    ..Behaviour::HEALTHY
};

/// A running demo.
pub struct Demo {
    app: App,
    _callers: Callers,
    _backends: Backends,
}

/// How a rollout of the demo ended, or has not ended yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It goes on.
    Open,
    /// It ended as it should.
    Right,
    /// It ended as it should not.
    Wrong,
}

impl Demo {
    /// The flag with the good release.
    pub const GOOD: &str = "search";
    /// The flag with the bad one.
    pub const BAD: &str = "checkout";

    /// Starts backends, proxy and callers on free loopback ports. Equal seeds draw equally.
    ///
    /// # Errors
    /// When something of it cannot be started.
    pub fn start(seed: u64) -> Result<Self> {
        let (stable, good) = (Behaviour::HEALTHY, Behaviour::HEALTHY);
        let backends = Backends::start(&[stable, good, stable, BAD], seed)?;
        let text = Self::config(backends.addresses());
        let no_file = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let config = config::parse(&text, &no_file, &|_| Err(VarError::NotPresent))
            .map_err(|errors| anyhow!("{}", errors.display("demo.yaml".as_ref())))?;
        let app = App::start(config)?;
        let crowd = |flag: &str| Crowd {
            path: format!("/{flag}"),
            callers: CALLERS,
            rate: RATE,
        };
        let crowds = vec![crowd(Self::GOOD), crowd(Self::BAD)];
        let target = *app
            .listeners()
            .first()
            .ok_or_else(|| anyhow!("nothing listens"))?;
        let callers = Callers::start(target, crowds, seed)?;
        Ok(Self {
            app,
            _callers: callers,
            _backends: backends,
        })
    }

    /// The configuration, as anybody would write it.
    fn config(backends: &[SocketAddr]) -> String {
        let backend = |place: usize| backends[place];
        format!(
            "
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
trusted_proxies: [127.0.0.1]
identity: [{{ header: x-user-id }}]
backends:
  {good}-v1: http://{}
  {good}-v2: http://{}
  {bad}-v1: http://{}
  {bad}-v2: http://{}
flags:
  {good}: {{ stable: {good}-v1, canary: {good}-v2, rollout: {rollout} }}
  {bad}: {{ stable: {bad}-v1, canary: {bad}-v2, rollout: {rollout} }}
routes:
  - {{ path: /{good}, flag: {good} }}
  - {{ path: /{bad}, flag: {bad} }}
",
            backend(0),
            backend(1),
            backend(2),
            backend(3),
            good = Self::GOOD,
            bad = Self::BAD,
            rollout = "{ revision: demo, stages: [10%, 50%, 100%], hold: 5s, min_requests: 200, \
                       watch: 5s, final_control: 5%, \
                       checks: { latency: { p50: +25%, p99: +50% } } }",
        )
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

    /// How a rollout ended.
    pub fn ending(rollout: &RolloutStatus) -> Ending {
        let is_good = rollout.flag.as_str() == Self::GOOD;
        match rollout.phase {
            "succeeded" if is_good => Ending::Right,
            "rolled_back" if !is_good => Ending::Right,
            "succeeded" | "rolled_back" => Ending::Wrong,
            _ => Ending::Open,
        }
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
