//! A number with or without a fraction, finite: `4`, `0.95`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use crate::config::schema;

/// A finite number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number(pub(super) f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(NumberVisitor)
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::or_variable(json_schema!({ "type": "number" }))
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number such as `4` or `0.95`")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        if number.is_finite() {
            Ok(Number(number))
        } else {
            Err(E::invalid_type(Unexpected::Float(number), &self))
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "no limit is told apart by its 16th digit"
    )]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        Ok(Number(number as f64))
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "no limit is told apart by its 16th digit"
    )]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number(number as f64))
    }
}
