//! What the judge says, and why: in words and in numbers.

use std::fmt;

use serde::de::IntoDeserializer;
use serde::de::value::{Error as Unreadable, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{CustomCheckName, GroupName};
use crate::domain::variant::PerVariant;

/// What is to be done with the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
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
    /// Whether enough was seen, without a sign of harm, and all that is missing is proof that there is
    /// none.
    #[serde(default)]
    pub is_undecided: bool,
    /// What each check found; never empty in a verdict to promote.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// What is said before anything was seen.
    pub const NOTHING_SEEN: Self = Self {
        action: Action::Hold,
        is_undecided: false,
        findings: Vec::new(),
    };

    /// The verdict that follows from findings alone: any breach is a rollback, anything short of all
    /// passing is a hold, and so is having no finding at all.
    pub fn from_findings(findings: Vec<Finding>) -> Self {
        let is = |wanted: Assessment| move |finding: &Finding| finding.assessment == wanted;
        let is_open = |finding: &Finding| {
            matches!(finding.assessment, Assessment::Pass | Assessment::Undecided)
                && finding.evidence < SIGN_OF_HARM
        };
        let has_any = !findings.is_empty();
        let action = if findings.iter().any(is(Assessment::Breach)) {
            Action::Rollback
        } else if has_any && findings.iter().all(is(Assessment::Pass)) {
            Action::Promote
        } else {
            Action::Hold
        };
        Self {
            action,
            is_undecided: action == Action::Hold && has_any && findings.iter().all(is_open),
            findings,
        }
    }

    /// The same with what others found: it promotes only if they pass as well, and rolls back if they find
    /// harm.
    #[must_use]
    pub fn joined(self, found: Vec<Finding>) -> Self {
        if found.is_empty() {
            return self;
        }
        let other = Self::from_findings(found);
        let action = match (self.action, other.action) {
            (Action::Rollback, _) | (_, Action::Rollback) => Action::Rollback,
            (Action::Promote, Action::Promote) => Action::Promote,
            _ => Action::Hold,
        };
        let is_open =
            |is_undecided: bool, action: Action| is_undecided || action == Action::Promote;
        let is_undecided = action == Action::Hold
            && is_open(self.is_undecided, self.action)
            && is_open(other.is_undecided, other.action);
        Self {
            action,
            is_undecided,
            findings: [self.findings, other.findings].concat(),
        }
    }

    /// The same with what the tripwire found first, if it found anything.
    #[must_use]
    pub(super) fn preceded_by(mut self, found: Option<Finding>) -> Self {
        if let Some(finding) = found {
            self.action = match finding.assessment {
                Assessment::Breach => Action::Rollback,
                // Canary fails, and it may not be its doing: no time to give it to more callers.
                _ if self.action == Action::Promote => Action::Hold,
                _ => self.action,
            };
            self.is_undecided = false;
            self.findings.insert(0, finding);
        }
        self
    }

    /// The findings that call for a rollback.
    pub fn breaches(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_breach())
    }
}

/// Which check found something; written as one word, whichever it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Answers 4xx other than 429, compared with stable's.
    ClientErrors,
    /// Answers smaller or larger than nearly all of stable's.
    AnswerSize,
    /// Answers of a content type that stable hardly ever sends.
    ContentType,
    /// Ratings of 1 and 2, compared with stable's.
    Feedback,
    /// The mean rating against a floor.
    FeedbackMin,
    /// Canary's share of callers or requests against its weight.
    Split,
    /// Canary is dead.
    Tripwire,
    /// The written condition on which a stage may pass.
    ReleaseWhen,
    /// A custom check.
    #[serde(untagged)]
    Custom(CustomCheckName),
}

impl CheckName {
    /// Whether a word names a check that is always there, so that no custom check may have it.
    pub fn is_built_in(word: &str) -> bool {
        // What reads the journal decides, so that the two cannot disagree.
        let word: StrDeserializer<'_, Unreadable> = word.into_deserializer();
        matches!(Self::deserialize(word), Ok(read) if !matches!(read, Self::Custom(_)))
    }

    /// The word used in the API, metric labels and the journal.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::ErrorRateMax => "error_rate_max",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP90 => "latency_p90",
            Self::LatencyP99 => "latency_p99",
            Self::LatencyMean => "latency_mean",
            Self::ClientErrors => "client_errors",
            Self::AnswerSize => "answer_size",
            Self::ContentType => "content_type",
            Self::Feedback => "feedback",
            Self::FeedbackMin => "feedback_min",
            Self::Split => "split",
            Self::Tripwire => "tripwire",
            Self::ReleaseWhen => "release_when",
            Self::Custom(name) => name.as_str(),
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a check makes of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Assessment {
    /// Enough was seen, and it is within what is tolerated.
    Pass,
    /// Enough was seen, but neither harm nor harmlessness is shown.
    Undecided,
    /// Too little was seen.
    NeedsData,
    /// What was asked for is not so. Nothing goes on before it is, and it is no sign of harm.
    Unmet,
    /// Canary does harm, beyond what chance explains.
    Breach,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The check.
    #[schema(value_type = String)]
    pub check: CheckName,
    /// What it makes of its numbers.
    pub assessment: Assessment,
    /// The group it looked at alone; `None` for all callers together.
    pub group: Option<GroupName>,
    /// Canary's value: a share 0 to 1 for rates, milliseconds for latencies, 1 to 5 for ratings.
    #[serde(deserialize_with = "number")]
    #[schema(value_type = Option<f64>)]
    pub canary: f64,
    /// Stable's value in the same unit; `None` where there is nothing to compare with.
    pub stable: Option<f64>,
    /// What is tolerated of canary, in the same unit.
    #[serde(deserialize_with = "number")]
    #[schema(value_type = Option<f64>)]
    pub bound: f64,
    /// How much of the evidence that a breach needs is there: 0 for none, 1 and more for enough.
    #[serde(deserialize_with = "number")]
    #[schema(value_type = Option<f64>)]
    pub evidence: f64,
    /// The evidence that a breach needs, as the judge measures it; `None` for what is no such test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_needed: Option<f64>,
    /// Requests behind each value; for latencies good answers; where callers are the unit, for what
    /// befalls a caller once, callers.
    pub n: PerVariant<u64>,
    /// Callers who have been to each arm in this stage, where they are the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<PerVariant<u64>>,
    /// About how much more it takes to pass, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
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
}

/// About how much more is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    /// Callers of canary, or requests to it where those are the unit, or what a stage takes at least.
    pub count: u64,
    /// Seconds in which they come, at the rate so far.
    pub seconds: u64,
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
            evidence_needed: None,
            n: PerVariant::default(),
            callers: None,
            missing: None,
            reason: String::new(),
        }
    }

    #[test]
    fn what_is_not_met_is_never_taken_for_undecided() {
        let verdict = Verdict::from_findings(vec![finding(Assessment::Pass)]);
        let verdict = verdict.joined(vec![finding(Assessment::Unmet)]);
        assert_eq!(verdict.action, Action::Hold);
        assert!(!verdict.is_undecided);
    }

    #[test]
    fn a_custom_check_is_stored_by_its_name_and_read_back() {
        let custom = CheckName::Custom("orders-per-minute".parse().unwrap());
        for (check, word) in [
            (custom, "\"orders-per-minute\""),
            (CheckName::ErrorRate, "\"error_rate\""),
            (CheckName::ReleaseWhen, "\"release_when\""),
        ] {
            assert_eq!(serde_json::to_string(&check).unwrap(), word);
            assert_eq!(serde_json::from_str::<CheckName>(word).unwrap(), check);
        }
        assert!(serde_json::from_str::<CheckName>("\"a b\"").is_err());
        assert!(CheckName::is_built_in("latency_p50") && !CheckName::is_built_in("orders"));
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
