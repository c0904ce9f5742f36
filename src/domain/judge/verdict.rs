//! What the judge says, and why: in words and in numbers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::ids::GroupName;
use crate::domain::variant::PerVariant;

/// What is to be done with the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Every check passes: as far as the evidence goes, the next stage may begin.
    Promote,
    /// Wait.
    Hold,
    /// Canary does harm.
    Rollback,
}

/// The share of the evidence that a breach needs from which on there is a sign of harm.
///
/// Half: what chance alone brings about rarely, and harm on its way to a breach always passes.
const SIGN_OF_HARM: f64 = 0.5;

/// The judge's answer to the evidence seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What is to be done.
    pub action: Action,
    /// What each check found; never empty in a verdict to promote.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// The verdict that follows from findings: any breach is a rollback, anything short of all
    /// passing is a hold, and so is having no finding at all.
    pub fn from_findings(findings: Vec<Finding>) -> Self {
        let is = |wanted: Assessment| move |finding: &Finding| finding.assessment == wanted;
        let action = if findings.iter().any(is(Assessment::Breach)) {
            Action::Rollback
        } else if !findings.is_empty() && findings.iter().all(is(Assessment::Pass)) {
            Action::Promote
        } else {
            Action::Hold
        };
        Self { action, findings }
    }

    /// Whether enough was seen by every check, and none found harm nor so much as a sign of it.
    pub fn is_undecided_without_harm(&self) -> bool {
        let is_open = |finding: &Finding| {
            matches!(finding.assessment, Assessment::Pass | Assessment::Undecided)
                && finding.evidence < SIGN_OF_HARM
        };
        self.action == Action::Hold
            && !self.findings.is_empty()
            && self.findings.iter().all(is_open)
    }

    /// The findings that call for a rollback.
    pub fn breaches(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_breach())
    }
}

/// Which check found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// Failures compared with stable's.
    ErrorRate,
    /// Failures against a fixed limit.
    ErrorRateMax,
    /// Median latency compared with stable's.
    LatencyP50,
    /// 90th percentile of latency compared with stable's.
    LatencyP90,
    /// 99th percentile of latency compared with stable's.
    LatencyP99,
    /// Mean latency against a fixed goal.
    LatencyMean,
    /// Canary is dead.
    Tripwire,
}

impl CheckName {
    /// The word used in the API, metric labels and the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::ErrorRateMax => "error_rate_max",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP90 => "latency_p90",
            Self::LatencyP99 => "latency_p99",
            Self::LatencyMean => "latency_mean",
            Self::Tripwire => "tripwire",
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a check makes of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assessment {
    /// Enough was seen, and it is within what is tolerated.
    Pass,
    /// Enough was seen, but neither harm nor harmlessness is shown.
    Undecided,
    /// Too little was seen.
    NeedsData,
    /// Canary does harm, beyond what chance explains.
    Breach,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The check.
    pub check: CheckName,
    /// What it makes of its numbers.
    pub assessment: Assessment,
    /// The group it looked at alone; `None` for all callers together.
    pub group: Option<GroupName>,
    /// Canary's value: a share 0 to 1 for rates, milliseconds for latencies.
    #[serde(deserialize_with = "number")]
    pub canary: f64,
    /// Stable's value in the same unit; `None` where there is nothing to compare with.
    pub stable: Option<f64>,
    /// What is tolerated of canary, in the same unit.
    #[serde(deserialize_with = "number")]
    pub bound: f64,
    /// How much of the evidence that a breach needs is there: 0 for none, 1 and more for enough.
    #[serde(deserialize_with = "number")]
    pub evidence: f64,
    /// Requests (for latencies: good answers) behind each value.
    pub n: PerVariant<u64>,
    /// All of it in a sentence for people, without a full stop.
    pub reason: String,
}

/// Reads a number, or NaN where there is `null`: JSON has no other word for what is not finite, and
/// one such number must not make a whole journal unreadable.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|number| number.unwrap_or(f64::NAN))
}

impl Finding {
    /// Whether it calls for a rollback.
    pub fn is_breach(&self) -> bool {
        self.assessment == Assessment::Breach
    }

    /// Whether it is a breach of the same check for the same callers.
    pub(super) fn is_breach_like(&self, other: &Self) -> bool {
        self.is_breach() && self.check == other.check && self.group == other.group
    }

    /// Takes a breach back to undecided, and says why.
    pub(super) fn doubt(&mut self, why: &str) {
        self.assessment = Assessment::Undecided;
        self.reason.push_str(why);
    }
}

/// A share as people write it: `4.8 %`, `0.05 %`.
pub(super) struct Percent(pub(super) f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        let digits = match percent {
            p if p >= 1.0 => 1,
            p if p >= 0.1 => 2,
            _ => 3,
        };
        let text = format!("{percent:.digits$}");
        let short = text.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{short} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(assessment: Assessment) -> Finding {
        Finding {
            check: CheckName::ErrorRate,
            assessment,
            group: None,
            canary: 0.0,
            stable: None,
            bound: 0.0,
            evidence: 0.0,
            n: PerVariant::default(),
            reason: String::new(),
        }
    }

    #[test]
    fn a_breach_outranks_all_and_only_unanimity_promotes() {
        use Assessment::{Breach, NeedsData, Pass, Undecided};
        let cases: [(&[Assessment], Action); 6] = [
            (&[], Action::Hold),
            (&[Pass, Pass], Action::Promote),
            (&[Pass, Undecided], Action::Hold),
            (&[NeedsData, Pass], Action::Hold),
            (&[Pass, NeedsData, Breach], Action::Rollback),
            (&[Breach], Action::Rollback),
        ];
        for (assessments, action) in cases {
            let findings = assessments.iter().copied().map(finding).collect();
            assert_eq!(Verdict::from_findings(findings).action, action);
        }
    }

    #[test]
    fn shares_are_written_for_people() {
        let texts = [0.048, 0.5, 0.0005, 0.011, 0.0, 0.00123].map(|r| Percent(r).to_string());
        let expected = ["4.8 %", "50 %", "0.05 %", "1.1 %", "0 %", "0.12 %"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn check_names_are_the_words_they_are_stored_as() {
        for check in [
            CheckName::ErrorRateMax,
            CheckName::LatencyP99,
            CheckName::Tripwire,
        ] {
            let word = serde_json::to_string(&check).unwrap();
            assert_eq!(word, format!("\"{check}\""));
        }
    }

    #[test]
    fn a_number_that_is_not_finite_is_written_and_read_again() {
        let odd = Finding {
            evidence: f64::INFINITY,
            bound: f64::NAN,
            ..finding(Assessment::Breach)
        };
        let text = serde_json::to_string(&odd).unwrap();
        assert!(text.contains(r#""evidence":null"#), "{text}");
        let read: Finding = serde_json::from_str(&text).unwrap();
        assert!(read.evidence.is_nan() && read.bound.is_nan());
        assert_eq!((read.canary, read.is_breach()), (0.0, true));
    }
}
