//! A cookie that Serin gives to anonymous browsers.
//!
//! It holds a random number and a code by which it is known to be ours. It names nobody, and losing it costs a
//! new draw.

use http::{HeaderMap, HeaderValue};

use crate::domain::caller;
use crate::domain::cookie_key::CookieKey;
use crate::domain::identity::AssignedCookie;

/// The number that a browser sends back; anything else is not ours and is not used.
pub(crate) fn key<'a>(
    headers: &'a HeaderMap,
    cookie: &AssignedCookie,
    key: &CookieKey,
) -> Option<&'a str> {
    let value = caller::cookie(headers, &cookie.name)?;
    cookie
        .key
        .as_ref()
        .unwrap_or(key)
        .number(&cookie.name, value)
}

/// The text of a number.
pub(crate) fn number(number: u128) -> String {
    format!("{number:032x}")
}

/// The field that gives the cookie to a browser.
pub(crate) fn set(cookie: &AssignedCookie, key: &CookieKey, number: &str) -> HeaderValue {
    let age = cookie.max_age.as_secs();
    let key = cookie.key.as_ref().unwrap_or(key);
    let value = key.value(&cookie.name, number);
    let secure = if cookie.secure { "; Secure" } else { "" };
    let same_site = cookie.same_site.as_str();
    let field = format!(
        "{}={value}; Max-Age={age}; Path=/; HttpOnly{secure}; SameSite={same_site}",
        cookie.name
    );
    // The name was checked with the configuration; the rest is plain ASCII.
    HeaderValue::try_from(field).unwrap_or_else(|_| HeaderValue::from_static(""))
}
