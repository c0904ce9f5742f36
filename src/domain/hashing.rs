//! How a caller's key becomes a place: our own scheme, and those of others whose callers are to keep their
//! variants when a flag moves here.
//!
//! Each scheme ends in one evenly spread 32-bit number, whose [`Bucket`] is the scheme's own place as far as
//! the scheme has one, and its further digits below that. So a share that the other system knows (a whole percent of
//! Unleash, a hundredth of a percent of GrowthBook) draws the very callers that it draws there; a share between
//! two of them adds some of those that the next one would; and more never takes anybody out.

use smallvec::SmallVec;

use crate::domain::bucket::{Bucket, murmur3_x86_32};

/// How the key of a caller is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashScheme {
    /// `murmur3_x86_32(salt ++ key)`, scaled: flagd's, see [`bucket`](crate::domain::bucket).
    #[default]
    Murmur3,
    /// Unleash's gradual rollout: `murmur3_x86_32(group_id ++ ":" ++ key) % 100 + 1`, which is to be at
    /// most the percentage; the group id is the salt.
    Unleash,
    /// GrowthBook's hash version 2: `fnv1a32(fnv1a32(seed ++ key)) % 10000 / 10000`, which is to lie in a
    /// range from 0; the seed is the salt.
    Growthbook,
    /// GrowthBook's hash version 1, which it takes where a rule names none: `fnv1a32(key ++ seed) % 1000 / 1000`.
    GrowthbookV1,
}

impl HashScheme {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Murmur3 => "murmur3",
            Self::Unleash => "unleash",
            Self::Growthbook => "growthbook",
            Self::GrowthbookV1 => "growthbook_v1",
        }
    }

    /// The number of a caller's key under a salt, whose bucket is the caller's place.
    pub fn hash(self, salt: &str, key: &str) -> u32 {
        match self {
            Self::Murmur3 => murmur3_x86_32(salt.as_bytes(), key.as_bytes()),
            Self::Unleash => {
                let mut prefix: SmallVec<[u8; 128]> = SmallVec::from_slice(salt.as_bytes());
                prefix.push(b':');
                spread(murmur3_x86_32(&prefix, key.as_bytes()), 100)
            }
            Self::Growthbook => {
                let inner = fnv1a32(salt.encode_utf16().chain(key.encode_utf16()));
                spread(fnv1a32(decimal(inner).into_iter()), 10_000)
            }
            Self::GrowthbookV1 => {
                let hash = fnv1a32(key.encode_utf16().chain(salt.encode_utf16()));
                spread(hash, 1_000)
            }
        }
    }
}

/// Makes a number of a hash whose first digits, by which buckets go, are those of its rest by `places`.
///
/// What the quotient has below them fills up the bucket's four digits, and the rest of it goes below: so
/// equal hashes stay equal and others mostly apart.
fn spread(hash: u32, places: u32) -> u32 {
    let count = u32::from(Bucket::COUNT);
    let finer = count / places;
    let bucket = (hash % places) * finer + (hash / places) % finer;
    // The first number of the bucket: see `Bucket::of_hash`.
    let first = (u64::from(bucket) << 32).div_ceil(count.into());
    let within = (hash / count).min(u32::MAX / count - 1);
    u32::try_from(first)
        .unwrap_or(u32::MAX)
        .saturating_add(within)
}

/// FNV-1a with 32 bits (Fowler, Noll and Vo; RFC 9923) over the units of a text. GrowthBook takes those of
/// UTF-16, as JavaScript has them; of ASCII they are the bytes.
fn fnv1a32(units: impl Iterator<Item = u16>) -> u32 {
    units.fold(0x811c_9dc5, |hash, unit| {
        (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193)
    })
}

/// The decimal digits of a number, as text.
fn decimal(number: u32) -> SmallVec<[u16; 10]> {
    let mut rest = number;
    let mut digits = SmallVec::new();
    loop {
        let digit = u16::try_from(rest % 10).unwrap_or_default();
        digits.push(u16::from(b'0') + digit);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits.reverse();
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::testing::percent;
    use crate::domain::weight::Weight;

    fn bucket(scheme: HashScheme, salt: &str, key: &str) -> u16 {
        Bucket::of_hash(scheme.hash(salt, key)).place()
    }

    /// Unleash's own number, 1 to 100.
    fn normalized(group_id: &str, key: &str) -> u16 {
        bucket(HashScheme::Unleash, group_id, key) / 100 + 1
    }

    /// Unleash, client-specification, `10-flexible-rollout-strategy.json` and `12-custom-stickiness.json`,
    /// and the numbers that its SDKs test (`normalized_value`).
    #[test]
    fn unleash_draws_the_callers_that_its_specification_says() {
        assert_eq!(normalized("Feature.flexibleRollout.10", "174"), 10);
        assert_eq!(normalized("Feature.flexibleRollout.10", "499"), 32);
        assert_eq!(normalized("gr1", "123"), 73);
        assert_eq!(normalized("groupX", "999"), 25);
        let is_on = |group_id: &str, key: &str, percentage| {
            let hash = HashScheme::Unleash.hash(group_id, key);
            Bucket::of_hash(hash).is_within(percent(percentage))
        };
        assert!(is_on("Feature.flexibleRollout.10", "174", 10));
        assert!(!is_on("Feature.flexibleRollout.10", "174", 9));
        assert!(!is_on("Feature.flexibleRollout.10", "499", 10));
        assert!(is_on("Feature.flexibleRollout.userId.55", "25", 55));
        assert!(is_on("Feature.flexibleRollout.sessionId.42", "147", 42));
    }

    /// GrowthBook, `packages/sdk-js/test/cases.json`, section `hash`: seed, value, version, and the number
    /// in ten thousandths.
    #[test]
    fn growthbook_gives_the_numbers_of_its_test_cases() {
        use HashScheme::{Growthbook, GrowthbookV1};
        for (seed, value, scheme, expected) in [
            ("", "a", GrowthbookV1, 2_200),
            ("", "b", GrowthbookV1, 770),
            ("b", "a", GrowthbookV1, 9_460),
            ("ef", "d", GrowthbookV1, 6_520),
            ("asdf", "8952klfjas09ujk", GrowthbookV1, 5_490),
            ("", "123", GrowthbookV1, 110),
            ("", "___)((*\":&", GrowthbookV1, 5_630),
            ("seed", "a", Growthbook, 505),
            ("seed", "b", Growthbook, 2_696),
            ("foo", "ab", Growthbook, 2_575),
            ("foo", "def", Growthbook, 2_019),
            ("89123klj", "8952klfjas09ujkasdf", Growthbook, 1_240),
            ("90850943850283058242805", "123", Growthbook, 7_516),
            ("()**(%$##$%#$#", "___)((*\":&", Growthbook, 128),
        ] {
            let place = bucket(scheme, seed, value);
            let known = if scheme == GrowthbookV1 {
                place / 10 * 10
            } else {
                place
            };
            assert_eq!(known, expected, "{seed} {value} {scheme:?}");
        }
    }

    /// FNV's own test vectors (`test_fnv.c`).
    #[test]
    fn fnv_answers_its_published_vectors() {
        for (text, hash) in [
            ("", 0x811c_9dc5),
            ("a", 0xe40c_292c),
            ("foobar", 0xbf9c_f968),
        ] {
            assert_eq!(fnv1a32(text.encode_utf16()), hash, "{text}");
        }
        let text: Vec<u16> = "4294967295".encode_utf16().collect();
        assert_eq!(decimal(u32::MAX).as_slice(), text);
        assert_eq!(decimal(0).as_slice(), [u16::from(b'0')]);
    }

    const ALL: [HashScheme; 4] = [
        HashScheme::Murmur3,
        HashScheme::Unleash,
        HashScheme::Growthbook,
        HashScheme::GrowthbookV1,
    ];

    #[test]
    fn every_scheme_spreads_callers_evenly() {
        for scheme in ALL {
            for basis_points in [50, 1_000, 3_333, 9_000] {
                let weight = Weight::from_basis_points(basis_points).unwrap();
                let is_in = |number: &u32| {
                    let hash = scheme.hash("orders", &format!("caller-{number}"));
                    Bucket::of_hash(hash).is_within(weight)
                };
                let count = f64::from(u32::try_from((0..20_000).filter(is_in).count()).unwrap());
                let expected = 20_000.0 * weight.ratio();
                // Five standard deviations of a fair draw.
                let limit = 5.0 * (expected * (1.0 - weight.ratio())).sqrt();
                assert!(
                    (count - expected).abs() < limit,
                    "{scheme:?} {weight}: {count}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_spread_number_is_in_the_bucket_of_its_rest(hash: u32) {
            for places in [100_u32, 1_000, 10_000] {
                let place = u32::from(Bucket::of_hash(spread(hash, places)).place());
                prop_assert_eq!(place / (10_000 / places), hash % places);
            }
        }

        #[test]
        fn unleash_and_serin_agree_at_whole_percents(group in "[a-z]{1,12}", key in "\\PC{0,20}", share in 0_u16..=100) {
            let joined = format!("{group}:{key}");
            let number = murmur3_x86_32(b"", joined.as_bytes()) % 100 + 1;
            let hash = HashScheme::Unleash.hash(&group, &key);
            prop_assert_eq!(Bucket::of_hash(hash).is_within(percent(share)), number <= u32::from(share));
        }
    }
}
