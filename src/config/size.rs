//! A number of bytes, with or without a unit: `32KiB`, `64KB`, `8192`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::config::schema;

/// Units by their names; those of two letters are powers of ten.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// From `MIN` to `MAX` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Size<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema::or_variable(json_schema!({ "anyOf": [
            { "type": "integer", "minimum": MIN, "maximum": MAX },
            {
                "type": "string",
                "pattern": r"^[0-9]+\s*(?:[KMG]i?B|B)?$",
                "examples": [shown(MAX)],
            },
        ] }))
    }
}

/// In the largest unit that leaves a whole number.
fn shown(bytes: u64) -> String {
    let units = [UNITS[2], UNITS[1], UNITS[0]];
    let fitting = units
        .into_iter()
        .find(|(_, unit)| bytes.is_multiple_of(*unit));
    fitting.map_or_else(
        || bytes.to_string(),
        |(name, unit)| format!("{}{name}", bytes / unit),
    )
}

/// The bytes that a text says; `None` where it says something else.
fn read(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit = match unit.trim_start() {
        "" => 1,
        name => UNITS.iter().find(|(known, _)| *known == name)?.1,
    };
    if number.is_empty() {
        return None;
    }
    // What does not fit is more than any limit.
    Some(number.parse().unwrap_or(u64::MAX).saturating_mul(unit))
}

struct SizeVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> SizeVisitor<MIN, MAX> {
    fn check<E: Error>(bytes: u64, written: &dyn fmt::Display) -> Result<Size<MIN, MAX>, E> {
        let (least, most) = (shown(MIN), shown(MAX));
        let problem = if bytes < MIN {
            format!("`{written}` is less than {least}")
        } else if bytes > MAX {
            format!("`{written}` is more than {most}")
        } else {
            return Ok(Size(bytes));
        };
        Err(E::custom(format_args!(
            "{problem}; write a size from {least} to {most}"
        )))
    }

    fn none<E: Error>(written: &dyn fmt::Display) -> E {
        E::custom(format_args!(
            "`{written}` is not a size such as `32KiB`; units are `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB`"
        ))
    }
}

impl<const MIN: u64, const MAX: u64> Visitor<'_> for SizeVisitor<MIN, MAX> {
    type Value = Size<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as `32KiB`")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Self::Value, E> {
        Self::check(bytes, &bytes)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Err(Self::none(&number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Err(Self::none(&number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let bytes = read(text).ok_or_else(|| Self::none(&text))?;
        Self::check(bytes, &text)
    }
}
