//! What many simulated rollouts of one plan come to.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
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
    /// Runs as many trials, with seeds from the first one on, on so many threads. The number of threads
    /// changes nothing but the time that it takes.
    pub fn run(trial: &Trial, first_seed: u64, runs: u64, threads: NonZeroUsize) -> Self {
        let threads = threads.get() as u64;
        let each = |thread: u64| {
            let seeds = (thread..runs).step_by(usize::try_from(threads).unwrap_or(1));
            seeds.map(move |run| (run, trial.run(first_seed.wrapping_add(run))))
        };
        let mut endings = BTreeMap::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|thread| scope.spawn(move || each(thread).collect::<Vec<_>>()))
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
                *seconds.entry(*waited).or_default() += more;
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
