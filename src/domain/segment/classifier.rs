//! Finds out which segment the sender of a request is in.

use std::sync::Arc;

use http::HeaderName;

use crate::domain::caller::RequestFacts;
use crate::domain::segment::centroids::Nearest;
use crate::domain::segment::rule::Rule;
use crate::domain::segment::{CallerTable, FEATURES_MAX, Method, SegmentIndex, SegmentModel};

/// A model, and where it takes features from.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The model.
    pub model: Arc<SegmentModel>,
    /// Where features come from.
    pub source: FeatureSource,
}

/// Where the features of a request's sender come from. Another source, such as the claims of a token,
/// is another kind here and an arm of `Classifier::with_features`.
#[derive(Clone, Debug)]
pub enum FeatureSource {
    /// A table, by the caller's key.
    Table(Arc<CallerTable>),
    /// Header fields of the request, one for each feature in the model's order.
    Headers(Box<[HeaderName]>),
}

/// Why a sender is in no segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The request has no caller key.
    #[error("the caller has no key to be looked up by")]
    Anonymous,
    /// The table has no row of this caller.
    #[error("the feature table has no row of this caller")]
    NotInTable,
    /// A feature's field is not there.
    #[error("the request has no header `{0}`")]
    NoHeader(HeaderName),
    /// A feature's field is not a finite number.
    #[error("header `{0}` is not a finite number")]
    NotANumber(HeaderName),
    /// The features are finite, and their distance is not.
    #[error("the caller's numbers are too far from every segment for a distance")]
    TooFar,
}

/// Where a sender was put, and why.
#[derive(Clone, Debug, PartialEq)]
pub enum Placement {
    /// Into the segment with the nearest centroid.
    Nearest {
        /// The two nearest.
        nearest: Nearest,
        /// What the tree asks of those like this one, where the tree says the same.
        rule: Option<Rule>,
    },
    /// Into the segment that the tree leads to.
    Ruled(Rule),
    /// Into none: the features are not known.
    Unknown(Unknown),
}

impl Classifier {
    /// The segment of a request's sender, where its features are known.
    pub fn segment(&self, facts: &RequestFacts<'_>) -> Option<SegmentIndex> {
        match &self.source {
            FeatureSource::Table(table) => table.segment(facts.caller.key()?),
            FeatureSource::Headers(_) => {
                let found = self.with_features(facts, |row| self.model.segment(row));
                found.ok().flatten()
            }
        }
    }

    /// Where a request's sender is put, and why.
    pub fn explain(&self, facts: &RequestFacts<'_>) -> Placement {
        self.with_features(facts, |row| self.placement(row))
            .unwrap_or_else(Placement::Unknown)
    }

    fn placement(&self, row: &[f64]) -> Placement {
        let rule = self.model.rule_for(row);
        match (self.model.document().method, rule) {
            (Method::Labels, Some(rule)) => Placement::Ruled(rule),
            (_, rule) => match self.model.centroids().two_nearest(row) {
                Some(nearest) => Placement::Nearest {
                    nearest,
                    rule: rule.filter(|rule| rule.segment == nearest.segment),
                },
                None => Placement::Unknown(Unknown::TooFar),
            },
        }
    }

    fn with_features<T>(
        &self,
        facts: &RequestFacts<'_>,
        classify: impl FnOnce(&[f64]) -> T,
    ) -> Result<T, Unknown> {
        match &self.source {
            FeatureSource::Table(table) => {
                let key = facts.caller.key().ok_or(Unknown::Anonymous)?;
                let row = table.features(key).ok_or(Unknown::NotInTable)?;
                Ok(classify(row))
            }
            FeatureSource::Headers(names) => {
                let mut row = [0.0; FEATURES_MAX];
                let row = &mut row[..names.len()];
                for (value, name) in row.iter_mut().zip(names) {
                    *value = number(facts, name)?;
                }
                Ok(classify(row))
            }
        }
    }
}

fn number(facts: &RequestFacts<'_>, name: &HeaderName) -> Result<f64, Unknown> {
    let field = facts.headers.get(name);
    let field = field.ok_or_else(|| Unknown::NoHeader(name.clone()))?;
    let text = field.to_str().unwrap_or_default();
    let value = text
        .trim()
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite());
    value.ok_or_else(|| Unknown::NotANumber(name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::matcher::Matches;
    use crate::domain::matcher::segment::SegmentMatcher;
    use crate::domain::segment::model::tests::two_segments;
    use crate::domain::segment::{Columns, FeatureTable};
    use crate::domain::testing::FactsBuilder;

    fn by_table(method: Method) -> Classifier {
        let model = SegmentModel::new(two_segments(method)).unwrap();
        let text = "key,rate\nann,3\nbob,45\ncid,90\n";
        let table = FeatureTable::read(text, &Columns::default()).unwrap();
        let table = CallerTable::new(table, &model).unwrap();
        assert_eq!(table.len(), 3);
        Classifier {
            model: Arc::new(model),
            source: FeatureSource::Table(Arc::new(table)),
        }
    }

    fn by_header() -> Classifier {
        let name = HeaderName::from_static("x-rate");
        Classifier {
            model: Arc::new(SegmentModel::new(two_segments(Method::Clusters)).unwrap()),
            source: FeatureSource::Headers([name].into()),
        }
    }

    fn segment_of(classifier: &Classifier, request: &FactsBuilder) -> String {
        let facts = request.facts();
        match classifier.segment(&facts) {
            Some(segment) => classifier.model.name(segment).to_owned(),
            None => match classifier.explain(&facts) {
                Placement::Unknown(unknown) => unknown.to_string(),
                placement => panic!("no segment, and yet {placement:?}"),
            },
        }
    }

    #[test]
    fn a_caller_is_looked_up_by_key() {
        for (method, bob) in [(Method::Clusters, "quiet"), (Method::Labels, "busy")] {
            let classifier = by_table(method);
            let of = |key: &str| segment_of(&classifier, &FactsBuilder::caller(key));
            assert_eq!(
                (&*of("ann"), &*of("bob"), &*of("cid")),
                ("quiet", bob, "busy")
            );
            assert_eq!(of("dan"), Unknown::NotInTable.to_string());
        }
        let anonymous = segment_of(&by_table(Method::Clusters), &FactsBuilder::anonymous());
        assert_eq!(anonymous, Unknown::Anonymous.to_string());
    }

    #[test]
    fn features_come_from_headers_where_all_are_numbers() {
        let of = |value: &str| {
            let request = FactsBuilder::anonymous().header("x-rate", value);
            segment_of(&by_header(), &request)
        };
        assert_eq!((&*of("10"), &*of(" 1e2 ")), ("quiet", "busy"));
        for bad in ["", "many", "NaN", "inf", "1,5"] {
            assert_eq!(of(bad), "header `x-rate` is not a finite number", "{bad:?}");
        }
        let none = segment_of(&by_header(), &FactsBuilder::caller("ann"));
        assert_eq!(none, "the request has no header `x-rate`");
    }

    #[test]
    fn it_says_why() {
        let explain =
            |method, key: &str| by_table(method).explain(&FactsBuilder::caller(key).facts());
        match explain(Method::Labels, "bob") {
            Placement::Ruled(rule) => assert_eq!(rule.to_string(), "rate > 40"),
            other => panic!("{other:?}"),
        }
        match explain(Method::Clusters, "ann") {
            Placement::Nearest { nearest, rule } => {
                assert_eq!(nearest.segment, SegmentIndex(0));
                assert!((nearest.distance - 0.06).abs() < 1e-9, "{nearest:?}");
                assert_eq!(rule.unwrap().to_string(), "rate <= 40");
            }
            other => panic!("{other:?}"),
        }
        match explain(Method::Clusters, "bob") {
            Placement::Nearest { rule, .. } => assert_eq!(rule, None, "the tree says another"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_unknown_are_in_the_segment_that_is_said_for_them() {
        let matches = |key: &str, segment, unknown: Option<u16>| {
            let matcher = SegmentMatcher {
                classifier: Arc::new(by_table(Method::Clusters)),
                segment: SegmentIndex(segment),
                unknown: unknown.map(SegmentIndex),
            };
            matcher.matches(&FactsBuilder::caller(key).facts())
        };
        assert!(matches("ann", 0, None) && !matches("ann", 1, Some(1)));
        assert!(!matches("dan", 0, None) && !matches("dan", 0, Some(1)));
        assert!(matches("dan", 1, Some(1)));
    }
}
