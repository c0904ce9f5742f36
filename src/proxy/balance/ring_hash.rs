//! Asks the same endpoint for all requests of a caller.
//!
//! Each endpoint has points on a ring, as many as its weight says, and a caller belongs to the next
//! point from its own place on (Karger and others, "Consistent hashing and random trees", 1997). Where
//! points are depends on the endpoint alone: one that goes leaves its own callers to the others and
//! moves nobody else, and gets the same ones back. All workers have the same ring.

use crate::domain::backend::{Balancing, Endpoint};
use crate::proxy::balance::chance::mix;
use crate::proxy::balance::{Balance, Candidates, Chance, open_places};

/// How many points the endpoint with the least weight has. A share of n points is off by one part in
/// the root of n, here 2.2 %, so that one that is off by 10 % would be a rare accident.
const POINTS_MIN: u64 = 2_048;

/// The most points of a ring: 2 MB for each worker. Beyond it endpoints have fewer, and their shares are
/// less even.
const POINTS_MAX: u64 = 1 << 18;

/// Knows which part of the ring belongs to whom.
#[derive(Debug)]
pub(crate) struct RingHash {
    /// In the order of the ring.
    points: Box<[Point]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u32,
    place: u32,
}

impl RingHash {
    pub(super) fn new(balancing: &Balancing, endpoints: &[Endpoint]) -> Self {
        let weight = |place: usize| {
            let weight = balancing.weights.get(place);
            weight.map_or(1, |weight| u64::from(weight.get()))
        };
        let weights: Vec<_> = (0..endpoints.len()).map(weight).collect();
        let least = weights.iter().copied().min().unwrap_or(1);
        let whole = weights.iter().sum::<u64>() * POINTS_MIN / least;
        let mut points = Vec::new();
        for ((place, endpoint), weight) in (0..).zip(endpoints).zip(weights) {
            let count = weight * POINTS_MIN / least;
            let count = count * POINTS_MAX / whole.max(POINTS_MAX);
            let name = endpoint.to_string();
            let seed = name
                .bytes()
                .fold(0, |seed, byte| mix(seed ^ u64::from(byte)));
            points.extend((0..count.max(1)).map(|number| Point {
                at: place_of(seed ^ number),
                place,
            }));
        }
        points.sort_unstable();
        Self {
            points: points.into(),
        }
    }
}

/// A number's place on the ring.
///
/// The hash of a caller is mixed once more, for it may say already who gets the canary: those who do
/// would else share a small part of the ring.
#[allow(
    clippy::cast_possible_truncation,
    reason = "half of the bits are enough"
)]
const fn place_of(number: u64) -> u32 {
    (mix(number) >> 32) as u32
}

impl Balance for RingHash {
    fn pick(&self, among: &impl Candidates, chance: Chance) -> Option<usize> {
        // Looked for here, so that the way around the ring ends.
        open_places(among).next()?;
        let own = place_of(chance.caller.map_or(chance.draw, u64::from));
        let first = self.points.partition_point(|point| point.at < own);
        let (before, after) = self.points.split_at(first);
        let mut around = after.iter().chain(before).map(|point| point.place as usize);
        around.find(|place| among.is_open(*place))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::backend::BalancePolicy;
    use crate::proxy::balance::Policy;
    use crate::proxy::balance::testing::{Pool, chance, policy};

    fn ring(weights: &[u16]) -> (Policy, Pool) {
        (policy(BalancePolicy::RingHash, weights), Pool::of(weights))
    }

    fn picks(policy: &Policy, some: &Pool, callers: u32) -> Vec<Option<usize>> {
        let callers = (0..callers).map(|caller| Chance {
            caller: Some(caller),
            ..chance(7)
        });
        callers.map(|chance| policy.pick(some, chance)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn who_goes_moves_its_own_callers_only(
            weights in proptest::collection::vec(1..8_u16, 2..7),
            gone in any::<prop::sample::Index>(),
        ) {
            let (policy, mut some) = ring(&weights);
            let before = picks(&policy, &some, 2_000);
            let gone = gone.index(weights.len());
            some.is_open[gone] = false;
            for (before, after) in before.into_iter().zip(picks(&policy, &some, 2_000)) {
                prop_assert_ne!(after, Some(gone));
                prop_assert!(before == Some(gone) || before == after);
            }
        }
    }

    #[test]
    fn shares_are_the_weights_within_a_tenth() {
        for weights in [&[1, 1, 1, 1, 1][..], &[1, 2, 3], &[7, 7], &[1, 8]] {
            let Policy::RingHash(ring) = policy(BalancePolicy::RingHash, weights) else {
                panic!("another policy");
            };
            let mut owned = vec![0.0; weights.len()];
            let mut last = 0;
            for point in &ring.points {
                owned[point.place as usize] += f64::from(point.at - last);
                last = point.at;
            }
            owned[ring.points[0].place as usize] += f64::from(u32::MAX - last);
            let whole = f64::from(weights.iter().sum::<u16>());
            for (owned, weight) in owned.into_iter().zip(weights) {
                let expected = f64::from(*weight) / whole;
                let share = owned / f64::from(u32::MAX);
                assert!(
                    (share / expected - 1.0).abs() < 0.1,
                    "{share} for {expected}"
                );
            }
        }
    }

    #[test]
    fn who_is_out_of_the_configuration_moves_its_own_callers_only() {
        let ((three, all), (two, both)) = (ring(&[1, 1, 1]), ring(&[1, 1]));
        let moved = picks(&three, &all, 2_000)
            .into_iter()
            .zip(picks(&two, &both, 2_000));
        assert!(
            moved
                .into_iter()
                .all(|(before, after)| before == Some(2) || before == after)
        );
    }

    #[test]
    fn nobody_in_particular_is_drawn() {
        let (policy, all) = ring(&[1, 1]);
        let picked = |place| (0..100).any(|number| policy.pick(&all, chance(mix(number))) == place);
        assert!(picked(Some(0)) && picked(Some(1)));
    }

    #[test]
    fn a_ring_has_a_largest_size() {
        let Policy::RingHash(ring) = policy(BalancePolicy::RingHash, &[1; 1_000]) else {
            panic!("another policy");
        };
        assert!(ring.points.len() as u64 <= POINTS_MAX);
    }
}
