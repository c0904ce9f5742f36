//! A caller's key from a header that a trusted peer has set.
//!
//! Whoever is not trusted has had the header removed before anything looks at it.

use http::{HeaderMap, HeaderName};

pub(crate) fn key<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
