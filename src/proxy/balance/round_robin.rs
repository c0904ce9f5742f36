//! Asks the endpoints one after the other, each as often as its weight says.
//!
//! Different weights are interleaved: each pick gives every open endpoint credit for its weight and
//! takes the whole from the one that has most, which is picked. So 2 beside 1 is `a b a`, not `a a b`
//! (smooth weighted round robin, as in nginx since 1.3.1, 2012).

use std::cell::{Cell, RefCell};

use crate::domain::backend::{Balancing, Endpoint};
use crate::proxy::balance::{Balance, Candidates, Chance, open_places};

/// Remembers whose turn it is; each worker has its own turn.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    turn: Cell<usize>,
    /// By place; none where all weights are the same.
    credit: Option<RefCell<Vec<i64>>>,
}

impl RoundRobin {
    pub(super) fn new(balancing: &Balancing, endpoints: &[Endpoint]) -> Self {
        let has_weights = !balancing.weights.is_empty();
        Self {
            turn: Cell::new(0),
            credit: has_weights.then(|| RefCell::new(vec![0; endpoints.len()])),
        }
    }
}

impl Balance for RoundRobin {
    fn pick(&self, among: &impl Candidates, _: Chance) -> Option<usize> {
        // Another try of the same request is nobody's turn, or those who come after one that is down
        // would all find it.
        match (among.last(), &self.credit) {
            (Some(last), _) => next_from(among, last + 1),
            (None, Some(credit)) => richest(among, &mut credit.borrow_mut()),
            (None, None) => {
                let place = next_from(among, self.turn.get())?;
                self.turn.set(place + 1);
                Some(place)
            }
        }
    }
}

/// The first open place from one on, around.
fn next_from(among: &impl Candidates, first: usize) -> Option<usize> {
    let count = among.count();
    let around = (0..count).map(|step| {
        let place = first + step;
        if place < count { place } else { place % count }
    });
    around.into_iter().find(|place| among.is_open(*place))
}

fn richest(among: &impl Candidates, credit: &mut [i64]) -> Option<usize> {
    let (mut whole, mut richest) = (0, None);
    for place in open_places(among) {
        // Weights are small: there is no danger of more than fits.
        let weight = i64::try_from(among.weight(place)).unwrap_or(1);
        whole += weight;
        credit[place] += weight;
        if richest.is_none_or(|most: usize| credit[place] > credit[most]) {
            richest = Some(place);
        }
    }
    let richest = richest?;
    credit[richest] -= whole;
    Some(richest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backend::BalancePolicy;
    use crate::proxy::balance::testing::{Pool, chance, policy};

    const ROUND_ROBIN: BalancePolicy = BalancePolicy::RoundRobin;

    #[test]
    fn each_endpoint_has_its_turn() {
        let (policy, all) = (policy(ROUND_ROBIN, &[1, 1, 1]), Pool::of(&[1, 1, 1]));
        let picks: Vec<_> = (0..7)
            .filter_map(|_| policy.pick(&all, chance(0)))
            .collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn who_is_not_open_is_passed_over_and_costs_nobody_a_turn() {
        let policy = policy(ROUND_ROBIN, &[1, 1, 1]);
        let mut some = Pool::of(&[1, 1, 1]);
        some.is_open[1] = false;
        let picks: Vec<_> = (0..4)
            .filter_map(|_| policy.pick(&some, chance(0)))
            .collect();
        assert_eq!(picks, [0, 2, 0, 2]);
        let again = Pool {
            last: Some(0),
            ..some.clone()
        };
        assert_eq!(policy.pick(&again, chance(0)), Some(2), "the next after it");
        assert_eq!(policy.pick(&some, chance(0)), Some(0), "whose turn it was");
        some.is_open = vec![false; 3];
        assert_eq!(policy.pick(&some, chance(0)), None);
    }

    #[test]
    fn weights_are_interleaved() {
        let (policy, all) = (policy(ROUND_ROBIN, &[5, 1, 1]), Pool::of(&[5, 1, 1]));
        let picks: Vec<_> = (0..7)
            .filter_map(|_| policy.pick(&all, chance(0)))
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }
}
