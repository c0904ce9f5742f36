//! Shows values of a tree on one line, as they could be written.

use crate::domain::secret::HIDDEN;

use crate::config::diff::marks::Side;
use crate::config::error::on_one_line;
use crate::config::tree::{Content, Entry, Node};

/// The longest value shown, in characters.
pub(super) const SHOWN_CHARS_MAX: usize = 120;

/// A value on one line, shortened.
pub(super) fn shown(side: &Side, node: &Node) -> String {
    let mut text = String::new();
    write(side, node, &mut text);
    on_one_line(&text, SHOWN_CHARS_MAX)
}

/// Several values as a list on one line, shortened.
pub(super) fn shown_list(side: &Side, nodes: &[&Node]) -> String {
    let mut text = "[".to_owned();
    for (count, node) in nodes.iter().enumerate() {
        if count > 0 {
            text.push_str(", ");
        }
        if is_enough(&text) {
            break;
        }
        write(side, node, &mut text);
    }
    text.push(']');
    on_one_line(&text, SHOWN_CHARS_MAX)
}

/// Nothing further would be shown.
fn is_enough(text: &str) -> bool {
    text.len() > SHOWN_CHARS_MAX * 4
}

fn write(side: &Side, node: &Node, text: &mut String) {
    if side.is_secret(node) {
        text.push_str(HIDDEN);
        return;
    }
    match &node.content {
        Content::Null => text.push('~'),
        Content::Bool(value) => text.push_str(&value.to_string()),
        Content::Integer(value) => text.push_str(&value.to_string()),
        Content::Unsigned(value) => text.push_str(&value.to_string()),
        Content::Float(value) => text.push_str(&value.to_string()),
        Content::Text(value) if is_plain(value) => text.push_str(value),
        Content::Text(value) => text.push_str(&format!("{value:?}")),
        Content::List(items) => {
            text.push('[');
            for (count, item) in items.iter().enumerate() {
                text.push_str(if count > 0 { ", " } else { "" });
                if is_enough(text) {
                    break;
                }
                write(side, item, text);
            }
            text.push(']');
        }
        Content::Map(entries) if entries.is_empty() => text.push_str("{}"),
        Content::Map(entries) => {
            text.push_str("{ ");
            for (count, entry) in entries.iter().enumerate() {
                text.push_str(if count > 0 { ", " } else { "" });
                if is_enough(text) {
                    break;
                }
                text.push_str(&entry.name);
                text.push_str(": ");
                write(side, &entry.value, text);
            }
            text.push_str(" }");
        }
    }
}

/// Whether a text needs no quotes: it is no number, version or word of YAML, and ends where it
/// seems to end.
fn is_plain(text: &str) -> bool {
    let is_mark = |c: char| matches!(c, '-' | '_' | '.' | '/' | ':' | '%' | '+' | '*' | '=' | '@');
    let is_word = ["true", "false", "null", "~", "yes", "no", "on", "off"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    let is_number = text
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | '_'));
    !is_number
        && !is_word
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || is_mark(c) || "${}".contains(c))
        && !text.starts_with(['-', '*', '@', '%', '=', '{', '}'])
        && !text.ends_with(':')
}

/// The same of entries, in an order that is the same for equal ones.
pub(super) fn entry_identities<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<String> {
    let mut parts: Vec<_> = entries
        .map(|entry| {
            let value = value_identity(&entry.name, &entry.value);
            format!("{:?}:{value}", entry.name)
        })
        .collect();
    parts.sort_unstable();
    parts
}

/// The whole of a value as a text that is the same for equal values: the order of keys means
/// nothing.
pub(super) fn identity(node: &Node) -> String {
    match &node.content {
        Content::Text(value) => format!("{value:?}"),
        Content::List(items) => {
            let items: Vec<_> = items.iter().map(identity).collect();
            format!("[{}]", items.join(","))
        }
        Content::Map(entries) => {
            format!("{{{}}}", entry_identities(entries.iter()).join(","))
        }
        Content::Null => "null".to_owned(),
        Content::Bool(value) => value.to_string(),
        Content::Integer(value) => value.to_string(),
        Content::Unsigned(value) => value.to_string(),
        Content::Float(value) => format!("{value:?}"),
    }
}

/// As [`identity`], of the value of a key: some lists are sets.
pub(super) fn value_identity(key: &str, node: &Node) -> String {
    match &node.content {
        Content::List(items) if is_set(key) => {
            let mut items: Vec<_> = items.iter().map(identity).collect();
            items.sort_unstable();
            format!("[{}]", items.join(","))
        }
        _ => identity(node),
    }
}

/// Whether the order of a list at this key means nothing.
pub(super) fn is_set(key: &str) -> bool {
    /// Keys of the document whose lists are sets.
    const SETS: [&str; 10] = [
        "listeners",
        "trusted_proxies",
        "ip",
        "callers",
        "any",
        "all",
        "endpoints",
        "for",
        "methods",
        "groups",
    ];
    SETS.contains(&key)
}
