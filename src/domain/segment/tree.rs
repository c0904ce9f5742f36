//! A decision tree as flat arrays.
//!
//! Each split asks whether one feature is at most a threshold. Children always stand behind their
//! parent, so every walk ends.

use serde::{Deserialize, Serialize};

use crate::domain::segment::SegmentIndex;

/// Marks a leaf in the place of a feature.
const LEAF: u32 = u32::MAX;

/// A tree as it is written in a model; the first node is the root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tree {
    /// Its nodes; children stand behind their parent.
    pub nodes: Vec<Node>,
}

/// One node of a tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The segment of most of its rows, which is the answer where it is a leaf: a place in the
    /// model's segments.
    pub segment: u16,
    /// How many rows of the training came here.
    pub rows: u64,
    /// What it asks; none in a leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

/// What a node asks, and where it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// A place in the model's features.
    pub feature: u16,
    /// The threshold, in the feature's own unit.
    pub at_most: f64,
    /// The node for rows whose feature is at most the threshold.
    pub below: u32,
    /// The node for all others.
    pub above: u32,
}

impl Tree {
    /// What is wrong with it in a model of so many features and segments.
    pub fn problem(&self, features: usize, segments: usize) -> Option<String> {
        if self.nodes.is_empty() {
            return Some("the tree has no nodes".to_owned());
        }
        self.nodes.iter().enumerate().find_map(|(place, node)| {
            let problem = self.problem_at(place, node, features, segments)?;
            Some(format!("node {place} of the tree {problem}"))
        })
    }

    fn problem_at(
        &self,
        place: usize,
        node: &Node,
        features: usize,
        segments: usize,
    ) -> Option<&'static str> {
        if usize::from(node.segment) >= segments {
            return Some("names a segment that is not there");
        }
        let split = node.split?;
        let is_behind = |child: u32| {
            usize::try_from(child).is_ok_and(|child| child > place && child < self.nodes.len())
        };
        if usize::from(split.feature) >= features {
            Some("asks for a feature that is not there")
        } else if !split.at_most.is_finite() {
            Some("has a threshold that is no number")
        } else if !is_behind(split.below) || !is_behind(split.above) {
            Some("does not lead to nodes behind it")
        } else {
            None
        }
    }
}

/// A tree to be walked: one array of small nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    nodes: Box<[FlatNode]>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct FlatNode {
    at_most: f64,
    /// A place in a row, or [`LEAF`].
    feature: u32,
    /// The next nodes, for rows at most and above the threshold; both the segment in a leaf.
    next: [u32; 2],
}

impl Walk {
    /// Takes a tree with which there is no [`Tree::problem`].
    pub fn new(tree: &Tree) -> Self {
        let flat = |node: &Node| match node.split {
            Some(split) => FlatNode {
                at_most: split.at_most,
                feature: u32::from(split.feature),
                next: [split.below, split.above],
            },
            None => FlatNode {
                at_most: 0.0,
                feature: LEAF,
                next: [u32::from(node.segment); 2],
            },
        };
        Self {
            nodes: tree.nodes.iter().map(flat).collect(),
        }
    }

    /// The segment of a row of features.
    pub fn segment(&self, row: &[f64]) -> SegmentIndex {
        let leaf = self.leaf(row);
        SegmentIndex(u16::try_from(self.nodes[leaf].next[0]).unwrap_or(u16::MAX))
    }

    /// The place of the leaf that a row of features comes to.
    pub fn leaf(&self, row: &[f64]) -> usize {
        let mut place = 0;
        loop {
            let node = &self.nodes[place];
            if node.feature == LEAF {
                return place;
            }
            let is_above = row[node.feature as usize] > node.at_most;
            place = node.next[usize::from(is_above)] as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(segment: u16) -> Node {
        Node {
            segment,
            rows: 1,
            split: None,
        }
    }

    fn split(feature: u16, at_most: f64, below: u32, above: u32) -> Node {
        Node {
            split: Some(Split {
                feature,
                at_most,
                below,
                above,
            }),
            ..leaf(0)
        }
    }

    #[test]
    fn a_row_goes_below_where_it_is_at_most_the_threshold() {
        let tree = Tree {
            nodes: vec![
                split(1, 0.5, 1, 2),
                leaf(0),
                split(0, -3.0, 3, 4),
                leaf(1),
                leaf(2),
            ],
        };
        assert_eq!(tree.problem(2, 3), None);
        let walk = Walk::new(&tree);
        for (row, leaf, segment) in [([9.0, 0.5], 1, 0), ([-3.0, 0.6], 3, 1), ([-2.9, 0.6], 4, 2)] {
            assert_eq!((walk.leaf(&row), walk.segment(&row).0), (leaf, segment));
        }
    }

    #[test]
    fn what_could_not_be_walked_is_found() {
        let problem = |nodes: Vec<Node>| Tree { nodes }.problem(1, 2);
        assert_eq!(problem(vec![leaf(1)]), None);
        for (nodes, part) in [
            (vec![], "no nodes"),
            (vec![leaf(2)], "names a segment"),
            (
                vec![split(1, 0.0, 1, 2), leaf(0), leaf(0)],
                "asks for a feature",
            ),
            (
                vec![split(0, f64::NAN, 1, 2), leaf(0), leaf(0)],
                "no number",
            ),
            (vec![split(0, 0.0, 0, 1), leaf(0)], "nodes behind it"),
            (vec![split(0, 0.0, 1, 2), leaf(0)], "nodes behind it"),
        ] {
            let found = problem(nodes).unwrap();
            assert!(found.contains(part), "{found}");
        }
    }
}
