//! Any value, as applications are to get it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

/// A boolean, number, text, list or map; or nothing, which whoever reads it refuses.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct AnyValue(pub(super) Value);

impl JsonSchema for AnyValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let types = ["boolean", "number", "string", "array", "object"];
        json_schema!({ "type": types })
    }
}
