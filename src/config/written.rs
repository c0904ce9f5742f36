//! The building blocks of the document: values that know where they are written.
//!
//! They can be read by [`super::reader`] only, which tells them their place.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{
    Deserialize, Deserializer, Error, Expected, MapAccess, SeqAccess, Unexpected, Visitor,
};

use crate::config::reader::{PLACED, PLACED_SECRET, SHORT_OR_LONG};
use crate::config::report::AS_WRITTEN;
use crate::config::schema::{self, Shape};
use crate::config::tree::Place;

/// Something that is written as one piece of text: `25%`, `30s`, `http://10.0.0.1:8000`.
pub(super) trait FromText: Sized {
    /// What it is, with an example, to go after "expected".
    const EXPECTED: &'static str;
    /// How to write it, where a number or boolean stands; [`AS_WRITTEN`] is that number.
    const INSTEAD_OF_NUMBER: &'static str = "";
    /// Whether nothing of it is ever shown, wherever it comes from.
    const IS_SECRET: bool = false;
    /// What it looks like, for editors.
    const SHAPE: Shape = Shape::ANY;

    /// Reads the text, or says what is wrong and, after `; `, what would have been right.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(PLACED, PlacedVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

struct PlacedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PlacedVisitor<T> {
    type Value = Placed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Placed<T>, A::Error> {
        let unplaced = || A::Error::custom("this type can be read from a file only");
        let place = parts.next_element()?.ok_or_else(unplaced)?;
        let value = parts.next_element()?.ok_or_else(unplaced)?;
        Ok(Placed {
            place: Place::of_number(place),
            value,
        })
    }
}

/// A value that was written as text, and its place.
#[derive(Clone, Debug)]
pub(super) struct Written<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

impl<'de, T: FromText> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = if T::IS_SECRET { PLACED_SECRET } else { PLACED };
        let visitor = PlacedVisitor::<Text<T>>(PhantomData);
        let Placed { place, value } = deserializer.deserialize_newtype_struct(name, visitor)?;
        Ok(Self {
            place,
            value: value.0,
        })
    }
}

impl<T: FromText> JsonSchema for Written<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::EXPECTED.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::text(T::SHAPE, T::IS_SECRET)
    }
}

struct Text<T>(T);

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(TextVisitor(PhantomData))
            .map(Text)
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> TextVisitor<T> {
    fn found<E: Error>(kind: &str) -> E {
        let problem = if T::IS_SECRET {
            format!("expected {}, found a {kind}", T::EXPECTED)
        } else {
            format!("expected {}, found the {kind} `{AS_WRITTEN}`", T::EXPECTED)
        };
        match T::INSTEAD_OF_NUMBER {
            "" => E::custom(problem),
            hint => E::custom(format_args!("{problem}; {hint}")),
        }
    }
}

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<T, E> {
        Err(Self::found("boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        Err(Self::found("number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
        Err(Self::found("number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Err(Self::found("number"))
    }
}

/// A map of names, in the file's order.
#[derive(Clone, Debug)]
pub(super) struct Named<K, T>(pub(super) Vec<NamedEntry<K, T>>);

/// A name and what it stands for.
#[derive(Clone, Debug)]
pub(super) struct NamedEntry<K, T> {
    pub(super) name: Written<K>,
    /// `None` where the value did not fit, which is reported.
    pub(super) value: Option<T>,
}

impl<K, T> Default for Named<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, K: FromText, T: Deserialize<'de>> Deserialize<'de> for Named<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor(PhantomData))
    }
}

impl<K: FromText, T: JsonSchema> JsonSchema for Named<K, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema::map_of(K::SHAPE, generator.subschema_for::<T>())
    }
}

struct NamedVisitor<K, T>(PhantomData<(K, T)>);

impl<'de, K: FromText, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<K, T> {
    type Value = Named<K, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map whose keys are each {}", K::EXPECTED)
    }

    /// A text in the place of a map may hold a secret that belongs into it, so it is not quoted.
    fn visit_str<E: Error>(self, _: &str) -> Result<Named<K, T>, E> {
        let expected: &dyn Expected = &self;
        Err(E::custom(format_args!("expected {expected}, found a text")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<K, T>, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            entries.push(NamedEntry { name, value });
        }
        Ok(Named(entries))
    }
}

/// Something with a short form (text, mostly) and a long one (a map).
#[derive(Debug)]
pub(super) enum ShortOr<S, L> {
    Short(S),
    Long(L),
}

impl<'de, S: Deserialize<'de>, L: Deserialize<'de>> Deserialize<'de> for ShortOr<S, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SHORT_OR_LONG, ShortOrVisitor(PhantomData))
    }
}

impl<S: JsonSchema, L: JsonSchema> JsonSchema for ShortOr<S, L> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        L::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (
            generator.subschema_for::<S>(),
            generator.subschema_for::<L>(),
        );
        json_schema!({ "anyOf": [short, long] })
    }
}

struct ShortOrVisitor<S, L>(PhantomData<(S, L)>);

impl<'de, S: Deserialize<'de>, L: Deserialize<'de>> Visitor<'de> for ShortOrVisitor<S, L> {
    type Value = ShortOr<S, L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a map")
    }

    fn visit_some<D: Deserializer<'de>>(self, short: D) -> Result<Self::Value, D::Error> {
        S::deserialize(short).map(ShortOr::Short)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, long: D) -> Result<Self::Value, D::Error> {
        L::deserialize(long).map(ShortOr::Long)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count<const MAX: u64 = { u64::MAX }, const MIN: u64 = 1>(pub(super) u64);

impl<'de, const MAX: u64, const MIN: u64> Deserialize<'de> for Count<MAX, MIN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(CountVisitor)
    }
}

impl<const MAX: u64, const MIN: u64> JsonSchema for Count<MAX, MIN> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = match MAX {
            u64::MAX => json_schema!({ "type": "integer", "minimum": MIN }),
            max => json_schema!({ "type": "integer", "minimum": MIN, "maximum": max }),
        };
        schema::or_variable(number)
    }
}

struct CountVisitor<const MAX: u64, const MIN: u64>;

impl<const MAX: u64, const MIN: u64> Visitor<'_> for CountVisitor<MAX, MIN> {
    type Value = Count<MAX, MIN>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MAX {
            u64::MAX => write!(f, "a whole number from {MIN} up"),
            max => write!(f, "a whole number from {MIN} to {max}"),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Count<MAX, MIN>, E> {
        if (MIN..=MAX).contains(&number) {
            Ok(Count(number))
        } else {
            Err(E::invalid_type(Unexpected::Unsigned(number), &self))
        }
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch(pub(super) bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bool(SwitchVisitor)
    }
}

impl JsonSchema for Switch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Switch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::or_variable(json_schema!({ "type": "boolean" }))
    }
}

struct SwitchVisitor;

impl Visitor<'_> for SwitchVisitor {
    type Value = Switch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true` or `false`")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Switch, E> {
        Ok(Switch(value))
    }

    /// In YAML 1.2 the words of YAML 1.1 are text.
    fn visit_str<E: Error>(self, text: &str) -> Result<Switch, E> {
        let meant = match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" => "; write `true`",
            "no" | "off" | "false" => "; write `false`",
            _ => "",
        };
        Err(E::custom(format_args!(
            "expected `true` or `false`, found the text `{text}`{meant}"
        )))
    }
}
