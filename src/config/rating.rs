//! A rating as it is written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::config::schema;

/// A mean rating, 1 to 5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rating(pub(super) f64);

impl<'de> Deserialize<'de> for Rating {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RatingVisitor)
    }
}

impl JsonSchema for Rating {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rating".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::or_variable(json_schema!({ "type": "number", "minimum": 1, "maximum": 5 }))
    }
}

struct RatingVisitor;

impl RatingVisitor {
    fn rating<E: Error>(&self, number: f64, text: &dyn fmt::Display) -> Result<Rating, E> {
        if (1.0..=5.0).contains(&number) {
            Ok(Rating(number))
        } else {
            Err(E::custom(format_args!(
                "expected a rating from 1 to 5 such as `4.0`, found `{text}`"
            )))
        }
    }
}

impl Visitor<'_> for RatingVisitor {
    type Value = Rating;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rating from 1 to 5 such as `4.0`")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Rating, E> {
        self.rating(number, &number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Rating, E> {
        self.rating(number as f64, &number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Rating, E> {
        self.rating(number as f64, &number)
    }

    /// The text of a variable may mean a number.
    fn visit_str<E: Error>(self, text: &str) -> Result<Rating, E> {
        self.rating(text.parse().unwrap_or(f64::NAN), &text)
    }
}
