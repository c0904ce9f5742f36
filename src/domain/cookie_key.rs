//! The key by which Serin knows its own cookies again.
//!
//! A cookie holds a number and what HMAC-SHA256 (RFC 2104) makes of it and the cookie's name. Whoever makes up
//! a number, to be in a bucket of their choice or many callers at once, cannot make the rest.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// Digits of a number, in base 16.
const DIGITS: usize = 32;

/// Bytes of the code that are kept (RFC 2104, section 5): nobody guesses 128 bits.
const CODE_BYTES: usize = 16;

/// The fewest bytes of a key: as long as the hash.
pub const COOKIE_KEY_BYTES_MIN: usize = 32;

/// The key of cookies.
#[derive(Clone)]
pub struct CookieKey {
    secret: Box<[u8]>,
    hmac: hmac::Key,
}

impl CookieKey {
    /// Takes a secret.
    pub fn new(secret: &[u8]) -> Self {
        Self {
            secret: secret.into(),
            hmac: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    /// The number that a cookie holds, where it is one of this key; anything else is not ours.
    pub fn number<'a>(&self, name: &str, value: &'a str) -> Option<&'a str> {
        let (number, code) = value.split_once('.')?;
        let is_number = number.len() == DIGITS
            && number
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let expected = self.code(name, number);
        let is_ours = verify_slices_are_equal(code.as_bytes(), expected.as_bytes()).is_ok();
        (is_number && is_ours).then_some(number)
    }

    /// What a cookie holds for a number.
    pub fn value(&self, name: &str, number: &str) -> String {
        format!("{number}.{}", self.code(name, number))
    }

    fn code(&self, name: &str, number: &str) -> String {
        let mut context = hmac::Context::with_key(&self.hmac);
        // No name has an equals sign in it.
        for part in [name, "=", number] {
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let bytes = tag.as_ref().iter().take(CODE_BYTES);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PartialEq for CookieKey {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for CookieKey {}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_known_by_its_key_and_its_name() {
        let (own, other) = (CookieKey::new(&[1; 32]), CookieKey::new(&[2; 32]));
        let number = "00000000000000000000000000000abc";
        let value = own.value("serin", number);
        assert_eq!(own.number("serin", &value), Some(number));
        assert_eq!(own.number("sid", &value), None);
        assert_eq!(other.number("serin", &value), None);
        let (_, code) = value.split_once('.').unwrap();
        for forged in [
            number.to_owned(),
            format!("{number}."),
            format!("{number}.{}", &code[1..]),
            format!("{number}.{code}0"),
            format!("{number}.{}", code.to_uppercase() + "x"),
            format!("00000000000000000000000000000abd.{code}"),
            own.value("serin", "admin"),
            String::new(),
        ] {
            assert_eq!(own.number("serin", &forged), None, "{forged}");
        }
        // As Python's `hmac` has it.
        assert_eq!(code, "85123901cd416041f570f346954ac347");
        assert_eq!(format!("{own:?}"), "CookieKey(***)");
    }
}
