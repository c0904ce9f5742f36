//! What each check finds, in words and in numbers: for the log, the API and the journal.

mod numbers;
mod words;

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::SequentialJudge;
use crate::domain::judge::sequential::check::Check;
use crate::domain::judge::sequential::findings::numbers::whole;
use crate::domain::judge::sequential::findings::words::{Amount, Span};
use crate::domain::judge::sequential::promotion::NonInferiority;
use crate::domain::judge::sequential::rule;
use crate::domain::judge::sequential::ruling::{Gate, Missing, Ruling};
use crate::domain::judge::sequential::settings::Unit;
use crate::domain::judge::sequential::stage::StageTotals;
use crate::domain::judge::verdict::{Assessment, Percent};
use crate::domain::variant::PerVariant;

/// The longest time that an estimate of what is missing is told for: beyond a week the rate so far says
/// nothing.
const FORESEEABLE_SECONDS: u64 = 7 * 24 * 3600;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "about", content = "check")]
pub enum Subject {
    /// A check for harm.
    Check(Check),
    /// The split between the arms.
    Split,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// What it is about.
    pub subject: Subject,
    /// What is made of it.
    pub assessment: Assessment,
    /// The group, by its index, whose own evidence this is; `None` for all callers together.
    pub group: Option<usize>,
    /// Canary's value: a share 0 to 1, milliseconds, or a rating 1 to 5.
    pub canary: f64,
    /// Stable's value in the same unit, where there is something to compare with.
    pub stable: Option<f64>,
    /// What is tolerated of canary, in the same unit.
    pub tolerated: f64,
    /// Requests, good answers, ratings, or callers at risk behind the values.
    pub n: PerVariant<u64>,
    /// Callers who have been to each arm in this stage, where they are the unit.
    pub callers: Option<PerVariant<u64>>,
    /// Evidence of harm from this check; for the one a rollback is based on, from all of them.
    pub evidence: f64,
    /// Evidence that rolls back, or alerts.
    pub needed: f64,
    /// About how much more it takes to promote, where that can be told.
    pub missing: Option<More>,
    /// All of it in a sentence for people, without a full stop.
    pub reason: String,
}

/// About how much more is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    /// Callers of canary, or requests to it where those are the unit or are what is lacking.
    pub count: u64,
    /// Seconds in which they come, at the rate so far.
    pub seconds: u64,
}

/// What each check that is on and has seen anything finds, the harmful first.
pub(super) fn all(judge: &SequentialJudge, ruling: &Ruling) -> Vec<Found> {
    let of = |group: Option<usize>| Writer {
        judge,
        ruling,
        totals: totals_of(judge, group),
    };
    // Only the check that a group's harm shows in is told of that group.
    let reason = ruling.reason;
    let writer_of = |check: Check| {
        let reason = reason.filter(|reason| reason.check == check);
        of(reason.and_then(|reason| reason.group))
    };
    let is_on = |check: &Check| judge.settings.shares[*check] > 0.0;
    let checks = Check::ALL.into_iter().filter(is_on);
    let mut found: Vec<Found> = checks
        .filter_map(|check| writer_of(check).check(check))
        .collect();
    found.extend(of(None).split());
    found.sort_by_key(|found| found.assessment != Assessment::Breach);
    found
}

/// What was seen in one group, or everywhere.
fn totals_of(judge: &SequentialJudge, group: Option<usize>) -> &StageTotals {
    let of_group = group.and_then(|group| judge.group_totals(group));
    of_group.unwrap_or_else(|| judge.stage_totals())
}

struct Writer<'a> {
    judge: &'a SequentialJudge,
    ruling: &'a Ruling,
    totals: &'a StageTotals,
}

impl Writer<'_> {
    fn check(&self, check: Check) -> Option<Found> {
        let numbers = self.numbers(check)?;
        let settings = &self.judge.settings;
        let reason = self.ruling.reason.filter(|reason| reason.check == check);
        let log_needed = reason.map_or_else(|| settings.log_evidence_needed(), |r| r.log_needed);
        let log_evidence = reason.map_or(self.ruling.parts[check], |r| r.log_evidence);
        let (assessment, missing) = match reason {
            Some(_) => (Assessment::Breach, None),
            None => self.assess(check),
        };
        let (evidence, needed) = (log_evidence.exp(), log_needed.exp());
        let evidence_words = format!("evidence {} of {} needed", Amount(evidence), Amount(needed));
        let more = self.words_of_missing(assessment, missing);
        let is_by_caller = settings.unit == Unit::Caller;
        Some(Found {
            subject: Subject::Check(check),
            assessment,
            group: reason.and_then(|reason| reason.group),
            canary: numbers.canary,
            stable: numbers.stable,
            tolerated: numbers.tolerated,
            n: numbers.n,
            callers: is_by_caller.then(|| PerVariant {
                stable: whole(self.totals.callers.stable),
                canary: whole(self.totals.canary_callers),
            }),
            evidence,
            needed,
            missing: foreseeable(missing).map(|missing| More {
                count: missing.more,
                seconds: missing.seconds,
            }),
            reason: format!(
                "{}; {evidence_words}{}{more}",
                numbers.words,
                self.words_of_suspicion(check)
            ),
        })
    }

    /// What is made of a check that is not the reason of a rollback, and what it lacks.
    fn assess(&self, check: Check) -> (Assessment, Option<Option<Missing>>) {
        let ruling = self.ruling;
        let own = match check {
            Check::Errors => [NonInferiority::Errors, NonInferiority::AllRequests].as_slice(),
            Check::P50 => &[NonInferiority::P50],
            Check::P90 => &[NonInferiority::P90],
            _ => &[],
        };
        let closed = ruling
            .undecided
            .iter()
            .rev()
            .find(|(gate, _)| matches!(gate, Gate::NonInferior(what) if own.contains(what)));
        let lacks = |gate: Gate| ruling.wait.contains(&gate);
        let blocks = match check {
            Check::RatingFloor => lacks(Gate::Ratings),
            Check::ErrorRateMax => lacks(Gate::ErrorRateMax),
            Check::MeanLatencyMax => lacks(Gate::MeanLatency),
            _ => false,
        };
        let is_rated = matches!(check, Check::Ratings | Check::RatingFloor);
        if is_rated && self.judge.shares_in_force()[check] <= 0.0 {
            return (Assessment::NeedsData, None);
        }
        let is_suspicious = ruling.parts[check].exp() >= self.judge.settings.promotion.suspicious
            || self.stands_for_suspicion(check);
        if lacks(Gate::Requests) || lacks(Gate::Callers) {
            let data = ruling
                .undecided
                .iter()
                .find(|(gate, _)| matches!(gate, Gate::Requests | Gate::Callers));
            (Assessment::NeedsData, data.map(|(_, missing)| *missing))
        } else if let Some((_, missing)) = closed {
            (Assessment::Undecided, Some(*missing))
        } else if blocks || is_suspicious {
            (Assessment::Undecided, None)
        } else {
            (Assessment::Pass, None)
        }
    }

    /// Whether a stage does not pass for the evidence of all checks together, and this one has the most of it.
    fn stands_for_suspicion(&self, check: Check) -> bool {
        self.ruling.wait.contains(&Gate::Suspicious) && check == rule::strongest(&self.ruling.parts)
    }

    /// What is said of that.
    fn words_of_suspicion(&self, check: Check) -> String {
        if !self.stands_for_suspicion(check) {
            return String::new();
        }
        let all = self.ruling.log_evidence.exp();
        let suspicious = self.judge.settings.promotion.suspicious;
        format!(
            "; with all checks it is {}, or as much in one group alone, and a stage passes below {}",
            Amount(all),
            Amount(suspicious)
        )
    }

    fn words_of_missing(&self, assessment: Assessment, missing: Option<Option<Missing>>) -> String {
        // A stage lacks requests before it lacks callers, whatever is the unit.
        let lacks_requests =
            assessment == Assessment::NeedsData && self.ruling.wait.contains(&Gate::Requests);
        let unit = match self.judge.settings.unit {
            Unit::Caller if !lacks_requests => "callers",
            Unit::Caller | Unit::Request => "requests",
        };
        let what = match assessment {
            Assessment::NeedsData => "to judge at all",
            Assessment::Undecided | Assessment::Unmet | Assessment::Pass | Assessment::Breach => {
                "to show that it does no harm"
            }
        };
        match missing {
            None => String::new(),
            Some(Some(Missing { more, seconds })) if seconds <= FORESEEABLE_SECONDS => format!(
                "; about {more} more canary {unit}, {} at this rate, {what}",
                Span(seconds)
            ),
            Some(_) => format!("; too early to tell how much more it takes {what}"),
        }
    }

    fn split(&self) -> Option<Found> {
        let split = &self.judge.evidence.split;
        if split.all <= 0.0 {
            return None;
        }
        let (needed, evidence) = (
            1.0 / self.judge.settings.alpha_split,
            self.ruling.log_split.exp(),
        );
        let is_wrong = evidence >= needed;
        let (canary, expected) = (split.canary / split.all, split.expected / split.all);
        let unit = match self.judge.settings.unit {
            Unit::Request => "requests",
            Unit::Caller => "new callers",
        };
        let assessment = if is_wrong {
            Assessment::Undecided
        } else {
            Assessment::Pass
        };
        Some(Found {
            subject: Subject::Split,
            assessment,
            group: None,
            canary,
            stable: None,
            tolerated: expected,
            n: PerVariant {
                stable: whole(split.all - split.canary),
                canary: whole(split.canary),
            },
            callers: None,
            evidence,
            needed,
            missing: None,
            reason: format!(
                "canary has {} of {unit} ({} of {}), the weights ask for {}; evidence of a wrong \
                 split {} of {} needed",
                Percent(canary),
                split.canary,
                split.all,
                Percent(expected),
                Amount(evidence),
                Amount(needed),
            ),
        })
    }
}

/// An estimate worth telling.
fn foreseeable(missing: Option<Option<Missing>>) -> Option<Missing> {
    missing
        .flatten()
        .filter(|missing| missing.seconds <= FORESEEABLE_SECONDS)
}
