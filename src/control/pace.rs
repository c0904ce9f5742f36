//! At which rate requests of a flag have come lately, whatever its rollout does meanwhile.

use std::collections::BTreeMap;

use crate::domain::evidence::{CallerSketch, LatencyHistogram, Stratum, TickCounts};
use crate::domain::ids::GroupName;
use crate::domain::judge::outlook::{GroupRates, LOG_BUCKET, Latency, Z90};
use crate::domain::stats::bucket_counts::BucketCounts;
use crate::domain::stats::reference_window::ReferenceWindow;
use crate::domain::variant::Variant;

/// What is left of a second's count after another: a mean over some five minutes.
const KEPT_PER_TICK: f64 = 0.9967;

/// Answers below which their latencies say nothing.
const ANSWERS_MIN: f64 = 100.0;

/// The least spread of latencies that is believed: half a bucket.
const SPREAD_MIN: f64 = LOG_BUCKET / 2.0;

/// Spans of time in which different callers are counted: of 1, 2, 4 ... seconds, the longest some nine minutes,
/// as long as a start of callers lives.
const SPANS: usize = 10;

/// Callers beyond which a set of 1,024 bits is too full to tell how many there were: to within a tenth.
const TOLD_MAX: f64 = 4_800.0;

/// The rates of one flag.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    seconds: f64,
    groups: BTreeMap<Option<GroupName>, GroupPace>,
}

#[derive(Debug, Default)]
struct GroupPace {
    requests: f64,
    /// Those of them that are drawn anew.
    anew: f64,
    /// Those of the others that stable answered.
    stable_keyed: f64,
    spans: [Span; SPANS],
    since_stage: SinceStage,
    /// The same of callers of stable with a failure.
    failing: [Span; SPANS],
    /// Of stable.
    answered: f64,
    failed: f64,
    latency: ReferenceWindow,
    /// The callers of this tick, of both arms.
    callers: CallerSketch,
    /// Those new in the stage, and the greatest epoch they were decided under.
    new: u64,
    epoch: u64,
    failed_callers: CallerSketch,
    /// Its latencies: a group may be in several strata, and its past fades once a tick.
    tick: BucketCounts,
}

/// Different callers within spans of one length.
#[derive(Debug, Default)]
struct Span {
    /// Those of the span under way, and its ticks so far.
    callers: CallerSketch,
    ticks: u32,
    /// Of those before it: a sum that fades, and of how many.
    sum: f64,
    spans: f64,
}

impl Span {
    fn add(&mut self, tick: &CallerSketch, ticks_max: u32) {
        self.callers.union(tick);
        self.ticks += 1;
        if self.ticks < ticks_max {
            return;
        }
        let distinct = self.callers.distinct();
        if distinct > TOLD_MAX {
            // What was told before is about fewer callers than there are now.
            (self.sum, self.spans) = (0.0, 0.0);
        } else {
            let kept = KEPT_PER_TICK.powf(f64::from(ticks_max));
            self.sum = self.sum * kept + distinct;
            self.spans = self.spans * kept + 1.0;
        }
        self.callers = CallerSketch::default();
        self.ticks = 0;
    }

    fn mean(&self) -> Option<f64> {
        (self.spans > 0.0).then(|| self.sum / self.spans)
    }
}

/// Different callers since the stage began, as the cells count them: exactly, but from one moment on.
#[derive(Debug, Default)]
struct SinceStage {
    epoch: u64,
    ticks: u32,
    callers: u64,
    /// How many there were after 1, 2, 4 ... ticks.
    known: Vec<f64>,
}

impl SinceStage {
    fn add(&mut self, epoch: u64, new: u64) {
        if epoch > self.epoch {
            *self = Self {
                epoch,
                ..Self::default()
            };
        }
        self.callers += new;
        // Nobody is counted while canary is cold.
        if self.callers == 0 {
            return;
        }
        self.ticks = self.ticks.saturating_add(1);
        if self.ticks.is_power_of_two() {
            self.known.push(self.callers as f64);
        }
    }
}

/// Different callers in spans of so many seconds, where that can be told.
fn means(spans: &[Span; SPANS]) -> Vec<(f64, f64)> {
    let known = (0..).zip(spans).filter_map(|(doublings, span)| {
        let callers = span.mean()?;
        Some((f64::from(1_u32 << doublings), callers))
    });
    known.collect()
}

impl Pace {
    /// Takes in a tick. Groups that the flag names no longer fade away.
    pub(crate) fn add(&mut self, counts: &TickCounts) {
        if self.groups.is_empty() {
            // The time before the first request is not of its rate.
            self.seconds = 0.0;
            if counts.strata().iter().all(is_without_requests) {
                return;
            }
        }
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
            anew: pace.anew / seconds,
            seen: pace.seen(),
            failing: pace.failing(),
            failures: pace.failed / pace.answered.max(1.0),
            latency: pace.latency(),
        };
        self.groups.iter().map(of_group).collect()
    }
}

fn is_without_requests(stratum: &Stratum) -> bool {
    let mut variants = Variant::ALL.into_iter();
    variants.all(|variant| stratum.arms.get(variant).requests == 0)
}

impl GroupPace {
    fn fade(&mut self) {
        for sum in [
            &mut self.requests,
            &mut self.anew,
            &mut self.stable_keyed,
            &mut self.answered,
            &mut self.failed,
        ] {
            *sum *= KEPT_PER_TICK;
        }
    }

    fn add(&mut self, stratum: &Stratum) {
        self.epoch = self.epoch.max(stratum.epoch);
        for variant in Variant::ALL {
            let arm = stratum.arms.get(variant);
            self.requests += arm.requests as f64;
            if stratum.is_keyed {
                self.callers.union(&arm.callers);
                self.new += arm.cells.new_in_stage;
            } else {
                self.anew += arm.requests as f64;
            }
        }
        let stable = &stratum.arms.stable;
        if stratum.is_keyed {
            self.stable_keyed += stable.requests as f64;
            self.failed_callers.union(&stable.failed_callers);
        }
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
        self.since_stage
            .add(self.epoch, std::mem::take(&mut self.new));
        for (tick, spans) in [
            (&mut self.callers, &mut self.spans),
            (&mut self.failed_callers, &mut self.failing),
        ] {
            for (doublings, span) in (0..).zip(spans) {
                span.add(tick, 1 << doublings);
            }
            *tick = CallerSketch::default();
        }
    }

    /// Different callers in spans of so many seconds. What is too many for a set is known from the stage, if it
    /// has lasted as long.
    fn seen(&self) -> Vec<(f64, f64)> {
        let mut seen = means(&self.spans);
        let told = seen.last().map_or(0.0, |(seconds, _)| *seconds);
        let known = (0..).zip(&self.since_stage.known);
        let known = known.map(|(doublings, callers)| (f64::from(doublings).exp2(), *callers));
        seen.extend(known.filter(|(seconds, _)| *seconds > told));
        seen
    }

    /// Different callers of stable with a failure, as many as there would be if all were stable's.
    fn failing(&self) -> Vec<(f64, f64)> {
        let times = (self.requests - self.anew) / self.stable_keyed;
        let known = means(&self.failing).into_iter();
        let of_all = known.map(|(seconds, callers)| (seconds, callers * times));
        of_all.filter(|(_, callers)| callers.is_finite()).collect()
    }

    /// Latency, as its median and its 90th percentile have it.
    fn latency(&self) -> Option<Latency> {
        if self.latency.total() < ANSWERS_MIN {
            return None;
        }
        let (p50, p90) = (self.latency.cut(0.5)?, self.latency.cut(0.9)?);
        let buckets = f64::from(p50) + 0.5 - LatencyHistogram::BUCKET_OF_1_MS as f64;
        Some(Latency {
            median_ms: (buckets * LOG_BUCKET).exp(),
            spread: (f64::from(p90 - p50) * LOG_BUCKET / Z90).max(SPREAD_MIN),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixtures::{arm, tick};
    use crate::domain::evidence::{ArmCounts, Failure, Outcome, OutcomeClass};
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
        // The callers of the two arms are numbered alike, and the same come in each tick.
        assert_eq!(rates.seen.len(), 9, "300 seconds hold no span of 512");
        for (seconds, callers) in &rates.seen {
            assert!(
                (165.0..=205.0).contains(callers),
                "{callers} in {seconds} s"
            );
        }
        assert!(rates.failures.abs() < 1e-9);
        assert!(
            rates
                .failing
                .iter()
                .all(|(_, callers)| callers.abs() < 1e-9)
        );
        let latency = rates.latency.unwrap();
        assert!((4.0..6.0).contains(&latency.median_ms), "{latency:?}");
        assert!((0.05..0.8).contains(&latency.spread), "{latency:?}");
        for _ in 0..3_000 {
            pace.add(&TickCounts::default());
        }
        assert!(pace.rates().iter().all(|rates| rates.requests < 0.1));
    }

    #[test]
    fn the_time_before_the_first_request_is_not_of_the_rate() {
        let mut pace = Pace::default();
        for _ in 0..500 {
            pace.add(&TickCounts::default());
            pace.add(&tick(1, percent(10), ArmCounts::default()));
        }
        assert!(pace.seconds().abs() < 1e-9 && pace.rates().is_empty());
        for _ in 0..10 {
            pace.add(&tick(1, percent(10), arm(20, None)));
        }
        let [rates] = pace.rates().try_into().unwrap();
        assert!((rates.requests - 200.0).abs() < 1e-6, "{rates:?}");
        // A pause between requests is.
        for _ in 0..10 {
            pace.add(&TickCounts::default());
        }
        let [rates] = pace.rates().try_into().unwrap();
        assert!((90.0..101.0).contains(&rates.requests), "{rates:?}");
    }

    /// Steele, Lea and Flood (2014).
    fn splitmix(number: u64) -> u64 {
        let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn ten_failures_of_one_caller_are_those_of_one() {
        let of_callers = |of: fn(u64) -> u64| {
            let mut pace = Pace::default();
            for second in 0..64_u64 {
                let counts = tick(1, percent(50), arm(20, None));
                let mut stratum = counts.strata()[0].clone();
                let failure = Outcome {
                    class: OutcomeClass::BackendFailure(Failure::Timeout),
                    ..Outcome::default()
                };
                stratum.arms.stable.record(&failure, of(second));
                pace.add(&[stratum].into_iter().collect());
            }
            let [rates] = pace.rates().try_into().unwrap();
            assert!((0.04..0.06).contains(&rates.failures), "{rates:?}");
            rates.failing[5]
        };
        let (seconds, one) = of_callers(|_| 7);
        let (_, many) = of_callers(|second| 1_000 + second);
        assert!((seconds - 32.0).abs() < 1e-9);
        // Stable has half of all requests.
        assert!((1.8..2.1).contains(&one), "{one}");
        assert!((58.0..70.0).contains(&many), "{many}");
    }

    #[test]
    fn spans_in_which_too_many_came_are_not_told() {
        let mut pace = Pace::default();
        for second in 0..64_u64 {
            let mut counts = tick(1, percent(10), ArmCounts::default());
            let mut stratum = counts.strata()[0].clone();
            stratum.arms.stable.requests = 500;
            stratum.arms.stable.cells.new_in_stage = 500;
            for caller in 0..500 {
                let hash = splitmix(second * 500 + caller);
                stratum.arms.stable.callers.insert(hash);
            }
            counts.add(stratum);
            pace.add(&counts);
        }
        let [rates] = pace.rates().try_into().unwrap();
        let spans: Vec<_> = rates.seen.iter().map(|(seconds, _)| *seconds).collect();
        assert_eq!(spans[..4], [1.0, 2.0, 4.0, 8.0], "of 32,000 callers in all");
        // The cells know what the set does not.
        assert_eq!(
            rates.seen[4..],
            [(16.0, 8_000.0), (32.0, 16_000.0), (64.0, 32_000.0)]
        );
        assert!((rates.callers() - 500.0).abs() < 60.0, "{rates:?}");
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
