//! Counts distinct callers in a few bytes.
//!
//! The tripwire asks one thing of callers: are there at least a handful of them, or is it one
//! that sends poison? A set of 1,024 bits answers it without keeping anybody's key: callers who
//! fall on the same bit merely count as one, so the number can only be too small, and too small
//! is the careful side.

use serde::{Deserialize, Serialize};

/// Bits in the set: enough that five callers are told apart (99 % of the time all five), few
/// enough to travel with every tick.
const BITS: u32 = 1024;

/// A set of hashed callers, good for "at least this many".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerSketch([u64; Self::WORDS]);

impl CallerSketch {
    /// How many words of 64 bits the set has.
    pub const WORDS: usize = (BITS / u64::BITS) as usize;

    /// The word and the bit in it that stand for a caller, by any stable number of it: a hash of
    /// its key, or a random draw where it has none.
    ///
    /// The number is mixed first (Fibonacci hashing, Knuth, TAOCP vol. 3, section 6.4), because
    /// callers of one arm share a range of buckets, and with it the high bits of their hash.
    pub const fn place_of(caller_hash: u64) -> (usize, u64) {
        let mixed = caller_hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let bit = mixed >> (u64::BITS - BITS.ilog2());
        ((bit >> 6) as usize & (Self::WORDS - 1), 1 << (bit & 63))
    }

    /// Takes a set as it was counted elsewhere.
    pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
        Self(words)
    }

    /// Notes a caller.
    pub const fn insert(&mut self, caller_hash: u64) {
        let (word, bit) = Self::place_of(caller_hash);
        self.0[word] |= bit;
    }

    /// Adds all callers of another set.
    pub fn union(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    /// About how many callers there were, from the bits that are not set (linear counting: Whang, Vander-Zanden
    /// and Taylor 1990): within some percent up to two thousand, and no more than some seven thousand.
    pub fn distinct(&self) -> f64 {
        let unset = f64::from(BITS - self.estimate()).max(1.0);
        -f64::from(BITS) * (unset / f64::from(BITS)).ln()
    }

    /// The number of bits set: there were at least this many distinct callers.
    pub fn estimate(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_counts_once_however_often_it_comes() {
        let mut callers = CallerSketch::default();
        for _ in 0..1000 {
            callers.insert(7);
        }
        assert_eq!(callers.estimate(), 1);
    }

    #[test]
    fn callers_that_share_high_or_low_bits_are_told_apart() {
        for shift in [0, 16, 32, 48] {
            let mut callers = CallerSketch::default();
            for caller in 0..20_u64 {
                callers.insert(caller << shift);
            }
            assert!((15..=20).contains(&callers.estimate()), "shift {shift}");
        }
    }
}
