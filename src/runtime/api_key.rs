//! Makes keys for apps.
//!
//! `srn_`, 43 digits of base 62 that hold 256 random bits, and six that check them. Whoever looks for leaked
//! keys in texts finds them by their form, and the check tells a key from what only looks like one.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::domain::secret::Secret;
use crate::runtime::key_hash::KeyHash;

/// What every key begins with.
pub const PREFIX: &str = "srn_";

/// Digits that hold the random bits: 62^43 is just above 2^256.
const BODY_DIGITS: usize = 43;

/// Digits of the check: 62^6 is above 2^32.
const CHECK_DIGITS: usize = 6;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// Makes a key that nobody can guess.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate() -> Result<Secret, NoRandomness> {
    let mut random = [0; 32];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| NoRandomness)?;
    let body = base62(&random, BODY_DIGITS);
    Ok(Secret::new(format!("{PREFIX}{body}{}", check(&body))))
}

/// The digits that check others: the start of their SHA-256.
fn check(body: &str) -> String {
    let [a, b, c, d, ..] = KeyHash::of(body).digest().0;
    base62(&[a, b, c, d], CHECK_DIGITS)
}

/// A number, its highest byte first, in so many digits.
fn base62(bytes: &[u8], digits: usize) -> String {
    let mut number = bytes.to_vec();
    let mut text = vec![b'0'; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let whole = rest << 8 | u32::from(*byte);
            // Below 256, for `rest` is below 62.
            *byte = u8::try_from(whole / 62).unwrap_or(u8::MAX);
            rest = whole % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_have_one_form_and_are_all_different() {
        let keys: HashSet<_> = (0..200)
            .map(|_| generate().unwrap().reveal().to_owned())
            .collect();
        assert_eq!(keys.len(), 200);
        for key in keys {
            let digits = key.strip_prefix(PREFIX).unwrap();
            let (body, checked) = digits.split_at(BODY_DIGITS);
            assert_eq!(checked, check(body));
            assert!(digits.bytes().all(|digit| digit.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn a_number_keeps_all_its_bits() {
        assert_eq!(base62(&[0; 32], 43), "0".repeat(43));
        assert_eq!(base62(&[61], 2), "0z");
        assert_eq!(base62(&[1, 0], 2), "48", "256 is 4 * 62 + 8");
        // 2^256 - 1 in base 62 has 43 digits, none of which is lost.
        assert_ne!(base62(&[0xff; 32], 43).as_bytes()[0], b'0');
    }
}
