//! Matches a request by one of its header fields.

use http::{HeaderMap, HeaderName};

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;
use crate::domain::matcher::text::TextPattern;

/// Some field of this name has a fitting value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatcher {
    /// The field's name.
    pub name: HeaderName,
    /// What its value must be.
    pub value: TextPattern,
}

impl HeaderMatcher {
    /// Whether some field in a head fits.
    pub fn fits(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(&self.name)
            .iter()
            .any(|value| self.value.fits(value.as_bytes()))
    }
}

impl Matches for HeaderMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        self.fits(facts.headers)
    }
}
