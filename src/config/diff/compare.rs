//! Goes through two trees side by side.

use std::collections::{HashMap, HashSet};

use crate::config::diff::marks::Side;
use crate::config::diff::render::{
    SHOWN_CHARS_MAX, entry_identities, identity, is_set, shown, shown_list, value_identity,
};
use crate::config::diff::{Change, Diff};
use crate::config::tree::{Content, Node, push_key};

/// Keys by which an item of a list is known again, the first that it has.
const NAMING_KEYS: [&str; 4] = ["name", "url", "address", "webhook"];

/// Keys of a route that say where it goes, not what it fits.
const TARGET_KEYS: [&str; 2] = ["flag", "backend"];

/// A comparison under way.
pub(super) struct Comparison<'a> {
    old: &'a Side,
    new: &'a Side,
    diff: Diff,
}

/// Where two values stand.
#[derive(Clone, Copy)]
struct At<'p> {
    path: &'p str,
    /// The key of the value, or of the list that it is in.
    key: &'p str,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(old: &'a Side, new: &'a Side) -> Self {
        Self {
            old,
            new,
            diff: Diff::default(),
        }
    }

    pub(super) fn into_diff(self) -> Diff {
        self.diff
    }

    pub(super) fn compare_roots(&mut self) {
        let (old, new) = (&self.old.root, &self.new.root);
        self.compare_entries(At { path: "", key: "" }, old, new);
    }

    fn compare(&mut self, at: At<'_>, old: &'a Node, new: &'a Node) {
        let is_same = value_identity(at.key, old) == value_identity(at.key, new);
        if is_same {
            return self.compare_order(at, old, new);
        }
        let is_choice = self.old.is_choice(old) || self.new.is_choice(new);
        match (&old.content, &new.content) {
            (Content::Map(before), Content::Map(after))
                if !is_choice
                    || before
                        .iter()
                        .map(|e| &e.name)
                        .eq(after.iter().map(|e| &e.name)) =>
            {
                self.compare_entries(at, old, new);
                self.compare_order(at, old, new);
            }
            (Content::List(before), Content::List(after)) => self.compare_lists(at, before, after),
            _ => self.tell(at.path, Some(old), Some(new)),
        }
    }

    fn compare_entries(&mut self, at: At<'_>, old: &'a Node, new: &'a Node) {
        let path_of = |name: &str| {
            let mut path = at.path.to_owned();
            push_key(&mut path, name);
            path
        };
        for entry in new.entries() {
            let path = path_of(&entry.name);
            match old.get(&entry.name) {
                Some(before) => {
                    let key = &*entry.name;
                    self.compare(At { path: &path, key }, before, &entry.value);
                }
                None => self.tell(&path, None, Some(&entry.value)),
            }
        }
        for entry in old.entries() {
            if new.get(&entry.name).is_none() {
                self.tell(&path_of(&entry.name), Some(&entry.value), None);
            }
        }
    }

    /// The order of the top-level groups decides, though they are a map.
    fn compare_order(&mut self, at: At<'_>, old: &Node, new: &Node) {
        if at.path != "groups" {
            return;
        }
        let names = |of: &'_ Node, other: &Node| -> Vec<String> {
            let names = of.entries().iter().map(|entry| entry.name.clone());
            names.filter(|name| other.get(name).is_some()).collect()
        };
        let (before, after) = (names(old, new), names(new, old));
        if before != after {
            self.diff.add(Change {
                path: at.path.to_owned(),
                before: Some(format!("[{}]", before.join(", "))),
                after: Some(format!("[{}]", after.join(", "))),
                note: Some("the first group that a caller is in decides".to_owned()),
            });
        }
    }

    fn compare_lists(&mut self, at: At<'_>, old: &'a [Node], new: &'a [Node]) {
        let is_scalar = |node: &Node| !matches!(node.content, Content::Map(_) | Content::List(_));
        if old.iter().chain(new).all(is_scalar) {
            self.compare_scalars(at, old, new);
        } else {
            self.compare_items(at, old, new);
        }
    }

    /// Short lists are shown whole; of a long one only what is different.
    fn compare_scalars(&mut self, at: At<'_>, old: &'a [Node], new: &'a [Node]) {
        let all = |items: &'a [Node]| items.iter().collect::<Vec<_>>();
        let (before, after) = (
            shown_list(self.old, &all(old)),
            shown_list(self.new, &all(new)),
        );
        let is_short = |text: &str| text.chars().count() < SHOWN_CHARS_MAX;
        let change = if (is_short(&before) && is_short(&after)) || !is_set(at.key) {
            Change {
                path: at.path.to_owned(),
                before: Some(before),
                after: Some(after),
                note: None,
            }
        } else {
            let (removed, added) = (without(old, new), without(new, old));
            let (before, after) = (old.len(), new.len());
            Change {
                path: at.path.to_owned(),
                before: (!removed.is_empty()).then(|| shown_list(self.old, &removed)),
                after: (!added.is_empty()).then(|| shown_list(self.new, &added)),
                note: Some(format!(
                    "{} removed, {} added; {before} before, {after} now",
                    removed.len(),
                    added.len()
                )),
            }
        };
        self.diff.add(change);
    }

    /// Items are known again by being equal, then by their names, then by their order.
    fn compare_items(&mut self, at: At<'_>, old: &'a [Node], new: &'a [Node]) {
        let pairs = pairs(old, new);
        for (index, item) in new.iter().enumerate() {
            let path = format!("{}[{index}]", at.path);
            match pairs[index] {
                Some(before) => {
                    // A list within a list has no key of its own.
                    self.compare(
                        At {
                            path: &path,
                            key: "",
                        },
                        &old[before],
                        item,
                    );
                }
                None => self.tell(&path, None, Some(item)),
            }
        }
        let paired: HashSet<_> = pairs.iter().flatten().copied().collect();
        for (index, item) in old.iter().enumerate() {
            if !paired.contains(&index) {
                self.tell(&format!("{}[{index}]", at.path), Some(item), None);
            }
        }
        let order: Vec<_> = pairs.iter().flatten().collect();
        if !is_set(at.key) && !order.is_sorted() {
            self.diff.add(Change {
                path: at.path.to_owned(),
                before: None,
                after: None,
                note: Some("the order has changed".to_owned()),
            });
        }
    }

    fn tell(&mut self, path: &str, old: Option<&Node>, new: Option<&Node>) {
        self.diff.add(Change {
            path: path.to_owned(),
            before: old.map(|node| shown(self.old, node)),
            after: new.map(|node| shown(self.new, node)),
            note: note(path, new).map(str::to_owned),
        });
    }
}

/// What follows from a change.
fn note(path: &str, after: Option<&Node>) -> Option<&'static str> {
    let key = path.strip_prefix("flags.")?;
    let has_rollout = |node: &Node| node.get("rollout").is_some();
    if key.ends_with(".rollout.revision") {
        Some("another rollout starts, at 0%")
    } else if key.ends_with(".rollout") && after.is_some() {
        Some("a rollout starts, at 0%")
    } else if key.ends_with(".enabled") && matches!(after?.content, Content::Bool(false)) {
        Some("stable for everyone")
    } else if key.ends_with(".salt") {
        Some("other callers get canary")
    } else if !key.contains('.') && after.is_some_and(has_rollout) {
        Some("its rollout starts, at 0%")
    } else {
        None
    }
}

/// The items that are not in another list, each as often as it is there too often.
fn without<'n>(items: &'n [Node], other: &[Node]) -> Vec<&'n Node> {
    let mut there: HashMap<String, usize> = HashMap::new();
    for item in other {
        *there.entry(identity(item)).or_default() += 1;
    }
    items
        .iter()
        .filter(|item| match there.get_mut(&identity(item)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .collect()
}

/// For each new item the old one that it was.
fn pairs(old: &[Node], new: &[Node]) -> Vec<Option<usize>> {
    let mut pairs = vec![None; new.len()];
    let mut free: Vec<bool> = vec![true; old.len()];
    for known_by in [identity, label] {
        let mut waiting: HashMap<String, Vec<usize>> = HashMap::new();
        // From the end, so that the first is taken first.
        for index in (0..old.len()).rev().filter(|index| free[*index]) {
            waiting
                .entry(known_by(&old[index]))
                .or_default()
                .push(index);
        }
        for (item, pair) in new.iter().zip(&mut pairs) {
            if pair.is_none() {
                *pair = waiting.get_mut(&known_by(item)).and_then(Vec::pop);
                if let Some(index) = *pair {
                    free[index] = false;
                }
            }
        }
    }
    let rest_of_old: Vec<_> = (0..old.len()).filter(|index| free[*index]).collect();
    let rest_of_new: Vec<_> = (0..new.len())
        .filter(|index| pairs[*index].is_none())
        .collect();
    if rest_of_old.len() == rest_of_new.len() {
        for (before, after) in rest_of_old.into_iter().zip(rest_of_new) {
            pairs[after] = Some(before);
        }
    }
    pairs
}

/// What an item is known by when it has changed: its name, or what it fits.
fn label(item: &Node) -> String {
    if let Some(name) = NAMING_KEYS.iter().find_map(|key| item.get(key)) {
        return identity(name);
    }
    let entries = item.entries().iter();
    let parts = entry_identities(entries.filter(|entry| !TARGET_KEYS.contains(&&*entry.name)));
    match parts.len() {
        0 => identity(item),
        _ => parts.join(","),
    }
}
