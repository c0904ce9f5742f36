//! How the delivery of notifications goes: written by whoever delivers, read by metrics and API.

use std::collections::BTreeMap;

use crate::domain::ids::TargetName;

/// How it goes with all targets of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// By the target's name.
    pub targets: BTreeMap<TargetName, TargetStatus>,
}

/// How it goes with one target. Counts are those since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetStatus {
    /// Messages it took.
    pub delivered: u64,
    /// Attempts that failed and are made again.
    pub failed: u64,
    /// Messages that were given up: refused, tried for a day, or too many.
    pub given_up: u64,
    /// Messages that wait for it now.
    pub pending: u64,
    /// What was wrong with the last attempt; none where it went well.
    pub problem: Option<String>,
}
