//! A caller's key from a cookie that the application sets.

use http::HeaderMap;

use crate::domain::caller;

pub(crate) fn key<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    caller::cookie(headers, name)
}
