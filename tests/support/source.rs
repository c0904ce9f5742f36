//! Reads the crate's own source, as files and as tokens, for the checks of its shape.
//!
//! A scanner, not a parser: it knows comments, literals, words and `::`, which is enough to find
//! what a file names without being misled by what it says about it.

use std::io;
use std::path::Path;

/// One file under `src/`.
pub(crate) struct SourceFile {
    /// Where it is, from `src/`, with slashes: `control/mod.rs`.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

/// Every Rust file under `src/`, in order of name.
pub(crate) fn source_files() -> io::Result<Vec<SourceFile>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap_or(&path);
                files.push(SourceFile {
                    name: name.to_string_lossy().replace('\\', "/"),
                    text: std::fs::read_to_string(&path)?,
                });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// An identifier, a `::` or any other single character of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// As written; a raw identifier without its `r#`.
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// The tokens of a text; comments, literals, lifetimes and white space are left out.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, is_code) = match skipped(rest, first) {
            Some(length) => (length, false),
            None if is_word_start(first) => (word_length(rest), true),
            None if rest.starts_with("::") => (2, true),
            None => (first.len_utf8(), true),
        };
        let (piece, after) = rest.split_at(length);
        if is_code {
            let text = piece.strip_prefix("r#").unwrap_or(piece).to_owned();
            found.push(Token { text, line });
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    found
}

/// The length of what stands at the start of `rest` if it is no code.
fn skipped(rest: &str, first: char) -> Option<usize> {
    if first.is_whitespace() || first.is_ascii_digit() {
        return Some(first.len_utf8());
    }
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    string_length(rest).or_else(|| quote_length(rest))
}

/// Block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// A string literal with its prefix (`b`, `c`, `r`, `br`, `cr`) and hashes.
fn string_length(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches(['b', 'c']);
    let (body, is_raw) = match body.strip_prefix('r') {
        Some(body) => (body, true),
        None => (body, false),
    };
    if rest.len() - body.len() > 2 {
        return None;
    }
    let hashes = body.len() - body.trim_start_matches('#').len();
    if !body[hashes..].starts_with('"') || (hashes > 0 && !is_raw) {
        return None;
    }
    let start = rest.len() - body.len() + hashes + 1;
    let end = if is_raw {
        let close = format!("\"{}", "#".repeat(hashes));
        rest[start..].find(&close).map(|at| at + close.len())
    } else {
        unescaped(&rest[start..], '"').map(|at| at + 1)
    };
    Some(end.map_or(rest.len(), |end| start + end))
}

/// A character literal, or a lifetime with its tick.
fn quote_length(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('\'')?;
    let first = after.chars().next()?;
    let is_literal = first == '\\' || after[first.len_utf8()..].starts_with('\'');
    Some(if is_literal {
        unescaped(after, '\'').map_or(rest.len(), |at| at + 2)
    } else {
        1 + word_length(after)
    })
}

/// Where `end` first stands without a backslash before it.
fn unescaped(text: &str, end: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, character)| {
        let is_end = character == end && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end.then_some(at)
    })
}

fn is_word_start(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

fn word_length(rest: &str) -> usize {
    let prefix = if rest.starts_with("r#") { 2 } else { 0 };
    let is_end = |character: char| character != '_' && !character.is_alphanumeric();
    rest[prefix..]
        .find(is_end)
        .map_or(rest.len(), |at| at + prefix)
}
