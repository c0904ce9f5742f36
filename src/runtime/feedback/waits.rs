//! How often callers and sources may hand something in, counted in a table of a fixed size.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// How often one caller may rate: nobody's mind changes faster.
pub(super) const PER_CALLER: Pace = Pace {
    interval: Duration::from_secs(12),
    burst: 5,
};

/// How often callers behind one address may: enough for the people of a small office.
pub(super) const PER_ADDRESS: Pace = Pace {
    interval: Duration::from_secs(1),
    burst: 30,
};

/// How often one server may pass on ratings.
pub(super) const PER_SERVER: Pace = Pace {
    interval: Duration::from_millis(10),
    burst: 1_000,
};

/// Cells that callers or sources share; two of a thousand rarely share one.
const CELLS: usize = 1 << 16;

/// So often, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    interval: Duration,
    burst: u32,
}

/// Until when each cell has used up its share (GCRA, ITU-T I.371), in milliseconds.
#[derive(Debug)]
pub(super) struct Waits {
    hasher: RandomState,
    cells: Mutex<Box<[u64]>>,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            cells: Mutex::new(vec![0; CELLS].into()),
        }
    }
}

impl Waits {
    /// Counts somebody in.
    ///
    /// # Errors
    /// How long they have to wait.
    pub(super) fn admit(&self, who: impl Hash, pace: Pace, now: Timestamp) -> Result<(), Duration> {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let (now, interval) = (millis(now.elapsed()), millis(pace.interval));
        #[expect(clippy::cast_possible_truncation, reason = "a part of it does")]
        let cell = self.hasher.hash_one(who) as usize % CELLS;
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let used_until = cells[cell].max(now);
        let ahead = (used_until - now).saturating_sub(interval * u64::from(pace.burst - 1));
        if ahead > 0 {
            return Err(Duration::from_millis(ahead));
        }
        cells[cell] = used_until + interval;
        Ok(())
    }
}
