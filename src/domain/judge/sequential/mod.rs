//! The judge that may be looked at after every tick, and whose unit is the caller where it must be.
//!
//! Each tick and stratum compares canary with what stable did *in the same tick*, by the odds-ratio
//! kernel of [`stats::odds_ratio`](crate::domain::stats::odds_ratio). Strata add their log e-values, so
//! weights may change and a group is only ever compared with itself. The sum is capped and enters an
//! e-process for each check ([`stats::e_process`](crate::domain::stats::e_process)). The judge rolls
//! back when the evidence of all checks together, each with its share, reaches `1 / alpha`: the chance
//! that a harmless rollout is ever rolled back is then at most `alpha`, over its whole life, at every
//! peek.
//!
//! A promotion is the opposite test: harm by the margin or more must be excluded, in this stage. What
//! is neither shown harmful nor harmless is *undecided*, with an estimate of what is missing.
//!
//! | file | holds |
//! | --- | --- |
//! | `tick`, `collect` | what the judge is told, and how it is drawn from counts |
//! | `settings`, `tolerances` | what is tolerated, and how sure it must be |
//! | `cuts` | stable's past: what is slow, odd or unusual |
//! | `rollback`, `promotion`, `split` | the evidence of each kind |
//! | `one_group` | whether harm is one group's alone |
//! | `held_back` | when what the cap holds back counts |
//! | `gates`, `rule`, `ruling`, `findings` | what follows, in numbers and in words |
//!
//! What is exact: where requests are the unit, every factor has a conditional mean of at most 1 and the
//! sum is one supermartingale. Where callers are, a start is exact when the callers at risk in a tick are
//! exchangeable between the arms; callers of unequal habit make that an approximation.
#![doc = include_str!("FIGURES.md")]

mod check;
mod collect;
mod comparison;
mod cuts;
mod evidence;
mod findings;
mod gates;
mod held_back;
mod one_group;
mod promotion;
#[cfg(test)]
mod ratings_tests;
mod rollback;
mod rule;
mod ruling;
mod settings;
mod split;
mod stage;
mod tick;
mod tolerances;

use crate::domain::judge::sequential::comparison::{Tests, tolerated_odds};
use crate::domain::judge::sequential::cuts::Fading;
use crate::domain::judge::sequential::promotion::Margins;
use crate::domain::judge::sequential::rollback::{Look, RollbackEvidence};
use crate::domain::judge::sequential::stage::StageEvidence;
use crate::domain::stats::bucket_counts::BucketCounts;
use crate::domain::variant::PerVariant;

pub use check::{Check, PerCheck};
pub use cuts::Cuts;
pub(super) use cuts::moved;
pub use evidence::{Evidence, RestoreError};
pub use findings::{Found, Subject};
pub use promotion::{Harmlessness, NonInferiority};
pub use ruling::{Gate, Missing, Reason, Ruling};
pub use settings::{
    EXTRA_SHARE, Grids, LatencyMargin, PerQuantile, Prior, Promotion, Reference,
    SequentialSettings, Tolerated, Unit,
};
pub use stage::StageTotals;
pub use tick::{ArmTick, CallerStart, FirstEvents, StratumTick, Tick};
pub use tolerances::{Sensitivity, Tolerances};

/// Judges one rollout, tick by tick.
///
/// What a tick is judged by comes from earlier ticks only.
#[derive(Clone, Debug)]
pub struct SequentialJudge {
    settings: SequentialSettings,
    seconds_per_tick: f64,
    tests: Tests,
    evidence: Evidence,
    /// Room for canary's latencies of one tick.
    canary_latency: BucketCounts,
    /// Room for stable's sums of one tick.
    stable_sums: BucketCounts,
}

impl SequentialJudge {
    /// A judge that has seen nothing yet, for ticks of so many seconds.
    pub fn new(settings: SequentialSettings, seconds_per_tick: f64) -> Self {
        let tests = Tests::new(&settings);
        let evidence = Evidence::new(&settings, &tests);
        Self {
            settings,
            seconds_per_tick,
            tests,
            evidence,
            canary_latency: BucketCounts::default(),
            stable_sums: BucketCounts::default(),
        }
    }

    /// A judge that goes on from stored evidence, under the same alpha.
    ///
    /// Whether the stage goes on too is the caller's choice: see
    /// [`begin_stage_anew`](Self::begin_stage_anew).
    ///
    /// # Errors
    ///
    /// The evidence was collected in another unit, or over other alternatives.
    pub fn restore(
        settings: SequentialSettings,
        seconds_per_tick: f64,
        evidence: Evidence,
    ) -> Result<Self, RestoreError> {
        let mut judge = Self::new(settings, seconds_per_tick);
        evidence.check(&judge.settings, &judge.tests)?;
        judge.evidence = evidence;
        Ok(judge)
    }

    /// Everything known so far, to be stored.
    pub fn evidence(&self) -> Evidence {
        self.evidence.summed_up()
    }

    /// Lets the next tick begin its stage from nothing, as after a restart: what callers did before is
    /// no longer known, so all starts end. Evidence of harm stays.
    pub fn begin_stage_anew(&mut self) {
        let known = &mut self.evidence;
        known.stage = None;
        known.together.end_starts();
        known
            .groups
            .iter_mut()
            .for_each(RollbackEvidence::end_starts);
    }

    /// The same where none of the callers seen in the rollout is known any more.
    pub fn forget_callers(&mut self) {
        self.begin_stage_anew();
        if self.settings.unit == Unit::Caller {
            self.evidence.split.forget_callers();
        }
    }

    /// The same in another process, where the numbers of content types mean something else as well.
    pub fn begin_process_anew(&mut self) {
        self.forget_callers();
        self.evidence.past.forget_content_types();
    }

    /// The greatest number of a start of callers so far, 0 before the first.
    pub const fn latest_start(&self) -> u64 {
        self.evidence.together.latest_start()
    }

    /// The judge's settings.
    pub const fn settings(&self) -> &SequentialSettings {
        &self.settings
    }

    /// What was seen since the stage began.
    pub const fn stage_totals(&self) -> &StageTotals {
        &self.evidence.in_stage.totals
    }

    /// What was seen of one group since the stage began, where groups are judged for themselves.
    pub fn group_totals(&self, group: usize) -> Option<&StageTotals> {
        self.evidence.group_totals.get(group)
    }

    /// What each check finds, in words and numbers, as of the ruling on the last tick.
    ///
    /// The harmful first, if any.
    pub fn findings(&self, ruling: &Ruling) -> Vec<Found> {
        findings::all(self, ruling)
    }

    /// How often canary was rated 1 to 5 in this rollout.
    pub const fn canary_ratings(&self) -> &[f64; 5] {
        &self.evidence.ratings.canary
    }

    /// The cuts for the next tick, for the data plane.
    pub fn cuts(&self) -> Cuts {
        let with_content_types = self.settings.shares[Check::ContentType] > 0.0;
        let past = &self.evidence.past;
        past.cuts(&self.settings.reference, with_content_types)
    }

    /// How often each arm was rated 1 to 5 in this rollout: canary wherever it is exposed, stable where it
    /// is compared.
    pub const fn ratings(&self) -> &PerVariant<[f64; 5]> {
        &self.evidence.ratings
    }

    /// Stable's past failure rate, 0 to 1.
    pub fn stable_failure_rate(&self) -> f64 {
        self.evidence.past.failure_rate()
    }

    /// Up to what canary is tolerated now.
    fn tolerated_odds(&self) -> PerCheck<f64> {
        tolerated_odds(&self.settings.tolerated, self.evidence.stable_rates())
    }

    /// Takes in a tick and says what follows from all so far.
    pub fn observe(&mut self, tick: &Tick) -> Ruling {
        for group in &tick.left {
            self.evidence.leave(*group);
        }
        if self.evidence.stage != Some(tick.stage) {
            self.enter(tick.stage);
        }
        let cuts = self.cuts();
        if !tick.is_warm_up {
            self.take_in(tick, &cuts);
        }
        let fading = self.fading();
        let past = &mut self.evidence.past;
        past.observe(&tick.strata, fading, &mut self.stable_sums);
        self.rule(tick)
    }

    /// Begins a stage with nothing seen in it.
    fn enter(&mut self, stage: i64) {
        self.evidence.stage = Some(stage);
        self.evidence.entries += 1;
        self.evidence.in_stage = StageEvidence::new(&self.tests);
        self.evidence.group_totals.fill(StageTotals::default());
    }

    fn take_in(&mut self, tick: &Tick, cuts: &Cuts) {
        self.canary_latency.clear();
        for stratum in tick.strata.iter().filter(|stratum| stratum.is_exposed()) {
            self.canary_latency.add_all(&stratum.arms.canary.latency);
        }
        let mass = self.mass(self.evidence.in_stage.totals.ticks == 0);
        self.look_for_harm(tick, cuts, mass);
        self.look_for_harmlessness(tick, cuts);
        let split = &mut self.evidence.split;
        split.observe(tick, self.settings.unit, &self.tests.split);
        self.evidence.ticks += 1;
        self.count_ratings(tick);
    }

    fn fading(&self) -> Fading {
        let reference = &self.settings.reference;
        Fading {
            factor: reference.decay.powf(self.seconds_per_tick / 10.0),
            kept: reference.samples_kept,
        }
    }

    fn count_ratings(&mut self, tick: &Tick) {
        let ratings = &mut self.evidence.ratings;
        let add = |sums: &mut [f64; 5], arm: &ArmTick| {
            for (sum, n) in sums.iter_mut().zip(arm.ratings) {
                *sum += n as f64;
            }
            for (sum, n) in sums.iter_mut().zip(arm.ratings_changed) {
                *sum = (*sum + n as f64).max(0.0);
            }
        };
        for stratum in &tick.strata {
            if stratum.is_exposed() {
                add(&mut ratings.canary, &stratum.arms.canary);
            }
            if stratum.has_control() {
                add(&mut ratings.stable, &stratum.arms.stable);
            }
        }
    }

    /// Shares of alpha, without those of ratings while there are too few: withholding evidence cannot break
    /// its bound, and none is lost.
    fn shares_in_force(&self) -> PerCheck<f64> {
        let mut shares = self.settings.shares.clone();
        let raters_min = self.settings.tolerated.raters_min as f64;
        let Evidence { ratings, .. } = &self.evidence;
        let has_enough = |ratings: &[f64; 5]| ratings.iter().sum::<f64>() >= raters_min;
        if !has_enough(&ratings.canary) {
            shares[Check::RatingFloor] = 0.0;
        }
        if !has_enough(&ratings.canary) || !has_enough(&ratings.stable) {
            shares[Check::Ratings] = 0.0;
        }
        shares
    }

    /// The mass of "the change begins in this tick", for evidence without starts: some at the first
    /// tick of the first stages, the rest equal in equal ratios of time.
    fn mass(&self, is_entering: bool) -> f64 {
        let prior = &self.settings.prior;
        let begin = f64::from(self.evidence.ticks) * self.seconds_per_tick;
        let end = f64::from(self.evidence.ticks + 1) * self.seconds_per_tick;
        let mut mass = 0.0;
        if end <= prior.horizon_seconds {
            let share = ((1.0 + end) / (1.0 + begin)).ln() / (1.0 + prior.horizon_seconds).ln();
            mass += prior.late * share;
        }
        if is_entering {
            mass += match self.evidence.entries {
                1 => prior.rollout,
                2..=5 => prior.stage,
                _ => 0.0,
            };
        }
        mass
    }

    fn look_for_harm(&mut self, tick: &Tick, cuts: &Cuts, mass: f64) {
        let odds = self.tolerated_odds();
        let Evidence {
            together, groups, ..
        } = &mut self.evidence;
        let mut look = Look {
            settings: &self.settings,
            tests: &self.tests,
            tick,
            cuts,
            odds,
            seconds: self.seconds_per_tick,
            mass,
            canary_latency: &self.canary_latency,
            group: None,
        };
        together.observe(&look);
        for (group, evidence) in groups.iter_mut().enumerate() {
            look.group = Some(group);
            evidence.observe(&look);
        }
    }

    fn look_for_harmlessness(&mut self, tick: &Tick, cuts: &Cuts) {
        let Evidence {
            past,
            in_stage,
            group_totals,
            ..
        } = &mut self.evidence;
        let settle = self.settings.promotion.settle_seconds / self.seconds_per_tick;
        let is_settled = f64::from(in_stage.totals.ticks) >= settle.ceil();
        if is_settled {
            let margins = Margins::of(&self.settings, tick, past.failure_rate());
            let seen = (tick, cuts, &margins);
            in_stage
                .promotion
                .observe(&self.settings, &self.tests, seen);
        }
        let seen = (tick, cuts);
        in_stage.totals.observe(&self.settings, seen, None);
        in_stage.totals.observe_latency(&self.canary_latency);
        for (group, totals) in group_totals.iter_mut().enumerate() {
            totals.observe(&self.settings, seen, Some(group));
        }
    }
}

#[cfg(test)]
mod tests;
