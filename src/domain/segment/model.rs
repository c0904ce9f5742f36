//! A trained model: what is written as JSON, and what is ready to classify.

use serde::{Deserialize, Serialize};

use crate::domain::segment::centroids::Centroids;
use crate::domain::segment::rule::{Rule, rules};
use crate::domain::segment::tree::{Tree, Walk};
use crate::domain::segment::{FEATURES_MAX, NODES_MAX, SEGMENTS_MAX, SegmentIndex};

/// The version of the form that models are written in.
pub const VERSION: u32 = 1;

/// How a model came by its segments, which is also how it finds a row's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Clusters of callers that are alike: the nearest centroid decides, and the tree explains.
    Clusters,
    /// Labels that somebody gave: the tree decides.
    Labels,
}

/// One number known of each caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Its name, which is that of a column.
    pub name: String,
    /// Its mean in the training.
    pub mean: f64,
    /// Its standard deviation in the training.
    pub deviation: f64,
}

/// A group of callers that was learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its name, by which configurations refer to it.
    pub name: String,
    /// How many rows of the training are in it.
    pub rows: u64,
    /// The mean of each feature over these rows, in the feature's own unit.
    pub centroid: Vec<f64>,
}

/// How good a model was when it was trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// How much closer rows are to their own segment than to the next, from -1 to 1 (Rousseeuw
    /// 1987), over at most [the rows](crate::domain::segment) that training looked at.
    pub silhouette: f64,
    /// The sum over all rows of the squared distance to their centroid, in standard deviations.
    pub inertia: f64,
    /// The share of rows that the tree puts into their own segment.
    pub fidelity: f64,
    /// The share of rows that a tree puts into their own segment that was trained on other rows:
    /// five folds, each with the same mixture of segments, cut several times.
    pub accuracy: f64,
}

/// What a model says, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDocument {
    /// [`VERSION`].
    pub version: u32,
    /// The day it was trained, as `YYYY-MM-DD`.
    pub date: String,
    /// The seed of all that was drawn at random.
    pub seed: u64,
    /// How it came by its segments.
    pub method: Method,
    /// How many rows it was trained on.
    pub rows: u64,
    /// What is known of a caller, in the order in which it is given.
    pub features: Vec<Feature>,
    /// The segments, the largest first.
    pub segments: Vec<Segment>,
    /// The tree that decides or explains.
    pub tree: Tree,
    /// How good it was.
    pub quality: Quality,
}

/// A model that can classify.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentModel {
    document: ModelDocument,
    centroids: Centroids,
    walk: Walk,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The text is not JSON of the right form.
    #[error("is not a model of segments: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It was written by another version.
    #[error(
        "is a model of version {found}, and this program reads version {VERSION}; train it anew"
    )]
    Version {
        /// What it says.
        found: u64,
    },
    /// What it says cannot be.
    #[error("is no usable model: {0}")]
    Unusable(String),
}

/// What is read first, so that a later form is told as such.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl SegmentModel {
    /// Reads a model.
    ///
    /// # Errors
    /// Where it is not JSON, of another version, or where something in it does not fit the rest.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let versioned: Versioned = serde_json::from_str(text)?;
        if versioned.version != u64::from(VERSION) {
            return Err(ModelError::Version {
                found: versioned.version,
            });
        }
        Self::new(serde_json::from_str(text)?)
    }

    /// Makes a model ready.
    ///
    /// # Errors
    /// Where something in it does not fit the rest.
    pub fn new(document: ModelDocument) -> Result<Self, ModelError> {
        if let Some(problem) = problem(&document) {
            return Err(ModelError::Unusable(problem));
        }
        let scales = document.features.iter().map(|f| (f.mean, f.deviation));
        let points = document.segments.iter().map(|s| &*s.centroid);
        Ok(Self {
            centroids: Centroids::new(scales, points),
            walk: Walk::new(&document.tree),
            document,
        })
    }

    /// What it says.
    pub const fn document(&self) -> &ModelDocument {
        &self.document
    }

    /// What is written to a file, the same for equal models.
    pub fn to_json(&self) -> String {
        // A model holds finite numbers and texts, which can be written.
        serde_json::to_string_pretty(&self.document).unwrap_or_default() + "\n"
    }

    /// The segment of a row of features, in the order of the model's. None where the centroids decide and all are
    /// further away than can be told.
    pub fn segment(&self, row: &[f64]) -> Option<SegmentIndex> {
        match self.document.method {
            Method::Clusters => self.centroids.nearest(row),
            Method::Labels => Some(self.walk.segment(row)),
        }
    }

    /// The centroids, standardised.
    pub const fn centroids(&self) -> &Centroids {
        &self.centroids
    }

    /// The tree, to be walked.
    pub const fn walk(&self) -> &Walk {
        &self.walk
    }

    /// The features' names, in their order.
    pub fn feature_names(&self) -> Vec<&str> {
        let features = self.document.features.iter();
        features.map(|feature| &*feature.name).collect()
    }

    /// The name of a segment.
    pub fn name(&self, segment: SegmentIndex) -> &str {
        let found = self.document.segments.get(usize::from(segment.0));
        found.map_or("", |segment| &segment.name)
    }

    /// The segment of a name.
    pub fn index_of(&self, name: &str) -> Option<SegmentIndex> {
        let mut segments = self.document.segments.iter();
        let place = segments.position(|segment| segment.name == name)?;
        u16::try_from(place).ok().map(SegmentIndex)
    }

    /// The tree in words.
    pub fn rules(&self) -> Vec<Rule> {
        rules(&self.document.tree, &self.feature_names())
    }

    /// The rule that the tree has for a row of features.
    pub fn rule_for(&self, row: &[f64]) -> Option<Rule> {
        let leaf = self.walk.leaf(row);
        self.rules().into_iter().find(|rule| rule.leaf == leaf)
    }
}

/// What is wrong with a model, of which the form is right.
fn problem(document: &ModelDocument) -> Option<String> {
    let features = document.features.len();
    let segments = document.segments.len();
    let bounds = [
        ("features", features, FEATURES_MAX),
        ("segments", segments, SEGMENTS_MAX),
        ("nodes", document.tree.nodes.len(), NODES_MAX),
    ];
    for (what, found, most) in bounds {
        if found == 0 || found > most {
            return Some(format!(
                "it has {found} {what}, and 1 to {most} are possible"
            ));
        }
    }
    let names = document.features.iter().map(|feature| &*feature.name);
    let segment_names = document.segments.iter().map(|segment| &*segment.name);
    repeated(names)
        .map(|name| format!("two features are named `{name}`"))
        .or_else(|| repeated(segment_names).map(|n| format!("two segments are named `{n}`")))
        .or_else(|| document.features.iter().find_map(feature_problem))
        .or_else(|| {
            let mut segments = document.segments.iter();
            segments.find_map(|segment| segment_problem(segment, features))
        })
        .or_else(|| document.tree.problem(features, segments))
}

fn feature_problem(feature: &Feature) -> Option<String> {
    let name = &feature.name;
    if name.trim().is_empty() {
        return Some("a feature has no name".to_owned());
    }
    let is_scale = feature.deviation.is_finite() && feature.deviation > 0.0;
    (!feature.mean.is_finite() || !is_scale)
        .then(|| format!("feature `{name}` has no mean and positive deviation"))
}

fn segment_problem(segment: &Segment, features: usize) -> Option<String> {
    let name = &segment.name;
    if name.trim().is_empty() {
        return Some("a segment has no name".to_owned());
    }
    let is_point = segment.centroid.len() == features;
    let is_finite = segment.centroid.iter().all(|value| value.is_finite());
    (!is_point || !is_finite)
        .then(|| format!("the centroid of segment `{name}` is not {features} numbers"))
}

/// The first name that stands twice.
fn repeated<'n>(names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Some(name);
        }
        seen.push(name);
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::segment::tree::{Node, Split};

    /// Callers with a low and with a high rate.
    pub(crate) fn two_segments(method: Method) -> ModelDocument {
        let segment = |name: &str, rate: f64| Segment {
            name: name.to_owned(),
            rows: 50,
            centroid: vec![rate],
        };
        let node = |segment, split| Node {
            segment,
            rows: 50,
            split,
        };
        ModelDocument {
            version: VERSION,
            date: "2026-11-30".to_owned(),
            seed: 1,
            method,
            rows: 100,
            features: vec![Feature {
                name: "rate".to_owned(),
                mean: 50.0,
                deviation: 50.0,
            }],
            segments: vec![segment("quiet", 0.0), segment("busy", 100.0)],
            // Not in the middle, so that tree and centroids can be told apart.
            tree: Tree {
                nodes: vec![
                    node(
                        0,
                        Some(Split {
                            feature: 0,
                            at_most: 40.0,
                            below: 1,
                            above: 2,
                        }),
                    ),
                    node(0, None),
                    node(1, None),
                ],
            },
            quality: Quality::default(),
        }
    }

    #[test]
    fn centroids_decide_on_clusters_and_the_tree_on_labels() {
        let name = |method, rate: f64| {
            let model = SegmentModel::new(two_segments(method)).unwrap();
            model.name(model.segment(&[rate]).unwrap()).to_owned()
        };
        assert_eq!(name(Method::Clusters, 45.0), "quiet");
        assert_eq!(name(Method::Clusters, 51.0), "busy");
        assert_eq!(name(Method::Labels, 39.0), "quiet");
        assert_eq!(name(Method::Labels, 45.0), "busy");
    }

    #[test]
    fn what_is_written_is_read() {
        let model = SegmentModel::new(two_segments(Method::Clusters)).unwrap();
        assert_eq!(SegmentModel::parse(&model.to_json()).unwrap(), model);
        assert_eq!(model.index_of("busy"), Some(SegmentIndex(1)));
        assert_eq!(model.rule_for(&[41.0]).unwrap().to_string(), "rate > 40");
    }

    #[test]
    fn a_model_of_another_version_is_told_as_such() {
        let error = SegmentModel::parse("{\"version\": 2, \"forest\": []}").unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
        let error = SegmentModel::parse("{\"features\": []}").unwrap_err();
        assert!(
            error.to_string().contains("missing field `version`"),
            "{error}"
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        type Change = fn(&mut ModelDocument);
        let changes: [(Change, &str); 8] = [
            (|m| m.features.clear(), "it has 0 features"),
            (
                |m| m.segments = vec![m.segments[0].clone(); 65],
                "it has 65 segments",
            ),
            (
                |m| m.features[0].deviation = 0.0,
                "feature `rate` has no mean",
            ),
            (
                |m| m.features[0].mean = f64::NAN,
                "feature `rate` has no mean",
            ),
            (
                |m| m.segments[1].name = "quiet".to_owned(),
                "two segments are named `quiet`",
            ),
            (
                |m| m.segments[1].name = " ".to_owned(),
                "a segment has no name",
            ),
            (
                |m| m.segments[1].centroid.push(1.0),
                "the centroid of segment `busy`",
            ),
            (|m| m.tree.nodes[2].segment = 7, "node 2 of the tree"),
        ];
        for (change, part) in changes {
            let mut document = two_segments(Method::Clusters);
            change(&mut document);
            let error = SegmentModel::new(document).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
