//! Which callers were shown which variant, while a rollout takes feedback.
//!
//! A table of bounded size: a caller's hash says which line of eight places it may be in, and a place holds the
//! whole hash, so callers are never taken for one another. Workers write a place when a caller is first shown
//! something, or something else than before, and only look at one line of memory afterwards; nobody
//! waits for anybody. Where a line is full, some caller in it is forgotten, which is counted: it cannot rate
//! until it comes again.
//!
//! It is not written down. After a restart callers are known again with their next request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use zerocopy::FromZeros;

use crate::domain::feedback::Shown;
use crate::domain::variant::Variant;
use crate::runtime::series::StratumName;

/// Places in a line: eight words are a line of a processor's cache.
const PLACES: usize = 8;

/// Lines: room for a million callers in 8 MB, of which pages that nobody has touched take no memory.
const LINES: usize = 1 << 17;

/// The most groups that are told apart.
const GROUPS_MAX: usize = 1 << 14;

/// In a word: below the hash, which is the upper half, is whether there is one, the variant, and the group.
const IS_TAKEN: u64 = 1;
const IS_CANARY: u64 = 1 << 1;
const GROUP_SHIFT: u32 = 2;
const HASH_SHIFT: u32 = 32;
const GROUP_MASK: u64 = (1 << HASH_SHIFT) - 1;

type Line = [AtomicU64; PLACES];

/// The number of a group in one table.
pub type GroupNumber = u16;

/// Which callers were shown which variant.
#[derive(Debug, Default)]
pub struct Exposures {
    lines: OnceLock<Box<[Line]>>,
    /// By number.
    groups: Mutex<Vec<StratumName>>,
    /// Which place the next caller takes in a line that is full.
    next: AtomicUsize,
    forgotten: AtomicU64,
}

impl Exposures {
    /// Remembers callers from now on.
    pub fn open(&self) {
        self.lines.get_or_init(|| {
            // Zeroed by the system page by page when they are first used, and never by us.
            let lines = <[Line]>::new_box_zeroed_with_elems(LINES);
            lines.unwrap_or_else(|_| (0..LINES).map(|_| Line::default()).collect())
        });
    }

    /// The number of a stratum; none where callers did not get there by chance, or there are too many.
    pub fn number_of(&self, stratum: &StratumName) -> Option<GroupNumber> {
        if *stratum == StratumName::Forced {
            return None;
        }
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let known = groups.iter().position(|known| known == stratum);
        let place = known.or_else(|| {
            let is_full = groups.len() >= GROUPS_MAX;
            (!is_full).then(|| {
                groups.push(stratum.clone());
                groups.len() - 1
            })
        });
        place.and_then(|place| u16::try_from(place).ok())
    }

    /// Notes that the caller with this hash was shown a variant as a member of a group.
    pub fn note(&self, hash: u32, variant: Variant, group: GroupNumber) {
        let Some(lines) = self.lines.get() else {
            return;
        };
        let word = word(hash, variant, group);
        let line = &lines[line_of(hash)];
        let mut free = None;
        for place in line {
            let known = place.load(Ordering::Relaxed);
            if known == word {
                return;
            }
            if is_of(known, hash) {
                place.store(word, Ordering::Relaxed);
                return;
            }
            if known & IS_TAKEN == 0 && free.is_none() {
                free = Some(place);
            }
        }
        // Of two workers at the same place one is lost, and comes again.
        let place = free.unwrap_or_else(|| {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
            &line[self.next.fetch_add(1, Ordering::Relaxed) % PLACES]
        });
        place.store(word, Ordering::Relaxed);
    }

    /// What the caller with this hash was shown last; `None` for one that was shown nothing.
    pub fn shown_to(&self, hash: u32) -> Option<Shown> {
        let line = &self.lines.get()?[line_of(hash)];
        let mut words = line.iter().map(|place| place.load(Ordering::Relaxed));
        let word = words.find(|word| is_of(*word, hash))?;
        let number = (word & GROUP_MASK) >> GROUP_SHIFT;
        let number = usize::try_from(number).ok()?;
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Shown {
            variant: match word & IS_CANARY {
                0 => Variant::Stable,
                _ => Variant::Canary,
            },
            group: match groups.get(number)? {
                StratumName::Group(name) => Some(name.clone()),
                StratumName::Default => None,
                StratumName::Forced => return None,
            },
        })
    }

    /// Forgets the caller with this hash.
    pub fn forget(&self, hash: u32) {
        let Some(lines) = self.lines.get() else {
            return;
        };
        for place in &lines[line_of(hash)] {
            if is_of(place.load(Ordering::Relaxed), hash) {
                place.store(0, Ordering::Relaxed);
            }
        }
    }

    /// How many callers were forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }
}

/// Hashes of one arm lie close together, so lines are found by other bits of them.
const fn line_of(hash: u32) -> usize {
    let mixed = hash.wrapping_mul(0x9E37_79B1);
    (mixed >> (32 - LINES.trailing_zeros())) as usize
}

const fn is_of(word: u64, hash: u32) -> bool {
    word & IS_TAKEN != 0 && word >> HASH_SHIFT == hash as u64
}

const fn word(hash: u32, variant: Variant, group: GroupNumber) -> u64 {
    let canary = match variant {
        Variant::Stable => 0,
        Variant::Canary => IS_CANARY,
    };
    (hash as u64) << HASH_SHIFT | (group as u64) << GROUP_SHIFT | canary | IS_TAKEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::name;

    fn open() -> Exposures {
        let exposures = Exposures::default();
        exposures.open();
        exposures
    }

    #[test]
    fn who_was_shown_what_is_remembered_and_others_are_not_taken_for_them() {
        let exposures = open();
        let beta = StratumName::Group(name("beta"));
        let [default, group] = [StratumName::Default, beta].map(|it| exposures.number_of(&it));
        assert_eq!(exposures.number_of(&StratumName::Default), default);
        assert_eq!(exposures.number_of(&StratumName::Forced), None);
        exposures.note(7, Variant::Canary, default.unwrap());
        exposures.note(0, Variant::Stable, group.unwrap());
        let shown = exposures.shown_to(7).unwrap();
        assert_eq!((shown.variant, shown.group), (Variant::Canary, None));
        let shown = exposures.shown_to(0).unwrap();
        assert_eq!(
            (shown.variant, shown.group),
            (Variant::Stable, Some(name("beta")))
        );
        assert!((8..100_000).all(|hash| exposures.shown_to(hash).is_none()));
        exposures.note(7, Variant::Stable, default.unwrap());
        assert_eq!(exposures.shown_to(7).unwrap().variant, Variant::Stable);
        exposures.forget(7);
        assert_eq!(exposures.shown_to(7), None);
    }

    #[test]
    fn nobody_is_remembered_before_feedback_is_taken() {
        let exposures = Exposures::default();
        exposures.note(7, Variant::Canary, 0);
        exposures.open();
        assert_eq!(exposures.shown_to(7), None);
    }

    #[test]
    fn half_a_million_callers_have_room_and_a_flood_of_them_is_counted_and_bounded() {
        let exposures = open();
        let group = exposures.number_of(&StratumName::Default).unwrap();
        let hash = |caller: u32| caller.wrapping_mul(0x85EB_CA6B);
        for caller in 0..500_000 {
            exposures.note(hash(caller), Variant::Canary, group);
        }
        let lost = exposures.forgotten();
        assert!(lost < 25_000, "{lost}");
        let known = (0..500_000).filter(|caller| exposures.shown_to(hash(*caller)).is_some());
        assert_eq!(known.count() as u64, 500_000 - lost);
        for caller in 500_000..2_500_000 {
            exposures.note(hash(caller), Variant::Canary, group);
        }
        assert!(exposures.forgotten() > 1_000_000);
    }
}
