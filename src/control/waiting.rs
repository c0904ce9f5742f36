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
    let by_proof = proof.as_ref().map(|proof| proof.seconds);
    if by_requests.is_none() && by_proof.is_none() {
        return None;
    }
    let within = |spans: [Option<Option<f64>>; 2]| {
        let mut spans = spans.into_iter().flatten();
        let longest = spans.try_fold(hold_left, |longest, span| Some(longest.max(span?)));
        longest.filter(|seconds| *seconds <= SECONDS_MAX)
    };
    let seconds = within([by_requests, by_proof]);
    let is_bounded = proof.as_ref().is_some_and(|proof| proof.is_undecided)
        && plan.policy().undecided == Undecided::Promote;
    let patience = stage.hold * plan.policy().patience + state.judged_since.unwrap_or(elapsed);
    let patient = is_bounded.then(|| Some(seconds_left(patience, elapsed)));
    let undecided = patient.and_then(|_| within([by_requests, patient]));
    let undecided = undecided.filter(|patient| seconds.is_none_or(|seconds| *patient < seconds));
    let callers = proof.as_ref().and_then(|proof| proof.callers);
    let requests = match proof.and_then(|proof| proof.requests) {
        Some(more) => requests.max(more),
        None => requests,
    };
    let callers = callers.unwrap_or_default();
    Some(WaitingFor {
        requests,
        callers,
        seconds,
        undecided_seconds: undecided,
        says: says((requests, callers), seconds, undecided),
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

fn says((requests, callers): (u64, u64), seconds: Option<f64>, undecided: Option<f64>) -> String {
    let more = match (requests, callers) {
        (0, callers) => format!("about {callers} more callers"),
        (requests, 0) => format!("about {requests} more requests"),
        (requests, callers) => format!("about {requests} more requests and {callers} more callers"),
    };
    let time = seconds.map_or_else(|| "no telling how long".to_owned(), span);
    let patience = undecided.map(|seconds| format!("; goes on undecided in {}", span(seconds)));
    let patience = patience.unwrap_or_default();
    format!("waiting for data: {more} ({time}){patience}")
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
        for (more, seconds, undecided, said) in [
            (
                (640, 0),
                Some(178.2),
                None,
                "about 640 more requests (3 min)",
            ),
            ((0, 120), Some(12.0), None, "about 120 more callers (12 s)"),
            (
                (0, 800),
                Some(600.0),
                Some(115.0),
                "about 800 more callers (10 min); goes on undecided in 2 min",
            ),
            (
                (5, 7),
                Some(9000.0),
                None,
                "about 5 more requests and 7 more callers (3 h)",
            ),
            (
                (10, 0),
                None,
                Some(30.0),
                "about 10 more requests (no telling how long); goes on undecided in 30 s",
            ),
        ] {
            let expected = format!("waiting for data: {said}");
            assert_eq!(says(more, seconds, undecided), expected);
        }
    }
}
