//! What was seen since a stage began, in total and in three interleaved parts.
//!
//! Requests of one moment share its luck: a pause of one server makes all it was doing slow, and
//! a count of requests takes that for as many independent signs. So harm found in the total must
//! show in each part as well. The parts take turns, two ticks at a time: a hiccup of two seconds
//! reaches at most two of them, and cannot decide alone, however many requests it met.

use crate::domain::evidence::TickCounts;
use crate::domain::judge::scope::StageContext;
use crate::domain::timestamp::Timestamp;

/// Ticks for which a part has its turn.
const TURN_TICKS: usize = 2;

/// The evidence of one stage.
#[derive(Clone, Debug, Default)]
pub(super) struct StageEvidence {
    /// Everything, the warm-up included; to be shown, not to be judged.
    seen: TickCounts,
    seen_ticks: usize,
    total: TickCounts,
    parts: [TickCounts; 3],
    ticks: usize,
}

impl StageEvidence {
    /// Adds a tick that ended at `now`, unless canary is still warming up. What was decided under
    /// other weights is left out.
    pub(super) fn add(&mut self, tick: &TickCounts, stage: &StageContext, now: Timestamp) {
        self.seen.merge_epoch(tick, stage.epoch);
        self.seen_ticks += 1;
        if now < stage.counted_from {
            return;
        }
        let turn = self.ticks / TURN_TICKS % self.parts.len();
        self.total.merge_epoch(tick, stage.epoch);
        self.parts[turn].merge_epoch(tick, stage.epoch);
        self.ticks += 1;
    }

    /// Everything seen under the stage's weights, the warm-up included, and in how many ticks.
    pub(super) const fn seen(&self) -> (&TickCounts, usize) {
        (&self.seen, self.seen_ticks)
    }

    /// All of the evidence.
    pub(super) const fn total(&self) -> &TickCounts {
        &self.total
    }

    /// Its parts, which add up to the total.
    pub(super) const fn parts(&self) -> &[TickCounts; 3] {
        &self.parts
    }
}
