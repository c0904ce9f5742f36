//! Cuts a condition into tokens.

use crate::domain::further::condition::parse::ConditionError;

/// A piece of a condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// A number; finite.
    Number(f64),
    /// A word: `and`, `or`, `not` or a name.
    Word(&'t str),
    /// One of [`SYMBOLS`].
    Symbol(&'static str),
    /// There is no more.
    End,
}

/// A token and the column of its first character, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placed<'t> {
    pub(super) token: Token<'t>,
    pub(super) column: usize,
}

/// What is no word and no number; where one begins with another, the longer comes first.
const SYMBOLS: [&str; 12] = [
    "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "(", ")",
];

/// What other languages write, and what is meant by it here.
const FOREIGN: [(&str, &str); 7] = [
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("!", "write `not`"),
    ("=", "write `==`"),
    ("≤", "write `<=`"),
    ("≥", "write `>=`"),
    ("%", "write a share: `0.05` is 5 %"),
];

/// All tokens of a text, [`Token::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed<'_>>, ConditionError> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let column = text[..text.len() - rest.len()].chars().count() + 1;
        let (token, length) = next(rest, column)?;
        found.push(Placed { token, column });
        if token == Token::End {
            return Ok(found);
        }
        rest = &rest[length..];
    }
}

/// The token that a text begins with, and its length in bytes.
fn next(rest: &str, column: usize) -> Result<(Token<'_>, usize), ConditionError> {
    let Some(first) = rest.chars().next() else {
        return Ok((Token::End, 0));
    };
    let length_of = |is_part: fn(char) -> bool| {
        let end = rest.find(|c: char| !is_part(c));
        end.unwrap_or(rest.len())
    };
    if first.is_ascii_digit() || first == '.' {
        let length = length_of(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ','));
        return Ok((Token::Number(number(&rest[..length], column)?), length));
    }
    if first.is_alphabetic() || first == '_' {
        let length = length_of(|c| c.is_alphanumeric() || c == '_');
        return Ok((Token::Word(&rest[..length]), length));
    }
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        return Ok((Token::Symbol(symbol), symbol.len()));
    }
    let foreign = FOREIGN.iter().find(|(word, _)| rest.starts_with(word));
    let (found, hint) = foreign.map_or_else(
        || (first.escape_debug().to_string(), None),
        |(word, hint)| ((*word).to_owned(), Some(*hint)),
    );
    Err(ConditionError::Unexpected {
        expected: "a number, a name or an operator",
        found: format!("`{found}`"),
        column,
        hint: hint.map(str::to_owned),
    })
}

/// Digits with at most one point. Whoever means a thousand of milliseconds writes `1000`.
fn number(text: &str, column: usize) -> Result<f64, ConditionError> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: Option<f64> = text.parse().ok().filter(|_| is_plain);
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| ConditionError::Unexpected {
            expected: "a number such as `1000` or `0.05`",
            found: format!("`{text}`"),
            column,
            hint: unit_hint(text).map(str::to_owned),
        })
}

/// What to say to somebody who writes a unit.
fn unit_hint(text: &str) -> Option<&'static str> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    match unit {
        "ms" | "s" => Some("latencies are in milliseconds, written without the unit"),
        _ => None,
    }
}
