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
    let unread =
        |problem: String| ApiError::BadRequest(format!("{problem}; it is such as {example}"));
    // An object first: serde would also take a list for a struct, its items by position.
    let fields: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| unread(format!("the body is no JSON object: {error}")))?;
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.into_inner());
        unread(match path.as_str() {
            // Of the whole: a key that it does not know, which is named.
            "." => inner.to_string(),
            path => format!("`{path}`: {inner}"),
        })
    })
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
    fn what_does_not_fit_is_named() {
        let told = |body: &str| match read::<Wish>(body.as_bytes(), "{}") {
            Err(ApiError::BadRequest(told)) => told,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            told(r#"{ "full": "yes" }"#),
            "`full`: invalid type: string \"yes\", expected a boolean; it is such as {}"
        );
        let unknown = told(r#"{ "ful": true }"#);
        assert!(
            unknown.contains("unknown field `ful`, expected `reason` or `full`"),
            "{unknown}"
        );
        assert!(told("[]").starts_with("the body is no JSON object: "));
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
