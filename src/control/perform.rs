//! Carries out the effects of a step: written down first, then published, then told.

use std::sync::Arc;

use crate::control::ports::{JournalLine, Notifier, StateStore, StoreError};
use crate::domain::flag::{Flag, FlagWeights, GroupWeight};
use crate::domain::group::GroupTable;
use crate::domain::ids::FlagIndex;
use crate::domain::rollout::{Effect, Phase, RolloutState, StageWeights};
use crate::domain::routing::RoutingSnapshot;
use crate::domain::weight::Weight;
use crate::runtime::clock;
use crate::runtime::ledger::Ledger;
use crate::runtime::published::{Published, Publisher};

/// What effects act upon.
pub(crate) struct Performer {
    pub(crate) routing: RoutingSnapshot,
    pub(crate) publisher: Publisher,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) store: Box<dyn StateStore>,
    pub(crate) notifiers: Vec<Box<dyn Notifier>>,
}

impl Performer {
    /// Carries out effects in order.
    ///
    /// # Errors
    /// When the state could not be written and canary would not lose its traffic by it: then
    /// nothing is done. A rollback is done in any case.
    pub(crate) fn perform(
        &mut self,
        flag: FlagIndex,
        state: &RolloutState,
        effects: Vec<Effect>,
    ) -> Result<(), StoreError> {
        for effect in effects {
            match effect {
                Effect::Persist(written) => self.persist(flag, &written)?,
                Effect::PublishWeights { weights, epoch } => {
                    let is_rolled_back = matches!(state.phase, Phase::RolledBack { .. });
                    self.publish_weights(flag, &weights, epoch, is_rolled_back);
                }
                Effect::Record(entry) => {
                    let at_unix_ms = u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX);
                    let line = JournalLine {
                        sequence: 0,
                        flag: self.routing.flag(flag).name.clone(),
                        at_unix_ms,
                        entry,
                    };
                    if let Err(error) = self.store.record(line) {
                        tracing::error!(%error, "journal not written");
                    }
                }
                Effect::Notify(notice) => {
                    self.notifiers
                        .iter_mut()
                        .for_each(|notifier| notifier.notify(&notice));
                }
            }
        }
        Ok(())
    }

    fn persist(&mut self, flag: FlagIndex, state: &RolloutState) -> Result<(), StoreError> {
        let saved = self.store.save(&self.routing.flag(flag).name, state);
        if let Err(error) = &saved
            && matches!(state.phase, Phase::RolledBack { .. })
        {
            tracing::error!(%error, "rolling back all the same");
            return Ok(());
        }
        saved
    }

    fn publish_weights(
        &mut self,
        flag: FlagIndex,
        weights: &StageWeights,
        epoch: u64,
        is_rolled_back: bool,
    ) {
        let current = self.routing.flag(flag);
        let changed = Flag {
            weights: flag_weights(&current.weights, weights, &self.routing.groups),
            epoch,
            rolled_back: is_rolled_back,
            ..current.clone()
        };
        self.routing.flags[flag.0] = Arc::new(changed);
        self.publisher
            .publish(Published::new(self.routing.clone(), &self.ledger));
    }
}

/// The plan's weights in the flag's own order. A group that the plan does not name has none.
fn flag_weights(own: &FlagWeights, planned: &StageWeights, groups: &GroupTable) -> FlagWeights {
    let groups = own.groups.iter().map(|entry| {
        let weight = planned.groups.get(groups.name(entry.group));
        GroupWeight {
            group: entry.group,
            weight: weight.copied().unwrap_or(Weight::ZERO),
        }
    });
    FlagWeights {
        groups: groups.collect(),
        default: planned.default,
    }
}
