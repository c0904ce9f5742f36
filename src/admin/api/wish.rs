//! What may be said with a command: a JSON object, or nothing.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::admin::error::ApiError;

/// Reads what was said with a command; `example` shows what may be.
pub(super) fn read<T: DeserializeOwned + Default>(
    body: &[u8],
    example: &str,
) -> Result<T, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    // An object first: serde would also take a list for a struct, its items by position.
    let said = serde_json::from_slice::<Map<String, Value>>(body)
        .and_then(|fields| serde_json::from_value(Value::Object(fields)));
    said.map_err(|error| ApiError::BadRequest(format!("{error}; expected nothing, or {example}")))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Wish {
        reason: String,
        full: bool,
    }

    #[test]
    fn an_object_or_nothing_is_understood() {
        let said = |body: &str| read::<Wish>(body.as_bytes(), "…").ok();
        let wish = |reason: &str, full| {
            let reason = reason.to_owned();
            Some(Wish { reason, full })
        };
        assert_eq!(said(" \n"), wish("", false));
        assert_eq!(said("{}"), wish("", false));
        assert_eq!(said(r#"{ "reason": "a", "full": true }"#), wish("a", true));
        for body in ["[]", r#"["a", true]"#, "null", r#"{ "ful": true }"#, "{"] {
            assert_eq!(said(body), None, "{body}");
        }
    }
}
