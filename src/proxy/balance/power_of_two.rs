//! Draws two endpoints and asks the less busy of them.
//!
//! Two draws do nearly as well as a look at all: the longest queue of n endpoints grows with log log n
//! instead of log n (Mitzenmacher, "The power of two choices in randomized load balancing", 2001). And
//! unlike the least busy of all, the one picked is not the same for all workers who look at once.

use crate::domain::backend::{Balancing, Endpoint};
use crate::proxy::balance::{Balance, Candidates, Chance, is_less_busy, open_places};

/// Draws by weight, and then looks at the requests under way.
#[derive(Debug)]
pub(crate) struct PowerOfTwo;

impl PowerOfTwo {
    pub(super) const fn new(_: &Balancing, _: &[Endpoint]) -> Self {
        Self
    }
}

impl Balance for PowerOfTwo {
    fn pick(&self, among: &impl Candidates, chance: Chance) -> Option<usize> {
        let one = draw(among, chance, None)?;
        match draw(among, chance.again(), Some(one)) {
            Some(other) if is_less_busy(among, other, one) => Some(other),
            _ => Some(one),
        }
    }
}

/// Draws one of the open places but one, each with the chance that its weight gives it.
fn draw(among: &impl Candidates, chance: Chance, but: Option<usize>) -> Option<usize> {
    let places = || open_places(among).filter(|place| Some(*place) != but);
    let whole = places().map(|place| among.weight(place)).sum();
    let mut left = chance.below(whole);
    places().find(|place| {
        let weight = among.weight(*place);
        let is_drawn = left < weight;
        left = left.saturating_sub(weight);
        is_drawn
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backend::BalancePolicy;
    use crate::proxy::balance::testing::{Pool, chance, policy, shares};

    const POWER_OF_TWO: BalancePolicy = BalancePolicy::PowerOfTwo;

    #[test]
    fn of_two_the_less_busy_is_asked_whoever_is_drawn_first() {
        let policy = policy(POWER_OF_TWO, &[1, 1]);
        let mut both = Pool::of(&[1, 1]);
        both.in_flight = vec![3, 2];
        assert!((0..100).all(|number| policy.pick(&both, chance(number)) == Some(1)));
    }

    #[test]
    fn the_busiest_of_three_is_never_asked() {
        let policy = policy(POWER_OF_TWO, &[1, 1, 1]);
        let mut all = Pool::of(&[1, 1, 1]);
        all.in_flight = vec![1, 9, 1];
        assert!((0..100).all(|number| policy.pick(&all, chance(number)) != Some(1)));
    }

    #[test]
    fn where_nobody_is_busy_weights_are_the_shares() {
        let policy = policy(POWER_OF_TWO, &[1, 3, 6]);
        let shares = shares(&policy, &Pool::of(&[1, 3, 6]));
        for (share, expected) in shares.into_iter().zip([0.1, 0.3, 0.6]) {
            assert!((share - expected).abs() < 0.02, "{share} for {expected}");
        }
    }

    #[test]
    fn only_who_is_open_is_asked() {
        let policy = policy(POWER_OF_TWO, &[1, 1, 1]);
        let mut some = Pool::of(&[1, 1, 1]);
        some.is_open = vec![false, true, false];
        assert!((0..100).all(|number| policy.pick(&some, chance(number)) == Some(1)));
        some.is_open[1] = false;
        assert_eq!(policy.pick(&some, chance(0)), None);
    }
}
