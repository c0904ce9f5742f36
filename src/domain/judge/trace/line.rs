//! What a replay says of a trace, one JSON line for each tick and one at the end.
//!
//! Numbers are rounded to six digits after the point; minus infinity is `null`.

use serde::{Serialize, Serializer};

use crate::domain::judge::sequential::{Check, Missing, Ruling, SequentialSettings};
use crate::domain::judge::verdict::Action;

/// A ruling as a line.
#[derive(Clone, Debug, Serialize)]
pub struct RulingLine {
    /// The tick's number.
    pub t: i64,
    /// The share of all callers exposed.
    pub w: f64,
    /// What is to be done.
    pub action: Action,
    /// For a rollback: the check with the most evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// For a rollback for the sake of one group: its index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// `ln` of the evidence of harm.
    pub log_e: Option<f64>,
    /// `ln` of each check's part in it.
    pub parts: Pairs<Option<f64>>,
    /// `ln` of the evidence of harmlessness.
    pub lo: Pairs<Option<f64>>,
    /// `ln` of the evidence of a wrong split.
    pub log_srm: Option<f64>,
    /// What a promotion waits for.
    pub wait: Vec<&'static str>,
    /// What only lacks data, with about how much more and how many seconds.
    pub undecided: Pairs<Option<(u64, u64)>>,
    /// What else there is to say.
    pub notes: Vec<&'static str>,
}

impl RulingLine {
    /// The line of a ruling by a judge of these settings.
    pub fn new(ruling: &Ruling, settings: &SequentialSettings) -> Self {
        let is_on = |check: &Check| settings.shares[*check] > 0.0;
        let part = |check: Check| (check.key(), rounded(ruling.parts[check]));
        let missing = |missing: Missing| (missing.more, missing.seconds);
        let lo = ruling.harmlessness.iter();
        let undecided = ruling.undecided.iter();
        Self {
            t: ruling.tick,
            w: ruling.exposed,
            action: ruling.action,
            reason: ruling.reason.map(|reason| reason.check.key()),
            group: ruling.reason.and_then(|reason| reason.group),
            log_e: rounded(ruling.log_evidence),
            parts: Pairs(Check::ALL.into_iter().filter(is_on).map(part).collect()),
            lo: Pairs(
                lo.map(|(what, log_e)| (what.key(), rounded(log_e)))
                    .collect(),
            ),
            log_srm: rounded(ruling.log_split),
            wait: ruling.wait.iter().map(|gate| gate.key()).collect(),
            undecided: Pairs(
                undecided
                    .map(|(gate, more)| (gate.key(), more.map(missing)))
                    .collect(),
            ),
            notes: ruling
                .no_control
                .then_some("no_control")
                .into_iter()
                .collect(),
        }
    }
}

/// An object whose fields are in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs<T>(pub Vec<(&'static str, T)>);

impl<T: Serialize> Serialize for Pairs<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What a trace comes to: the last line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictLine {
    /// The last action.
    pub verdict: Action,
    /// The number of the last tick that was judged.
    pub tick: i64,
    /// The share of all callers exposed in it.
    pub weight: f64,
    /// The numbers of the ticks at which the judge would promote.
    pub promotions: Vec<i64>,
}

impl Default for VerdictLine {
    fn default() -> Self {
        Self {
            verdict: Action::Hold,
            tick: 0,
            weight: 0.0,
            promotions: Vec::new(),
        }
    }
}

impl VerdictLine {
    pub(super) fn follow(&mut self, ruling: &Ruling) {
        self.verdict = ruling.action;
        self.tick = ruling.tick;
        self.weight = ruling.exposed;
        if ruling.action == Action::Promote {
            self.promotions.push(ruling.tick);
        }
    }
}

/// To six digits, to the nearest decimal; what is not finite is `None`.
fn rounded(value: f64) -> Option<f64> {
    // Printing rounds the exact binary value, which dividing by a million would not.
    let rounded = || format!("{value:.6}").parse().ok();
    value.is_finite().then(rounded).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits_and_zero_has_none() {
        assert_eq!(rounded(f64::NEG_INFINITY), None);
        let texts = [1.234_567_89, -0.000_000_4, 2.5, -1e9]
            .map(|value| serde_json::to_string(&rounded(value)).unwrap());
        assert_eq!(texts, ["1.234568", "-0.0", "2.5", "-1000000000.0"]);
    }
}
