//! A course of stages under the sequential judge alone: no plan, no operators, no warm-up.
//!
//! This is how the judge itself is measured. What is judged is what would run: the cells that the data
//! plane counts callers with, the starts of their clock, and the judge's own cuts.

use std::time::Duration;

use crate::domain::evidence::cells::CellClock;
use crate::domain::evidence::{ArmCounts, Stratum};
use crate::domain::judge::sequential::{
    ArmTick, CallerStart, Check, Ruling, SequentialJudge, SequentialSettings, StratumTick, Tick,
    Unit,
};
use crate::domain::judge::{Action, SightCuts};
use crate::domain::rollout::StageWeights;
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;
use crate::simulator::scene::{Look, Scene, Tally};

/// A course, as parameters.
#[derive(Clone, Debug)]
pub struct Course {
    /// Everyone's weight in each stage; after the last all would follow.
    pub weights: Vec<Weight>,
    /// When a stage ends.
    pub pace: Pace,
    /// How many seconds a tick lasts.
    pub seconds_per_tick: u32,
}

/// When a stage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// After so many seconds, whatever the verdict.
    Fixed(u64),
    /// When the judge promotes it; all together for at most so many seconds.
    Promoted(u64),
}

/// What a course came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Ticks that were looked at.
    pub ticks: u64,
    /// Seconds after which each stage was promoted.
    pub promotions: Vec<u64>,
    /// Why it was rolled back, if it was.
    pub rolled_back: Option<RolledBack>,
    /// Canary's requests up to the end.
    pub canary_requests: u64,
}

/// How harm was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RolledBack {
    /// Seconds since the beginning.
    pub second: u64,
    /// The check with the most evidence.
    pub check: Check,
}

/// A course under way.
struct Runner<'a> {
    course: &'a Course,
    tally: Tally,
    clock: CellClock,
    judge: SequentialJudge,
    stage: usize,
    stage_began: u64,
    outcome: Outcome,
}

impl Course {
    /// Runs it in a scene, until it ends or is rolled back. Equal arguments give equal outcomes.
    pub fn run(&self, scene: Scene, settings: SequentialSettings, seed: u64) -> Outcome {
        let settings = SequentialSettings {
            unit: scene.unit,
            ..settings
        };
        let mut runner = Runner {
            course: self,
            tally: Tally::new(scene, seed),
            clock: CellClock::new(0),
            judge: SequentialJudge::new(settings, f64::from(self.seconds_per_tick)),
            stage: 0,
            stage_began: 0,
            outcome: Outcome::default(),
        };
        while runner.stage < self.weights.len() && !runner.tick() {}
        runner.outcome
    }

    fn exposed(&self, stage: usize) -> f64 {
        self.weights.get(stage).map_or(1.0, |weight| weight.ratio())
    }
}

impl Runner<'_> {
    /// Lets a tick pass; says whether it was the last.
    fn tick(&mut self) -> bool {
        let seconds = u64::from(self.course.seconds_per_tick);
        let begin = self.outcome.ticks * seconds;
        let clearing = match begin == self.stage_began {
            true => self.clock.begin_stage(),
            false => self
                .clock
                .next_tick(Duration::from_secs(begin - self.stage_began)),
        };
        self.tally.clear(clearing);
        let tick = self.draw(begin);
        let ruling = self.judge.observe(&tick);
        self.outcome.ticks += 1;
        let is_over = self.follow(&ruling, begin + seconds);
        is_over || matches!(self.course.pace, Pace::Promoted(max) if begin + seconds >= max)
    }

    fn draw(&mut self, begin: u64) -> Tick {
        let settings = self.judge.settings();
        let weights = StageWeights {
            default: self.course.weights[self.stage],
            ..StageWeights::default()
        };
        let strata = self.tally.tick(&Look {
            second: begin as f64,
            seconds: f64::from(self.course.seconds_per_tick),
            stage: self.stage,
            epoch: 1,
            weights: &weights,
            now: Some(self.clock.now()),
            cuts: SightCuts::new(&self.judge.cuts(), &settings.tolerated),
        });
        let canary = strata.iter().map(|stratum| stratum.arms.canary.requests);
        self.outcome.canary_requests += canary.sum::<u64>();
        let starts: Vec<_> = match settings.unit {
            Unit::Caller => self.clock.starts().map(CallerStart::from).collect(),
            Unit::Request => Vec::new(),
        };
        let groups = strata.iter().enumerate();
        Tick {
            number: i64::try_from(self.outcome.ticks).unwrap_or(i64::MAX),
            stage: i64::try_from(self.stage).unwrap_or(i64::MAX),
            exposed: self.course.exposed(self.stage),
            exposed_next: Some(self.course.exposed(self.stage + 1)),
            is_warm_up: false,
            requests_min: None,
            left: Vec::new(),
            strata: groups
                .map(|(group, stratum)| told(group, stratum, &starts))
                .collect(),
            starts,
        }
    }

    /// Does what the judge says; says whether that is the end.
    fn follow(&mut self, ruling: &Ruling, now: u64) -> bool {
        if let Some(reason) = ruling.reason {
            self.outcome.rolled_back = Some(RolledBack {
                second: now,
                check: reason.check,
            });
            return true;
        }
        let is_passed = match self.course.pace {
            Pace::Fixed(seconds) => now - self.stage_began >= seconds,
            Pace::Promoted(_) => ruling.action == Action::Promote,
        };
        if is_passed {
            self.outcome.promotions.push(now);
            self.stage += 1;
            self.stage_began = now;
        }
        false
    }
}

/// What the judge is told of a stratum.
fn told(group: usize, stratum: &Stratum, starts: &[CallerStart]) -> StratumTick {
    let arm = |counts: &ArmCounts| {
        let mut arm = ArmTick::from(counts);
        arm.count_callers(&counts.cells, starts);
        arm
    };
    StratumTick {
        group,
        weight: stratum.weight.ratio(),
        arms: PerVariant {
            stable: arm(&stratum.arms.stable),
            canary: arm(&stratum.arms.canary),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::percent;
    use crate::simulator::scene::{Begins, Change, Harm};
    use crate::simulator::{Activity, Crowd};

    fn course(pace: Pace) -> Course {
        Course {
            weights: [5, 25].map(percent).to_vec(),
            pace,
            seconds_per_tick: 10,
        }
    }

    fn scenes() -> [Scene; 2] {
        let crowd = Crowd {
            callers: 2_000,
            rate: 200.0,
            activity: Activity::Equal,
        };
        [Scene::of_requests(200.0), Scene::of_callers(crowd)]
    }

    fn run(course: &Course, scene: Scene, seed: u64) -> Outcome {
        course.run(scene, SequentialSettings::default(), seed)
    }

    #[test]
    fn equal_seeds_come_to_equal_outcomes() {
        for scene in scenes() {
            let course = course(Pace::Fixed(120));
            let outcome = run(&course, scene.clone(), 1);
            assert_eq!(outcome, run(&course, scene.clone(), 1));
            assert_ne!(outcome, run(&course, scene, 2));
        }
    }

    #[test]
    fn an_obvious_regression_is_found_after_it_has_begun() {
        let late = Change::of_canary(Harm::Fails(0.3), Begins::AtSecond(100.0));
        for mut scene in scenes() {
            scene.changes.push(late);
            for seed in 1..=3 {
                let outcome = run(&course(Pace::Fixed(200)), scene.clone(), seed);
                let found = outcome.rolled_back.unwrap();
                assert_eq!(found.check, Check::Errors, "seed {seed}");
                assert!(
                    (110..=200).contains(&found.second),
                    "seed {seed}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_healthy_release_is_promoted_and_not_rolled_back() {
        let [of_requests, _] = scenes();
        for seed in 1..=3 {
            let outcome = run(&course(Pace::Promoted(3_600)), of_requests.clone(), seed);
            assert_eq!(outcome.promotions.len(), 2, "seed {seed}: {outcome:?}");
            assert_eq!(outcome.rolled_back, None, "seed {seed}");
        }
    }

    #[test]
    fn stages_of_fixed_length_go_by_whatever_the_verdict() {
        for scene in scenes() {
            let outcome = run(&course(Pace::Fixed(60)), scene, 1);
            assert_eq!((outcome.ticks, outcome.promotions), (12, vec![60, 120]));
        }
    }
}
