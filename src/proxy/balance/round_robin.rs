//! Asks the endpoints one after the other.

use std::cell::Cell;

use crate::proxy::balance::Balance;

/// Remembers whose turn it is; each worker has its own turn.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    turn: Cell<usize>,
}

impl Balance for RoundRobin {
    fn pick(&self, count: usize) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn % count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_its_turn() {
        let policy = RoundRobin::default();
        let picks: Vec<_> = (0..7).map(|_| policy.pick(3)).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2, 0]);
    }
}
