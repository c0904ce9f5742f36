//! Is canary dead?
//!
//! The fast one of two speeds: it needs no statistics, one second of evidence, and can be asked
//! between ticks with what a tick has so far. It trips only when nearly everything canary was
//! asked failed, for many callers and not for one that sends poison, while stable did well at
//! the same time. It stands outside the judge's measure of chance: a healthy canary does not
//! fail nine in ten.

use crate::domain::evidence::{CallerSketch, TickCounts};
use crate::domain::judge::verdict::{Assessment, CheckName, Finding, Percent};
use crate::domain::stats::intervals::Share;
use crate::domain::variant::{PerVariant, Variant};

/// First attempts of each arm below which nothing is said.
const REQUESTS_MIN: u64 = 10;
/// Callers of canary, and callers it failed, below which it may be their doing.
const CALLERS_MIN: u32 = 5;
/// Refused connects that are enough when every endpoint of canary refuses.
const REFUSED_CONNECTS_MIN: u64 = 5;
/// The share of failures from which canary counts as dead.
const CANARY_FAILURES_MIN: f64 = 0.9;
/// The share of failures up to which stable counts as well.
const STABLE_FAILURES_MAX: f64 = 0.2;
/// The share of canary's callers that must have met a failure: a dead canary fails everyone,
/// a few callers who flood it with poison do not.
const FAILED_CALLERS_MIN: f64 = 0.5;

/// How canary's endpoints stand, as the data plane knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CanaryEndpoints {
    /// At least one accepts connections, or it is not known.
    #[default]
    SomeAccept,
    /// Every one of them refuses connections.
    AllRefuse,
}

/// Looks at the last one or two seconds; `None` unless canary looks dead.
///
/// A breach when it is canary alone; undecided, with the reason, when stable was hardly seen or
/// fails too.
pub fn assess(counts: &TickCounts, endpoints: CanaryEndpoints) -> Option<Finding> {
    let arms = PerVariant::from_fn(|variant| Seen::of(counts, variant));
    if !looks_dead(&arms.canary, endpoints) {
        return None;
    }
    let rates = PerVariant::from_fn(|variant| arms.get(variant).failure_ratio());
    let (assessment, because) = if arms.stable.requests < REQUESTS_MIN {
        (Assessment::Undecided, "too little to compare with")
    } else if rates.stable > STABLE_FAILURES_MAX {
        (Assessment::Undecided, "so it may not be canary's doing")
    } else if endpoints == CanaryEndpoints::AllRefuse {
        let why = "canary is down, each of its endpoints refuses connections";
        (Assessment::Breach, why)
    } else {
        (Assessment::Breach, "canary is down")
    };
    let reason = format!(
        "canary failed {} of its latest requests ({} of {}, {} callers), stable {} ({} of {}): \
         {because}",
        Percent(rates.canary),
        arms.canary.failures,
        arms.canary.requests,
        arms.canary.callers.estimate(),
        Percent(rates.stable),
        arms.stable.failures,
        arms.stable.requests,
    );
    Some(Finding {
        check: CheckName::Tripwire,
        assessment,
        group: None,
        canary: rates.canary,
        stable: (arms.stable.requests > 0).then_some(rates.stable),
        bound: CANARY_FAILURES_MIN,
        evidence: f64::from(u8::from(assessment == Assessment::Breach)),
        evidence_needed: None,
        n: arms.map(|arm| arm.requests),
        callers: None,
        missing: None,
        reason,
    })
}

fn looks_dead(canary: &Seen, endpoints: CanaryEndpoints) -> bool {
    let refused = endpoints == CanaryEndpoints::AllRefuse
        && canary.refused_connects >= REFUSED_CONNECTS_MIN
        && canary.requests > 0;
    let seen_by_many = canary.requests >= REQUESTS_MIN && fails_many_callers(canary);
    (refused || seen_by_many) && canary.failure_ratio() >= CANARY_FAILURES_MIN
}

fn fails_many_callers(canary: &Seen) -> bool {
    let (callers, failed) = (canary.callers.estimate(), canary.failed_callers.estimate());
    failed >= CALLERS_MIN && f64::from(failed) >= FAILED_CALLERS_MIN * f64::from(callers)
}

/// What the tripwire needs of an arm, over all strata: no histograms, so it is cheap to ask.
#[derive(Default)]
struct Seen {
    requests: u64,
    failures: u64,
    refused_connects: u64,
    callers: CallerSketch,
    failed_callers: CallerSketch,
}

impl Seen {
    fn of(counts: &TickCounts, variant: Variant) -> Self {
        let mut seen = Self::default();
        for stratum in counts.strata() {
            let arm = stratum.arms.get(variant);
            seen.requests += arm.requests;
            seen.failures += arm.failures.total();
            seen.refused_connects += arm.refused_connects;
            seen.callers.union(&arm.callers);
            seen.failed_callers.union(&arm.failed_callers);
        }
        seen
    }

    fn failure_ratio(&self) -> f64 {
        let (events, trials) = (self.failures, self.requests);
        Share { events, trials }.ratio()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::{ArmCounts, Failure, Outcome, OutcomeClass, Stratum};
    use crate::domain::weight::Weight;

    const DEAD: OutcomeClass = OutcomeClass::BackendFailure(Failure::Connect);
    const FINE: OutcomeClass = OutcomeClass::Success;

    fn arm(requests: &[(OutcomeClass, u64, u64)]) -> ArmCounts {
        let mut arm = ArmCounts::default();
        for (class, caller, times) in requests {
            let outcome = Outcome {
                class: *class,
                head_latency: None,
                ..Outcome::default()
            };
            for _ in 0..*times {
                arm.record(&outcome, *caller);
            }
        }
        arm
    }

    fn many(class: OutcomeClass) -> ArmCounts {
        let callers: Vec<_> = (0..20).map(|caller| (class, caller, 1)).collect();
        arm(&callers)
    }

    fn tripped(canary: ArmCounts, stable: ArmCounts) -> Option<Assessment> {
        tripped_with(canary, stable, CanaryEndpoints::SomeAccept)
    }

    fn tripped_with(
        canary: ArmCounts,
        stable: ArmCounts,
        endpoints: CanaryEndpoints,
    ) -> Option<Assessment> {
        let mut stratum = Stratum::empty(None, 1, Weight::ZERO);
        stratum.arms = PerVariant { stable, canary };
        let counts = TickCounts::from_iter([stratum]);
        assess(&counts, endpoints).map(|finding| finding.assessment)
    }

    #[test]
    fn a_dead_canary_beside_a_live_stable_trips_it() {
        assert_eq!(tripped(many(DEAD), many(FINE)), Some(Assessment::Breach));
        assert_eq!(tripped(many(FINE), many(FINE)), None);
    }

    #[test]
    fn one_poison_caller_does_not_trip_it() {
        let one = arm(&[(DEAD, 1, 500)]);
        assert_eq!(tripped(one, many(FINE)), None);
        let mut among_others = many(FINE);
        among_others.merge(&arm(&[(DEAD, 1, 5000)]));
        assert_eq!(tripped(among_others, many(FINE)), None);
        let mut a_few_floods = many(FINE);
        let floods: Vec<_> = (0..6).map(|caller| (DEAD, caller, 500)).collect();
        a_few_floods.merge(&arm(&floods));
        assert_eq!(tripped(a_few_floods, many(FINE)), None);
    }

    #[test]
    fn a_common_outage_or_an_unseen_stable_holds() {
        assert_eq!(tripped(many(DEAD), many(DEAD)), Some(Assessment::Undecided));
        let unseen = arm(&[(FINE, 1, 9)]);
        assert_eq!(tripped(many(DEAD), unseen), Some(Assessment::Undecided));
    }

    #[test]
    fn refused_connects_on_all_endpoints_need_fewer_requests() {
        let mut refused = arm(&[(DEAD, 1, 5)]);
        refused.refused_connects = 5;
        let all = CanaryEndpoints::AllRefuse;
        let found = tripped_with(refused.clone(), many(FINE), all);
        assert_eq!(found, Some(Assessment::Breach));
        assert_eq!(tripped(refused.clone(), many(FINE)), None);
        refused.refused_connects = 4;
        assert_eq!(tripped_with(refused, many(FINE), all), None);
    }
}
