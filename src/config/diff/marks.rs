//! One of the two texts, with what the schema says of its values.

use std::collections::HashSet;

use serde_json::Value;

use crate::config::report::Report;
use crate::config::schema;
use crate::config::tree::{self, Content, Node, Place};
use crate::config::without_mark;

/// A text as a tree.
pub(super) struct Side {
    pub(super) root: Node,
    secrets: HashSet<Place>,
    choices: HashSet<Place>,
}

impl Side {
    pub(super) fn of(text: &str) -> Self {
        Self::by_schema(text, &schema::document())
    }

    pub(super) fn by_schema(text: &str, schema: &Value) -> Self {
        let nothing = || Node {
            place: Place::ROOT,
            content: Content::Null,
        };
        let report = Report::default();
        let root = tree::read(without_mark(text), &report).unwrap_or_else(|_| nothing());
        let mut side = Self {
            root: nothing(),
            secrets: HashSet::new(),
            choices: HashSet::new(),
        };
        side.mark(schema, &[schema], &root);
        Self { root, ..side }
    }

    /// Whether nothing is to be shown of a value.
    pub(super) fn is_secret(&self, node: &Node) -> bool {
        self.secrets.contains(&node.place)
    }

    /// Whether a value is one of several kinds, which have nothing to do with each other.
    pub(super) fn is_choice(&self, node: &Node) -> bool {
        self.choices.contains(&node.place)
    }

    /// Marks a value, and all below, that one of these parts of the schema is about.
    fn mark<'s>(&mut self, root: &'s Value, parts: &[&'s Value], node: &Node) {
        let mut meant = Vec::new();
        for part in parts {
            if self.resolve(root, part, &mut meant) && !node.entries().is_empty() {
                self.choices.insert(node.place);
            }
        }
        if meant.iter().any(|part| part["writeOnly"] == true) {
            self.secrets.insert(node.place);
        }
        match &node.content {
            Content::List(items) => {
                let of_items: Vec<_> = meant.iter().filter_map(|part| part.get("items")).collect();
                for item in items {
                    self.mark(root, &of_items, item);
                }
            }
            Content::Map(entries) => {
                for entry in entries {
                    let of_value = |part: &&'s Value| {
                        let known = part
                            .get("properties")
                            .and_then(|keys| keys.get(&entry.name));
                        known.or_else(|| part.get("additionalProperties"))
                    };
                    let of_value: Vec<_> = meant.iter().filter_map(of_value).collect();
                    self.mark(root, &of_value, &entry.value);
                }
            }
            _ => {}
        }
    }

    /// Follows references and alternatives; whether there was a choice on the way.
    fn resolve<'s>(&self, root: &'s Value, part: &'s Value, meant: &mut Vec<&'s Value>) -> bool {
        meant.push(part);
        let mut is_choice = false;
        if let Some(name) = part["$ref"].as_str() {
            let target = name.strip_prefix('#').and_then(|path| root.pointer(path));
            is_choice |= target.is_some_and(|target| self.resolve(root, target, meant));
        }
        for key in ["anyOf", "oneOf"] {
            let alternatives = part[key].as_array().into_iter().flatten();
            for alternative in alternatives {
                is_choice |= key == "oneOf";
                is_choice |= self.resolve(root, alternative, meant);
            }
        }
        is_choice
    }
}
