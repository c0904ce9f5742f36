//! Finds out which segment the sender of a request is in.

use std::sync::Arc;

use http::HeaderName;
use serde_json::Value;

use crate::domain::caller::RequestFacts;
use crate::domain::jwt::Claims;
use crate::domain::segment::centroids::Nearest;
use crate::domain::segment::rule::Rule;
use crate::domain::segment::{
    CallerTable, FEATURES_MAX, Method, Named, SegmentIndex, SegmentModel,
};

/// A model, and where it takes features from.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The model.
    pub model: Arc<SegmentModel>,
    /// Where features come from.
    pub source: FeatureSource,
}

/// Where the features of a request's sender come from.
#[derive(Clone, Debug)]
pub enum FeatureSource {
    /// A table, by the caller's key or pseudonym.
    Table(Arc<CallerTable>),
    /// Header fields of the request, one for each feature in the model's order.
    Headers(Box<[HeaderName]>),
    /// Claims of a token that was verified, one for each feature in the model's order; `a.b` is `b` within `a`.
    Claims(Box<[Box<str>]>),
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
    /// The table calls callers by pseudonyms, and there are none yet.
    #[error("the feature table has pseudonyms, and this Serin has not given any")]
    NoPseudonym,
    /// The features are finite, and their distance is not.
    #[error("the caller's numbers are too far from every segment for a distance")]
    TooFar,
    /// The request brings no token that is believed.
    #[error("the request brings no token that is believed")]
    NoToken,
    /// The token has no such claim.
    #[error("the token has no claim `{0}`")]
    NoClaim(Box<str>),
    /// A claim is something else.
    #[error("the claim `{0}` is no number")]
    ClaimIsNoNumber(Box<str>),
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
            FeatureSource::Table(table) => table.segment(name_in(table, facts).ok()?),
            FeatureSource::Headers(_) | FeatureSource::Claims(_) => {
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
                let name = name_in(table, facts)?;
                let row = table.features(name).ok_or(Unknown::NotInTable)?;
                Ok(classify(row))
            }
            FeatureSource::Headers(names) => read(names, |name| number(facts, name), classify),
            FeatureSource::Claims(names) => {
                let claims = facts.claims.ok_or(Unknown::NoToken)?;
                read(names, |name| claimed(claims, name), classify)
            }
        }
    }
}

/// What a table calls the sender of a request.
fn name_in<'a>(table: &CallerTable, facts: &RequestFacts<'a>) -> Result<&'a str, Unknown> {
    let key = facts.caller.key().ok_or(Unknown::Anonymous)?;
    match table.named() {
        Named::Key => Ok(key),
        Named::Pseudonym => facts.pseudonym.ok_or(Unknown::NoPseudonym),
    }
}

/// Classifies by one number for each name.
fn read<N, T>(
    names: &[N],
    number: impl Fn(&N) -> Result<f64, Unknown>,
    classify: impl FnOnce(&[f64]) -> T,
) -> Result<T, Unknown> {
    let mut row = [0.0; FEATURES_MAX];
    let row = &mut row[..names.len()];
    for (value, name) in row.iter_mut().zip(names) {
        *value = number(name)?;
    }
    Ok(classify(row))
}

/// A claim that is a number, or a text that is one.
fn claimed(claims: &Claims, name: &str) -> Result<f64, Unknown> {
    let value = claims.get(name);
    let value = value.ok_or_else(|| Unknown::NoClaim(name.into()))?;
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| number.is_finite());
    number.ok_or_else(|| Unknown::ClaimIsNoNumber(name.into()))
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
    use serde_json::json;

    use super::*;
    use crate::domain::matcher::Matches;
    use crate::domain::matcher::segment::SegmentMatcher;
    use crate::domain::segment::model::tests::two_segments;
    use crate::domain::segment::{Columns, FeatureTable};
    use crate::domain::testing::FactsBuilder;

    fn by_table(method: Method) -> Classifier {
        let model = SegmentModel::new(two_segments(method)).unwrap();
        let table = table("key,rate\nann,3\nbob,45\ncid,90\n", &model);
        assert_eq!(table.len(), 3);
        Classifier {
            model: Arc::new(model),
            source: FeatureSource::Table(Arc::new(table)),
        }
    }

    fn table(text: &str, model: &SegmentModel) -> CallerTable {
        let table = FeatureTable::read(text, &Columns::default()).unwrap();
        CallerTable::new(table, model).unwrap()
    }

    fn by_header() -> Classifier {
        let name = HeaderName::from_static("x-rate");
        Classifier {
            model: Arc::new(SegmentModel::new(two_segments(Method::Clusters)).unwrap()),
            source: FeatureSource::Headers([name].into()),
        }
    }

    fn segment_of(classifier: &Classifier, request: &FactsBuilder) -> String {
        told(classifier, &request.facts())
    }

    fn told(classifier: &Classifier, facts: &RequestFacts<'_>) -> String {
        match classifier.segment(facts) {
            Some(segment) => classifier.model.name(segment).to_owned(),
            None => match classifier.explain(facts) {
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
    fn a_caller_is_looked_up_by_pseudonym_where_the_table_has_those() {
        let model = SegmentModel::new(two_segments(Method::Clusters)).unwrap();
        let table = table("pseudonym,rate\na1,3\nb2,90\n", &model);
        let classifier = Classifier {
            model: Arc::new(model),
            source: FeatureSource::Table(Arc::new(table)),
        };
        let ann = FactsBuilder::caller("ann");
        let called = |pseudonym| {
            let facts = RequestFacts {
                pseudonym,
                ..ann.facts()
            };
            told(&classifier, &facts)
        };
        assert_eq!(
            (&*called(Some("a1")), &*called(Some("b2"))),
            ("quiet", "busy")
        );
        assert_eq!(called(Some("c3")), Unknown::NotInTable.to_string());
        assert_eq!(called(None), Unknown::NoPseudonym.to_string());
        // Whoever takes a pseudonym for a key is not who has it.
        assert_eq!(
            segment_of(&classifier, &FactsBuilder::caller("a1")),
            Unknown::NoPseudonym.to_string()
        );
        let anonymous = segment_of(&classifier, &FactsBuilder::anonymous());
        assert_eq!(anonymous, Unknown::Anonymous.to_string());
        // A pseudonym does not stand in for a key either.
        let by_key = by_table(Method::Clusters);
        let facts = RequestFacts {
            pseudonym: Some("cid"),
            ..ann.facts()
        };
        assert_eq!(told(&by_key, &facts), "quiet");
    }

    #[test]
    fn whoever_is_too_far_from_every_segment_is_in_none_or_the_one_for_those() {
        let model = SegmentModel::new(two_segments(Method::Clusters)).unwrap();
        let table = table("key,rate\nann,1e200\nbob,90\n", &model);
        let classifier = Arc::new(Classifier {
            model: Arc::new(model),
            source: FeatureSource::Table(Arc::new(table)),
        });
        let [ann, bob] = ["ann", "bob"].map(FactsBuilder::caller);
        assert_eq!(segment_of(&classifier, &ann), Unknown::TooFar.to_string());
        assert_eq!(segment_of(&classifier, &bob), "busy");
        let far = FactsBuilder::anonymous().header("x-rate", "-1e200");
        assert_eq!(segment_of(&by_header(), &far), Unknown::TooFar.to_string());
        let quiet = |unknown| SegmentMatcher {
            classifier: Arc::clone(&classifier),
            segment: SegmentIndex(0),
            unknown,
        };
        assert!(!quiet(None).matches(&ann.facts()));
        assert!(quiet(Some(SegmentIndex(0))).matches(&ann.facts()));
        assert!(!quiet(Some(SegmentIndex(0))).matches(&bob.facts()));
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
    fn features_come_from_claims_of_a_token_that_is_believed() {
        let classifier = Classifier {
            model: Arc::new(SegmentModel::new(two_segments(Method::Clusters)).unwrap()),
            source: FeatureSource::Claims(["usage.rate".into()].into()),
        };
        let of = |claims: Value| {
            let Value::Object(claims) = claims else {
                unreachable!("claims are a map")
            };
            let claims = Claims::new(claims);
            let request = FactsBuilder::anonymous();
            let facts = RequestFacts {
                claims: Some(&claims),
                ..request.facts()
            };
            match classifier.segment(&facts) {
                Some(segment) => classifier.model.name(segment).to_owned(),
                None => format!("{:?}", classifier.explain(&facts)),
            }
        };
        for (claims, expected) in [
            (json!({ "usage": { "rate": 10 } }), "quiet"),
            (json!({ "usage": { "rate": 100.5 } }), "busy"),
            (json!({ "usage.rate": " 1e2 " }), "busy"),
            (json!({}), "Unknown(NoClaim(\"usage.rate\"))"),
            (
                json!({ "usage.rate": null }),
                "Unknown(NoClaim(\"usage.rate\"))",
            ),
            (
                json!({ "usage.rate": "NaN" }),
                "Unknown(ClaimIsNoNumber(\"usage.rate\"))",
            ),
            (
                json!({ "usage.rate": true }),
                "Unknown(ClaimIsNoNumber(\"usage.rate\"))",
            ),
            (
                json!({ "usage.rate": [10] }),
                "Unknown(ClaimIsNoNumber(\"usage.rate\"))",
            ),
        ] {
            assert_eq!(of(claims), expected);
        }
        let without = segment_of(&classifier, &FactsBuilder::caller("ann"));
        assert_eq!(without, "the request brings no token that is believed");
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
