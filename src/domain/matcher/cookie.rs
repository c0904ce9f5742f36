//! Matches a request by a cookie.

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;
use crate::domain::matcher::text::TextPattern;

/// The first cookie of this name has a fitting value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieMatcher {
    /// The cookie's name.
    pub name: Box<str>,
    /// What its value must be.
    pub value: TextPattern,
}

impl Matches for CookieMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        facts
            .cookie(&self.name)
            .is_some_and(|value| self.value.fits(value.as_bytes()))
    }
}
