//! At which rate requests of a flag have come lately, whatever its rollout does meanwhile.

use std::collections::BTreeMap;

use crate::domain::evidence::{Stratum, TickCounts};
use crate::domain::ids::GroupName;
use crate::domain::judge::outlook::{GroupRates, LOG_BUCKET, Z90};
use crate::domain::stats::bucket_counts::BucketCounts;
use crate::domain::stats::reference_window::ReferenceWindow;
use crate::domain::variant::Variant;

/// What is left of a second's count after another: a mean over some five minutes.
const KEPT_PER_TICK: f64 = 0.9967;

/// Answers below which their latencies say nothing.
const ANSWERS_MIN: f64 = 100.0;

/// The least spread of latencies that is believed: half a bucket.
const SPREAD_MIN: f64 = LOG_BUCKET / 2.0;

/// The rates of one flag.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    seconds: f64,
    groups: BTreeMap<Option<GroupName>, GroupPace>,
}

#[derive(Debug, Default)]
struct GroupPace {
    requests: f64,
    callers: f64,
    /// Of stable.
    answered: f64,
    failed: f64,
    latency: ReferenceWindow,
    /// The latencies of this tick: a group may be in several strata, and its past fades once a tick.
    tick: BucketCounts,
}

impl Pace {
    /// Takes in a tick. Groups that the flag names no longer fade away.
    pub(crate) fn add(&mut self, counts: &TickCounts) {
        self.seconds = self.seconds * KEPT_PER_TICK + 1.0;
        self.groups.values_mut().for_each(GroupPace::fade);
        for stratum in counts.strata() {
            let pace = self.groups.entry(stratum.group.clone()).or_default();
            pace.add(stratum);
        }
        self.groups.values_mut().for_each(GroupPace::end_tick);
        self.groups.retain(|_, pace| pace.requests > 1e-3);
    }

    /// For how many seconds, about, it has looked.
    pub(crate) const fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The rates, group by group.
    pub(crate) fn rates(&self) -> Vec<GroupRates> {
        let seconds = self.seconds.max(1.0);
        let of_group = |(group, pace): (&Option<GroupName>, &GroupPace)| GroupRates {
            group: group.clone(),
            requests: pace.requests / seconds,
            callers: pace.callers / seconds,
            failures: pace.failed / pace.answered.max(1.0),
            spread: pace.spread(),
        };
        self.groups.iter().map(of_group).collect()
    }
}

impl GroupPace {
    fn fade(&mut self) {
        for sum in [
            &mut self.requests,
            &mut self.callers,
            &mut self.answered,
            &mut self.failed,
        ] {
            *sum *= KEPT_PER_TICK;
        }
    }

    fn add(&mut self, stratum: &Stratum) {
        for variant in Variant::ALL {
            let arm = stratum.arms.get(variant);
            self.requests += arm.requests as f64;
            self.callers += if stratum.is_keyed {
                arm.callers.distinct()
            } else {
                arm.requests as f64
            };
        }
        let stable = &stratum.arms.stable;
        self.answered += stable.requests as f64;
        self.failed += stable.failures.total() as f64;
        for (bucket, count) in stable.latency.filled() {
            let bucket = i32::try_from(bucket).unwrap_or(i32::MAX);
            self.tick.add(bucket, count);
        }
    }

    fn end_tick(&mut self) {
        self.latency.add(&self.tick, KEPT_PER_TICK, ANSWERS_MIN);
        self.tick.clear();
    }

    /// The standard deviation of the logarithm of latency, as the median and the 90th percentile have it.
    fn spread(&self) -> Option<f64> {
        if self.latency.total() < ANSWERS_MIN {
            return None;
        }
        let (p50, p90) = (self.latency.cut(0.5)?, self.latency.cut(0.9)?);
        Some((f64::from(p90 - p50) * LOG_BUCKET / Z90).max(SPREAD_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixtures::{arm, tick};
    use crate::domain::evidence::ArmCounts;
    use crate::domain::testing::percent;

    #[test]
    fn rates_are_those_of_the_last_minutes() {
        let mut pace = Pace::default();
        assert!(pace.rates().is_empty());
        for _ in 0..300 {
            pace.add(&tick(1, percent(10), arm(20, None)));
        }
        let [rates] = pace.rates().try_into().unwrap();
        assert!((rates.requests - 200.0).abs() < 1e-6, "{rates:?}");
        // The callers of the two arms are numbered alike, and few fall on one bit.
        assert!((180.0..=230.0).contains(&rates.callers), "{rates:?}");
        assert!(rates.failures.abs() < 1e-9);
        assert!((0.05..0.8).contains(&rates.spread.unwrap()), "{rates:?}");
        for _ in 0..3_000 {
            pace.add(&TickCounts::default());
        }
        assert!(pace.rates().iter().all(|rates| rates.requests < 0.1));
    }

    #[test]
    fn latency_fades_once_a_tick_however_many_strata_a_group_is_in() {
        let of_epochs = |epochs: u64| {
            let mut pace = Pace::default();
            for _ in 0..600 {
                let mut counts = tick(0, percent(10), arm(20, None));
                for epoch in 1..epochs {
                    counts.merge(&tick(epoch, percent(10), ArmCounts::default()));
                }
                pace.add(&counts);
            }
            pace.groups[&None].latency.total()
        };
        assert!((of_epochs(1) - of_epochs(4)).abs() < 1e-6);
    }
}
