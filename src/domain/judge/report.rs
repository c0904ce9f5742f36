//! What the tests say, as a verdict with findings for people.

use crate::domain::ids::GroupName;
use crate::domain::judge::sequential::{Check, Found, Ruling, Subject};
use crate::domain::judge::stage::StageContext;
use crate::domain::judge::verdict::{Action, Assessment, CheckName, Finding, Missing, Verdict};

/// Requests of stable that a comparison needs before it can pass, unless the stage asks for fewer of canary.
///
/// 100: stable's own noise is part of every comparison; at the end of a rollout stable is only the one
/// percent that is kept for it.
const STABLE_REQUESTS_MIN: u64 = 100;

/// Requests of stable that a comparison needs where a stage takes so many of canary at least.
pub(super) fn needed_of_stable(min_requests: u64) -> u64 {
    STABLE_REQUESTS_MIN.min(min_requests).max(1)
}

/// What a ruling comes to.
pub(super) struct Report<'a> {
    pub(super) ruling: &'a Ruling,
    pub(super) stage: &'a StageContext,
    /// The groups that are judged for themselves, in the order of their numbers.
    pub(super) groups: &'a [GroupName],
    /// Requests of stable that canary was compared with in this stage.
    pub(super) compared_with: f64,
}

impl Report<'_> {
    /// The verdict, with what was found.
    pub(super) fn verdict(&self, found: Vec<Found>) -> Verdict {
        let mut findings: Vec<_> = found.into_iter().map(|found| self.finding(found)).collect();
        // A control that nobody belongs to is none.
        let lacks_control = self.stage.has_control() && self.lacks_stable();
        if lacks_control {
            findings.iter_mut().for_each(|finding| self.hold(finding));
        }
        let action = match self.ruling.action {
            Action::Rollback => Action::Rollback,
            _ if self.ruling.passes() && !lacks_control => Action::Promote,
            _ => Action::Hold,
        };
        Verdict {
            action,
            is_undecided: self.ruling.is_undecided() && !lacks_control,
            findings,
        }
    }

    fn lacks_stable(&self) -> bool {
        self.compared_with < needed_of_stable(self.stage.min_requests) as f64
    }

    /// Nothing is shown by a comparison with too little.
    fn hold(&self, finding: &mut Finding) {
        let is_open = matches!(finding.assessment, Assessment::Pass | Assessment::Undecided);
        if is_open && finding.check != CheckName::Split {
            finding.assessment = Assessment::NeedsData;
            finding.missing = None;
            let (needed, seen) = (
                needed_of_stable(self.stage.min_requests),
                self.compared_with,
            );
            let reason = &mut finding.reason;
            reason.push_str(&format!("; needs {needed} requests of stable, has {seen}"));
        }
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
