//! Acts on the world: writes down, publishes, tells.

use std::sync::Arc;

use crate::control::ports::{JournalLine, Notifier, StateError, StateWriter, Transition};
use crate::domain::flag::{Flag, FlagWeights, GroupWeight};
use crate::domain::group::GroupTable;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::rollout::{
    Freeze, JournalEntry, Notice, Phase, RolloutRecord, RolloutState, StageWeights,
};
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
    pub(crate) writer: Box<dyn StateWriter>,
    pub(crate) notifiers: Vec<Box<dyn Notifier>>,
    /// While a configuration is being put in place, changes are gathered for one swap.
    pub(crate) is_gathering: bool,
}

impl Performer {
    /// Writes a transition down.
    pub(crate) fn save(&mut self, transition: &Transition) -> Result<(), StateError> {
        self.writer.save(transition)
    }

    /// Tells whoever is told at once.
    pub(crate) fn tell(&mut self, notice: &Notice) {
        let notifiers = self.notifiers.iter_mut();
        notifiers.for_each(|notifier| notifier.notify(notice));
    }

    /// Takes up what requests are to be decided by; [`publish`](Self::publish) makes it so.
    pub(crate) fn replace(&mut self, routing: RoutingSnapshot) {
        self.routing = routing;
        self.is_gathering = true;
    }

    /// Publishes what has been gathered.
    pub(crate) fn publish(&mut self) {
        self.is_gathering = false;
        let published = Published::new(self.routing.clone(), &self.ledger);
        self.publisher.publish(published);
    }

    /// Decides requests by a rollout's weights from now on.
    pub(crate) fn publish_weights(
        &mut self,
        flag: FlagIndex,
        weights: &StageWeights,
        state: &RolloutState,
    ) {
        let current = self.routing.flag(flag);
        let changed = Flag {
            weights: flag_weights(&current.weights, weights, &self.routing.groups),
            epoch: state.epoch,
            rolled_back: state.phase.is_taken_back(),
            ..current.clone()
        };
        self.routing.flags[flag.0] = Arc::new(changed);
        if !self.is_gathering {
            self.publish();
        }
    }

    /// Writes down that another release takes the place of one whose canary still had callers.
    /// The weights are taken away in any case, by the release that comes.
    pub(crate) fn supersede(&mut self, record: &RolloutRecord, revision: &str) -> RolloutRecord {
        let reason = format!("superseded by revision {revision}");
        let mut record = record.clone();
        record.state.phase = Phase::Aborted {
            reason: reason.clone(),
        };
        record.weights = StageWeights::default();
        let entry = JournalEntry {
            who: "configuration".to_owned(),
            what: format!("revision {} aborted", record.release.revision),
            why: reason,
            findings: Vec::new(),
        };
        let transition = Transition {
            lines: vec![line(&record.flag, entry)],
            record: Some(record.clone()),
            ..Transition::default()
        };
        if let Err(error) = self.save(&transition) {
            tracing::error!(%error, "the end of a superseded rollout is not written down");
        }
        record
    }

    /// Writes an order to promote nothing, or its end.
    pub(crate) fn save_freeze(
        &mut self,
        freeze: Option<Freeze>,
        entries: Vec<(FlagName, JournalEntry)>,
    ) -> Result<(), StateError> {
        let entries = entries.into_iter();
        self.save(&Transition {
            freeze: Some(freeze),
            lines: entries.map(|(flag, entry)| line(&flag, entry)).collect(),
            ..Transition::default()
        })
    }
}

/// A line of the journal, written now.
pub(crate) fn line(flag: &FlagName, entry: JournalEntry) -> JournalLine {
    JournalLine {
        sequence: 0,
        flag: flag.clone(),
        at_unix_ms: now_unix_ms(),
        entry,
    }
}

/// The wall clock, in milliseconds since 1970; to be shown, never to be decided by.
pub(crate) fn now_unix_ms() -> u64 {
    u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX)
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
