//! A cookie that Serin gives to anonymous browsers.
//!
//! It holds a random number and nothing else: it names nobody, and losing it costs a new draw.

use http::{HeaderMap, HeaderValue};

use crate::domain::caller;
use crate::domain::identity::AssignedCookie;

/// Digits of the number, in base 16.
const DIGITS: usize = 32;

/// The number that a browser sends back; anything else is not ours and is not used.
pub(crate) fn key<'a>(headers: &'a HeaderMap, cookie: &AssignedCookie) -> Option<&'a str> {
    let value = caller::cookie(headers, &cookie.name)?;
    let is_ours = value.len() == DIGITS
        && value
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then_some(value)
}

/// The text of a number.
pub(crate) fn value(number: u128) -> String {
    format!("{number:032x}")
}

/// The field that gives the cookie to a browser.
pub(crate) fn set(cookie: &AssignedCookie, value: &str) -> HeaderValue {
    let age = cookie.max_age.as_secs();
    let field = format!(
        "{}={value}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax",
        cookie.name
    );
    // The name was checked with the configuration; the rest is plain ASCII.
    HeaderValue::try_from(field).unwrap_or_else(|_| HeaderValue::from_static(""))
}
