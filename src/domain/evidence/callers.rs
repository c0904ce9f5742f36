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
pub struct CallerSketch([u64; 16]);

impl CallerSketch {
    /// Notes a caller by any stable 64-bit number of it: a hash of its key, or of its address
    /// where it has none.
    ///
    /// The number is mixed first (Fibonacci hashing, Knuth, TAOCP vol. 3, section 6.4), because
    /// callers of one arm share a range of buckets, and with it the high bits of their hash.
    pub const fn insert(&mut self, caller_hash: u64) {
        let mixed = caller_hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let bit = mixed >> (u64::BITS - BITS.ilog2());
        self.0[(bit >> 6) as usize & 15] |= 1 << (bit & 63);
    }

    /// Adds all callers of another set.
    pub fn union(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
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
