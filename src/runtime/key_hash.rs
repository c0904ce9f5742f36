//! Hashes of secrets, and their comparison.
//!
//! A secret that somebody presents is compared by its SHA-256 (FIPS 180-4), never as text: the
//! process need not keep the text, and the hashes are of one length. No salt and no slow hash,
//! for these secrets are drawn by chance and long enough that nobody can try them all; a password
//! would need both.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use crate::domain::key_digest::KeyDigest;

/// The hash of a secret.
#[derive(Clone)]
pub struct KeyHash([u8; SHA256_OUTPUT_LEN]);

impl KeyHash {
    /// Hashes a secret.
    pub fn of(secret: &str) -> Self {
        Self::of_bytes(secret.as_bytes())
    }

    /// The same of one that need not be text.
    pub fn of_bytes(secret: &[u8]) -> Self {
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self(hash)
    }

    /// One that was made before.
    pub const fn of_digest(digest: KeyDigest) -> Self {
        Self(digest.0)
    }

    /// The hash, to be kept.
    pub const fn digest(&self) -> KeyDigest {
        KeyDigest(self.0)
    }

    /// Whether two secrets are the same. Takes as long whether they are or not, so that nobody can
    /// find a secret byte by byte with a watch.
    pub fn matches(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex: String = KeyHash::of("abc")
            .0
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn equal_secrets_match_and_others_do_not() {
        let hash = KeyHash::of("hunter2");
        assert!(hash.matches(&KeyHash::of("hunter2")));
        for other in ["hunter3", "hunter2 ", "", "hunter22"] {
            assert!(!hash.matches(&KeyHash::of(other)), "{other}");
        }
        assert_eq!(format!("{hash:?}"), "KeyHash(***)");
    }
}
