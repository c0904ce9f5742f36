//! The schema of one flag alone, for descriptions that stand elsewhere.

use serde_json::{Map, Value, json};

use crate::config::schema::document;

/// The kind of map that a flag is, as [`flag_schemas`] has it.
pub const FLAG_SCHEMA: &str = "FlagDocument";

/// The schemas of a flag and of all that it refers to, by name; references begin with `place`.
pub fn flag_schemas(place: &str) -> Map<String, Value> {
    let document = document();
    let (mut schemas, mut wanted) = (Map::new(), vec![FLAG_SCHEMA.to_owned()]);
    while let Some(name) = wanted.pop() {
        let Some(schema) = document["$defs"].get(&name).cloned() else {
            continue;
        };
        let schemas = schemas.entry(name);
        let schema = schemas.or_insert(schema);
        move_references(schema, place, &mut wanted);
    }
    schemas
}

/// Has references begin with another place; notes the names that they lead to, which are new.
fn move_references(schema: &mut Value, place: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(entries) => {
            for (key, value) in entries {
                let name = match (&**key, &*value) {
                    ("$ref", Value::String(old)) => old.strip_prefix("#/$defs/").map(str::to_owned),
                    _ => None,
                };
                match name {
                    Some(name) => {
                        *value = json!(format!("{place}{name}"));
                        found.push(name);
                    }
                    None => move_references(value, place, found),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                move_references(item, place, found);
            }
        }
        _ => {}
    }
}
