//! Matches a request by the learned segment that its sender is in.

use std::sync::Arc;

use http::HeaderName;

use crate::domain::caller::RequestFacts;
use crate::domain::matcher::Matches;
use crate::domain::segment::rule::Short;
use crate::domain::segment::{Classifier, FeatureSource, Named, Placement, SegmentIndex};

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

/// Which segment somebody is in, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStory {
    /// The segment's name; none where the features are not known and nothing is said for that.
    pub segment: Option<String>,
    /// Why, in words.
    pub why: String,
}

impl SegmentMatcher {
    /// The headers that features are read from.
    pub fn headers(&self) -> &[HeaderName] {
        match &self.classifier.source {
            FeatureSource::Headers(names) => names,
            FeatureSource::Table(_) | FeatureSource::Claims(_) => &[],
        }
    }

    /// Whether callers are looked up by pseudonym.
    pub fn needs_pseudonyms(&self) -> bool {
        match &self.classifier.source {
            FeatureSource::Table(table) => table.named() == Named::Pseudonym,
            FeatureSource::Headers(_) | FeatureSource::Claims(_) => false,
        }
    }

    /// Which segment the sender of a request is in, and why.
    pub fn story(&self, facts: &RequestFacts<'_>) -> SegmentStory {
        let name = |segment| self.classifier.model.name(segment);
        let (segment, why) = match self.classifier.explain(facts) {
            Placement::Ruled(rule) => (Some(rule.segment), format!("by the rule {rule}")),
            Placement::Nearest { nearest, rule } => {
                let distance = Short(nearest.distance);
                let mut why = format!("its centre is the nearest, {distance} deviations away");
                if let Some((next, distance)) = nearest.next {
                    why += &format!("; that of `{}` is {}", name(next), Short(distance));
                }
                if let Some(rule) = rule {
                    why += &format!("; such callers have {rule}");
                }
                (Some(nearest.segment), why)
            }
            Placement::Unknown(unknown) => match self.unknown {
                Some(segment) => (Some(segment), format!("by default, for {unknown}")),
                None => (None, unknown.to_string()),
            },
        };
        SegmentStory {
            segment: segment.map(|segment| name(segment).to_owned()),
            why,
        }
    }
}
