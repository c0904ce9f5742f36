//! Brings one stratum's counts into the table that a test compares.

use smallvec::SmallVec;

use crate::domain::judge::sequential::check::{Check, PerCheck};
use crate::domain::judge::sequential::cuts::Cuts;
use crate::domain::judge::sequential::settings::{SequentialSettings, Tolerated};
use crate::domain::judge::sequential::tick::{ArmTick, StratumTick, Tick};
use crate::domain::stats::odds_ratio::{Grid, Hypothesis, OddsRatioTest, Table};
use crate::domain::variant::{PerVariant, Variant};

/// Log e-values, one for each alternative; on the stack for grids of usual size.
pub(super) type LogValues = SmallVec<[f64; 16]>;

/// Log e-values of nothing.
pub(super) fn zeros(len: usize) -> LogValues {
    SmallVec::from_elem(0.0, len)
}

/// The tests, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Tests {
    pub(super) harm: OddsRatioTest,
    pub(super) harm_alone: Grid,
    pub(super) harmless: OddsRatioTest,
    pub(super) harmless_alone: Grid,
    pub(super) split: Grid,
}

impl Tests {
    pub(super) fn new(settings: &SequentialSettings) -> Self {
        let grids = &settings.grids;
        Self {
            harm: OddsRatioTest::new(Hypothesis::AtMost, &grids.harm),
            harm_alone: Grid::new(&grids.harm),
            harmless: OddsRatioTest::new(Hypothesis::AtLeast, &grids.harmless),
            harmless_alone: Grid::new(&grids.harmless),
            split: Grid::new(&grids.split),
        }
    }
}

/// What is counted: requests, or callers at risk in one of the tick's starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Requests,
    /// The place of the start in the tick.
    CallersOf(usize),
}

/// What is known of stable's past by which canary is tolerated.
#[derive(Clone, Copy, Debug)]
pub(super) struct StableRates {
    /// How often it failed, never quite 0 or 1.
    pub(super) failures: f64,
    /// How often it was rated 1 or 2, never quite 0 or 1.
    pub(super) bad_ratings: f64,
}

/// Odds ratios up to which each check tolerates canary, given stable's past.
pub(super) fn tolerated_odds(tolerated: &Tolerated, stable: StableRates) -> PerCheck<f64> {
    PerCheck::from_fn(|check| match check {
        Check::Errors => {
            let absolute = tolerated.errors_absolute / stable.failures;
            1.0 + tolerated.errors_relative.max(absolute)
        }
        Check::ClientErrors => 1.0 + tolerated.client_errors_relative,
        Check::Size => 1.0 + tolerated.size_relative,
        Check::ContentType => 1.0 + tolerated.content_type_relative,
        Check::Ratings => tolerated_odds_of_ratings(tolerated, stable.bad_ratings),
        // Canary's cut is moved instead.
        Check::P50 | Check::P90 | Check::P99 => 1.0,
        Check::RatingFloor | Check::ErrorRateMax | Check::MeanLatencyMax => 1.0,
    })
}

/// The same of bad ratings: what honest raters may say of canary, and on top of it a share who say the
/// worst whatever they were shown.
fn tolerated_odds_of_ratings(tolerated: &Tolerated, stable: f64) -> f64 {
    let odds = 1.0 + tolerated.ratings_relative;
    let dishonest = tolerated.ratings_dishonest;
    if dishonest <= 0.0 {
        return odds;
    }
    let honest = odds * stable / (1.0 - stable + odds * stable);
    let bad = dishonest + (1.0 - dishonest) * honest;
    bad / (1.0 - bad) * (1.0 - stable) / stable
}

/// The strata of a tick that have a control, of one group or of all.
pub(super) fn compared(
    tick: &Tick,
    group: Option<usize>,
) -> impl Iterator<Item = &StratumTick> + Clone {
    strata_of(tick, group).filter(|stratum| stratum.has_control())
}

/// The strata of a tick, of one group or of all.
pub(super) fn strata_of(
    tick: &Tick,
    group: Option<usize>,
) -> impl Iterator<Item = &StratumTick> + Clone {
    let is_wanted = move |stratum: &&StratumTick| group.is_none_or(|group| stratum.group == group);
    tick.strata.iter().filter(is_wanted)
}

/// The table of a check; `None` while there is no cut to tell events by.
pub(super) fn table(
    check: Check,
    stratum: &StratumTick,
    counted: Counted,
    cuts: &Cuts,
    tolerated: &Tolerated,
) -> Option<Table> {
    let arms = &stratum.arms;
    if let Counted::CallersOf(start) = counted {
        return Some(of_arms(arms, |arm| {
            let firsts = arm.firsts.get(start).copied().unwrap_or_default();
            let share = firsts.of(check);
            (share.trials as f64, share.events as f64)
        }));
    }
    Some(match check {
        Check::Errors => of_arms(arms, |arm| (arm.requests as f64, arm.failures as f64)),
        Check::ClientErrors => of_arms(arms, |arm| {
            let answered = arm.requests as f64 - arm.failures as f64;
            (answered, arm.client_errors as f64)
        }),
        Check::P50 | Check::P90 | Check::P99 => {
            let cut = cuts.slow_above(check, Variant::Canary, tolerated)?;
            return latency_table(check, stratum, cuts, cut);
        }
        Check::Size => {
            let (low, high) = cuts.size?;
            let is_odd = |bucket: i32| !(low..=high).contains(&bucket);
            of_arms(arms, |arm| count(&arm.sizes, is_odd))
        }
        Check::ContentType => {
            let usual = cuts.content_types.as_ref()?;
            let is_unusual = |number: i32| usual.binary_search(&number).is_err();
            of_arms(arms, |arm| count(&arm.content_types, is_unusual))
        }
        Check::Ratings => of_arms(arms, |arm| {
            (arm.ratings_total() as f64, arm.bad_ratings() as f64)
        }),
        Check::RatingFloor | Check::ErrorRateMax | Check::MeanLatencyMax => return None,
    })
}

/// Good answers and slow ones among them, with a cut of canary's own.
pub(super) fn latency_table(
    check: Check,
    stratum: &StratumTick,
    cuts: &Cuts,
    canary_cut: i32,
) -> Option<Table> {
    let cut = cuts.latency.of(check).flatten()?;
    let of_arm = |arm: &ArmTick, cut: i32| count(&arm.latency, |bucket| bucket > cut);
    let (canary_trials, canary_events) = of_arm(&stratum.arms.canary, canary_cut);
    let (stable_trials, stable_events) = of_arm(&stratum.arms.stable, cut);
    Some(Table {
        canary_trials,
        canary_events,
        stable_trials,
        stable_events,
    })
}

fn of_arms(arms: &PerVariant<ArmTick>, counts: impl Fn(&ArmTick) -> (f64, f64)) -> Table {
    let (canary_trials, canary_events) = counts(&arms.canary);
    let (stable_trials, stable_events) = counts(&arms.stable);
    Table {
        canary_trials,
        canary_events,
        stable_trials,
        stable_events,
    }
}

/// All, and those in buckets that count.
fn count(histogram: &[(i32, u64)], is_event: impl Fn(i32) -> bool) -> (f64, f64) {
    let (mut all, mut events) = (0, 0);
    for (bucket, n) in histogram {
        all += n;
        events += if is_event(*bucket) { *n } else { 0 };
    }
    (all as f64, events as f64)
}
