//! Matches a request by its method.

use http::Method;

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;

/// The method is one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodMatcher {
    /// The methods.
    pub methods: Box<[Method]>,
}

impl Matches for MethodMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        self.methods.contains(facts.method)
    }
}
