//! Requests of callers who are known again: each is drawn, and taken in by the cells of the data plane.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::domain::evidence::SizeCounts;
use crate::domain::evidence::cells::Answer;
use crate::domain::judge::ArmCuts;
use crate::domain::variant::{PerVariant, Variant};
use crate::simulator::draw;
use crate::simulator::scene::conduct::{Conduct, Service, latency_bucket};
use crate::simulator::scene::people::Person;
use crate::simulator::scene::tally::{Arm, Look, Tally};

/// Draws the requests of a tick, of which there are so many in the mean.
pub(super) fn draw(
    tally: &mut Tally,
    look: &Look<'_>,
    conduct: &PerVariant<Conduct>,
    requests: f64,
    arms: &mut [PerVariant<Arm>],
) {
    let Tally {
        scene,
        people,
        cells,
        random,
        been_to_canary,
        ..
    } = tally;
    let Some(cells) = cells else { return };
    let groups = scene
        .groups
        .iter()
        .map(|share| Some(&share.group))
        .chain([None]);
    let weights: Vec<_> = groups.map(|group| look.weights.of(group)).collect();
    for _ in 0..draw::poisson(requests, random) {
        let caller = scene.crowd.draw_caller(random) as usize;
        let person = &people[caller];
        let variant = match person.bucket.is_within(weights[person.group]) {
            true => Variant::Canary,
            false => Variant::Stable,
        };
        been_to_canary[caller] |= variant == Variant::Canary;
        let arm = arms[person.group].get_mut(variant);
        let request = Request {
            person,
            service: &scene.service,
            conduct: conduct.get(variant),
            cuts: look.cuts.of(variant),
        };
        let answer = request.answer(arm, random);
        if let Some(now) = &look.now {
            cells.record(person.cell, now, &answer, &mut arm.cells);
        }
    }
}

/// A request that is about to be answered.
struct Request<'a> {
    person: &'a Person,
    service: &'a Service,
    conduct: &'a Conduct,
    cuts: ArmCuts,
}

impl Request<'_> {
    /// Draws the answer, and counts it as a request.
    fn answer(&self, arm: &mut Arm, random: &mut Xoshiro256PlusPlus) -> Answer {
        let hash = u64::from(self.person.hash);
        arm.requests += 1;
        arm.callers.insert(hash);
        if random.random::<f64>() < self.conduct.failures(self.person.failures) {
            arm.failures += 1;
            arm.failed_callers.insert(hash);
            return Answer::Failed;
        }
        if random.random::<f64>() < self.conduct.client_errors {
            arm.client_errors += 1;
            return Answer::ClientError;
        }
        let place = self.conduct.latency_at(draw::normal(random)) + self.person.slower;
        let bucket = latency_bucket(place);
        arm.latency[bucket] += 1;
        let odd_size = self.size(random).and_then(|size| {
            arm.sizes[size] += 1;
            self.cuts.is_odd_size(size)
        });
        Answer::Good {
            slow: self.cuts.slow(bucket),
            odd_size,
            unusual_type: None,
        }
    }

    fn size(&self, random: &mut Xoshiro256PlusPlus) -> Option<usize> {
        let median = self.service.median_bytes?;
        let is_empty = self.conduct.empty > 0.0 && random.random::<f64>() < self.conduct.empty;
        let size = if is_empty {
            0
        } else {
            size_bucket(size_at(median, draw::normal(random)))
        };
        Some(size)
    }
}

/// Buckets of size in a standard deviation.
pub(super) const SIZE_SIGMA: f64 = SizeCounts::BUCKETS_PER_OCTAVE as f64 * std::f64::consts::LOG2_E;

/// The place on the scale of size buckets, `z` standard deviations from the median.
pub(super) fn size_at(median_bytes: f64, z: f64) -> f64 {
    (median_bytes + 1.0).log2() * SizeCounts::BUCKETS_PER_OCTAVE as f64 + z * SIZE_SIGMA
}

/// The bucket that a place on the scale of size lies in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the buckets there are"
)]
pub(super) fn size_bucket(place: f64) -> usize {
    place.clamp(0.0, (SizeCounts::BUCKETS - 1) as f64) as usize
}
