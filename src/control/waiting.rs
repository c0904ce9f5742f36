//! What a stage still has to see before it can pass, and about how long that takes.

use std::time::Duration;

use crate::control::TICK;
use crate::control::status::WaitingFor;
use crate::domain::judge::{Action, Assessment, Finding, Judge, Verdict};
use crate::domain::rollout::{Phase, RolloutPlan, RolloutState, Undecided};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::Variant;

/// Longer than this nobody plans for, and no forecast from one stage is good for.
const SECONDS_MAX: f64 = 30.0 * 86_400.0;

/// What a stage under way waits for, if it is data.
pub(crate) fn waiting_for(
    (plan, state): (&RolloutPlan, &RolloutState),
    judge: &Judge,
    verdict: &Verdict,
    now: Timestamp,
) -> Option<WaitingFor> {
    if state.phase != Phase::Progressing || verdict.action == Action::Rollback {
        return None;
    }
    let stage = plan.stage(state.stage);
    let elapsed = state.in_stage.elapsed(now);
    let hold_left = seconds_left(stage.hold, elapsed);
    let requests = stage.min_requests.max(1);
    let requests = requests.saturating_sub(judge.stage_requests().canary);
    let by_requests = (requests > 0).then(|| seconds_for(requests, judge));
    let proof = proof(&verdict.findings);
    let by_proof = proof.as_ref().map(|proof| {
        let patience = stage.hold * plan.policy().patience + state.judged_since.unwrap_or(elapsed);
        let is_bounded = proof.is_undecided && plan.policy().undecided == Undecided::Promote;
        let patient = is_bounded.then(|| seconds_left(patience, elapsed));
        match (proof.seconds, patient) {
            (Some(proof), Some(patient)) => Some(proof.min(patient)),
            (proof, patient) => proof.or(patient),
        }
    });
    if by_requests.is_none() && by_proof.is_none() {
        return None;
    }
    let mut spans = [by_requests, by_proof].into_iter().flatten();
    let longest = spans.try_fold(hold_left, |longest, span| Some(longest.max(span?)));
    let seconds = longest.filter(|seconds| *seconds <= SECONDS_MAX);
    let callers = proof.as_ref().and_then(|proof| proof.callers);
    let requests = match proof.and_then(|proof| proof.requests) {
        Some(more) => requests.max(more),
        None => requests,
    };
    Some(WaitingFor {
        requests,
        callers: callers.unwrap_or_default(),
        seconds,
        says: says(requests, callers.unwrap_or_default(), seconds),
    })
}

/// What the judge lacks most.
struct Proof {
    callers: Option<u64>,
    requests: Option<u64>,
    seconds: Option<f64>,
    /// Whether patience makes up for it.
    is_undecided: bool,
}

#[allow(clippy::cast_precision_loss, reason = "for people to read")]
fn proof(findings: &[Finding]) -> Option<Proof> {
    let lacking = |finding: &&Finding| {
        matches!(
            finding.assessment,
            Assessment::NeedsData | Assessment::Undecided
        )
    };
    let known = findings.iter().filter(lacking);
    let longest = known
        .filter_map(|finding| Some((finding, finding.missing?)))
        .max_by_key(|(_, missing)| missing.seconds)?;
    let (finding, missing) = longest;
    let is_by_caller = finding.callers.is_some();
    Some(Proof {
        callers: is_by_caller.then_some(missing.count),
        requests: (!is_by_caller).then_some(missing.count),
        seconds: Some(missing.seconds as f64),
        is_undecided: finding.assessment == Assessment::Undecided,
    })
}

fn seconds_left(of: Duration, elapsed: Duration) -> f64 {
    of.saturating_sub(elapsed).as_secs_f64()
}

/// How long so many requests of canary take at the rate of this stage; none where none come.
#[allow(clippy::cast_precision_loss, reason = "for people to read")]
fn seconds_for(requests: u64, judge: &Judge) -> Option<f64> {
    let (totals, ticks) = judge.seen_in_stage();
    let seen = totals.total(Variant::Canary).requests as f64;
    let span = TICK.as_secs_f64() * ticks as f64;
    (seen > 0.0).then(|| requests as f64 * span / seen)
}

fn says(requests: u64, callers: u64, seconds: Option<f64>) -> String {
    let more = match (requests, callers) {
        (0, callers) => format!("about {callers} more callers"),
        (requests, 0) => format!("about {requests} more requests"),
        (requests, callers) => format!("about {requests} more requests and {callers} more callers"),
    };
    match seconds {
        Some(seconds) => format!("waiting for data: {more}, {}", span(seconds)),
        None => format!("waiting for data: {more}, and how long that takes cannot be told"),
    }
}

/// A span of time as it is said: to the second below a minute, else to the minute.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it has a bound, and is not negative"
)]
fn span(seconds: f64) -> String {
    match seconds.ceil() as u64 {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_in_the_unit_that_fits() {
        for (requests, callers, seconds, said) in [
            (640, 0, Some(178.2), "about 640 more requests, 3 min"),
            (0, 120, Some(12.0), "about 120 more callers, 12 s"),
            (
                5,
                7,
                Some(9000.0),
                "about 5 more requests and 7 more callers, 3 h",
            ),
            (
                10,
                0,
                None,
                "about 10 more requests, and how long that takes cannot be told",
            ),
        ] {
            let expected = format!("waiting for data: {said}");
            assert_eq!(says(requests, callers, seconds), expected);
        }
    }
}
