//! Asks the endpoint with the fewest requests under way, beside its weight.
//!
//! Of several that are equally busy one is drawn by weight, or the first would get whatever comes
//! while there is little to do. A worker knows its own requests only: with many workers and few
//! requests the choice is hardly better than a draw.

use crate::domain::backend::{Balancing, Endpoint};
use crate::proxy::balance::{Balance, Candidates, Chance, is_less_busy, open_places};

/// Looks at all endpoints.
#[derive(Debug)]
pub(crate) struct LeastRequest;

impl LeastRequest {
    pub(super) const fn new(_: &Balancing, _: &[Endpoint]) -> Self {
        Self
    }
}

impl Balance for LeastRequest {
    fn pick(&self, among: &impl Candidates, mut chance: Chance) -> Option<usize> {
        let mut places = open_places(among);
        let mut least = places.next()?;
        let mut whole = among.weight(least);
        for place in places {
            if is_less_busy(among, place, least) {
                (least, whole) = (place, among.weight(place));
            } else if !is_less_busy(among, least, place) {
                // Each takes the place of those before it as often as its weight says.
                whole += among.weight(place);
                chance = chance.again();
                if chance.below(whole) < among.weight(place) {
                    least = place;
                }
            }
        }
        Some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backend::BalancePolicy;
    use crate::proxy::balance::testing::{Pool, chance, policy, shares};

    const LEAST_REQUEST: BalancePolicy = BalancePolicy::LeastRequest;

    #[test]
    fn the_least_busy_is_asked_beside_its_weight() {
        let policy = policy(LEAST_REQUEST, &[1, 1, 4]);
        let mut all = Pool::of(&[1, 1, 4]);
        all.in_flight = vec![3, 2, 7];
        assert!((0..100).all(|number| policy.pick(&all, chance(number)) == Some(2)));
        all.in_flight[2] = 9;
        assert!((0..100).all(|number| policy.pick(&all, chance(number)) == Some(1)));
        all.is_open = vec![true, false, false];
        assert_eq!(policy.pick(&all, chance(0)), Some(0));
    }

    #[test]
    fn who_is_equally_busy_is_drawn_by_weight() {
        let policy = policy(LEAST_REQUEST, &[1, 3, 6]);
        let shares = shares(&policy, &Pool::of(&[1, 3, 6]));
        for (share, expected) in shares.into_iter().zip([0.1, 0.3, 0.6]) {
            assert!((share - expected).abs() < 0.02, "{share} for {expected}");
        }
    }
}
