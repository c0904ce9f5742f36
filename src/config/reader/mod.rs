//! Reads the document's types from the tree, past every problem.
//!
//! `serde` stops at the first value that does not fit. So what does not fit is noted, marked as
//! refused, and the document is read again without it, until it passes; a key that is missing only
//! because its value was refused is not reported a second time. Keys that a map does not know are
//! noted on the way and passed over.
//!
//! A refused entry of a struct or list is as if it was not there. In a map of names it stays, with
//! `None` as value, so that whoever refers to the name is not told that it does not exist.

mod access;
mod refusal;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Expected, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use self::access::{Choice, Entries, Items, PlaceThen};
use self::refusal::{Reason, Refusal};
use crate::config::document;
use crate::config::planned;
use crate::config::report::{Problem, Report};
use crate::config::suggest;
use crate::config::tree::{Content, Entry, MERGE_KEY, Node};

/// The name under which a type asks for its place: it is read as a list of place and value.
pub(super) const PLACED: &str = "config::Placed";
/// As [`PLACED`], and nothing of the value is ever shown.
pub(super) const PLACED_SECRET: &str = "config::PlacedSecret";
/// The name under which a type asks whether it is written short (`visit_some`) or as a map
/// (`visit_newtype_struct`).
pub(super) const SHORT_OR_LONG: &str = "config::ShortOrLong";

/// Most values refused before the rest of a file is left unread.
const REFUSED_MAX: usize = 100;

/// Reads a type from the tree; what does not fit goes to the report.
///
/// `None` if the whole does not fit, or if so much does not fit that it was given up.
pub(super) fn read<'de, T: Deserialize<'de>>(root: &'de Node, report: &'de Report) -> Option<T> {
    for _ in 0..REFUSED_MAX {
        let refusal = match T::deserialize(Reader { node: root, report }) {
            Ok(value) => return Some(value),
            Err(refusal) => refusal,
        };
        let place = refusal.place.unwrap_or(root.place);
        if let Reason::Problem(problem) = refusal.reason {
            report.add(place, problem);
        }
        if !report.refuse(place) {
            return None;
        }
    }
    let problem = format!("more than {REFUSED_MAX} problems; not all are shown");
    report.add(root.place, Problem::from_message(&problem));
    None
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Reader<'de> {
    node: &'de Node,
    report: &'de Report,
}

impl<'de> Reader<'de> {
    /// Notes each key that a struct does not know.
    fn check_keys(self, kind: &'static str, known: &'static [&'static str]) {
        for entry in self.node.entries() {
            if !known.contains(&&*entry.name) && !self.report.is_refused(entry.key) {
                let problem = unknown_key(kind, &entry.name, known);
                self.report.add(entry.key, problem);
                self.report.refuse(entry.key);
            }
        }
    }

    /// Notes each missing key of those that the document's types let pass.
    fn check_required(self, kind: &'static str) {
        for field in document::required(kind) {
            let is_written = self.node.get(field).is_some();
            if let (
                false,
                Refusal {
                    place: Some(place),
                    reason: Reason::Problem(problem),
                },
            ) = (is_written, self.missing(kind, field))
            {
                self.report.add(place, problem);
            }
        }
    }

    /// What to say if this value does not fit and is not to be shown.
    fn unfit_if_hidden(self, expected: &dyn Expected) -> Option<Refusal> {
        let place = self.node.place;
        let problem = self.report.unfit(place, || expected.to_string());
        problem.map(|problem| Refusal::new(place, problem))
    }

    /// The text, where it was brought in by variables of the environment.
    fn text_of_variables(self) -> Option<&'de str> {
        match &self.node.content {
            Content::Text(text) if self.report.is_from_variables(self.node.place) => Some(text),
            _ => None,
        }
    }

    /// What this value is, in `serde`'s words.
    fn unexpected(self) -> Unexpected<'de> {
        match &self.node.content {
            Content::Null => Unexpected::Unit,
            Content::Bool(value) => Unexpected::Bool(*value),
            Content::Integer(value) => Unexpected::Signed(*value),
            Content::Unsigned(value) => Unexpected::Unsigned(*value),
            Content::Float(value) => Unexpected::Float(*value),
            Content::Text(text) => Unexpected::Str(text),
            Content::List(_) => Unexpected::Seq,
            Content::Map(_) => Unexpected::Map,
        }
    }

    /// Turns a missing key into a problem of this map, unless the reason is reported already: its
    /// value was refused, its name misspelled, or a planned key stands in for it.
    fn missing(self, kind: &'static str, field: &'static str) -> Refusal {
        let is_explained = self.node.entries().iter().any(|entry| {
            let is_slip = || suggest::closest(&entry.name, [field]).is_some();
            entry.name == field
                || entry.name == MERGE_KEY
                || planned::replaces(kind, &entry.name, field)
                || (self.report.is_refused(entry.key) && is_slip())
        });
        if is_explained {
            return Refusal::reported(self.node.place);
        }
        Refusal::new(
            self.node.place,
            Problem::new(format!("`{field}` is missing")).hint(format!("add `{field}:`")),
        )
    }

    #[cfg(test)]
    fn cover(self, kind: &'static str, known: &'static [&'static str], written: &str) {
        let mut coverage = self.report.coverage.borrow_mut();
        for key in known {
            *coverage.entry((kind, key)).or_default() |= *key == written;
        }
    }
}

fn unknown_key(kind: &str, name: &str, known: &[&str]) -> Problem {
    let hint = suggest::hint(name, known.iter().copied());
    unknown(kind, ("key", name), hint)
}

/// A word that is none of an enumeration's.
fn unknown_value(kind: &str, word: &str, known: &[&str]) -> Problem {
    let hint = suggest::hint_with_all(word, known.iter().copied());
    unknown(kind, ("value", word), hint)
}

fn unknown(kind: &str, (what, name): (&str, &str), hint: Option<String>) -> Problem {
    if planned::is_planned(kind, name) {
        return Problem::new(format!("`{name}` is not in this version")).hint("remove it");
    }
    let problem = Problem::new(format!("unknown {what} `{name}`"));
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let place = self.node.place;
        if self.report.is_refused(place) {
            return Err(Refusal::reported(place));
        }
        let unfit = self.unfit_if_hidden(&visitor);
        let read = match &self.node.content {
            Content::Null => visitor.visit_unit(),
            Content::Bool(value) => visitor.visit_bool(*value),
            Content::Integer(value) => visitor.visit_i64(*value),
            Content::Unsigned(value) => visitor.visit_u64(*value),
            Content::Float(value) => visitor.visit_f64(*value),
            Content::Text(text) => visitor.visit_borrowed_str(text),
            Content::List(items) => visitor.visit_seq(Items {
                items: items.iter(),
                report: self.report,
            }),
            Content::Map(_) => visitor.visit_map(Entries {
                entries: self.node.entries().iter(),
                value: None,
                skips_refused: false,
                report: self.report,
            }),
        };
        read.map_err(|refusal| unfit.unwrap_or_else(|| refusal.at(place)))
    }

    /// The text of a variable may mean a boolean.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.text_of_variables().and_then(|text| text.parse().ok()) {
            Some(value) => visitor.visit_bool(value),
            None => self.deserialize_any(visitor),
        }
    }

    /// The text of a variable may mean a number.
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let unfit = self.unfit_if_hidden(&visitor);
        match self.text_of_variables().and_then(|text| text.parse().ok()) {
            Some(value) => visitor
                .visit_f64(value)
                .map_err(|refusal: Refusal| unfit.unwrap_or_else(|| refusal.at(self.node.place))),
            None => self.deserialize_any(visitor),
        }
    }

    /// The text of a variable may mean a whole number.
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let unfit = self.unfit_if_hidden(&visitor);
        match self.text_of_variables().and_then(|text| text.parse().ok()) {
            Some(value) => visitor
                .visit_u64(value)
                .map_err(|refusal: Refusal| unfit.unwrap_or_else(|| refusal.at(self.node.place))),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        kind: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let Content::Map(_) = &self.node.content else {
            // Without this, `serde` would take a list for the fields in order.
            let mismatch = || Refusal::invalid_type(self.unexpected(), &visitor);
            let unfit = self.unfit_if_hidden(&visitor);
            return Err(unfit.unwrap_or_else(mismatch).at(self.node.place));
        };
        self.check_keys(kind, known);
        self.check_required(kind);
        #[cfg(test)]
        for entry in self.node.entries() {
            self.cover(kind, known, &entry.name);
        }
        let read = visitor.visit_map(Entries {
            entries: self.node.entries().iter(),
            value: None,
            skips_refused: true,
            report: self.report,
        });
        read.map_err(|refusal| match refusal {
            Refusal {
                place: None,
                reason: Reason::Missing(field),
            } => self.missing(kind, field),
            other => other.at(self.node.place),
        })
    }

    /// Reads a map with one key, or a bare word.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        kind: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let place = self.node.place;
        let (key, name, value) = match &self.node.content {
            Content::Text(word) => (place, word, None),
            Content::Map(entries) => {
                let is_live = |entry: &&Entry| !self.report.is_refused(entry.key);
                let live: Vec<_> = entries.iter().filter(is_live).collect();
                match &live[..] {
                    [only] => (only.key, &only.name, Some(&only.value)),
                    [] if !entries.is_empty() => return Err(Refusal::reported(place)),
                    several => return Err(Refusal::new(place, not_one_key(several, known))),
                }
            }
            _ => {
                let expected = format!("expected a map with one key, {}", listed(known, "or"));
                return Err(Refusal::new(place, Problem::new(expected)));
            }
        };
        if [key, value.map_or(key, |value| value.place), place]
            .iter()
            .any(|part| self.report.is_refused(*part))
        {
            return Err(Refusal::reported(place));
        }
        if !known.contains(&&**name) {
            let expected = || format!("one of {}", listed(known, "or"));
            if let Some(problem) = self.report.unfit(place, expected) {
                return Err(Refusal::new(place, problem));
            }
            let problem = match value {
                Some(_) => unknown_key(kind, name, known),
                None => unknown_value(kind, name, known),
            };
            return Err(Refusal::new(key, problem));
        }
        #[cfg(test)]
        self.cover(kind, known, name);
        let choice = Choice {
            name,
            value: value.map(|node| Self { node, ..self }),
        };
        visitor
            .visit_enum(choice)
            .map_err(|refusal| refusal.at(place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.report.is_refused(self.node.place) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if name == PLACED_SECRET {
            self.report.hide_secret(self.node.place);
        }
        match name {
            PLACED | PLACED_SECRET => visitor.visit_seq(PlaceThen {
                place: Some(self.node.place),
                value: Some(self),
            }),
            SHORT_OR_LONG if !matches!(self.node.content, Content::Map(_)) => {
                visitor.visit_some(self)
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

fn listed(names: &[&str], last: &str) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((end, start)) if !start.is_empty() => format!("{} {last} {end}", start.join(", ")),
        _ => names.concat(),
    }
}

fn not_one_key(entries: &[&Entry], known: &[&str]) -> Problem {
    if entries.is_empty() {
        return Problem::new("is empty").hint(format!("expected {}", listed(known, "or")));
    }
    let names: Vec<_> = entries.iter().map(|entry| &*entry.name).collect();
    let problem = Problem::new(format!("expected one key, found {}", listed(&names, "and")));
    if known.contains(&"all") {
        problem.hint("combine several with `all: [{…}, {…}]` or `any: [{…}, {…}]`")
    } else {
        problem.hint("choose one")
    }
}
