//! Whether harm of which the cap has held something back goes on.
//!
//! A caller has its first failure once. Where all callers are back within seconds, a canary that fails all
//! of them shows that in as many ticks, and the cap holds most of it back, for it might be a hiccup. So
//! what is held back counts later, in ticks in which the requests of canary, whoever sent them, still meet
//! with half as much harm as they did then, and with more than stable's. That only chooses *when* evidence
//! counts; how much of it there is comes from callers alone.

use serde::{Deserialize, Serialize};

use crate::domain::stats::odds_ratio::Table;

/// The part of the harm seen then that must be seen now.
const GOES_ON_FROM: f64 = 0.5;

/// Canary's requests in the ticks of which something was held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct HeldBack {
    trials: f64,
    events: f64,
}

impl HeldBack {
    /// Takes in the requests of a tick; tells whether what was held back before it counts in it.
    pub(super) fn observe(&mut self, requests: &Table, is_capped: bool) -> bool {
        let (trials, events) = (requests.canary_trials, requests.canary_events);
        // Shares, multiplied out: there may be no trials.
        let exceeds_stable = events * requests.stable_trials > requests.stable_events * trials;
        let goes_on = events * self.trials >= GOES_ON_FROM * self.events * trials;
        let counts = self.events > 0.0 && exceeds_stable && goes_on;
        if is_capped {
            self.trials += trials;
            self.events += events;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(canary: [f64; 2], stable: [f64; 2]) -> Table {
        Table {
            canary_trials: canary[0],
            canary_events: canary[1],
            stable_trials: stable[0],
            stable_events: stable[1],
        }
    }

    #[test]
    fn harm_goes_on_while_it_is_half_of_what_it_was_and_canarys_alone() {
        let mut held = HeldBack::default();
        assert!(
            !held.observe(&requests([100.0, 90.0], [100.0, 0.0]), false),
            "nothing is held"
        );
        assert!(!held.observe(&requests([100.0, 40.0], [100.0, 0.0]), true));
        for (canary, stable, counts) in [
            ([100.0, 40.0], [100.0, 0.0], true),
            ([10.0, 2.0], [10.0, 0.0], true),
            ([100.0, 19.0], [100.0, 0.0], false),
            ([100.0, 40.0], [100.0, 45.0], false),
            ([100.0, 0.0], [100.0, 0.0], false),
            ([0.0, 0.0], [100.0, 0.0], false),
            ([100.0, 40.0], [0.0, 0.0], false),
        ] {
            assert_eq!(
                held.observe(&requests(canary, stable), false),
                counts,
                "{canary:?}"
            );
        }
    }
}
