//! What a proxy in a scene would count, tick by tick.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::domain::evidence::cells::{CellCounts, CellTable, Clearing, Now};
use crate::domain::evidence::{
    ArmCounts, CallerSketch, Failure, FailureCounts, LatencyHistogram, SizeCounts, Stratum,
};
use crate::domain::judge::SightCuts;
use crate::domain::judge::sequential::Unit;
use crate::domain::rollout::StageWeights;
use crate::domain::variant::PerVariant;
use crate::simulator::draw;
use crate::simulator::scene::conduct::Conduct;
use crate::simulator::scene::people::{self, Person};
use crate::simulator::scene::{Load, Scene, by_caller, by_request};

/// Draws what is counted. Equal scenes with equal seeds come to equal counts.
#[derive(Clone, Debug)]
pub struct Tally {
    pub(super) scene: Scene,
    pub(super) people: Vec<Person>,
    /// Which callers had what; empty where each request is drawn anew.
    pub(super) cells: Option<CellTable>,
    pub(super) random: Xoshiro256PlusPlus,
    /// Who has been to canary.
    pub(super) been_to_canary: Vec<bool>,
    /// The logarithm of the rate over its mean, before the correction that makes the mean right.
    log_load: f64,
}

/// What holds in a tick.
#[derive(Clone, Debug)]
pub struct Look<'a> {
    /// The second at which it begins, counted from 0.
    pub second: f64,
    /// How many seconds it lasts.
    pub seconds: f64,
    /// The stage of the plan, counted from 0.
    pub stage: usize,
    /// The epoch of the weights.
    pub epoch: u64,
    /// Who gets canary.
    pub weights: &'a StageWeights,
    /// The starts in which callers are counted; `None` while nobody is.
    pub now: Option<Now>,
    /// What counts as slow and as odd.
    pub cuts: SightCuts,
}

/// What is counted of one arm in one group.
#[derive(Clone, Debug)]
pub(super) struct Arm {
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) client_errors: u64,
    pub(super) latency: [u64; LatencyHistogram::BUCKETS],
    pub(super) sizes: [u64; SizeCounts::BUCKETS],
    pub(super) cells: CellCounts,
    pub(super) callers: CallerSketch,
    pub(super) failed_callers: CallerSketch,
}

impl Default for Arm {
    fn default() -> Self {
        Self {
            requests: 0,
            failures: 0,
            client_errors: 0,
            latency: [0; LatencyHistogram::BUCKETS],
            sizes: [0; SizeCounts::BUCKETS],
            cells: CellCounts::default(),
            callers: CallerSketch::default(),
            failed_callers: CallerSketch::default(),
        }
    }
}

impl Arm {
    fn into_counts(self) -> ArmCounts {
        let filled = |counts: &[u64]| {
            let counts = counts.iter().copied().enumerate();
            counts.filter(|(_, n)| *n > 0).collect::<Vec<_>>()
        };
        let mut failures = [0; Failure::ALL.len()];
        failures[Failure::Status as usize] = self.failures;
        let latency = filled(&self.latency);
        let ms: f64 = latency
            .iter()
            .map(|(bucket, n)| middle_ms(*bucket) * *n as f64)
            .sum();
        let sum = std::time::Duration::from_secs_f64(ms / 1000.0);
        ArmCounts {
            requests: self.requests,
            failures: FailureCounts::from_counts(failures),
            client_errors: self.client_errors,
            latency: LatencyHistogram::from_counts(latency, sum),
            sizes: SizeCounts::from_counts(filled(&self.sizes)),
            cells: self.cells,
            callers: self.callers,
            failed_callers: self.failed_callers,
            ..ArmCounts::default()
        }
    }
}

fn middle_ms(bucket: usize) -> f64 {
    let edges =
        LatencyHistogram::bucket_lower_ms(bucket) * LatencyHistogram::bucket_upper_ms(bucket);
    edges.sqrt()
}

impl Tally {
    /// Draws the callers; no time has passed yet.
    pub fn new(scene: Scene, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let is_by_caller = scene.unit == Unit::Caller;
        let people = if is_by_caller {
            people::draw_all(&scene, &mut random)
        } else {
            Vec::new()
        };
        Self {
            been_to_canary: vec![false; people.len()],
            people,
            cells: is_by_caller.then(CellTable::default),
            log_load: draw::normal(&mut random) * Load::SIGMA,
            random,
            scene,
        }
    }

    /// How many callers have been to canary; `None` where callers are not known again.
    pub fn canary_callers(&self) -> Option<u64> {
        let been = self.been_to_canary.iter().filter(|been| **been).count();
        self.cells.as_ref().and_then(|_| u64::try_from(been).ok())
    }

    /// Counts who has been to canary from now on.
    pub fn forget_canary_callers(&mut self) {
        self.been_to_canary.fill(false);
    }

    /// Whether something is wrong with canary at a second, in a stage.
    pub fn is_canary_harmful(&self, second: f64, stage: usize) -> bool {
        let mut changes = self.scene.changes.iter();
        changes.any(|change| change.strikes.canary && change.is_on(second, stage))
    }

    /// Clears numbers of ticks and starts that are about to be used again.
    pub fn clear(&mut self, clearing: Clearing) {
        if let Some(cells) = &mut self.cells {
            cells.clear(clearing);
        }
    }

    /// What is counted in a tick: one stratum for each group, and the last for everyone in none.
    pub fn tick(&mut self, look: &Look<'_>) -> Vec<Stratum> {
        let Scene {
            service, changes, ..
        } = &self.scene;
        let conduct = PerVariant::from_fn(|variant| {
            Conduct::of(service, changes, variant, (look.second, look.stage))
        });
        let requests = self.scene.crowd.rate * look.seconds * self.load(look.seconds);
        let mut arms = vec![PerVariant::<Arm>::default(); self.scene.groups.len() + 1];
        match self.scene.unit {
            Unit::Caller => by_caller::draw(self, look, &conduct, requests, &mut arms),
            Unit::Request => by_request::draw(self, look, &conduct, requests, &mut arms),
        }
        let groups = self.scene.groups.iter().map(|share| Some(&share.group));
        let strata = groups.chain([None]).zip(arms).map(|(group, arms)| Stratum {
            group: group.cloned(),
            epoch: look.epoch,
            weight: look.weights.of(group),
            is_keyed: self.scene.unit == Unit::Caller,
            arms: arms.map(Arm::into_counts),
        });
        strata.collect()
    }

    /// How many times the usual rate requests come at, in a tick of so many seconds.
    fn load(&mut self, seconds: f64) -> f64 {
        if self.scene.load == Load::Steady {
            return 1.0;
        }
        let kept = (-seconds / Load::SECONDS).exp();
        let news = (1.0 - kept * kept).sqrt() * Load::SIGMA;
        self.log_load = kept * self.log_load + news * draw::normal(&mut self.random);
        (self.log_load - Load::SIGMA * Load::SIGMA / 2.0).exp()
    }
}

impl Load {
    /// The standard deviation of the logarithm of a wandering rate.
    const SIGMA: f64 = 0.5;
    /// The seconds in which it forgets where it was.
    const SECONDS: f64 = 60.0;
}
