//! Matches a request by what is known of the app that sends it.

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;
use crate::domain::matcher::text::TextPattern;

/// The request brings a key of an app, and an attribute of that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppMatcher {
    /// The attribute: `id`, `name`, `owner`, `status`, or another that apps are given.
    pub attribute: Box<str>,
    /// What its value must be.
    pub value: TextPattern,
}

impl Matches for AppMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        let value = facts.app.and_then(|app| app.attribute(&self.attribute));
        value.is_some_and(|value| self.value.fits(value.as_bytes()))
    }
}
