//! What a token says, once it is believed.

use std::fmt;

use serde_json::{Map, Value};

use crate::domain::matcher::text::TextPattern;

/// Claims of a token that was verified.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Takes what a token says.
    pub const fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// A claim that is there. A name with dots that is none itself is a way down: `realm_access.roles`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.get(name).or_else(|| {
            let (first, rest) = name.split_once('.')?;
            let first = self.0.get(first)?;
            rest.split('.')
                .try_fold(first, |value, part| value.as_object()?.get(part))
        });
        found.filter(|value| !value.is_null())
    }

    /// Whether a claim has a fitting value; of a list, whether one of its items fits.
    ///
    /// Numbers and booleans are compared as they are written in JSON. The words of `scope` are a list, as
    /// RFC 8693 (section 4.2) has it.
    pub fn fits(&self, name: &str, pattern: &TextPattern) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Array(items)) => items.iter().any(|item| fits(item, pattern)),
            Some(Value::String(words)) if name == "scope" => {
                words.split(' ').any(|word| pattern.fits(word.as_bytes()))
            }
            Some(value) => fits(value, pattern),
        }
    }
}

/// Whether a single value fits. A map has no text, so it can only be there.
fn fits(value: &Value, pattern: &TextPattern) -> bool {
    match value {
        Value::String(text) => pattern.fits(text.as_bytes()),
        Value::Number(number) => pattern.fits(number.to_string().as_bytes()),
        Value::Bool(true) => pattern.fits(b"true"),
        Value::Bool(false) => pattern.fits(b"false"),
        Value::Null => false,
        Value::Array(_) | Value::Object(_) => *pattern == TextPattern::Present,
    }
}

/// Claims are about persons, so that they are not shown by accident.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_compared_as_they_are_written_and_lists_by_their_items() {
        let Value::Object(claims) = json!({
            "tier": "gold", "level": 3, "share": 0.5, "staff": true, "gone": null, "none": [],
            "roles": ["admin", "dev", 7], "scope": "read write", "note": "read write",
            "realm_access": { "roles": ["tester"] }, "https://a.example/plan": "pro", "": "empty",
        }) else {
            unreachable!()
        };
        let claims = Claims::new(claims);
        let is = |name: &str, text: &str| claims.fits(name, &TextPattern::Exact(text.into()));
        for (name, text, expected) in [
            ("tier", "gold", true),
            ("tier", "Gold", false),
            ("level", "3", true),
            ("level", "30", false),
            ("share", "0.5", true),
            ("staff", "true", true),
            ("staff", "false", false),
            ("roles", "dev", true),
            ("roles", "7", true),
            ("roles", "ops", false),
            ("none", "", false),
            ("scope", "write", true),
            ("scope", "read write", false),
            ("note", "read write", true),
            ("note", "write", false),
            ("realm_access.roles", "tester", true),
            ("realm_access", "tester", false),
            ("https://a.example/plan", "pro", true),
            ("gone", "null", false),
            ("missing", "", false),
            ("tier.x", "gold", false),
        ] {
            assert_eq!(is(name, text), expected, "{name} {text}");
        }
        let is_there = |name: &str| claims.fits(name, &TextPattern::Present);
        assert!(is_there("tier") && is_there("realm_access") && is_there("roles"));
        assert!(!is_there("gone") && !is_there("missing") && !is_there("none"));
        assert!(claims.fits("tier", &TextPattern::Prefix("go".into())));
        assert!(!format!("{claims:?}").contains("gold"));
    }
}
