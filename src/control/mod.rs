//! The control plane: looks at the evidence once a second, judges, and moves the weights.
//!
//! It is the only writer of what requests are decided by. Whatever happens, a tick, an operator's
//! command, a message from a request, becomes an event for the same pure `step`, and what comes
//! out of that is performed in order: written down first, then published, then told.

pub mod app_orders;
mod apps;
pub mod assignments;
#[cfg(test)]
mod assignments_tests;
pub mod callers;
pub mod commands;
mod controller;
pub mod created;
#[cfg(test)]
mod created_tests;
pub mod definitions;
pub mod describe;
pub mod emergency;
#[cfg(test)]
mod emergency_tests;
mod endpoints;
#[cfg(test)]
mod evidence_tests;
mod feedback;
#[cfg(test)]
mod fixtures;
pub mod flags;
pub mod gatekeeping;
pub mod installation;
mod judging;
#[cfg(test)]
mod model_tests;
mod moment;
mod orders;
mod outlook;
mod pace;
mod perform;
mod polling;
pub mod ports;
pub mod ratings;
pub mod recording;
pub mod reload;
pub mod requirement;
mod running;
mod settings;
mod shared_keys;
pub mod status;
#[cfg(test)]
mod tests;
mod waiting;
mod watching;
#[cfg(test)]
mod witness;
mod writing;

use std::time::Duration;

/// One tick of evidence.
const TICK: Duration = Duration::from_secs(1);

pub use controller::{Controller, Parts};
