//! What many simulated rollouts of one plan come to.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::domain::stats::intervals::Share;
use crate::simulator::trial::{Came, Ending, Trial, Waited};

/// What many rollouts came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// How each ended, in the order of the seeds.
    pub endings: Vec<Ending>,
}

/// The middle of some numbers, and what nine in ten are at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The middle.
    pub median: u64,
    /// The 90th percentile.
    pub p90: u64,
}

impl Spread {
    /// Of some numbers; `None` where there are none.
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut numbers: Vec<_> = numbers.into_iter().collect();
        numbers.sort_unstable();
        // The smallest number that at least so many hundredths are not above.
        let at = |hundredths: usize| {
            let place = (numbers.len() * hundredths).div_ceil(100).max(1) - 1;
            numbers.get(place).copied()
        };
        Some(Self {
            median: at(50)?,
            p90: at(90)?,
        })
    }
}

impl Forecast {
    /// Runs as many trials as there are seeds, on so many threads, and tells after each how many are done.
    /// The number of threads changes nothing but the time that it takes.
    pub fn run(
        trial: &Trial,
        seeds: &[u64],
        threads: NonZeroUsize,
        tell: &(impl Fn(usize) + Sync),
    ) -> Self {
        let (threads, done) = (threads.get(), AtomicUsize::new(0));
        let run_each = |thread: usize| {
            let own = seeds.iter().enumerate().skip(thread).step_by(threads);
            let run = |(place, seed): (usize, &u64)| {
                let ending = trial.run(*seed);
                tell(done.fetch_add(1, Ordering::Relaxed) + 1);
                (place, ending)
            };
            own.map(run).collect::<Vec<_>>()
        };
        let mut endings = BTreeMap::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|thread| {
                    scope.spawn({
                        let run_each = &run_each;
                        move || run_each(thread)
                    })
                })
                .collect();
            for worker in workers {
                match worker.join() {
                    Ok(done) => endings.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        Self {
            endings: endings.into_values().collect(),
        }
    }

    /// How many ended so.
    pub fn share(&self, is_so: impl Fn(&Ending) -> bool) -> Share {
        let count = |endings: usize| u64::try_from(endings).unwrap_or(u64::MAX);
        Share {
            events: count(self.endings.iter().filter(|ending| is_so(ending)).count()),
            trials: count(self.endings.len()),
        }
    }

    /// Those that ended so.
    pub fn those(&self, is_so: impl Fn(&Ending) -> bool) -> impl Iterator<Item = &Ending> {
        self.endings.iter().filter(move |ending| is_so(ending))
    }

    /// How long the plan took from its first stage to success, where it came to that, in seconds.
    pub fn seconds_to_success(&self) -> Option<Spread> {
        let succeeded = self.those(|ending| ending.came == Came::Succeeded);
        Spread::of(succeeded.map(|ending| ending.second))
    }

    /// What stages waited for, the most first, each with its share of the time of all stages.
    pub fn waits(&self) -> Vec<(Waited, f64)> {
        let mut seconds = BTreeMap::<Waited, u64>::new();
        for ending in &self.endings {
            for (waited, more) in &ending.waits {
                *seconds.entry(waited.clone()).or_default() += more;
            }
        }
        let all: u64 = self
            .endings
            .iter()
            .map(|ending| ending.seconds_in_stages)
            .sum();
        let share = |seconds: u64| seconds as f64 / all.max(1) as f64;
        let mut waits: Vec<_> = seconds
            .into_iter()
            .map(|(waited, n)| (waited, share(n)))
            .collect();
        waits.sort_by(|a, b| b.1.total_cmp(&a.1));
        waits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::judge::sequential::Unit;
    use crate::domain::judge::{CheckName, JudgeSettings};
    use crate::domain::rollout::{
        Mode, PlanDraft, Release, RolloutPlan, RolloutPolicy, Stage, StageShape, StartMode,
    };
    use crate::domain::testing::{name, percent};
    use crate::simulator::scene::{Begins, Change, Harm, Scene};
    use crate::simulator::{Activity, Crowd};

    /// Two stages of twenty seconds; the second has to be approved, and somebody has to start the first.
    fn trial(changes: &[Change]) -> Trial {
        let stage = |weight, needs_approval| Stage {
            shape: StageShape {
                groups: Vec::new(),
                weight: percent(weight),
            },
            hold: Duration::from_secs(20),
            min_requests: 50,
            needs_approval,
            gates: Vec::new(),
        };
        let draft = PlanDraft {
            flag: name("orders"),
            release: Release {
                revision: "2".to_owned(),
                stable: name("v1"),
                canary: name("v2"),
            },
            stages: vec![stage(20, false), stage(50, true)],
            watch: Duration::from_secs(20),
            final_control: percent(1),
            policy: RolloutPolicy {
                start: StartMode::Manual,
                mode: Mode::Observe,
                ..RolloutPolicy::PLAIN
            },
        };
        let mut scene = Scene::of_callers(Crowd {
            callers: 500,
            rate: 40.0,
            activity: Activity::ByRank,
        });
        scene.changes = changes.to_vec();
        Trial {
            scene,
            plan: RolloutPlan::new(draft).unwrap().acting(),
            judge: JudgeSettings {
                unit: Unit::Caller,
                ..JudgeSettings::default()
            },
            release_when: None,
            longest: Duration::from_secs(3_600),
        }
    }

    fn forecast(changes: &[Change], threads: usize) -> Forecast {
        let told = AtomicUsize::new(0);
        let tell = |done| {
            told.fetch_max(done, Ordering::Relaxed);
        };
        let threads = NonZeroUsize::new(threads).unwrap();
        let forecast = Forecast::run(&trial(changes), &[7, 8, 9, 10], threads, &tell);
        assert_eq!(told.into_inner(), 4);
        forecast
    }

    #[test]
    fn a_good_release_comes_to_its_end_on_any_number_of_threads() {
        let one = forecast(&[], 1);
        assert_eq!(one, forecast(&[], 3));
        assert_eq!(one.share(|ending| ending.came == Came::Succeeded).events, 4);
        assert!(one.seconds_to_success().unwrap().median >= 60);
        let waits = one.waits();
        let hold = waits.iter().find(|(waited, _)| *waited == Waited::Hold);
        assert!(hold.unwrap().1 > 0.0 && waits.iter().all(|(_, share)| *share <= 1.0));
    }

    #[test]
    fn harm_is_found_once_it_has_begun_and_what_it_struck_is_counted_from_then_on() {
        let dead = |begins| Change::of_canary(Harm::Fails(0.7), begins);
        for begins in [Begins::AtSecond(15.0), Begins::AtStage(1)] {
            let forecast = forecast(&[dead(begins)], 2);
            for ending in &forecast.endings {
                assert!(matches!(ending.came, Came::RolledBack(_)), "{ending:?}");
                let since = ending.harmful_since.unwrap();
                assert!(ending.second > since, "{ending:?}");
                let at_most = (ending.second - since) * 40 * 2;
                assert!(ending.canary_requests < at_most, "{ending:?}");
                assert!(
                    ending.canary_callers.unwrap() <= ending.canary_requests,
                    "{ending:?}"
                );
            }
        }
    }

    #[test]
    fn a_condition_that_is_never_met_holds_for_as_long_as_somebody_looks() {
        let mut trial = trial(&[]);
        trial.release_when = Some("requests > 1000000".parse().unwrap());
        trial.longest = Duration::from_secs(100);
        let ending = trial.run(7);
        assert_eq!(
            (ending.came, ending.second, ending.stage),
            (Came::Open, 100, 0)
        );
        let unmet = Waited::Condition(CheckName::ReleaseWhen);
        assert!(ending.waits[&unmet] > 60, "{:?}", ending.waits);
        trial.release_when = Some("requests > 10 and latency_mean_ms > 1".parse().unwrap());
        trial.longest = Trial::usual_length(&trial.plan);
        assert_eq!(trial.longest, Duration::from_secs(40 * 4 + 20 + 60));
        assert_eq!(trial.run(7).came, Came::Succeeded);
        trial.longest = Duration::MAX;
        assert_eq!(trial.seconds_max(), 3_600 + 20 + 60, "the deadline");
    }

    #[test]
    fn the_middle_and_nine_in_ten_are_numbers_that_were_seen() {
        let of = |numbers: &[u64]| Spread::of(numbers.iter().copied());
        assert_eq!(of(&[]), None);
        let spread = |median, p90| Some(Spread { median, p90 });
        assert_eq!(of(&[5]), spread(5, 5));
        assert_eq!(of(&[10, 1, 9, 2, 8, 3, 7, 4, 6, 5]), spread(5, 9));
    }
}
