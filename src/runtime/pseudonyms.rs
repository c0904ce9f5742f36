//! What a caller is called in what is given away: a pseudonym, which only whoever has the secret can make of a key.
//!
//! It is the start of HMAC-SHA-256 (RFC 2104, FIPS 180-4) of the key. The secret lives in the state, so a caller has
//! the same pseudonym in each export of one Serin, and tables that were exported at different times can be joined;
//! another Serin gives it another one. Without the secret nobody can try out keys, short as they may be.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

use crate::domain::caller::Caller;
use crate::domain::group::GroupTable;
use crate::domain::secret::Secret;

/// The bytes of a pseudonym: among ten million callers two have the same with a chance of one to 10^24.
const PSEUDONYM_BYTES: usize = 16;

/// The bytes of the secret: as many as the hash has.
const SECRET_BYTES: usize = 32;

/// Makes pseudonyms.
pub struct Pseudonyms(Key);

impl Pseudonyms {
    /// Makes them by a secret.
    pub fn new(secret: &Secret) -> Self {
        Self(Key::new(HMAC_SHA256, secret.reveal().as_bytes()))
    }

    /// Draws a secret; none where the system gives no random numbers.
    pub fn draw_secret() -> Option<Secret> {
        let mut bytes = [0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        Some(Secret::new(in_hexadecimal(&bytes)))
    }

    /// The pseudonym of a caller.
    pub fn of(&self, key: &str) -> Pseudonym {
        let hash = sign(&self.0, key.as_bytes());
        let mut digits = [0; PSEUDONYM_BYTES * 2];
        let pairs = digits.iter_mut().zip(digits_of(hash.as_ref()));
        pairs.for_each(|(place, digit)| *place = digit);
        Pseudonym(digits)
    }

    /// The start of that as a number: of fifty thousand callers two have the same with a chance of one to 10^10.
    pub fn number_of(&self, key: &str) -> u64 {
        let tag = sign(&self.0, key.as_bytes());
        let bytes = tag.as_ref().iter().take(8);
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// What a caller is called, 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudonym([u8; PSEUDONYM_BYTES * 2]);

impl Deref for Pseudonym {
    type Target = str;

    fn deref(&self) -> &str {
        // Digits are text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What makes pseudonyms for all who need some, from when there is a secret.
#[derive(Debug, Default)]
pub struct SharedPseudonyms(OnceLock<Arc<Pseudonyms>>);

impl SharedPseudonyms {
    /// What makes them, once there is a secret.
    pub fn get(&self) -> Option<&Arc<Pseudonyms>> {
        self.0.get()
    }

    /// Has them made by this from now on, unless they are made already: a caller has one pseudonym and keeps it.
    pub fn begin(&self, made: Pseudonyms) -> &Arc<Pseudonyms> {
        self.0.get_or_init(|| Arc::new(made))
    }

    /// What a caller is called, where a group looks callers up by that.
    pub fn for_groups(&self, groups: &GroupTable, caller: Caller<'_>) -> Option<Pseudonym> {
        if !groups.needs_pseudonyms() {
            return None;
        }
        Some(self.get()?.of(caller.key()?))
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(***)")
    }
}

fn in_hexadecimal(bytes: &[u8]) -> String {
    digits_of(bytes).map(char::from).collect()
}

fn digits_of(bytes: &[u8]) -> impl Iterator<Item = u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| DIGITS[usize::from(digit)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_start_of_an_hmac() {
        // RFC 4231, section 4.3, test case 2.
        let pseudonyms = Pseudonyms::new(&Secret::new("Jefe"));
        let pseudonym = pseudonyms.of("what do ya want for nothing?");
        assert_eq!(&*pseudonym, "5bdcc146bf60754e6a042426089575c7");
        let number = pseudonyms.number_of("what do ya want for nothing?");
        assert_eq!(number, 0x5bdc_c146_bf60_754e);
        assert_eq!(format!("{pseudonyms:?}"), "Pseudonyms(***)");
    }

    #[test]
    fn another_secret_gives_other_pseudonyms_and_each_draw_another_secret() {
        let [one, other] = [(); 2].map(|()| Pseudonyms::draw_secret().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 64);
        let [again, one, other] = [&one, &one, &other].map(Pseudonyms::new);
        assert_eq!(one.of("ann"), again.of("ann"));
        assert_ne!(one.of("ann"), other.of("ann"));
        assert_ne!(one.of("ann"), one.of("bob"));
    }
}
