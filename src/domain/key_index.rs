//! Keys of many callers, to be looked up.

use std::hash::{BuildHasher, RandomState};

/// The place of a key that is not there.
const NOWHERE: u32 = u32::MAX;

/// A slot for a key.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The key's place.
    place: u32,
    /// The half of its hash that does not say where it belongs, so that other keys are hardly ever compared with it.
    rest: u32,
}

impl Slot {
    const EMPTY: Self = Self {
        place: NOWHERE,
        rest: 0,
    };
}

/// Different keys, each with its place.
///
/// All of it lies in a few large pieces and not in one for each key: a million of them are put in place in a fraction
/// of a second, and a worker that happens to let go of the last index before a new one is not held up by giving back a
/// million pieces.
#[derive(Clone, Debug)]
pub struct KeyIndex {
    /// All keys, one behind the other.
    keys: Box<str>,
    /// Where each key ends, by its place.
    ends: Vec<u32>,
    /// Each key where its hash says, or at the next slot that is free. At most half of the slots are taken; their number
    /// is a power of two.
    slots: Box<[Slot]>,
    hasher: RandomState,
}

/// There are too many keys: together they are longer than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys are longer than 4 GiB together")]
pub struct TooManyKeys;

impl KeyIndex {
    /// Takes keys, whose places are in their order, from 0; one that comes again is passed over.
    ///
    /// # Errors
    /// Where they are too many.
    pub fn new<'k>(keys: impl Iterator<Item = &'k str> + Clone) -> Result<Self, TooManyKeys> {
        let (count, length) = keys
            .clone()
            .fold((0_usize, 0_usize), |(count, length), key| {
                (count + 1, length + key.len())
            });
        if count.max(length) >= NOWHERE as usize {
            return Err(TooManyKeys);
        }
        let mut text = String::with_capacity(length);
        let mut index = Self {
            keys: Box::default(),
            ends: Vec::with_capacity(count),
            slots: vec![Slot::EMPTY; (count * 2).next_power_of_two()].into(),
            hasher: RandomState::new(),
        };
        for key in keys {
            let (slot, rest) = index.slot(&text, key);
            if index.slots[slot].place == NOWHERE {
                let place = u32::try_from(index.len()).map_err(|_| TooManyKeys)?;
                index.slots[slot] = Slot { place, rest };
                text.push_str(key);
                let end = u32::try_from(text.len()).map_err(|_| TooManyKeys)?;
                index.ends.push(end);
            }
        }
        index.keys = text.into();
        Ok(index)
    }

    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The place of a key.
    pub fn place(&self, key: &str) -> Option<usize> {
        let (slot, _) = self.slot(&self.keys, key);
        let place = self.slots[slot].place;
        (place != NOWHERE).then_some(place as usize)
    }

    /// Whether there is such a key.
    pub fn contains(&self, key: &str) -> bool {
        self.place(key).is_some()
    }

    /// All keys, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|place| self.key(&self.keys, place))
    }

    /// The slot of a key, or the one that it would have, and the rest of its hash.
    fn slot(&self, keys: &str, key: &str) -> (usize, u32) {
        let hash = self.hasher.hash_one(key);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "some bits of a hash are as good as others"
        )]
        let (mut slot, rest) = (hash as usize, (hash >> 32) as u32);
        let mask = self.slots.len() - 1;
        loop {
            slot &= mask;
            let found = self.slots[slot];
            let is_it = || found.rest == rest && self.key(keys, found.place as usize) == key;
            if found.place == NOWHERE || is_it() {
                return (slot, rest);
            }
            slot += 1;
        }
    }

    fn key<'k>(&self, keys: &'k str, place: usize) -> &'k str {
        let begin = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &keys[begin as usize..self.ends[place] as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_of_many_keys_has_its_place_and_no_other_key_has_one() {
        let keys: Vec<_> = (0..5_000).map(|number| format!("u-{number}")).collect();
        let index = KeyIndex::new(keys.iter().map(String::as_str)).unwrap();
        for (place, key) in keys.iter().enumerate() {
            assert_eq!(index.place(key), Some(place), "{key}");
        }
        for key in ["", "u-", "u-5000", "u-01", "u-0u-1"] {
            assert!(!index.contains(key), "{key}");
        }
        assert!(index.iter().eq(keys.iter().map(String::as_str)));
    }

    #[test]
    fn an_index_may_be_empty_and_so_may_a_key() {
        let none = KeyIndex::new([].into_iter()).unwrap();
        assert!(none.is_empty() && !none.contains(""));
        let empty = KeyIndex::new([""].into_iter()).unwrap();
        assert_eq!((empty.len(), empty.place("")), (1, Some(0)));
        assert!(!empty.contains("a"));
    }

    proptest! {
        #[test]
        fn it_has_what_a_set_has_in_the_order_of_first_sight(
            keys in proptest::collection::vec("[ab\u{e9}]{0,3}", 0..40),
            others in proptest::collection::vec("[ab\u{e9}]{0,3}", 0..20),
        ) {
            let index = KeyIndex::new(keys.iter().map(String::as_str)).unwrap();
            let mut seen: Vec<&str> = Vec::new();
            for key in &keys {
                if !seen.contains(&&**key) {
                    seen.push(key);
                }
            }
            prop_assert!(index.iter().eq(seen.iter().copied()));
            for key in keys.iter().chain(&others) {
                let place = seen.iter().position(|known| known == key);
                prop_assert_eq!(index.place(key), place);
            }
        }
    }
}
