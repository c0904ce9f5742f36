//! Says in words what a tree asks of those that it puts into a segment.

use std::fmt;

use crate::domain::segment::SegmentIndex;
use crate::domain::segment::tree::Tree;

/// All that one leaf of a tree asks for: one condition for each feature that is asked about, in
/// the order in which they are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The conditions, all of which hold.
    pub conditions: Vec<Condition>,
    /// The segment of those for whom they hold.
    pub segment: SegmentIndex,
    /// How many rows of the training came here.
    pub rows: u64,
    /// The place of the leaf.
    pub leaf: usize,
}

/// Between which bounds a feature lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The feature's name.
    pub feature: Box<str>,
    /// What it is greater than.
    pub above: Option<f64>,
    /// What it is at most.
    pub at_most: Option<f64>,
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_empty() {
            return out.write_str("always");
        }
        for (place, condition) in self.conditions.iter().enumerate() {
            if place > 0 {
                out.write_str(" and ")?;
            }
            condition.fmt(out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.feature;
        match (self.above, self.at_most) {
            (None, None) => out.write_str(name),
            (Some(above), None) => write!(out, "{name} > {}", Short(above)),
            (None, Some(most)) => write!(out, "{name} <= {}", Short(most)),
            (Some(above), Some(most)) => {
                write!(out, "{} < {name} <= {}", Short(above), Short(most))
            }
        }
    }
}

/// A number with four significant digits, for people.
#[derive(Clone, Copy, Debug)]
pub struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded: f64 = format!("{:.3e}", self.0).parse().unwrap_or(self.0);
        match rounded.abs() {
            // Adding nothing turns the negative zero into the other one.
            size if size < 1e-4 && size > 0.0 || size >= 1e15 => write!(out, "{rounded:e}"),
            _ => write!(out, "{}", rounded + 0.0),
        }
    }
}

/// The rules of all leaves, from the lowest values of what is asked first to the highest.
pub fn rules<N: AsRef<str>>(tree: &Tree, features: &[N]) -> Vec<Rule> {
    let mut found = Vec::new();
    collect(tree, features, 0, &[], &mut found);
    found
}

fn collect<N: AsRef<str>>(
    tree: &Tree,
    features: &[N],
    place: usize,
    trail: &[Condition],
    found: &mut Vec<Rule>,
) {
    let Some(node) = tree.nodes.get(place) else {
        return;
    };
    let Some(split) = node.split else {
        found.push(Rule {
            conditions: trail.to_owned(),
            segment: SegmentIndex(node.segment),
            rows: node.rows,
            leaf: place,
        });
        return;
    };
    let name = features[usize::from(split.feature)].as_ref();
    let known = trail
        .iter()
        .position(|condition| &*condition.feature == name);
    for (child, is_above) in [(split.below, false), (split.above, true)] {
        let mut narrowed = trail.to_owned();
        let at = known.unwrap_or_else(|| {
            narrowed.push(Condition {
                feature: name.into(),
                above: None,
                at_most: None,
            });
            narrowed.len() - 1
        });
        match is_above {
            true => narrowed[at].above = Some(split.at_most),
            false => narrowed[at].at_most = Some(split.at_most),
        }
        collect(tree, features, child as usize, &narrowed, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::segment::tree::{Node, Split};

    #[test]
    fn conditions_on_one_feature_are_one_condition() {
        let node = |segment, split: Option<(u16, f64, u32, u32)>| Node {
            segment,
            rows: 10,
            split: split.map(|(feature, at_most, below, above)| Split {
                feature,
                at_most,
                below,
                above,
            }),
        };
        let tree = Tree {
            nodes: vec![
                node(0, Some((0, 5.0, 1, 2))),
                node(0, None),
                node(1, Some((1, 0.123_456, 3, 4))),
                node(1, None),
                node(2, Some((0, 8.0, 5, 6))),
                node(2, None),
                node(1, None),
            ],
        };
        let found: Vec<String> = rules(&tree, &["rate", "errors"])
            .iter()
            .map(|rule| format!("{}: {rule}", rule.segment.0))
            .collect();
        assert_eq!(
            found,
            [
                "0: rate <= 5",
                "1: rate > 5 and errors <= 0.1235",
                "2: 5 < rate <= 8 and errors > 0.1235",
                "1: rate > 8 and errors > 0.1235",
            ]
        );
        let lone = Tree {
            nodes: vec![node(0, None)],
        };
        assert_eq!(rules(&lone, &["rate"])[0].to_string(), "always");
    }

    #[test]
    fn numbers_are_short() {
        for (number, shown) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1234.56, "1235"),
            (0.000_123_46, "0.0001235"),
            (1e-9, "1e-9"),
            (-2.5, "-2.5"),
            (1.5e20, "1.5e20"),
        ] {
            assert_eq!(Short(number).to_string(), shown);
        }
    }
}
