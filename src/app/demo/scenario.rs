//! What the demo tells: releases, how they behave, and how each has to end.

use std::env::VarError;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, anyhow};

use crate::config::{self, Config};
use crate::control::status::RolloutStatus;
use crate::domain::variant::PerVariant;
use crate::simulator::{Activity, Behaviour, Crowd};

/// Callers of each flag. So many, and none much busier than another, that a few seconds show what in a
/// service with fewer takes minutes.
pub(super) const CROWD: Crowd = Crowd {
    callers: 5_000,
    rate: 900.0,
    activity: Activity::Equal,
};

/// How every stable version behaves. It does not fail: to show that a canary fails no more than one request
/// in three hundred takes more of them than half a minute has.
const STABLE: Behaviour = Behaviour {
    failures: 0.0,
    ..Behaviour::HEALTHY
};

/// Fails one request in twenty, and the slowest twentieth of its answers takes six times as long.
const BAD: Behaviour = Behaviour {
    failures: 0.05,
    tail_factor: 6.0,
    ..STABLE
};

/// Hardly an answer that anybody could use.
const GARBAGE: Behaviour = Behaviour {
    cut_short: 0.6,
    no_http: 0.37,
    ..Behaviour::HEALTHY
};

/// Which releases a demo is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A good one.
    Good,
    /// One that fails a little and is slow now and then.
    Bad,
    /// One that answers garbage.
    Garbage,
    /// A good one and a bad one, side by side.
    Both,
}

/// A release of the demo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// The flag that releases it.
    pub flag: &'static str,
    /// What it is, for people, as the rest of a sentence that begins with the flag.
    pub story: &'static str,
    /// Whether it deserves to be promoted.
    pub is_good: bool,
    canary: Behaviour,
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

const GOOD_TRIAL: Trial = Trial {
    flag: "search",
    story: "releases a version as good as the one before",
    is_good: true,
    canary: STABLE,
};

const BAD_TRIAL: Trial = Trial {
    flag: "checkout",
    story: "releases one that fails 5 % of requests and has a slow tail",
    is_good: false,
    canary: BAD,
};

const GARBAGE_TRIAL: Trial = Trial {
    flag: "images",
    story: "releases one that cuts its answers short or sends no HTTP at all",
    is_good: false,
    canary: GARBAGE,
};

impl Scenario {
    /// Its releases, in the order in which they are shown.
    pub const fn trials(self) -> &'static [Trial] {
        match self {
            Self::Good => &[GOOD_TRIAL],
            Self::Bad => &[BAD_TRIAL],
            Self::Garbage => &[GARBAGE_TRIAL],
            Self::Both => &[GOOD_TRIAL, BAD_TRIAL],
        }
    }

    /// How a rollout has ended, of whichever scenario.
    pub fn ending(rollout: &RolloutStatus) -> Ending {
        let trials = [GOOD_TRIAL, BAD_TRIAL, GARBAGE_TRIAL];
        let mut trials = trials.iter();
        let is_good = trials.any(|trial| trial.flag == rollout.flag.as_str() && trial.is_good);
        match rollout.phase.as_str() {
            "succeeded" if is_good => Ending::Right,
            "rolled_back" if !is_good => Ending::Right,
            "succeeded" | "rolled_back" | "aborted" => Ending::Wrong,
            _ => Ending::Open,
        }
    }
}

impl Trial {
    /// How its versions behave.
    pub(super) const fn arms(&self) -> PerVariant<Behaviour> {
        PerVariant {
            stable: STABLE,
            canary: self.canary,
        }
    }

    /// Its flag, as anybody would write it.
    fn flag_text(&self) -> String {
        format!(
            "
  {flag}:
    stable: {flag}-v1
    canary: {flag}-v2
    rollout:
      revision: v2
      stages: [25%, 50%, 100%]
      hold: 8s
      min_requests: 200
      watch: 4s
      final_control: 5%
      checks: {{ latency: {{ p50: +25%, p90: +50%, p99: +50% }} }}",
            flag = self.flag,
        )
    }
}

/// The configuration of all trials, on the backends that have these addresses.
pub(super) fn config(trials: &[Trial], backends: &[PerVariant<SocketAddr>]) -> Result<Config> {
    let of_each = |text: &dyn Fn(&Trial, &PerVariant<SocketAddr>) -> String| -> String {
        let pairs = trials.iter().zip(backends);
        pairs.map(|(trial, backend)| text(trial, backend)).collect()
    };
    let backends = of_each(&|Trial { flag, .. }, PerVariant { stable, canary }| {
        format!("\n  {flag}-v1: http://{stable}\n  {flag}-v2: http://{canary}")
    });
    let flags = of_each(&|trial, _| trial.flag_text());
    let routes =
        of_each(&|Trial { flag, .. }, _| format!("\n  - {{ path: /{flag}, flag: {flag} }}"));
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
trusted_proxies: [127.0.0.1]
identity: [{{ header: x-user-id }}]
backends:{backends}
flags:{flags}
routes:{routes}
"
    );
    let no_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    config::parse(&text, &no_file, &|_| Err(VarError::NotPresent))
        .map_err(|errors| anyhow!("{}", errors.display("demo.yaml".as_ref())))
}
