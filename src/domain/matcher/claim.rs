//! Matches a request by a claim of the token that it brings.

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;
use crate::domain::matcher::text::TextPattern;

/// A claim of a token that was verified has a fitting value, or an item of it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMatcher {
    /// The claim's name, or the way down to it: `realm_access.roles`.
    pub name: Box<str>,
    /// What its value must be.
    pub value: TextPattern,
}

impl Matches for ClaimMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        let claims = facts.claims;
        claims.is_some_and(|claims| claims.fits(&self.name, &self.value))
    }
}
