//! Does canary fail more of its requests than is tolerated?
//!
//! Compared with what stable fails *at the same time*, so an outage behind both arms is nobody's
//! breach; and against a fixed limit, if one is set.

use crate::domain::evidence::{ArmCounts, TickCounts};
use crate::domain::judge::scope::{Demands, Guard, Scope};
use crate::domain::judge::settings::ErrorRateSettings;
use crate::domain::judge::verdict::{Assessment, CheckName, Finding, Percent};
use crate::domain::stats::intervals::{Excess, Share, Tolerated, share_lower_bound};
use crate::domain::variant::PerVariant;

/// Compares canary's failures with those stable's rate and the tolerance allow.
pub(super) fn compare(scope: &Scope<'_>, demands: &Demands, of: &ErrorRateSettings) -> Finding {
    let tolerated = Tolerated {
        factor: 1.0 + of.max_increase,
        slack: of.slack,
    };
    let mut excess = Excess::default();
    for stratum in &scope.strata {
        let shares = PerVariant::from_fn(|variant| share(stratum.arms.get(variant)));
        excess.add(Excess::between(shares, tolerated));
    }
    let n = scope.sum(|arm| arm.requests);
    let failures = scope.sum(|arm| arm.failures.total());
    let rates = PerVariant::from_fn(|variant| {
        let (events, trials) = (*failures.get(variant), *n.get(variant));
        Share { events, trials }.ratio()
    });
    let bound = if n.canary == 0 {
        tolerated.of(0.0)
    } else {
        excess.tolerated / n.canary as f64
    };
    let assessment = demands.assess(&excess, n);
    let reason = format!(
        "{}canary fails {} of requests ({} of {}), stable {} ({} of {}); tolerated up to {}{}",
        scope.prefix,
        Percent(rates.canary),
        failures.canary,
        n.canary,
        Percent(rates.stable),
        failures.stable,
        n.stable,
        Percent(bound),
        demands.remark(assessment, n),
    );
    Finding {
        check: CheckName::ErrorRate,
        assessment,
        group: scope.group.cloned(),
        canary: rates.canary,
        stable: Some(rates.stable),
        bound,
        evidence: excess.share_of_reach(demands.standard_errors),
        n,
        reason,
    }
}

/// What takes the place of comparisons where there is nothing to compare with: every exposed group
/// is at 100 %, or stable was not asked at all. Canary must have been seen enough and not fail more
/// than a fixed share; unless stable, whomever it serves, fails as well.
pub(super) fn uncompared(counts: &TickCounts, demands: &Demands, limit: f64) -> Finding {
    let (n, failures) = (counts.requests(), counts.failures());
    let shares = PerVariant::from_fn(|variant| Share {
        events: *failures.get(variant),
        trials: *n.get(variant),
    });
    let guard = guard_of(shares.canary, demands, limit);
    let is_shared = n.stable >= demands.to_breach && shares.stable.ratio() > limit;
    let assessment = match demands.assess_guard(guard, n.canary) {
        Assessment::Breach if is_shared => Assessment::Undecided,
        assessment => assessment,
    };
    let reason = format!(
        "no control in this group: canary fails {} of {} requests, with nothing to compare them \
         with; tolerated up to {}{}",
        Percent(guard.value),
        n.canary,
        Percent(limit),
        demands.remark(assessment, n),
    );
    Finding {
        check: CheckName::ErrorRate,
        assessment,
        group: None,
        canary: guard.value,
        stable: None,
        bound: limit,
        evidence: guard.evidence(),
        n,
        reason,
    }
}

/// Holds canary's failures over all callers against a fixed limit, a share of 0 to 1.
pub(super) fn guard(counts: &TickCounts, demands: &Demands, limit: f64) -> Finding {
    let n = counts.requests();
    let canary = Share {
        events: counts.failures().canary,
        trials: n.canary,
    };
    let guard = guard_of(canary, demands, limit);
    let assessment = demands.assess_guard(guard, n.canary);
    let reason = format!(
        "canary fails {} of requests ({} of {}); the limit is {}{}",
        Percent(guard.value),
        canary.events,
        canary.trials,
        Percent(limit),
        demands.remark(assessment, n),
    );
    Finding {
        check: CheckName::ErrorRateMax,
        assessment,
        group: None,
        canary: guard.value,
        stable: None,
        bound: limit,
        evidence: guard.evidence(),
        n,
        reason,
    }
}

fn guard_of(canary: Share, demands: &Demands, limit: f64) -> Guard {
    Guard {
        value: canary.ratio(),
        lower_bound: share_lower_bound(canary, demands.standard_errors),
        limit,
    }
}

fn share(arm: &ArmCounts) -> Share {
    Share {
        events: arm.failures.total(),
        trials: arm.requests,
    }
}
