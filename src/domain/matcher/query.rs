//! Matches a request by a parameter of its query.

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;
use crate::domain::matcher::text::TextPattern;

/// The first parameter of this name has a fitting value. Both are compared as they are sent, so what is
/// percent-encoded stays so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatcher {
    /// The parameter's name.
    pub name: Box<str>,
    /// What its value must be.
    pub value: TextPattern,
}

impl Matches for QueryMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        let value = facts.query.and_then(|query| parameter(query, &self.name));
        value.is_some_and(|value| self.value.fits(value.as_bytes()))
    }
}

/// The first parameter of a name, as it is sent; empty where it has no `=`.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (known, value) = pair.split_once('=').unwrap_or((pair, ""));
        (known == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        let find = |query| parameter(query, "a");
        assert_eq!(find("b=2&a=1&a=3"), Some("1"));
        assert_eq!(find("a"), Some(""));
        assert_eq!(find("a=1=2"), Some("1=2"));
        assert_eq!(find("aa=1&b=a"), None);
        assert_eq!(find(""), None);
    }
}
