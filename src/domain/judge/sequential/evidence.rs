//! Everything a judge knows, as it is stored and taken up again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::comparison::{StableRates, Tests};
use crate::domain::judge::sequential::cuts::StablePast;
use crate::domain::judge::sequential::rollback::RollbackEvidence;
use crate::domain::judge::sequential::settings::{SequentialSettings, Unit};
use crate::domain::judge::sequential::split::SplitEvidence;
use crate::domain::judge::sequential::stage::{StageEvidence, StageTotals};
use crate::domain::variant::PerVariant;

/// Everything a judge knows, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub(super) unit: Unit,
    pub(super) ticks: u32,
    /// The current stage; `None` before the first tick, or when the next one begins a stage anew.
    pub(super) stage: Option<i64>,
    /// How often a stage was entered.
    pub(super) entries: u32,
    pub(super) together: RollbackEvidence,
    /// By group, where groups are judged for themselves.
    pub(super) groups: Vec<RollbackEvidence>,
    /// The groups that have left the rollout: nothing here is theirs, and nothing will be.
    #[serde(default)]
    pub(super) left: BTreeSet<usize>,
    pub(super) split: SplitEvidence,
    pub(super) past: StablePast,
    /// How often each arm was rated 1 to 5: canary wherever it is exposed, stable where compared.
    pub(super) ratings: PerVariant<[f64; 5]>,
    pub(super) in_stage: StageEvidence,
    /// By group, where groups are judged for themselves: sums since the stage began.
    pub(super) group_totals: Vec<StageTotals>,
}

/// Why stored evidence cannot be taken up again.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RestoreError {
    /// What is counted has changed.
    #[error("the stored evidence counts by {stored:?}, the rollout now by {wanted:?}")]
    Unit {
        /// What was counted.
        stored: Unit,
        /// What is to be counted.
        wanted: Unit,
    },
    /// It was collected with other alternatives.
    #[error("the stored evidence of {part} is over other alternatives than the judge's")]
    Alternatives {
        /// Which part of it.
        part: &'static str,
    },
}

impl Evidence {
    /// Nothing seen yet.
    pub(super) fn new(settings: &SequentialSettings, tests: &Tests) -> Self {
        let groups = settings.groups.map_or(0, |groups| groups.get() as usize);
        Self {
            unit: settings.unit,
            ticks: 0,
            stage: None,
            entries: 0,
            together: RollbackEvidence::new(),
            groups: vec![RollbackEvidence::new(); groups],
            left: BTreeSet::new(),
            split: SplitEvidence::new(&tests.split),
            past: StablePast::default(),
            ratings: PerVariant::default(),
            in_stage: StageEvidence::new(tests),
            group_totals: vec![StageTotals::default(); groups],
        }
    }

    /// A group has left the rollout. What was seen of all callers together was seen of its callers too, so
    /// that begins anew; of each other group stays what was seen of it alone.
    pub(super) fn leave(&mut self, group: usize) {
        if !self.left.insert(group) {
            return;
        }
        self.together = self.together.anew();
        if let Some(own) = self.groups.get_mut(group) {
            *own = own.anew();
        }
        self.ratings = PerVariant::default();
    }

    /// What stable did so far.
    pub(super) fn stable_rates(&self) -> StableRates {
        let [one, two, ..] = self.ratings.stable;
        let raters: f64 = self.ratings.stable.iter().sum();
        StableRates {
            failures: self.past.failure_rate(),
            bad_ratings: (one + two + 0.5) / (raters + 1.0),
        }
    }

    /// The same with ended starts summed up, as it is stored.
    pub(super) fn summed_up(&self) -> Self {
        let groups = self.groups.iter().map(RollbackEvidence::summed_up);
        Self {
            together: self.together.summed_up(),
            groups: groups.collect(),
            ..self.clone()
        }
    }

    /// Whether a judge of these settings can go on from it.
    pub(super) fn check(
        &self,
        settings: &SequentialSettings,
        tests: &Tests,
    ) -> Result<(), RestoreError> {
        let (stored, wanted) = (self.unit, settings.unit);
        if stored != wanted {
            return Err(RestoreError::Unit { stored, wanted });
        }
        let is_fitting = |rollback: &RollbackEvidence| rollback.fits(settings);
        let groups = settings.groups.map_or(0, |groups| groups.get() as usize);
        let has_groups = self.groups.len() == groups && self.group_totals.len() == groups;
        let parts = [
            ("harm", is_fitting(&self.together)),
            ("groups", has_groups && self.groups.iter().all(is_fitting)),
            ("harmlessness", self.in_stage.promotion.fits(settings)),
            ("the split", self.split.fits(&tests.split)),
        ];
        match parts.into_iter().find(|(_, is_fitting)| !is_fitting) {
            Some((part, _)) => Err(RestoreError::Alternatives { part }),
            None => Ok(()),
        }
    }
}
