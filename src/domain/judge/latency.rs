//! Is canary slower than is tolerated?
//!
//! A quantile is compared as a share: stable's own p99 is a cut that leaves 1 % beyond it; moved
//! up by the tolerance (whole buckets), it must not leave more than 1 % of *canary's* good
//! answers beyond it. Shares have honest bounds whatever the shape of the latencies, and each
//! group is held against its own cut. Only good answers are looked at: neither fast failures of
//! canary nor slow ones of stable bend the result.

use std::time::Duration;

use crate::domain::evidence::{LatencyHistogram, Stratum, TickCounts};
use crate::domain::judge::scope::{Demands, Guard, Scope};
use crate::domain::judge::verdict::{CheckName, Finding};
use crate::domain::stats::intervals::{Excess, Share};
use crate::domain::variant::{PerVariant, Variant};

/// A quantile of latency and how much of it canary may add.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantile {
    /// The name of its check.
    pub(super) check: CheckName,
    /// The word for it: `p99`.
    pub(super) word: &'static str,
    /// Its level, 0 to 1.
    pub(super) level: f64,
    /// The increase over stable that is tolerated, as a ratio.
    pub(super) tolerance: f64,
    /// The increase that is tolerated in any case.
    pub(super) slack: Duration,
}

impl Quantile {
    /// The highest bucket tolerated of canary where stable's quantile lies in `cut`.
    fn tolerated(&self, cut: usize) -> usize {
        let by_ratio = cut + LatencyHistogram::buckets_in(self.tolerance);
        let upper_ms = LatencyHistogram::bucket_upper_ms(cut);
        let by_slack = Duration::from_secs_f64(upper_ms / 1e3) + self.slack;
        by_ratio.max(LatencyHistogram::bucket_of(by_slack))
    }
}

/// Compares a quantile of canary with that of stable.
pub(super) fn compare(scope: &Scope<'_>, demands: &Demands, quantile: &Quantile) -> Finding {
    let mut excess = Excess::default();
    for stratum in &scope.strata {
        excess.add(excess_beyond_cut(stratum, quantile));
    }
    let merged = PerVariant::from_fn(|variant| merged(scope, variant));
    let ms = PerVariant::from_fn(|variant| merged.get(variant).quantile_ms(quantile.level));
    let cut = merged.stable.quantile_bucket(quantile.level);
    let bound = cut.map_or(0.0, |cut| {
        LatencyHistogram::bucket_upper_ms(quantile.tolerated(cut))
    });
    let n = scope.sum(|arm| arm.latency.count());
    let assessment = demands.assess(&excess, n);
    let reason = format!(
        "{}{} of canary is {:.1} ms ({} answers), of stable {:.1} ms ({}); tolerated up to \
         {bound:.1} ms, which {:.0} of canary's answers exceed where {:.0} may{}",
        scope.prefix,
        quantile.word,
        ms.canary.unwrap_or_default(),
        n.canary,
        ms.stable.unwrap_or_default(),
        n.stable,
        excess.observed,
        excess.tolerated,
        demands.remark(assessment, n),
    );
    Finding {
        check: quantile.check,
        assessment,
        group: scope.group.cloned(),
        canary: ms.canary.unwrap_or_default(),
        stable: ms.stable,
        bound,
        evidence: excess.share_of_reach(demands.standard_errors),
        n,
        reason,
    }
}

/// Holds canary's mean over all callers against a goal.
pub(super) fn guard_mean(counts: &TickCounts, demands: &Demands, goal: Duration) -> Finding {
    let latency = counts.total(Variant::Canary).latency;
    let n = PerVariant {
        stable: 0,
        canary: latency.count(),
    };
    let mean_ms = latency.mean_ms().unwrap_or_default();
    let variance_ms2 = latency.variance_ms2().unwrap_or_default();
    let standard_error_ms = (variance_ms2 / latency.count().max(1) as f64).sqrt();
    let guard = Guard {
        value: mean_ms,
        lower_bound: mean_ms - demands.standard_errors * standard_error_ms,
        limit: goal.as_secs_f64() * 1e3,
    };
    let assessment = demands.assess_guard(guard, n.canary);
    let reason = format!(
        "mean of canary is {mean_ms:.1} ms ({} answers), give or take {standard_error_ms:.1} ms; \
         the goal is {:.1} ms{}",
        n.canary,
        guard.limit,
        demands.remark(assessment, n),
    );
    Finding {
        check: CheckName::LatencyMean,
        assessment,
        group: None,
        canary: mean_ms,
        stable: None,
        bound: guard.limit,
        evidence: guard.evidence(),
        n,
        reason,
    }
}

fn excess_beyond_cut(stratum: &Stratum, quantile: &Quantile) -> Excess {
    let PerVariant { stable, canary } = &stratum.arms;
    let Some(cut) = stable.latency.quantile_bucket(quantile.level) else {
        return Excess::default();
    };
    let beyond = Share {
        events: canary.latency.count_above(quantile.tolerated(cut)),
        trials: canary.latency.count(),
    };
    Excess::beyond_quantile(beyond, stable.latency.count(), 1.0 - quantile.level)
}

fn merged(scope: &Scope<'_>, variant: Variant) -> LatencyHistogram {
    let mut sum = LatencyHistogram::default();
    for stratum in &scope.strata {
        sum.merge(&stratum.arms.get(variant).latency);
    }
    sum
}
