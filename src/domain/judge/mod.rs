//! Turns evidence into a verdict: promote, hold or roll back.
//!
//! Canary is compared with what stable does *at the same time* for the same groups of callers,
//! never with its own past and never by two bare numbers. Two speeds: the [`tripwire`] takes a dead canary
//! away within a second or two; everything else is decided by the [`sequential`] tests, which may be looked
//! at after every tick, and whose unit is the caller wherever the split is by caller. No evidence is a
//! hold, never a pass.
//!
//! [`Judge`] is what the control plane and the simulator have of all that. It keeps the stage's totals,
//! tells the tests what they need to know (`told`), says how callers are to be counted ([`SightCuts`],
//! [`CallersTick`]), and puts what the tests say into findings for people (`report`). When the hold has
//! passed is not decided here but in `domain::rollout`.

pub mod outlook;
mod report;
pub mod sequential;
mod settings;
mod sight;
mod stage;
mod told;
pub mod trace;
pub mod tripwire;
mod verdict;

use std::num::NonZeroU32;

use crate::domain::evidence::cells::CellClock;
use crate::domain::evidence::{EvidenceWindow, TickCounts};
use crate::domain::judge::report::Report;
use crate::domain::judge::sequential::{
    CallerStart, Evidence, RestoreError, SequentialJudge, SequentialSettings, StratumTick, Tick,
    Unit,
};
use crate::domain::judge::told::Circumstances;
use crate::domain::judge::tripwire::CanaryEndpoints;
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;

pub use settings::{JudgeSettings, RollbackScope};
pub use sight::{ArmCuts, CallersTick, SightCuts};
pub use stage::StageContext;
pub use verdict::{Action, Assessment, CheckName, Finding, Missing, Verdict};

/// How long a tick is.
pub const SECONDS_PER_TICK: f64 = 1.0;

/// What the tripwire remembers: a failure that began within a second is seen whole in two.
/// (A constant, so that a zero would not compile.)
const TRIPWIRE_SECONDS: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Judges one rollout, tick by tick.
///
/// At the end of each tick: [`next_tick`](Self::next_tick) says how callers are counted from now on;
/// [`observe`](Self::observe) takes in what was counted; [`sight`](Self::sight) says what is slow and odd
/// from now on.
#[derive(Clone, Debug)]
pub struct Judge {
    settings: JudgeSettings,
    tests: SequentialJudge,
    /// How callers are counted.
    clock: CellClock,
    /// When callers began to be counted in this stage; `None` while canary is cold.
    counting_since: Option<Timestamp>,
    /// The starts of the tick that ended last; `None` while canary was cold in it.
    starts: Option<Vec<CallerStart>>,
    /// Whether it began with what another one knew.
    has_history: bool,
    /// What the tests were told last, and of how many stages they were.
    tick: Tick,
    stages: i64,
    /// Everything since the stage began, the warm-up included; to be shown.
    seen: TickCounts,
    seen_ticks: usize,
    /// Requests of each arm since then that are evidence.
    requests: PerVariant<u64>,
    /// The last seconds under any weights: a dead canary is dead whatever its share.
    recent: EvidenceWindow,
}

impl Judge {
    /// Of fewer raters in an arm nothing is said.
    pub fn ratings_min(&self) -> u64 {
        self.settings.sequential().promotion.ratings_min
    }

    /// A judge that has seen nothing yet.
    pub fn new(settings: JudgeSettings) -> Self {
        let tests = SequentialJudge::new(settings.sequential(), SECONDS_PER_TICK);
        Self::with(settings, tests)
    }

    /// A judge that goes on from what another one knew, under the same alpha. The stage begins anew.
    ///
    /// # Errors
    ///
    /// What was known was counted in another unit, or is about other groups or alternatives.
    pub fn restore(settings: JudgeSettings, evidence: Evidence) -> Result<Self, RestoreError> {
        let sequential = settings.sequential();
        let mut tests = SequentialJudge::restore(sequential, SECONDS_PER_TICK, evidence)?;
        tests.begin_process_anew();
        Ok(Self {
            has_history: true,
            ..Self::with(settings, tests)
        })
    }

    fn with(settings: JudgeSettings, tests: SequentialJudge) -> Self {
        Self {
            settings,
            clock: CellClock::new(tests.latest_start()),
            tests,
            counting_since: None,
            starts: None,
            has_history: false,
            tick: Tick::default(),
            stages: 0,
            seen: TickCounts::default(),
            seen_ticks: 0,
            requests: PerVariant::default(),
            recent: EvidenceWindow::new(TRIPWIRE_SECONDS),
        }
    }

    /// Whether it goes on from what another one knew, and has been told nothing yet.
    pub const fn has_history(&self) -> bool {
        self.has_history && self.tick.number == 0
    }

    /// Everything that is known of harm, to be stored.
    pub fn evidence(&self) -> Evidence {
        self.tests.evidence()
    }

    /// Begins a stage, or the watch after the last: what shows harmlessness starts from nothing, and
    /// callers are looked at anew. What shows harm stays.
    pub fn start_stage(&mut self) {
        self.tests.begin_stage_anew();
        self.stages += 1;
        self.counting_since = None;
        self.starts = None;
        self.seen = TickCounts::default();
        self.seen_ticks = 0;
        self.requests = PerVariant::default();
    }

    /// Goes on with a table of callers in which nobody is known.
    pub fn forget_callers(&mut self) {
        if self.tick.number > 0 {
            self.tests.forget_callers();
            self.counting_since = None;
            self.starts = None;
        }
    }

    /// The requests of each arm counted since the stage began, warm-up left out.
    pub const fn stage_requests(&self) -> PerVariant<u64> {
        self.requests
    }

    /// Everything seen since the stage began, its warm-up included, and in how many ticks.
    pub const fn seen_in_stage(&self) -> (&TickCounts, usize) {
        (&self.seen, self.seen_ticks)
    }

    /// How often each arm was rated 1 to 5 in this rollout: canary wherever it is exposed, stable where it
    /// is compared.
    pub const fn ratings(&self) -> &PerVariant<[f64; 5]> {
        self.tests.ratings()
    }

    /// What the tests were told last.
    pub const fn last_tick(&self) -> &Tick {
        &self.tick
    }

    /// What the tests are asked.
    pub const fn test_settings(&self) -> &SequentialSettings {
        self.tests.settings()
    }

    /// Ends a tick: how callers are counted in the next one. Nobody is while canary is cold.
    pub fn next_tick(&mut self, stage: &StageContext, now: Timestamp) -> CallersTick {
        self.starts = None;
        let clearing = match self.counting_since {
            _ if now < stage.counted_from => {
                self.counting_since = None;
                return CallersTick::default();
            }
            None => {
                self.counting_since = Some(now);
                self.clock.begin_stage()
            }
            Some(since) => {
                self.starts = Some(self.clock.starts().map(CallerStart::from).collect());
                self.clock.next_tick(now - since)
            }
        };
        CallersTick {
            clearing,
            now: Some(self.clock.now()),
        }
    }

    /// Whether what comes in the tick that ends is evidence: its callers were counted from its start.
    pub const fn is_counting(&self) -> bool {
        self.starts.is_some()
    }

    /// Takes in the counts of a tick that ended at `now` and says what follows from all so far.
    pub fn observe(
        &mut self,
        counts: &TickCounts,
        stage: &StageContext,
        now: Timestamp,
    ) -> Verdict {
        self.recent.push(counts.clone(), now);
        self.seen.merge_epoch(counts, stage.epoch);
        self.seen_ticks += 1;
        self.tick = told::tick(
            counts,
            stage,
            &Circumstances {
                number: self.tick.number + 1,
                stage_number: self.stages,
                groups: &self.settings.groups,
                starts: self.starts.as_deref(),
                seen: &self.seen,
                unit: self.settings.unit,
            },
        );
        if self.starts.is_some() {
            // Where some are compared, those who are not do not stand in for them.
            let has_control = stage.has_control();
            let counts = |stratum: &&StratumTick| !has_control || stratum.has_control();
            for stratum in self.tick.strata.iter().filter(counts) {
                self.requests.stable += stratum.arms.stable.requests;
                self.requests.canary += stratum.arms.canary.requests;
            }
        }
        let ruling = self.tests.observe(&self.tick);
        let report = Report {
            ruling: &ruling,
            stage,
            groups: &self.settings.groups,
            totals: self.tests.stage_totals(),
            callers_min: (self.settings.unit == Unit::Caller)
                .then(|| self.tests.settings().promotion.callers_min as f64),
        };
        let verdict = report.verdict(self.tests.findings(&ruling));
        verdict.preceded_by(self.tripwire(now))
    }

    /// What is slow, odd and unusual in the tick that has begun.
    pub fn sight(&self) -> SightCuts {
        let tolerated = &self.tests.settings().tolerated;
        SightCuts::new(&self.tests.cuts(), tolerated)
    }

    /// Asks the tripwire between ticks, with what the current one has so far.
    pub fn check_tripwire(
        &self,
        partial: &TickCounts,
        endpoints: CanaryEndpoints,
        now: Timestamp,
    ) -> Option<Finding> {
        let mut recent = self.recent.over_last(1, now);
        recent.merge(partial);
        most_severe([partial, &recent].map(|counts| tripwire::assess(counts, endpoints)))
    }

    /// Asks the tripwire about the last second alone and about the last two.
    fn tripwire(&self, now: Timestamp) -> Option<Finding> {
        let spans = [1, TRIPWIRE_SECONDS.get()].map(|seconds| self.recent.over_last(seconds, now));
        most_severe(spans.map(|counts| tripwire::assess(&counts, CanaryEndpoints::SomeAccept)))
    }
}

/// A breach if there is one, else the first thing found.
fn most_severe(found: [Option<Finding>; 2]) -> Option<Finding> {
    let worse = |first: Finding, other: Finding| {
        if other.is_breach() && !first.is_breach() {
            other
        } else {
            first
        }
    };
    found.into_iter().flatten().reduce(worse)
}

#[cfg(test)]
mod one_group_tests;
#[cfg(test)]
mod tests;
