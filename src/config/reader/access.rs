//! The parts of a list, a map or a choice, one after the other.

use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::config::reader::refusal::Refusal;
use crate::config::reader::{PLACED, Reader};
use crate::config::report::{Problem, Report};
use crate::config::tree::{Content, Entry, Node, Place};

/// The items of a list; refused ones are passed over.
pub(super) struct Items<'de> {
    pub(super) items: std::slice::Iter<'de, Node>,
    pub(super) report: &'de Report,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let report = self.report;
        let next = self.items.find(|node| !report.is_refused(node.place));
        next.map(|node| seed.deserialize(Reader { node, report }))
            .transpose()
    }
}

/// The entries of a map.
pub(super) struct Entries<'de> {
    pub(super) entries: std::slice::Iter<'de, Entry>,
    pub(super) value: Option<&'de Node>,
    /// Whether entries with a refused value are passed over, as if they were not written.
    pub(super) skips_refused: bool,
    pub(super) report: &'de Report,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let (report, skips_refused) = (self.report, self.skips_refused);
        let next = self.entries.find(|entry| {
            let is_value_refused = report.is_refused(entry.value.place);
            let is_passed_over = skips_refused && is_value_refused;
            !report.is_refused(entry.key) && !is_passed_over
        });
        self.value = next.map(|entry| &entry.value);
        next.map(|entry| {
            let key = Key {
                place: entry.key,
                name: &entry.name,
            };
            seed.deserialize(key)
                .map_err(|refusal| refusal.at(entry.key))
        })
        .transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let node = self
            .value
            .take()
            .ok_or_else(|| Refusal::custom("a value was asked for before its key"))?;
        seed.deserialize(Reader {
            node,
            report: self.report,
        })
    }
}

/// Reads one key of a map.
struct Key<'de> {
    place: Place,
    name: &'de str,
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_borrowed_str(self.name)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match name {
            PLACED => visitor.visit_seq(PlaceThen {
                place: Some(self.place),
                value: Some(BorrowedStrDeserializer::new(self.name)),
            }),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A list of two: the place, then the value.
pub(super) struct PlaceThen<D> {
    pub(super) place: Option<Place>,
    pub(super) value: Option<D>,
}

impl<'de, D: Deserializer<'de, Error = Refusal>> SeqAccess<'de> for PlaceThen<D> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        if let Some(place) = self.place.take() {
            let number: U32Deserializer<Refusal> = place.number().into_deserializer();
            return seed.deserialize(number).map(Some);
        }
        self.value
            .take()
            .map(|value| seed.deserialize(value))
            .transpose()
    }
}

/// One of several: a word, or a key with its value.
pub(super) struct Choice<'de> {
    pub(super) name: &'de str,
    pub(super) value: Option<Reader<'de>>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Refusal> {
        let name: BorrowedStrDeserializer<'de, Refusal> = BorrowedStrDeserializer::new(self.name);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Refusal;

    /// A bare word, or a key with nothing to say: `client_ip`, `client_ip: {}`, `client_ip:`.
    fn unit_variant(self) -> Result<(), Refusal> {
        match self.value {
            None => Ok(()),
            Some(value) if value.node.entries().is_empty() => match value.node.content {
                Content::Null | Content::Map(_) => Ok(()),
                _ => Err(self.takes_no_value(value)),
            },
            Some(value) => Err(self.takes_no_value(value)),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        match self.value {
            Some(value) => seed.deserialize(value),
            None => {
                let problem = format!(
                    "`{name}` needs a value; write `{name}: …`",
                    name = self.name
                );
                Err(Refusal::custom(problem))
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refusal> {
        Err(Error::invalid_type(Unexpected::TupleVariant, &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        Err(Error::invalid_type(Unexpected::StructVariant, &visitor))
    }
}

impl Choice<'_> {
    fn takes_no_value(&self, value: Reader<'_>) -> Refusal {
        let problem = Problem::new(format!("`{}` takes no value", self.name));
        Refusal::new(
            value.node.place,
            problem.hint(format!("write `{}`", self.name)),
        )
    }
}
