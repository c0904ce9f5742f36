//! Reads YAML into a tree in which every key and every value has a number.
//!
//! The YAML library tells line and column only when reading *fails*. So keys and values are
//! numbered in reading order, and where a problem needs its position the text is read again with
//! the same visitor, which fails on purpose at that number; the library's error then carries line
//! and column, and the text as it was written (`2.40`, which the tree knows as 2.4). That costs a
//! second reading for each problem and nothing for a file without any.
//!
//! A key written twice, a merge key and a tag are noted while reading, which goes on.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use crate::config::report::{Problem, Report};

/// Most keys and values read from one file.
///
/// A list of a hundred thousand callers fits ten times over; a few kilobytes of aliases that
/// repeat each other stop here, long before they fill the memory.
const NODES_MAX: u32 = 1_000_000;

/// What YAML 1.1 calls a key whose value is merged into its map.
pub(super) const MERGE_KEY: &str = "<<";

/// A key or value of the file, as its number in reading order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place(u32);

impl Place {
    /// The whole file.
    pub(super) const ROOT: Self = Self(0);

    /// The key or value with this number.
    pub(super) const fn of_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the file's order; a key's second entry is refused.
    Map(Vec<Entry>),
}

/// A key of a map and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Place,
    pub(super) name: String,
    pub(super) value: Node,
}

impl Node {
    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of one key.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let entry = self.entries().iter().find(|entry| entry.name == name);
        entry.map(|entry| &entry.value)
    }

    /// The way from this node to a key or value below it, such as `flags.orders.stages[2]`; empty
    /// for the node itself.
    pub(super) fn path_to(&self, place: Place) -> String {
        let mut path = String::new();
        self.walk_to(place, &mut path);
        path
    }

    /// Numbers grow in reading order, so the child to enter is the last that starts at or before.
    fn walk_to(&self, place: Place, path: &mut String) {
        match &self.content {
            Content::Map(entries) => {
                if let Some(entry) = entries.iter().rev().find(|entry| entry.key <= place) {
                    push_key(path, &entry.name);
                    entry.value.walk_to(place, path);
                }
            }
            Content::List(items) => {
                let entered = items.iter().rposition(|item| item.place <= place);
                if let Some(index) = entered {
                    path.push_str(&format!("[{index}]"));
                    items[index].walk_to(place, path);
                }
            }
            _ => {}
        }
    }
}

/// Goes on to a key.
pub(super) fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '<');
    if !key.is_empty() && key.chars().all(is_plain) {
        path.push_str(key);
    } else {
        path.push_str(&format!("{key:?}"));
    }
}

/// Reads a text; what is wrong with single keys goes to the report.
pub(super) fn read(text: &str, report: &Report) -> Result<Node, serde_yaml::Error> {
    read_from(text, Place::ROOT, report).map(|(node, _)| node)
}

/// Reads a text after others: numbers its keys and values from a place on, and gives the place after the
/// last.
pub(super) fn read_from(
    text: &str,
    first: Place,
    report: &Report,
) -> Result<(Node, Place), serde_yaml::Error> {
    let reading = Reading::new(Some(report), None);
    reading.next.set(first.0);
    let node = NodeSeed(&reading).deserialize(serde_yaml::Deserializer::from_str(text))?;
    Ok((node, Place(reading.next.get())))
}

/// Where a key or value is written, and how.
pub(super) struct Written {
    /// Counted from 1.
    pub(super) line: usize,
    /// Counted from 1, in characters.
    pub(super) column: usize,
    /// The text of a single value as it stands in the file, without quotes.
    pub(super) text: Option<String>,
}

/// Reads a text again up to one place.
pub(super) fn locate(text: &str, place: Place) -> Written {
    let reading = Reading::new(None, Some(place));
    let stopped = NodeSeed(&reading).deserialize(serde_yaml::Deserializer::from_str(text));
    let location = stopped.err().and_then(|error| error.location());
    let (line, column) = location.map_or((1, 1), |at| (at.line(), at.column()));
    Written {
        line,
        column,
        text: reading.stopped_on.take(),
    }
}

/// One pass over the text.
struct Reading<'r> {
    next: Cell<u32>,
    report: Option<&'r Report>,
    stop_at: Option<Place>,
    stopped_on: RefCell<Option<String>>,
}

impl<'r> Reading<'r> {
    fn new(report: Option<&'r Report>, stop_at: Option<Place>) -> Self {
        Self {
            next: Cell::new(0),
            report,
            stop_at,
            stopped_on: RefCell::new(None),
        }
    }

    /// Gives out the next number.
    fn number<E: Error>(&self) -> Result<Place, E> {
        let number = self.next.get();
        if number >= NODES_MAX {
            return Err(E::custom(format_args!("more than {NODES_MAX} values")));
        }
        self.next.set(number + 1);
        Ok(Place(number))
    }

    /// Ends a list or map.
    fn close(&self, place: Place) {
        if let Some(report) = self.report {
            report.close(place, Place(self.next.get() - 1));
        }
    }

    fn refuse(&self, place: Place, problem: Problem) {
        if let Some(report) = self.report {
            report.add(place, problem);
            report.refuse(place);
        }
    }
}

/// Fails wherever it is used, and keeps the text it failed on.
struct Stop<'r>(&'r Reading<'r>);

impl Visitor<'_> for Stop<'_> {
    type Value = std::convert::Infallible;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("to stop here")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.0.stopped_on.replace(Some(text.to_owned()));
        Err(E::custom("stopped"))
    }
}

struct NodeSeed<'r>(&'r Reading<'r>);

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let place = self.0.number()?;
        if self.0.stop_at == Some(place) {
            match deserializer.deserialize_str(Stop(self.0))? {}
        }
        let reading = self.0;
        deserializer.deserialize_any(NodeVisitor { reading, place })
    }
}

struct KeySeed<'r>(&'r Reading<'r>);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = (Place, String);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let place = self.0.number()?;
        if self.0.stop_at == Some(place) {
            match deserializer.deserialize_str(Stop(self.0))? {}
        }
        Ok((place, deserializer.deserialize_str(KeyVisitor)?))
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

struct NodeVisitor<'r> {
    reading: &'r Reading<'r>,
    place: Place,
}

impl NodeVisitor<'_> {
    fn node(&self, content: Content) -> Node {
        Node {
            place: self.place,
            content,
        }
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(self.node(Content::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(self.node(Content::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(self.node(Content::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(self.node(Content::Integer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(self.node(Content::Unsigned(value)))
    }

    /// No key takes a number this large; as text it is refused like any other wrong number.
    fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
        Ok(self.node(Content::Float(f64::INFINITY)))
    }

    /// As [`Self::visit_i128`].
    fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
        Ok(self.node(Content::Float(f64::INFINITY)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(self.node(Content::Float(value)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(self.node(Content::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(NodeSeed(self.reading))? {
            items.push(item);
        }
        self.reading.close(self.place);
        Ok(self.node(Content::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some((key, name)) = map.next_key_seed(KeySeed(self.reading))? {
            let value = map.next_value_seed(NodeSeed(self.reading))?;
            if name == MERGE_KEY {
                let problem = Problem::new("merge keys (`<<`) are not supported");
                let hint = "write the keys out, or repeat a whole value with an alias (`*name`)";
                self.reading.refuse(key, problem.hint(hint));
            } else if !seen.insert(name.clone()) {
                let problem = Problem::new(format!("`{name}` is written twice"));
                self.reading
                    .refuse(key, problem.hint("remove one of the two"));
            }
            entries.push(Entry { key, name, value });
        }
        self.reading.close(self.place);
        Ok(self.node(Content::Map(entries)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (tag, value) = tagged.variant::<String>()?;
        value.newtype_variant::<IgnoredAny>()?;
        let problem = Problem::new(format!("tags such as `!{tag}` are not supported"));
        self.reading.refuse(self.place, problem.hint("remove it"));
        Ok(self.node(Content::Null))
    }
}
