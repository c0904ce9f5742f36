//! What the tests say, as a verdict with findings for people.

use crate::domain::ids::GroupName;
use crate::domain::judge::sequential::{Check, Found, Ruling, StageTotals, Subject};
use crate::domain::judge::stage::StageContext;
use crate::domain::judge::verdict::{
    Action, Assessment, CheckName, Finding, Missing, Percent, Verdict,
};

/// Requests of stable that a comparison needs before it can pass, unless the stage asks for fewer of canary.
///
/// 100: stable's own noise is part of every comparison; at the end of a rollout stable is only the one
/// percent that is kept for it.
const STABLE_REQUESTS_MIN: u64 = 100;

/// The share of canary's requests in a stage from which on nothing goes on while so many fail, whatever stable
/// does.
///
/// 0.2, from which on the tripwire does not call stable well either: that both are down shows nothing of
/// how they differ when they are up.
const FAILURES_MAX: f64 = 0.2;

/// What a ruling comes to.
pub(super) struct Report<'a> {
    pub(super) ruling: &'a Ruling,
    pub(super) stage: &'a StageContext,
    /// The groups that are judged for themselves, in the order of their numbers.
    pub(super) groups: &'a [GroupName],
    /// What was seen in this stage.
    pub(super) totals: &'a StageTotals,
    /// Callers that an arm needs, where they are the unit.
    pub(super) callers_min: Option<f64>,
}

impl Report<'_> {
    /// The verdict, with what was found.
    pub(super) fn verdict(&self, found: Vec<Found>) -> Verdict {
        let mut findings: Vec<_> = found.into_iter().map(|found| self.finding(found)).collect();
        // A control that nobody belongs to is none, and who is in no comparison does not stand in for those who
        // are.
        let lacking = self.lacking().filter(|_| self.stage.has_control());
        let lacking = self.outage().or(lacking);
        if let Some(lacking) = &lacking {
            findings
                .iter_mut()
                .for_each(|finding| hold(finding, lacking));
        }
        let action = match self.ruling.action {
            Action::Rollback => Action::Rollback,
            _ if self.ruling.passes() && lacking.is_none() => Action::Promote,
            _ => Action::Hold,
        };
        Verdict {
            action,
            is_undecided: self.ruling.is_undecided() && lacking.is_none(),
            findings,
        }
    }

    /// Whether hardly anything can be seen of canary but failures, in words.
    fn outage(&self) -> Option<String> {
        let (failures, requests) = (self.totals.canary_failures, self.totals.canary_requests);
        let most = Percent(FAILURES_MAX);
        (failures > FAILURES_MAX * requests)
            .then(|| format!("; nothing goes on while more than {most} fail, whatever stable does"))
    }

    /// What is lacking of the callers that are split between the arms, in words.
    fn lacking(&self) -> Option<String> {
        let StageTotals {
            requests, callers, ..
        } = self.totals;
        let needed = self.stage.min_requests.max(1);
        let of_stable = needed_of_stable(self.stage.min_requests);
        let callers_min = self.callers_min.unwrap_or(0.0);
        let lacking = [
            (
                requests.stable_trials,
                of_stable as f64,
                "requests of stable",
            ),
            (requests.canary_trials, needed as f64, "requests of canary"),
            (callers.stable, callers_min, "callers of stable"),
            (callers.canary, callers_min, "callers of canary"),
        ];
        let (seen, needed, of) = lacking
            .into_iter()
            .find(|(seen, needed, _)| seen < needed)?;
        Some(format!(
            "; needs {needed} {of} where both are asked, has {seen}"
        ))
    }

    fn finding(&self, found: Found) -> Finding {
        let (group, prefix) = match found.group {
            None => (None, String::new()),
            Some(number) => match self.groups.get(number) {
                Some(group) => (Some(group.clone()), format!("in group `{group}`, ")),
                None => (None, "among callers in no group, ".to_owned()),
            },
        };
        Finding {
            check: name(found.subject),
            assessment: found.assessment,
            group,
            canary: found.canary,
            stable: found.stable,
            bound: found.tolerated,
            evidence: found.evidence / found.needed,
            evidence_needed: Some(found.needed),
            n: found.n,
            callers: found.callers,
            missing: found.missing.map(|more| Missing {
                count: more.count,
                seconds: more.seconds,
            }),
            reason: format!("{prefix}{}", found.reason),
        }
    }
}

/// How many requests of stable a comparison needs where a stage takes so many of canary at least.
pub(super) fn needed_of_stable(min_requests: u64) -> u64 {
    STABLE_REQUESTS_MIN.min(min_requests).max(1)
}

/// Nothing is shown by a comparison with too little.
fn hold(finding: &mut Finding, lacking: &str) {
    let is_open = matches!(finding.assessment, Assessment::Pass | Assessment::Undecided);
    let is_guard = matches!(
        finding.check,
        CheckName::Split | CheckName::ErrorRateMax | CheckName::LatencyMean
    );
    if is_open && !is_guard {
        finding.assessment = Assessment::NeedsData;
        finding.missing = None;
        finding.reason.push_str(lacking);
    }
}

const fn name(subject: Subject) -> CheckName {
    match subject {
        Subject::Split => CheckName::Split,
        Subject::Check(check) => match check {
            Check::Errors => CheckName::ErrorRate,
            Check::ErrorRateMax => CheckName::ErrorRateMax,
            Check::ClientErrors => CheckName::ClientErrors,
            Check::P50 => CheckName::LatencyP50,
            Check::P90 => CheckName::LatencyP90,
            Check::P99 => CheckName::LatencyP99,
            Check::MeanLatencyMax => CheckName::LatencyMean,
            Check::Size => CheckName::AnswerSize,
            Check::ContentType => CheckName::ContentType,
            Check::Ratings => CheckName::Feedback,
            Check::RatingFloor => CheckName::FeedbackMin,
        },
    }
}
