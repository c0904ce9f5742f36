//! Matches a request by its path, as routes do.

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;
use crate::domain::route::PathPattern;

/// The path fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMatcher {
    /// What it must be.
    pub path: PathPattern,
}

impl Matches for PathMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        self.path.fits(facts.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::FactsBuilder;

    #[test]
    fn a_prefix_is_of_whole_segments() {
        let request = FactsBuilder::anonymous();
        let fits = |pattern, path| {
            let facts = RequestFacts {
                path,
                ..request.facts()
            };
            PathMatcher { path: pattern }.matches(&facts)
        };
        let prefix = || PathPattern::prefix("/v2");
        assert!(fits(prefix(), "/v2/orders") && fits(prefix(), "/v2"));
        assert!(!fits(prefix(), "/v20"));
        assert!(!fits(PathPattern::Exact("/v2".into()), "/v2/orders"));
    }
}
