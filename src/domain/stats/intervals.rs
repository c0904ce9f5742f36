//! A share: events among trials.

/// Events among trials: failures among requests, slow answers among good ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How often it happened, at most `trials`.
    pub events: u64,
    /// How often it could have.
    pub trials: u64,
}

impl Share {
    /// Events per trial, 0 to 1; 0 without trials.
    pub fn ratio(self) -> f64 {
        if self.trials == 0 {
            0.0
        } else {
            self.events as f64 / self.trials as f64
        }
    }
}
