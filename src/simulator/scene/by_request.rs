//! Requests that are each drawn anew: as numbers of a tick, however many there are.

use std::ops::RangeInclusive;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::domain::evidence::cells::{CellCounts, Event, EventCounts, Now, SlotCounts};
use crate::domain::judge::ArmCuts;
use crate::domain::variant::{PerVariant, Variant};
use crate::simulator::draw;
use crate::simulator::scene::by_caller::{SIZE_SIGMA, size_at, size_bucket};
use crate::simulator::scene::conduct::{Conduct, Service, latency_bucket};
use crate::simulator::scene::tally::{Arm, Look, Tally};

/// Standard deviations from the median beyond which nothing is drawn: two in a million lie there.
const DEVIATIONS_MAX: f64 = 4.75;

/// Answers up to which each is drawn for itself, which is faster than going through all buckets.
const EACH_MAX: u64 = 64;

/// Callers that are noted in a tick. The tripwire asks for five; more would only fill the sketch.
const CALLERS_MAX: u64 = 256;

/// Draws the requests of a tick, of which there are so many in the mean.
pub(super) fn draw(
    tally: &mut Tally,
    look: &Look<'_>,
    conduct: &PerVariant<Conduct>,
    requests: f64,
    arms: &mut [PerVariant<Arm>],
) {
    let Tally { scene, random, .. } = tally;
    let mut rest = 1.0;
    for (group, arms) in arms.iter_mut().enumerate() {
        let (name, share) = match scene.groups.get(group) {
            Some(group) => (Some(&group.group), group.share.ratio()),
            None => (None, 1.0),
        };
        let mean = requests * rest * share;
        rest *= 1.0 - share;
        let weight = look.weights.of(name).ratio();
        for (variant, mean) in [
            (Variant::Stable, mean * (1.0 - weight)),
            (Variant::Canary, mean * weight),
        ] {
            let arm = arms.get_mut(variant);
            arm.requests = draw::poisson(mean, random);
            arm.answer(&scene.service, conduct.get(variant), random);
            if let Some(now) = look.now {
                arm.count_cells(&look.cuts.of(variant), now);
            }
        }
    }
}

impl Arm {
    /// Draws the answers to its requests.
    fn answer(&mut self, service: &Service, conduct: &Conduct, random: &mut Xoshiro256PlusPlus) {
        self.failures = draw::binomial(self.requests, conduct.failures(service.failures), random);
        let answered = self.requests - self.failures;
        self.client_errors = draw::binomial(answered, conduct.client_errors, random);
        let good = answered - self.client_errors;
        self.note_callers(random);
        let place = |z| latency_bucket(conduct.latency_at(z));
        let below = |bucket: usize| conduct.deviation_of(bucket as f64 + 1.0);
        spread(good, &mut self.latency, place, below, random);
        if let Some(median) = service.median_bytes {
            let empty = draw::binomial(good, conduct.empty, random);
            self.sizes[0] += empty;
            let place = |z| size_bucket(size_at(median, z));
            let below = |bucket: usize| (bucket as f64 + 1.0 - size_at(median, 0.0)) / SIZE_SIGMA;
            spread(good - empty, &mut self.sizes, place, below, random);
        }
    }

    /// Each request is a caller of its own, and those that failed are among them.
    fn note_callers(&mut self, random: &mut Xoshiro256PlusPlus) {
        let noted = self.requests.min(CALLERS_MAX);
        for place in 0..noted {
            let hash = random.random();
            self.callers.insert(hash);
            // As large a share of the noted as of all.
            if place * self.requests < self.failures * noted {
                self.failed_callers.insert(hash);
            }
        }
    }
}

/// Spreads answers over buckets that a normal deviate decides: `place` says which bucket a deviate is in,
/// `below` up to which deviate a bucket reaches.
fn spread(
    answers: u64,
    buckets: &mut [u64],
    place: impl Fn(f64) -> usize,
    below: impl Fn(usize) -> f64,
    random: &mut Xoshiro256PlusPlus,
) {
    if answers <= EACH_MAX {
        for _ in 0..answers {
            buckets[place(draw::normal(random))] += 1;
        }
        return;
    }
    // A multinomial draw is a chain of binomial ones: of what is left, how much is in this bucket?
    let all: RangeInclusive<usize> = place(-DEVIATIONS_MAX)..=place(DEVIATIONS_MAX);
    let last = *all.end();
    let (mut left, mut share_before) = (answers, 0.0);
    for bucket in all {
        if left == 0 {
            return;
        }
        let share = draw::normal_below(below(bucket));
        let here = match bucket == last {
            true => left,
            false => draw::binomial(left, (share - share_before) / (1.0 - share_before), random),
        };
        buckets[bucket] += here;
        left -= here;
        share_before = share;
    }
}

impl Arm {
    /// The same counts in the way callers are counted: each request is one who was never seen before.
    fn count_cells(&mut self, cuts: &ArmCuts, now: Now) {
        let counts = self.events(cuts);
        let slots = now.generations.map(|generation| match generation {
            0 => SlotCounts::default(),
            _ => SlotCounts::from_counts(counts),
        });
        let is_in_stage = now.generations[0] != 0;
        self.cells = CellCounts {
            new: self.requests,
            new_in_stage: if is_in_stage { self.requests } else { 0 },
            slots,
        };
    }

    /// In the order of [`Event::ALL`].
    fn events(&self, cuts: &ArmCuts) -> [EventCounts; Event::COUNT] {
        let mut counts = [EventCounts::default(); Event::COUNT];
        let mut count = |event: Event, trials: u64, events: u64| {
            let own = &mut counts[event as usize];
            own.trials += trials;
            own.events += events;
        };
        count(Event::Failure, self.requests, self.failures);
        let answered = self.requests - self.failures;
        count(Event::ClientError, answered, self.client_errors);
        for (bucket, n) in filled(&self.latency) {
            if let Some(slow) = cuts.slow(bucket) {
                count(Event::SlowP50, n, n * u64::from(slow.p50));
                count(Event::SlowP90, n, n * u64::from(slow.p90));
                count(Event::SlowP99, n, n * u64::from(slow.p99));
            }
        }
        for (bucket, n) in filled(&self.sizes) {
            if let Some(is_odd) = cuts.is_odd_size(bucket) {
                count(Event::OddSize, n, n * u64::from(is_odd));
            }
        }
        counts
    }
}

fn filled(counts: &[u64]) -> impl Iterator<Item = (usize, u64)> {
    let counts = counts.iter().copied().enumerate();
    counts.filter(|(_, n)| *n > 0)
}
