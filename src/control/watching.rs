//! Has the data plane count a rollout's callers, from its beginning to its end.

use std::sync::Arc;

use crate::domain::ids::FlagName;
use crate::domain::judge::{CallersTick, SightCuts};
use crate::runtime::ledger::Ledger;
use crate::runtime::watch::RolloutWatch;

/// What the data plane has of one rollout; nothing while canary has no callers, for it takes 10 MB.
#[derive(Debug, Default)]
pub(crate) struct Watching(Option<Arc<RolloutWatch>>);

impl Watching {
    /// Has snapshots that are made from now on count callers, if they do not yet; tells whether the callers
    /// seen are others than before.
    pub(crate) fn begin(&mut self, flag: &FlagName, ledger: &Ledger) -> bool {
        if self.0.is_some() {
            return false;
        }
        // What was counted for another rollout of the flag is none of this one's business.
        ledger.unwatch(flag);
        self.0 = Some(ledger.watch(flag));
        true
    }

    /// Lets go of the callers seen, by whatever rollout of the flag.
    pub(crate) fn end(&mut self, flag: &FlagName, ledger: &Ledger) {
        self.0 = None;
        ledger.unwatch(flag);
    }

    /// Counts callers of an epoch so from now on.
    pub(crate) fn count(&self, epoch: u64, tick: CallersTick) {
        if let Some(watch) = &self.0 {
            watch.cells.clear(tick.clearing);
            watch.sight.count_callers(epoch, tick.now);
        }
    }

    /// Looks at answers by these cuts from now on.
    pub(crate) fn cut_at(&self, cuts: &SightCuts) {
        if let Some(watch) = &self.0 {
            watch.sight.cut_at(cuts);
        }
    }
}
