//! How many callers of one address may rate, where callers can be made up.

use std::collections::BTreeMap;

use crate::domain::variant::Variant;

/// One rater in so many may say the worst whatever it was shown, and decides nothing alone. So the callers of
/// one address are no more of an arm's: all may be the same person.
const SHARE_OF_ONE: u64 = 5;

/// The raters of each address and arm. Addresses are put into 65,536 cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    raters: BTreeMap<(u16, Variant), u64>,
}

impl Sources {
    /// Counts a rater of an arm, or with -1 takes it back.
    pub(super) fn count(&mut self, source: u16, variant: Variant, by: i64) {
        let raters = self.raters.entry((source, variant)).or_default();
        *raters = raters.saturating_add_signed(by);
    }

    /// Whether one more of these may rate an arm that has so many raters, and of which nothing is said before
    /// there are `ratings_min`.
    pub(super) fn have_room(
        &self,
        (source, variant): (u16, Variant),
        raters: u64,
        ratings_min: u64,
    ) -> bool {
        let from_source = self.raters.get(&(source, variant)).copied();
        let would_be = from_source.unwrap_or_default() + 1;
        would_be * SHARE_OF_ONE <= ratings_min.max(raters + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_never_more_than_a_fifth_of_an_arm_that_decides() {
        let mut sources = Sources::default();
        let (mut forged, mut honest) = (0_u64, 0_u64);
        for turn in 0..1_000 {
            let raters = forged + honest;
            // It tries before and after each honest rater.
            for _ in 0..3 {
                if sources.have_room((7, Variant::Canary), raters, 20) {
                    sources.count(7, Variant::Canary, 1);
                    forged += 1;
                }
            }
            honest += u64::from(turn % 2 == 0);
            let raters = forged + honest;
            assert!(raters < 20 || forged * 5 <= raters, "{forged} of {raters}");
        }
        assert!(forged > 100, "{forged}: a large network may say much");
    }

    #[test]
    fn arms_and_addresses_have_room_of_their_own() {
        let mut sources = Sources::default();
        let has_room =
            |sources: &Sources, source, variant| sources.have_room((source, variant), 0, 20);
        for _ in 0..4 {
            assert!(has_room(&sources, 7, Variant::Canary));
            sources.count(7, Variant::Canary, 1);
        }
        assert!(!has_room(&sources, 7, Variant::Canary));
        assert!(has_room(&sources, 7, Variant::Stable));
        assert!(has_room(&sources, 8, Variant::Canary));
        sources.count(7, Variant::Canary, -1);
        assert!(has_room(&sources, 7, Variant::Canary));
    }
}
