//! The whole of a text as JSON, without what must not be seen.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::config::diff::marks::Side;
use crate::config::schema;
use crate::config::tree::{Content, Node};
use crate::domain::secret::HIDDEN;

/// A text that [`parse`](crate::config::parse) accepts, as JSON: variables by their names, files by theirs,
/// secrets as `***`, and so whatever addresses carry before the host or behind the `?`.
pub fn dump(text: &str) -> Value {
    let side = Side::of(text);
    value(&side, &side.root)
}

/// The definition of one flag, as it would stand below its name in the configuration, in the same way.
pub fn dump_flag(text: &str) -> Value {
    static OF_FLAG: LazyLock<Value> = LazyLock::new(|| {
        let mut all = schema::document();
        json!({ "$ref": "#/$defs/FlagDocument", "$defs": all["$defs"].take() })
    });
    let side = Side::by_schema(text, &OF_FLAG);
    value(&side, &side.root)
}

fn value(side: &Side, node: &Node) -> Value {
    // A secret is a text; a map in its place is the long form, whose entries have marks of their own.
    if side.is_secret(node) && !matches!(node.content, Content::Map(_)) {
        return Value::from(HIDDEN);
    }
    match &node.content {
        Content::Null => Value::Null,
        Content::Bool(it) => Value::from(*it),
        Content::Integer(it) => Value::from(*it),
        Content::Unsigned(it) => Value::from(*it),
        Content::Float(it) => Value::from(*it),
        Content::Text(it) => Value::from(without_credentials(it)),
        Content::List(items) => items.iter().map(|item| value(side, item)).collect(),
        Content::Map(entries) => {
            let pairs = entries
                .iter()
                .map(|entry| (entry.name.clone(), value(side, &entry.value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

/// An address without a user's name and password, and without a query, either of which may be a key.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => authority.to_owned(),
    };
    let behind = match behind.split_once('?') {
        Some((path, _)) => format!("{path}?{HIDDEN}"),
        None => behind.to_owned(),
    };
    format!("{scheme}://{authority}{behind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_shown_but_secrets() {
        let text = "listeners: [{ address: \"127.0.0.1:80\" }]\n\
                    admin: { tokens: [{ name: ci, role: viewer, token: hunter2-hunter2 }, \
                    { name: eye, role: viewer, token_file: /run/eye }] }\n\
                    backends: { v1: \"http://10.0.0.1\" }\n\
                    notify: [\"http://a/hunter2\", { webhook: \"http://b/hunter2\", name: b }]\n\
                    routes: [{ backend: v1, path: \"${PREFIX}\" }]\n";
        assert_eq!(
            dump(text),
            json!({
                "listeners": [{ "address": "127.0.0.1:80" }],
                "admin": { "tokens": [
                    { "name": "ci", "role": "viewer", "token": "***" },
                    { "name": "eye", "role": "viewer", "token_file": "/run/eye" },
                ] },
                "backends": { "v1": "http://10.0.0.1" },
                "notify": ["***", { "webhook": "***", "name": "b" }],
                "routes": [{ "backend": "v1", "path": "${PREFIX}" }],
            })
        );
    }

    #[test]
    fn addresses_are_shown_without_what_may_be_a_key() {
        for (written, shown) in [
            ("http://a.example/x", "http://a.example/x"),
            (
                "http://ann:hunter2@a.example:80/x",
                "http://***@a.example:80/x",
            ),
            ("https://a.example/x?key=hunter2", "https://a.example/x?***"),
            ("https://a.example?key=hunter2@b", "https://a.example?***"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("a@b?c", "a@b?c"),
        ] {
            assert_eq!(without_credentials(written), shown);
        }
    }

    #[test]
    fn a_flag_is_dumped_as_it_would_be_in_its_place() {
        let text = r#"{"stable": "v1", "canary": "v2", "rollout": {"revision": "2", "stages": ["5%"],
            "gates": [{"before": "5%", "webhook": {"url": "http://ci/s3cret", "headers": {"authorization": "s3cret"}}}]}}"#;
        let dumped = dump_flag(text);
        assert_eq!(dumped["stable"], "v1");
        let webhook = &dumped["rollout"]["gates"][0]["webhook"];
        assert_eq!(webhook["headers"]["authorization"], HIDDEN);
        assert!(!dumped.to_string().contains("s3cret"), "{dumped}");
    }
}
