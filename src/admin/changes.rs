//! What has changed between two looks at everything, as the events that are told of it.
//!
//! It is found by comparing, so whoever looks rarely hears of less, and never of what does not hold.

use std::collections::HashMap;

use serde::Serialize;

use crate::control::flags::FlagStatus;
use crate::control::ports::StoreHealth;
use crate::control::status::{RolloutStatus, Status, WeightsStatus};
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::judge::{Action, Assessment, CheckName, Finding};
use crate::domain::rollout::{Freeze, Mode};

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Change {
    /// A rollout is somewhere else, or there is a new one.
    Rollout(Box<RolloutChange>),
    /// A judge says something else.
    Verdict(VerdictChange),
    /// Something else is set of a flag, or there is a new one.
    Flag(Box<FlagStatus>),
    /// There is no such flag any more.
    FlagRemoved { flag: FlagName },
    /// The flag has no rollout any more.
    RolloutRemoved { flag: FlagName },
    /// Promotions are frozen, or no longer.
    Freeze { freeze: Option<Freeze> },
    /// What is decided can be written down no longer, or again.
    Store(StoreHealth),
}

/// Where a rollout is, and where it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RolloutChange {
    flag: FlagName,
    enabled: bool,
    revision: String,
    attempt: u32,
    mode: Mode,
    phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<String>,
    /// Counted from 1.
    stage: usize,
    stages: usize,
    weights: WeightsStatus,
    is_written: bool,
    /// None for a rollout that is new.
    was: Option<Place>,
}

/// Where a rollout was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Place {
    revision: String,
    phase: String,
    /// Counted from 1.
    stage: usize,
}

/// What a judge says, and what it said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct VerdictChange {
    flag: FlagName,
    action: Action,
    findings: Vec<Finding>,
    was: Action,
}

impl Change {
    /// The name of its event.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Rollout(_) => "rollout",
            Self::Verdict(_) => "verdict",
            Self::Flag(_) => "flag",
            Self::FlagRemoved { .. } => "flag_removed",
            Self::RolloutRemoved { .. } => "rollout_removed",
            Self::Freeze { .. } => "freeze",
            Self::Store(_) => "store",
        }
    }

    /// The flag that it is about; none where it is about all.
    pub(crate) const fn flag(&self) -> Option<&FlagName> {
        match self {
            Self::Rollout(change) => Some(&change.flag),
            Self::Verdict(change) => Some(&change.flag),
            Self::Flag(flag) => Some(&flag.flag),
            Self::FlagRemoved { flag } | Self::RolloutRemoved { flag } => Some(flag),
            Self::Freeze { .. } | Self::Store(_) => None,
        }
    }
}

/// What has changed, that of everything first, then by flag.
pub(crate) fn between(before: &Status, after: &Status) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.store.problem != after.store.problem {
        changes.push(Change::Store(after.store.clone()));
    }
    if before.freeze != after.freeze {
        let freeze = after.freeze.clone();
        changes.push(Change::Freeze { freeze });
    }
    let (flags, flags_before) = (flags(after), flags(before));
    for old in &before.flags {
        if !flags.contains_key(&old.flag) {
            let flag = old.flag.clone();
            changes.push(Change::FlagRemoved { flag });
        }
    }
    for new in &after.flags {
        let old = flags_before.get(&new.flag);
        if old.is_none_or(|old| old.version != new.version) {
            changes.push(Change::Flag(Box::new(new.clone())));
        }
    }
    let (rollouts, rollouts_before) = (rollouts(after), rollouts(before));
    for old in &before.rollouts {
        if !rollouts.contains_key(&old.flag) {
            let flag = old.flag.clone();
            changes.push(Change::RolloutRemoved { flag });
        }
    }
    for new in &after.rollouts {
        let old = rollouts_before.get(&new.flag).copied();
        changes.extend(moved(old, new));
        changes.extend(old.and_then(|old| judged(old, new)));
    }
    changes
}

fn flags(status: &Status) -> HashMap<&FlagName, &FlagStatus> {
    status.flags.iter().map(|flag| (&flag.flag, flag)).collect()
}

fn rollouts(status: &Status) -> HashMap<&FlagName, &RolloutStatus> {
    let rollouts = status.rollouts.iter();
    rollouts.map(|rollout| (&rollout.flag, rollout)).collect()
}

fn moved(old: Option<&RolloutStatus>, new: &RolloutStatus) -> Option<Change> {
    let at = |status: &RolloutStatus| RolloutChange {
        flag: status.flag.clone(),
        enabled: status.enabled,
        revision: status.revision.clone(),
        attempt: status.attempt,
        mode: status.mode,
        phase: status.phase.clone(),
        reason: status.reason.clone(),
        blocked: status.blocked.clone(),
        stage: status.stage,
        stages: status.stages,
        weights: status.weights.clone(),
        is_written: status.is_written,
        was: None,
    };
    let now = at(new);
    if old.is_some_and(|old| at(old) == now) {
        return None;
    }
    let was = old.map(|old| Place {
        revision: old.revision.clone(),
        phase: old.phase.clone(),
        stage: old.stage,
    });
    Some(Change::Rollout(Box::new(RolloutChange { was, ..now })))
}

/// Numbers change with every tick; what is made of them is news.
fn judged(old: &RolloutStatus, new: &RolloutStatus) -> Option<Change> {
    let is_same = old.action == new.action && said(&old.findings).eq(said(&new.findings));
    (!is_same).then(|| {
        Change::Verdict(VerdictChange {
            flag: new.flag.clone(),
            action: new.action,
            findings: new.findings.clone(),
            was: old.action,
        })
    })
}

fn said(
    findings: &[Finding],
) -> impl Iterator<Item = (&CheckName, Option<&GroupName>, Assessment)> {
    findings
        .iter()
        .map(|finding| (&finding.check, finding.group.as_ref(), finding.assessment))
}
