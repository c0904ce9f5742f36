//! JSON over HTTP: a number somewhere in a document.

use std::time::Duration;

use serde_json::Value;

use crate::adapters::http_client::Answer;
use crate::domain::further::{Sample, Silence};

/// The sample of an answer: the number that a JSON pointer (RFC 6901) leads to.
pub(super) fn read(answer: Answer, pointer: &str) -> Result<Sample, Silence> {
    let status = answer.status;
    if !status.is_success() {
        return Err(Silence(format!("the answer is {}", status.as_u16())));
    }
    let body = answer.whole().map_err(|error| Silence(error.to_string()))?;
    let no_json = |_| Silence("the answer is not JSON".to_owned());
    let document: Value = serde_json::from_slice(&body).map_err(no_json)?;
    let found = document.pointer(pointer);
    let nothing = || Silence(format!("the answer has nothing at `{pointer}`"));
    let found = found.ok_or_else(nothing)?;
    let Some(value) = found.as_f64() else {
        let kind = kind_of(found);
        return Err(Silence(format!("`{pointer}` is {kind}, not a number")));
    };
    Ok(Sample {
        value,
        age: Duration::ZERO,
    })
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "too large a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
