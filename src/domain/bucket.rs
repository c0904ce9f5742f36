//! A caller's fixed place among ten thousand, for one salt.
//!
//! `bucket = (murmur3_x86_32(salt ++ key, seed 0) as u64 * 10_000) >> 32`, and a caller gets the
//! canary when its bucket lies below the weight. This is flagd's fractional scheme with the
//! weights `[canary, 10000 - canary]` and the salt as prefix of the key, so an application that
//! asks flagd's SDKs sees the same split as the proxy makes.
//!
//! Raising a weight therefore only ever *adds* callers, and lowering it removes the last added
//! first: nobody who has seen the canary is moved back by progress.

use std::fmt;

use serde::Serialize;

use crate::domain::weight::Weight;

/// A place 0 to 9,999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Bucket(u16);

impl Bucket {
    /// How many buckets there are: one for each basis point of weight.
    pub const COUNT: u16 = Weight::WHOLE;

    /// The bucket of a caller's key under a salt.
    pub fn of(salt: &str, key: &str) -> Self {
        Self::of_hash(murmur3_x86_32(salt.as_bytes(), key.as_bytes()))
    }

    /// The bucket of an evenly spread 32-bit number: a hash, or a random draw.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the product's high half is below 10,000"
    )]
    pub const fn of_hash(hash: u32) -> Self {
        Self(((hash as u64 * Self::COUNT as u64) >> 32) as u16)
    }

    /// Whether a caller in this bucket is among the share that a weight asks for.
    pub const fn is_within(self, weight: Weight) -> bool {
        self.0 < weight.basis_points()
    }

    /// The place, 0 to 9,999.
    pub const fn place(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// MurmurHash3 x86 32-bit with seed 0 over `salt` followed by `key`.
///
/// Austin Appleby, 2011, public domain. The two parts are hashed as if joined, without joining
/// them: this runs once for each request.
pub fn murmur3_x86_32(salt: &[u8], key: &[u8]) -> u32 {
    murmur3_x86_32_seeded(0, salt, key)
}

/// The same with a seed. Of one text, no two seeds have the same hash, so evenly drawn seeds give evenly
/// spread hashes.
pub(super) fn murmur3_x86_32_seeded(seed: u32, salt: &[u8], key: &[u8]) -> u32 {
    let aligned = salt.len() - salt.len() % 4;
    let mut hash = mix_blocks(seed, &salt[..aligned]);
    // The block that straddles the seam: the salt's rest filled up from the key.
    let rest = &salt[aligned..];
    let mut seam = [0; 4];
    seam[..rest.len()].copy_from_slice(rest);
    let borrowed = if rest.is_empty() {
        0
    } else {
        key.len().min(4 - rest.len())
    };
    seam[rest.len()..rest.len() + borrowed].copy_from_slice(&key[..borrowed]);
    let seam_len = rest.len() + borrowed;
    if seam_len < 4 && !rest.is_empty() {
        return finish(mix_tail(hash, &seam[..seam_len]), salt.len() + key.len());
    }
    if seam_len == 4 {
        hash = mix_blocks(hash, &seam);
    }
    let key_rest = &key[borrowed..];
    let aligned = key_rest.len() - key_rest.len() % 4;
    hash = mix_blocks(hash, &key_rest[..aligned]);
    finish(mix_tail(hash, &key_rest[aligned..]), salt.len() + key.len())
}

fn mix_blocks(mut hash: u32, bytes: &[u8]) -> u32 {
    let (blocks, _) = bytes.as_chunks::<4>();
    for block in blocks {
        hash ^= scramble(u32::from_le_bytes(*block));
        hash = hash
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    hash
}

fn mix_tail(hash: u32, tail: &[u8]) -> u32 {
    if tail.is_empty() {
        return hash;
    }
    let mut block = [0; 4];
    block[..tail.len()].copy_from_slice(tail);
    hash ^ scramble(u32::from_le_bytes(block))
}

const fn scramble(block: u32) -> u32 {
    block
        .wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the scheme mixes in the length modulo 2^32"
)]
const fn finish(hash: u32, len: usize) -> u32 {
    let mut hash = hash ^ len as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_answers_its_published_vectors() {
        for (key, hash) in [
            ("ejOoVL", 0x0),
            ("bY9fO-", 0x1),
            ("SI7p-", 0x7fff_ffff),
            ("6LvT0", 0x8000_0000),
            ("ceQdGm", 0xffff_ffff),
            ("", 0),
            ("test", 0xba6b_d213),
            ("Hello, world!", 0xc036_3e43),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
        ] {
            assert_eq!(murmur3_x86_32(b"", key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn the_ends_of_the_hash_are_the_ends_of_the_buckets() {
        assert_eq!(Bucket::of("", "ejOoVL").place(), 0);
        assert_eq!(Bucket::of("", "SI7p-").place(), 4_999);
        assert_eq!(Bucket::of("", "6LvT0").place(), 5_000);
        assert_eq!(Bucket::of("", "ceQdGm").place(), 9_999);
    }

    proptest! {
        #[test]
        fn salt_and_key_hash_as_if_joined(salt in "\\PC{0,12}", key in "\\PC{0,40}") {
            let joined = format!("{salt}{key}");
            prop_assert_eq!(
                murmur3_x86_32(salt.as_bytes(), key.as_bytes()),
                murmur3_x86_32(b"", joined.as_bytes())
            );
        }

        #[test]
        fn raising_the_weight_keeps_canary_callers(hash: u32, low in 0..=10_000_u16, more in 0..=10_000_u16) {
            let lower = Weight::from_basis_points(low).unwrap();
            let higher = Weight::from_basis_points((low + more).min(10_000)).unwrap();
            let bucket = Bucket::of_hash(hash);
            prop_assert!(!bucket.is_within(lower) || bucket.is_within(higher));
            prop_assert!(!bucket.is_within(Weight::ZERO));
            prop_assert!(bucket.is_within(Weight::FULL));
        }
    }
}
