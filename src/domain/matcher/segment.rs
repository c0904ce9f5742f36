//! Matches a request by the learned segment that its sender is in.

use std::sync::Arc;

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;
use crate::domain::segment::{Classifier, SegmentIndex};

/// The sender is in this segment.
#[derive(Clone, Debug)]
pub struct SegmentMatcher {
    /// What classifies; shared by all groups of one model with features from one place.
    pub classifier: Arc<Classifier>,
    /// The segment.
    pub segment: SegmentIndex,
    /// The segment of those whose features are not known, where they have one.
    pub unknown: Option<SegmentIndex>,
}

impl Matches for SegmentMatcher {
    fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        self.classifier.segment(facts).or(self.unknown) == Some(self.segment)
    }
}
